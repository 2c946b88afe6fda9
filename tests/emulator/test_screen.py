"""The screen before the checker: right kernels end there with the arrays of a plain run, whatever may be wrong goes on to the checker."""

from pathlib import Path

import numpy as np
import pytest
from warploom.backends.emulator.argument import Argument
from warploom.backends.emulator.execute import build
from warploom.backends.emulator.isolate import in_child
from warploom.backends.emulator.launch import Launch
from warploom.backends.emulator.rewrite import rewrite
from warploom.backends.emulator.screen import SCREEN_DEFINES, open_screen, screen_flags, screenable
from warploom.backends.emulator.unit import Call, Parameter, build_unit

VECTOR = "int i = threadIdx.x; if (blockIdx.x || i >= 16) return; ((float4*)y)[i] = ((const float4*)x)[i];"
CLEAN = {
    "own elements, read again": ("float", "out", "int i = blockIdx.x * 32 + threadIdx.x; y[i] = x[i]; for (int k = 0; k < 3; ++k) y[i] += x[63 - i];"),
    "halves of a word": ("short", "out", "int i = blockIdx.x * 32 + threadIdx.x; y[i] = x[i] + 1;"),
    "read by all, written by none": ("float", "inout", "float s = 0; for (int i = 0; i < 64; ++i) s += y[i] * x[i]; if (s < -1e30f) y[0] = s;"),
    "vectors": ("float", "out", "int i = threadIdx.x; if (blockIdx.x || i >= 16) return; ((float4*)y)[i] = ((const float4*)x)[i];"),
    "a vector, then its elements": ("float", "out", f"{VECTOR} y[4 * i + 3] += 1;"),
    "an element, then its vector": ("float", "inout", f"int k = threadIdx.x; if (!blockIdx.x && k < 16) y[4 * k] += 1; {VECTOR}"),
    "atomics": ("int", "inout", "atomicAdd(&y[threadIdx.x & 1], x[threadIdx.x]);"),
}
SUSPECT = {
    "a neighbour's element": ("float", "out", "int i = blockIdx.x * 32 + threadIdx.x; y[i] = 1; if (i) x[i] > 0 ? y[i - 1] += 1 : 0;"),
    "read, then written by another": ("float", "inout", "int i = blockIdx.x * 32 + threadIdx.x; float v = y[63 - i]; y[i] = v + x[i];"),
    "past the end": ("float", "out", "int i = blockIdx.x * 32 + threadIdx.x; y[i] = x[i + 1];"),
    "not all written": ("float", "out", "int i = blockIdx.x * 32 + threadIdx.x; if (i < 63) y[i] = x[i];"),
    "never written": ("float", "out", "int i = blockIdx.x * 32 + threadIdx.x; y[i] += x[i];"),
    "an input": ("float", "out", "int i = blockIdx.x * 32 + threadIdx.x; y[i] = x[i]; const_cast<float*>(x)[i] = 0;"),
    "atomic and plain": ("int", "inout", "atomicAdd(&y[0], 1); if (threadIdx.x == 3) y[0] = x[0];"),
    "misaligned": ("float", "inout", "int i = threadIdx.x; if (i < 8) { float4 v = *(float4*)(y + 2 * i); y[40 + i] = v.x + x[i]; }"),
    "an element of another's vector": ("float", "out", f"{VECTOR} if (i) y[4 * i - 1] += 1;"),
    "a vector over another's element": ("float", "inout", f"if (threadIdx.x == 3) y[20] = 1; {VECTOR}"),
    "a vector that another read": ("float", "inout", f"float4 v = ((float4*)y)[threadIdx.x % 8 + 1]; {VECTOR} if (v.x < 0) y[4 * i] = 1;"),
    "a vector never written": ("float", "out", f"float4 v = ((float4*)y)[threadIdx.x % 16]; {VECTOR} if (v.x == 5) y[4 * i] = 1;"),
    "a vector past the end": ("float", "out", f"{VECTOR} ((float4*)y)[i + 1] = ((float4*)y)[i];"),
    "a vector not all written": ("float", "out", VECTOR.replace("i >= 16", "i >= 15")),
    "a local array": ("float", "out", "int i = blockIdx.x * 32 + threadIdx.x; float t[4] = {}; y[i] = t[(i >> 4) + 1] + x[i];"),
    "shared memory": ("float", "out", "__shared__ float s[32]; int i = threadIdx.x; s[i] = x[i]; y[blockIdx.x * 32 + i] = s[31 - i];"),
}
DTYPES = {"float": np.float32, "int": np.int32, "short": np.int16}


def screened(type_, kind, body):
    """The arrays, or None: a kernel of two blocks of 32 over 64 elements."""
    x, y = (np.arange(1, 65) * k for k in (1, 2))
    arguments = [Argument(Parameter(n, DTYPES[type_].__name__), v.astype(DTYPES[type_]), k) for n, v, k in (("y", y, kind), ("x", x, "in"))]
    source = f"__global__ void k({type_}* y, const {type_}* x) {{ {body} }}"
    unit = build_unit(source, (Call("k", Launch.of(2, 32), (0, 1)),), [a.parameter for a in arguments])
    assert screenable(unit)
    return open_screen(unit).run(arguments)


@pytest.mark.parametrize("name", CLEAN)
def test_right_kernel_ends_at_the_screen(name):
    arrays = screened(*CLEAN[name])
    assert arrays is not None
    if name == "a vector, then its elements":
        assert (arrays[0] == np.arange(1, 65) + np.array([0, 0, 0, 1] * 16)).all()
    if name == "halves of a word":
        assert (arrays[0] == np.arange(2, 66)).all()


@pytest.mark.parametrize("name", SUSPECT)
def test_what_may_be_wrong_goes_to_the_checker(name):
    assert screened(*SUSPECT[name]) is None


@pytest.mark.parametrize(
    "text, shared",
    [
        ("float* y, const float* x, int n) { int i = threadIdx.x; if (i < n) y[i] = x[i] * (float)n; }", True),
        ("float* y, int n) { y[n] = reinterpret_cast<const float4*>(y)[0].x; }", True),
        ("float* y, const float* x = nullptr) { x += 3; }", False),
        ("float* y, int n) { *y++ = n; }", False),
        ("float* y, int n) { for (; n > 0; n >>= 1) y[n] = 1; }", False),
        ("float* y, int n) { clear(n); }", False),
        ("float* y, int n) { int& r = n; ++r; }", False),
        ("float* y, Sizes s) { y[0] = s[1]; }", False),
        ("#define NEXT n = n - 1\n", False),
    ],
)
def test_threads_share_the_parameters_that_no_thread_changes(text, shared):
    if text.startswith("#"):
        source = f"{text}__global__ void k(float* y, int n) {{ NEXT; y[n] = 1; }}"
    else:
        source = f"__global__ void k({text}"
    assert ("WL_SHARED_PARAMETERS" in rewrite(source).text) == shared


def test_a_parameter_that_threads_change_is_each_threads_own():
    x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    source = "__global__ void k(float* y, const float* x, int n) { n += threadIdx.x; x += blockIdx.x * 32; y[blockIdx.x * 32 + threadIdx.x] = *(x + n); }"
    arguments = [Argument(Parameter("y", "float32"), y, "out"), Argument(Parameter("x", "float32"), x, "in"), Argument(Parameter("n", "int32", pointer=False), np.int32(0), "in")]
    unit = build_unit(source, (Call("k", Launch.of(2, 32), (0, 1, 2)),), [a.parameter for a in arguments])
    arrays = open_screen(unit).run(arguments)
    assert arrays is not None and (arrays[0] == x).all()


def test_kernels_whose_threads_wait_are_the_checkers():
    source = "__global__ void k(float* y) { __shared__ float s[32]; s[threadIdx.x] = 1; __syncthreads(); y[threadIdx.x] = s[31 - threadIdx.x]; }"
    assert not screenable(build_unit(source, (Call("k", Launch.of(1, 32), (0,)),), [Parameter("y", "float32")]))


def test_without_memory_for_a_stack_the_checker_does_it():
    def starved():
        import resource

        unit = build_unit("__global__ void k(float* y) { y[threadIdx.x] = 1; }", (Call("k", Launch.of(1, 32), (0,)),), [Parameter("y", "float32")])
        screen = open_screen(unit)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), used + (256 << 20)))
        return screen.run([Argument(Parameter("y", "float32"), np.zeros(32, np.float32), "out")])

    assert in_child(starved) is None


def test_it_links_where_symbols_are_visible():
    """As extensions are built: the assembly in place of its calls names variables of the library itself."""
    source = "__global__ void k(float* y) { y[threadIdx.x] += 1; }"
    unit = build_unit(source, (Call("k", Launch.of(1, 32), (0,)),), [Parameter("y", "float32")])
    assert build(unit, flags=(*screen_flags(unit), "-fvisibility=default"), extra=SCREEN_DEFINES).is_file()
