"""Variant dispatch: total and disjoint by the verifier, exact as text, the right body at every value."""

from __future__ import annotations

import numpy as np
import pytest
from warploom.ir.diagnostic import IllegalProgram, ParseError
from warploom.ir.interpret import run_program
from warploom.ir.kernel import statements
from warploom.ir.text import parse_program, print_program
from warploom.ir.types import Dim
from warploom.ir.variants import at, condition, dispatching, narrowed, ranges_of, variants
from warploom.ir.verify import verify

TEXT = """
def scale(n: dim[1, 64], x: f32[n], y: f32[n]):
    match n:
        case within(1, 8) | within(20, 24):
            for i in serial(n):
                y[i] = x[i] * 2.0
        case within(8, 20) | within(24, 65):
            for i0 in block(n // 8):
                for i1 in vector(8):
                    y[i0 * 8 + i1] = x[i0 * 8 + i1] * 2.0
            for i2 in serial(n // 8 * 8, n):
                y[i2] = x[i2] * 2.0
"""


def test_text_is_exact():
    p = parse_program(TEXT)
    assert parse_program(print_program(p)) == p
    assert print_program(p).strip() == TEXT.strip()


def test_open_end():
    p = parse_program(TEXT.replace("dim[1, 64]", "dim").replace("65", "inf"))
    verify(p)
    assert parse_program(print_program(p)) == p
    assert variants(p)[1].ranges == ((8, 20), (24, None))


@pytest.mark.parametrize("ranges", [((1, 2),), ((1, 8), (9, None)), ((0, 3), (5, 6), (7, 9))])
def test_condition_is_read_back(ranges):
    assert ranges_of(condition("m", ranges), "m") == ranges
    assert ranges_of(condition("m", ranges), "n") is None


def test_variants_are_programs_of_their_own():
    p = parse_program(TEXT)
    first, second = variants(p)
    assert first.program.dims == (Dim("n", 1, 23),) and second.program.dims == (Dim("n", 8, 64),)
    assert at(p, 21) == first.program and at(p, 24) == second.program
    assert dispatching(p, "n", (first, second)) == p
    assert narrowed(Dim("n", 4), ((1, 7), (9, None))) == Dim("n", 4)


@pytest.mark.parametrize("n", [1, 7, 8, 19, 20, 23, 24, 64])
def test_every_value_runs(n):
    x = np.arange(n, dtype=np.float32)
    np.testing.assert_array_equal(run_program(parse_program(TEXT), {"n": n}, {"x": x})["y"], 2 * x)


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("within(8, 20)", "within(9, 20)", "no variant takes n = 8"),
        ("within(8, 20)", "within(7, 20)", "two variants claim n = 7"),
        ("within(24, 65)", "within(24, 64)", "no variant takes n = 64"),
        ("within(24, 65)", "within(24, inf)", "n is never above 64"),
        ("within(1, 8)", "within(0, 8)", "n is never 0"),
        ("within(20, 24)", "within(24, 24)", "empty"),
    ],
)
def test_what_is_not_total_or_disjoint_is_refused(old, new, why):
    with pytest.raises(IllegalProgram, match=why):
        verify(parse_program(TEXT.replace(old, new)))


def test_each_variant_is_verified_under_its_own_range():
    verify(parse_program(TEXT))
    wrong = TEXT.replace("y[i] = x[i]", "y[i] = x[i + 1]")
    with pytest.raises(IllegalProgram, match="in-bounds"):
        verify(parse_program(wrong))
    only_there = TEXT.replace("for i in serial(n):\n                y[i] = x[i] * 2.0", "for i in serial(24):\n                if i < n:\n                    y[i] = x[i] * 2.0")
    verify(parse_program(only_there))


def test_all_variants_write_the_same():
    p = parse_program(TEXT.replace("y: f32[n]", "y: f32[n], z: f32[n]").replace("y[i2] =", "z[i2] ="))
    with pytest.raises(IllegalProgram, match="does not write the params"):
        verify(p)


def test_a_dispatch_on_what_is_no_dim():
    with pytest.raises(IllegalProgram, match="is not a dim"):
        verify(parse_program(TEXT.replace("match n", "match m")))


@pytest.mark.parametrize("text", ["case [1, 8]:", "case within(1):", "case within(1, m):", "case _:", "case within(1, 8) if n > 2:"])
def test_other_patterns_are_refused(text):
    with pytest.raises(ParseError):
        parse_program(TEXT.replace("case within(1, 8) | within(20, 24):", text))


def test_statements_of_a_dispatch_are_seen():
    p = parse_program(TEXT)
    assert p.written() == ("y",) and p.read() == ("x",)
    assert len(list(statements(p.body))) > 6
