"""Products of half floats on tensor cores: their schedule, their text, their numbers in the emulator, their instructions in a cubin."""

import struct

import numpy as np
import pytest
from warploom.backends.cuda.codegen.thread import UnsupportedOnGpu
from warploom.backends.cuda.emulated import Emulated
from warploom.backends.cuda.host import H100
from warploom.backends.cuda.nvrtc import ARCHITECTURES, available, compile_cubin
from warploom.backends.cuda.printer import print_cuda
from warploom.ir.interpret import run_program
from warploom.ir.kernel import Call, statements
from warploom.ir.machine import Machine
from warploom.ir.text import parse_program
from warploom.ir.types import NUMPY
from warploom.passes.sketch_gpu import sketch_gpu

NAIVE = """
def product(a: {dtype}[{m}, {k}], b: {dtype}[{b}], bias: {dtype}[{n}], c: {dtype}[{m}, {n}]):
    for i in serial({m}):
        for j in serial({n}):
            v: local.f32[1]
            v[0] = 0.0
            for r in serial({k}):
                v[0] += f32(a[i, r]) * f32(b[{at}])
            c[i, j] = {dtype}(max(v[0] + f32(bias[j]), 0.0))
"""
HMMA = 0x23C
"""The opcode of HMMA: the low 12 bits of an instruction of 128."""


def naive(m=70, n=75, k=37, dtype="f16", transposed=False):
    b, at = (f"{n}, {k}", "j, r") if transposed else (f"{k}, {n}", "r, j")
    return parse_program(NAIVE.format(m=m, n=n, k=k, dtype=dtype, b=b, at=at))


def tensor_calls(program):
    return [s for s in statements(program.body) if isinstance(s, Call)]


def compared(program, scheduled, transposed=False):
    """The emulator against NumPy, on values whose sums are exact in every order."""
    rng = np.random.default_rng(0)
    args = {b.name: (rng.integers(-4, 5, [d.value for d in b.shape]) / 4).astype(NUMPY[b.dtype]) for b in program.params if b.name != "c"}
    b = args["b"].astype(np.float32)
    want = np.maximum(args["a"].astype(np.float32) @ (b.T if transposed else b) + args["bias"], 0).astype(np.float16)
    got = Emulated(print_cuda(scheduled), {}).run({k: v.copy() for k, v in args.items()})["c"]
    np.testing.assert_array_equal(got, want)
    return args, want


def test_a_product_of_halves_gives_the_interpreters_numbers():
    program = naive(m=33, n=20, k=20)
    scheduled = sketch_gpu(program, "contract", H100).program
    args, want = compared(program, scheduled)
    np.testing.assert_array_equal(run_program(scheduled, {}, args, check_races=True)["c"], want)


@pytest.mark.parametrize("sizes", [{"k": 38, "transposed": True}, {"m": 33, "n": 20, "k": 100}, {"k": 40}])
def test_products_of_ragged_tiles(sizes):
    program = naive(**sizes)
    scheduled = sketch_gpu(program, "contract", H100).program
    assert [c.intrinsic for c in tensor_calls(scheduled)] == ["mma_m16n8k16_f16"]
    compared(program, scheduled, sizes.get("transposed", False))


@pytest.mark.parametrize("choices", [{"tile": 32, "staged": 16}, {"tile": 128, "staged": 64}])
def test_tiles_of_every_size(choices):
    program = naive(m=130, n=140, k=70)
    compared(program, sketch_gpu(program, "contract", H100, choices).program)


@pytest.mark.parametrize(
    "program, machine, choices",
    [
        (naive(dtype="f32"), H100, {}),
        (naive(k=9), H100, {}),
        (naive(m=9), H100, {}),
        (naive(), H100, {"tensor": 0}),
        (naive(), Machine("old", "cuda", 80, 96 << 10, 6 << 20, 0, frozenset({"sm_70"})), {}),
        (naive(), Machine("tiles", "triton", 80, 96 << 10, 6 << 20, 0, frozenset({"sm_90"})), {}),
    ],
)
def test_others_stay_with_plain_arithmetic(program, machine, choices):
    assert not tensor_calls(sketch_gpu(program, "contract", machine, choices).program)


COPY = """
def f(x: f16[5, {row}], y: f16[4, 16]):
    for o in block(1):
        s: shared.f16[4, 16]
        for i in lanes(4):
            for c in lanes(2):
                for v in vector(8):
                    s[i, c * 8 + v] = select({guard}, x[i + 1, c * 8 + v], 0)
        for i in lanes(4):
            for c in lanes(2):
                for v in vector(8):
                    y[i, c * 8 + v] = s[3 - i, c * 8 + v]
"""


@pytest.mark.parametrize(
    "row, guard, wide",
    [
        (16, "c * 8 + v < 8", True), (8, "c * 8 + v < 8 and i < 3", True), (16, "i < 3", True),
        (16, "c * 8 + v < 12", False), (12, "c * 8 + v < 12", False), (24, "c * 8 + v * 2 < 16", False), (16, "8 < c * 8 + v", False), (16, "x[i, c * 8 + v] < 1.0", False),
    ],
)  # fmt: skip
def test_a_copy_of_halves_is_one_move_where_its_guard_is_one_for_all(row, guard, wide):
    program = parse_program(COPY.format(row=row, guard=guard))
    made = print_cuda(program)
    assert made.source.count("reinterpret_cast<const uint4*>(&x[") == int(wide), made.source
    x = np.random.default_rng(0).integers(-3, 4, (5, row)).astype(np.float16)
    got = Emulated(made, {}).run({"x": x.copy()})["y"]
    np.testing.assert_array_equal(got, run_program(program, {}, {"x": x})["y"])


def test_text(golden):
    golden("half_product", print_cuda(sketch_gpu(naive(k=40), "contract", H100).program).source)


@pytest.mark.skipif(not available(), reason="NVRTC is not installed")
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_the_cubin_multiplies_on_tensor_cores(arch, dtype):
    cubin = compile_cubin(print_cuda(sketch_gpu(naive(dtype=dtype), "contract", H100).program).source, arch)
    words = struct.unpack(f"<{len(cubin) // 8}Q", cubin[: len(cubin) // 8 * 8])
    assert sum(w & 0xFFF == HMMA for w in words) >= 2 * 2 * 4  # of a warp: 2 steps along k, 2 by 4 parts of its tile


def test_tiles_begin_at_pairs():
    text = """
def f(x: f16[16, 18], w: f16[8, 16], y: f32[16, 8]):
    for o in block(1):
        c: local.f32[[8, 4], 2, 2]
        a_s: shared.f16[16, {row}]
        b_s: shared.f16[8, 16]
        for i in lanes(16):
            for k in lanes(17):
                a_s[i, k] = x[i, k]
        for i in lanes(8):
            for k in lanes(16):
                b_s[i, k] = w[i, k]
        for g in lanes(8):
            for t in lanes(4):
                for h in unroll(2):
                    for p in unroll(2):
                        c[g, t, h, p] = 0.0
        mma_m16n8k16_f16(c[0, 0, 0, 0], a_s[0, {at}], b_s[0, 0])
        for g in lanes(8):
            for t in lanes(4):
                for h in unroll(2):
                    for p in unroll(2):
                        y[h * 8 + g, t * 2 + p] = c[g, t, h, p]
"""
    print_cuda(parse_program(text.format(row=18, at=0)))
    for row, at in ((18, 1), (17, 0)):
        with pytest.raises(UnsupportedOnGpu, match="not surely aligned to 2 elements"):
            print_cuda(parse_program(text.format(row=row, at=at)))
