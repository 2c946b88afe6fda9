"""Virtual padding: the table of heights is total and small, every variant computes what the naive program does, nothing is built again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import warploom
from warploom.ir.interpret import run_program, shape_of
from warploom.ir.machine import Machine
from warploom.ir.module import Launch
from warploom.ir.text import parse_program, print_program
from warploom.ir.types import Dim
from warploom.ir.variants import variants
from warploom.ir.verify import verify
from warploom.passes.pad import Rows, dynamic_rows, relative_costs, table
from warploom.passes.schedule.script import apply
from warploom.passes.sketch import sketch

SMALL = Machine("small", "portable", 1, 1 << 15, 1 << 20, 1 << 24)
"""4 lanes, 16 registers: tiles of 6 rows by 8 columns."""

LINEAR = """
def linear(m: dim[1, 40], x: f32[m, K], w: f32[T, K, 8], bias: f32[N], y: f32[m, N]):
    for i in serial(m):
        for j in serial(N):
            acc: local.f32[1]
            acc[0] = 0.0
            for r in serial(K):
                acc[0] += x[i, r] * w[j // 8, r, j % 8]
            y[i, j] = max(acc[0] + bias[j], 0.0)
"""


def linear(depth: int, columns: int, rows: str = "m", dim: str = "dim[1, 40]"):
    text = LINEAR.replace("dim[1, 40]", dim).replace("f32[m", f"f32[{rows}").replace("serial(m)", f"serial({rows})")
    return parse_program(text.replace("K", str(depth)).replace("N", str(columns)).replace("T", str(-(-columns // 8))))


def data(program, sizes):
    rng = np.random.default_rng(0)
    return {b.name: rng.integers(-3, 4, shape_of(b, sizes)).astype(np.float32) for b in program.params if b.name != "y"}


@pytest.mark.parametrize("hi", [1, 3, 14, 15, 512, 5000, None])
@pytest.mark.parametrize("lo", [1, 2, 30])
@pytest.mark.parametrize("most", [6, 14])
def test_table_is_total_disjoint_and_small(lo, hi, most):
    if hi is not None and hi < lo:
        return
    rows = Rows("i", "j", Dim("m", lo, hi), parse_program(LINEAR.replace("K", "1").replace("N", "8").replace("T", "1")).body[0].hi)
    found = table(rows, most, relative_costs(most, {}))
    assert len(found) <= 20 and max(found) <= most
    flat = sorted(r for ranges in found.values() for r in ranges)
    assert flat[0][0] == lo and flat[-1][1] == (None if hi is None else hi + 1)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(flat))


def test_few_rows_are_wasted():
    rows = Rows("i", "j", Dim("m", 1, 512), linear(8, 8).body[0].hi)
    height = {m: h for h, ranges in table(rows, 14, relative_costs(14, {})).items() for lo, hi in ranges for m in range(lo, hi)}
    assert all(height[m] == m for m in range(1, 15))
    assert all(-(-m // height[m]) * height[m] <= 1.08 * m for m in range(1, 513))


def test_measured_costs_move_the_table():
    rows = Rows("i", "j", Dim("m", 1, 512), linear(8, 8).body[0].hi)
    slow = {"rows_cost_14": 40000, "rows_cost_13": 40000, "rows_cost_12": 40000}
    assert set(table(rows, 14, relative_costs(14, slow))) & {12, 13, 14} <= {12, 13, 14}
    taken = table(rows, 14, relative_costs(14, slow))
    beyond = [r for h in (12, 13) for r in taken.get(h, ()) if r[0] > 14]
    assert not beyond


@pytest.mark.parametrize("depth, columns", [(16, 16), (5, 13), (32, 24)])
def test_every_variant_is_the_naive_program(depth, columns):
    naive = linear(depth, columns)
    draft = sketch(naive, "contract", SMALL)
    made = draft.program
    assert made.dispatch == "m" and 1 < len(variants(made)) <= 20
    verify(made)
    assert parse_program(print_program(made)) == made
    for rows in (1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 19, 23, 40):
        args = data(naive, {"m": rows})
        want = run_program(naive, {"m": rows}, args)["y"]
        got = run_program(made, {"m": rows}, args, check_races=True)["y"]
        np.testing.assert_array_equal(got, want)


def test_the_script_makes_the_program_again():
    naive = linear(16, 16)
    draft = sketch(naive, "contract", SMALL)
    assert apply(naive, draft.script) == draft.program


def test_rows_may_be_a_multiple_of_the_dim():
    naive = linear(16, 16, "m * 3", "dim[1, 9]")
    rows = dynamic_rows(naive)
    assert rows is not None and rows.count(4) == 12
    made = sketch(naive, "contract", SMALL).program
    for m in (1, 2, 5, 9):
        args = data(naive, {"m": m})
        np.testing.assert_array_equal(run_program(made, {"m": m}, args)["y"], run_program(naive, {"m": m}, args)["y"])


def test_fixed_rows_are_no_business_of_padding():
    assert dynamic_rows(parse_program(print_program(linear(8, 8, "4")).replace("m: dim[1, 40], ", ""))) is None


def test_one_build_serves_every_number_of_rows(monkeypatch):
    model = torch.nn.Sequential(torch.nn.Linear(48, 40), torch.nn.GELU()).eval()
    fast = warploom.compile(model, (torch.randn(8, 48),), dynamic={0: {0: "rows"}}, library=False)
    step = next(s for s in fast.module.steps if isinstance(s, Launch))
    assert 1 < len(variants(step.program)) <= 20
    monkeypatch.setattr("warploom.backends.toolchain.subprocess.run", lambda *a, **k: pytest.fail("something was compiled"))
    for rows in [*range(1, 33), 57, 300, 1025]:
        x = torch.randn(rows, 48)
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


def test_all_variants_were_checked():
    model = torch.nn.Linear(32, 32).eval()
    fast = warploom.compile(model, (torch.randn(3, 32),), dynamic={0: {0: "rows"}}, library=False)
    step = next(s for s in fast.module.steps if isinstance(s, Launch))
    assert len(fast.differences) >= len(variants(step.program)) and all(d.right for d in fast.differences)
