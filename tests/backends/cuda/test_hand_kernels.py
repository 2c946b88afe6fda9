"""Kernels written by hand: their CUDA gives the interpreter's numbers in the emulator, and the text of some is kept."""


import numpy as np
import pytest
from hand_kernels import PROGRAMS
from warploom.backends.cuda.emulated import Emulated
from warploom.backends.cuda.printer import print_cuda
from warploom.ir.interpret import evaluate, run_program, shape_of
from warploom.ir.text import parse_program
from warploom.ir.types import NUMPY

QUICK = ("matmul_lanes", "softmax_lanes", "cumsum_lanes", "flash_attention", "total_two_launches", "scatter_add")


def _arguments(program, dims):
    rng = np.random.default_rng(0)
    out = {}
    for b in program.params:
        if b.name in program.written() and b.name not in program.read():
            continue
        shape, dtype = shape_of(b, dims), np.dtype(NUMPY[b.dtype])
        if b.within:
            low, high = (evaluate(x, dims) for x in b.within)
            out[b.name] = rng.integers(low, high, shape).astype(dtype)
        else:
            out[b.name] = (rng.integers(0, 3, shape) if dtype.kind in "iub" else rng.standard_normal(shape)).astype(dtype)
    return out


def _check(name):
    program = PROGRAMS[name]
    dims = {d.name: max(d.lo, 19 + k) for k, d in enumerate(program.dims)}
    args = _arguments(program, dims)
    wanted = run_program(program, dims, args)
    got = Emulated(print_cuda(program), dims).run({k: v.copy() for k, v in args.items()})
    for key, value in wanted.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", QUICK)
def test_agrees_with_the_interpreter(name):
    _check(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in PROGRAMS if n not in QUICK])
def test_agrees_with_the_interpreter_rest(name):
    _check(name)


@pytest.mark.parametrize("name", ["matmul_lanes", "softmax_lanes", "total_two_launches"])
def test_text(name, golden):
    program = print_cuda(PROGRAMS[name])
    golden(name, program.source)


def test_launch_order_and_temporaries():
    program = print_cuda(PROGRAMS["total_two_launches"])
    assert [x.kernel for x in program.launches] == ["total_two_launches_0", "total_two_launches_1"]
    assert {b.role for b in program.buffers} == {"in", "out", "temp"}
    sized = program.at({"N": 1000})
    assert all(len(x.args) >= 2 for x in sized.launches)


def test_names_that_cuda_knows_are_not_taken():
    text = "def exp(threadIdx: f32[40], int2: f32[40]):\n    for i in block(2):\n        for j in lanes(20):\n            int2[i * 20 + j] = exp(threadIdx[i * 20 + j])\n"
    x = np.linspace(-1, 1, 40, dtype=np.float32)
    program = print_cuda(parse_program(text))
    out = Emulated(program).run({"threadIdx": x})
    np.testing.assert_allclose(out["int2"], np.exp(x), rtol=1e-6)
