"""Register tiles of products: their size follows how operands are packed, not how they are reshaped."""

import pytest
from warploom.ir.machine import Machine
from warploom.ir.text import parse_program
from warploom.passes.sketch import sketch

MACHINE = Machine("test", "avx512", 2, 48 << 10, 1 << 20, 32 << 20)
PRODUCT = """
def product({operand}, b: f32[8, 256, 32], y: f32[512, 256]):
    for i in serial(512):
        for j in serial(256):
            v: local.f32[1]
            v[0] = 0.0
            for r in serial(256):
                v[0] += {load} * b[j // 32, r, j % 32]
            y[i, j] = v[0]
"""


@pytest.mark.parametrize(
    ("operand", "load", "rows"),
    [
        ("a: f32[2, 8, 256, 32]", "a[i // 256, r // 32, i % 256, r % 32]", 14),
        ("a: f32[2, 256, 256]", "a[i // 256, r, i % 256]", 14),
        ("a: f32[64, 256, 8]", "a[i // 8, r, i % 8]", 8),
        ("a: f32[512, 256]", "a[i, r]", 14),
    ],
)
def test_rows_of_the_tile(operand, load, rows):
    draft = sketch(parse_program(PRODUCT.format(operand=operand, load=load)), "contract", MACHINE)
    assert draft.script.startswith(f"split(i, {rows},")
