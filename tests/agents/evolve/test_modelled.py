"""The roofline model of a GPU: what it says of schedules whose order is known."""

from types import SimpleNamespace

import pytest
from warploom.agents.evolve.modelled import launch_seconds
from warploom.backends.cuda.host import H100
from warploom.ir.text import parse_program
from warploom.passes.sketch_gpu import sketch_gpu

PRODUCT = """
def product(a: f16[2048, 2048], b: f16[2048, 2048], c: f16[2048, 2048]):
    for i in serial(2048):
        for j in serial(2048):
            v: local.f32[1]
            v[0] = 0.0
            for r in serial(2048):
                v[0] += f32(a[i, r]) * f32(b[j, r])
            c[i, j] = f16(v[0])
"""
COPY = """
def copy(x: f16[4096, 2048], y: f16[4096, 2048]):
    for i in block(4096):
        for j in lanes({lanes}):
            for v in {kind}({width}):
                y[i, j * {width} + v] = x[i, j * {width} + v]
"""


def seconds(program):
    return launch_seconds(SimpleNamespace(program=program), H100)  # type: ignore[arg-type]


def test_tensor_cores_are_faster_than_plain_arithmetic():
    naive = parse_program(PRODUCT)
    plain, tensor = (seconds(sketch_gpu(naive, "contract", H100, {"tensor": x}).program) for x in (0, 1))
    assert tensor < plain / 2


def test_wide_moves_cost_what_they_move():
    one = parse_program(COPY.format(lanes=2048, kind="serial", width=1))
    wide = parse_program(COPY.format(lanes=256, kind="vector", width=8))
    apart = parse_program(COPY.format(lanes=32, kind="serial", width=64))
    assert seconds(wide) == pytest.approx(seconds(one), rel=0.2)
    assert seconds(apart) > 3 * seconds(one)
