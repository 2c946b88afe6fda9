"""Value ranges of index buffers: gather, block-sparse and paged accesses are proved in bounds, and refused without the range that proves them."""

from __future__ import annotations

import numpy as np
import pytest
from warploom.ir.diagnostic import IllegalProgram
from warploom.ir.interpret import run_program
from warploom.ir.text import parse_program, print_program
from warploom.ir.verify import verify

PROGRAMS = {
    "gather": """
def gather(n: dim, v: dim, d: dim, ids: i64[n] @ within(0, v), table: f32[v, d], y: f32[n, d]):
    for i in block(n):
        for j in serial(d):
            y[i, j] = table[ids[i], j]
""",
    "scatter_add": """
def scatter_add(n: dim, v: dim, ids: i64[n] @ within(0, v), x: f32[n], y: f32[v]):
    for i in block(n):
        y[ids[i]] += x[i]
""",
    "block_sparse": """
def block_sparse(m: dim, b: dim, nb: dim, z: dim, start: i32[m + 1] @ within(0, z + 1), column: i32[z] @ within(0, nb), w: f32[z, 4, 4], x: f32[nb * 4], y: f32[m * 4]):
    for i in block(m):
        for r in serial(4):
            acc: local.f32[1]
            acc[0] = 0.0
            for p in serial(start[i], start[i + 1]):
                for c in serial(4):
                    acc[0] += w[p, r, c] * x[i64(column[p]) * 4 + c]
            y[i * 4 + r] = acc[0]
""",
    "paged": """
def paged(b: dim, pages: dim, slots: dim, d: dim, page_of: i32[b, slots] @ within(0, pages), length: i32[b] @ within(1, slots * 16 + 1), cache: f32[pages, 16, d], q: f32[b, d], s: f32[b, slots * 16]):
    for i in block(b):
        for t in serial(length[i]):
            acc: local.f32[1]
            acc[0] = 0.0
            for k in serial(d):
                acc[0] += q[i, k] * cache[page_of[i, t // 16], t % 16, k]
            s[i, t] = acc[0]
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_in_bounds_by_the_ranges(name):
    p = parse_program(PROGRAMS[name])
    assert parse_program(print_program(p)) == p
    verify(p)


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("gather", " @ within(0, v)", ""),
        ("gather", "within(0, v)", "within(0, v + 1)"),
        ("gather", "within(0, v)", "within(-1, v)"),
        ("scatter_add", " @ within(0, v)", ""),
        ("block_sparse", "within(0, nb)", "within(0, nb * 4)"),
        ("block_sparse", "within(0, z + 1)", "within(0, z + 2)"),
        ("paged", "within(0, pages)", "within(0, slots)"),
        ("paged", "slots * 16 + 1)", "slots * 16 + 2)"),
    ],
)
def test_a_range_too_wide_proves_nothing(name, old, new):
    text = PROGRAMS[name]
    assert old in text
    with pytest.raises(IllegalProgram, match="in-bounds"):
        verify(parse_program(text.replace(old, new)))


def test_an_unsorted_gather_may_not_separate_stores():
    text = PROGRAMS["scatter_add"].replace("y[ids[i]] += x[i]", "y[ids[i]] = x[i]")
    with pytest.raises(IllegalProgram, match="independence"):
        verify(parse_program(text))


def test_paged_runs():
    rng = np.random.default_rng(0)
    sizes = {"b": 2, "pages": 5, "slots": 3, "d": 4}
    page_of = rng.integers(0, 5, (2, 3)).astype(np.int32)
    length = np.array([17, 40], np.int32)
    cache, q = rng.standard_normal((5, 16, 4)).astype(np.float32), rng.standard_normal((2, 4)).astype(np.float32)
    given = {"page_of": page_of, "length": length, "cache": cache, "q": q, "s": np.zeros((2, 48), np.float32)}
    got = run_program(parse_program(PROGRAMS["paged"]), sizes, given)["s"]
    for i in range(2):
        rows = np.concatenate([cache[p] for p in page_of[i]])[: length[i]]
        np.testing.assert_allclose(got[i, : length[i]], rows @ q[i], rtol=1e-5)
