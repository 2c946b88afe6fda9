"""The prover against brute force: what it proves is true on every integer in a box, and it proves what the compiler needs."""

import itertools
import random

import pytest
from warploom.ir.expr import Const, Op, substitute
from warploom.ir.interpret import run_program
from warploom.ir.prove import excluded, implied
from warploom.ir.text import parse_expr, parse_program

NEEDED = [
    ("0 <= i // 4 * 4 + j", "0 <= i", "0 <= j"),
    ("i0 * 14 + i1 < M", "0 <= i0", "i0 < M // 14", "0 <= i1", "i1 < 14"),
    ("i < N", "i < N // 8 * 8", "1 <= N"),
    ("0 <= N // 64 * 64 + j", "1 <= N", "0 <= j"),
    ("N // 8 * 8 + j < N + 8", "1 <= N", "j < 8"),
    ("min(i, M - 1) < M", "1 <= M"),
    ("0 <= min(i, M - 1)", "1 <= M", "0 <= i"),
    ("max(i - 1, 0) < N", "0 <= i", "i < N"),
    ("select(i < 3, i, 0) < 3",),
    ("i // N < B", "0 <= i", "i < B * N", "1 <= N", "1 <= B"),
    ("i % N < N", "1 <= N"),
    ("i // W % H < H", "1 <= W", "1 <= H", "0 <= i"),
    ("x < 5", "x < 3 or x < 4"),
    ("x > 0", "x != 0", "x >= 0"),
    ("not (x < 3)", "x > 2"),
    ("i + j < 8", "i < 4", "j <= 4"),
    ("2 * i != 2 * j + 1",),
]


@pytest.mark.parametrize("goal, facts", [(g, f) for g, *f in NEEDED])
def test_proves_what_is_needed(goal, facts):
    assert implied(parse_expr(goal), [parse_expr(f) for f in facts], {})


def random_condition(r):
    def term():
        v = r.choice(["a", "b", "c"])
        return r.choice(
            [
                v,
                v,
                f"{v} * {r.randint(2, 4)}",
                f"{v} // {r.randint(2, 3)}",
                f"{v} % {r.randint(2, 4)}",
                f"min({v}, 2)",
                f"max({v}, b)",
                str(r.randint(-3, 6)),
                f"select({v} < 2, a, b)",
                "a // (b * b + 1)",
            ]
        )

    def side():
        return r.choice([term(), f"{term()} + {term()}", f"{term()} - ({term()})"])

    one = f"{side()} {r.choice(['<', '<=', '>', '>=', '==', '!='])} {side()}"
    return r.choice([one, one, one, f"not ({one})", f"({one}) or {side()} < {side()}"])


def true_in_box(conditions):
    """Whether some values in the box satisfy all conditions."""
    names = "abc"
    body = "".join(f"    h[{k}] = select({c}, 1, 0)\n" for k, c in enumerate(conditions))
    program = parse_program(f"def f(a: dim[-4, 7], b: dim[-4, 7], c: dim[-4, 7], h: i64[{len(conditions)}]):\n{body}")
    return any(run_program(program, dict(zip(names, v)), {})["h"].all() for v in itertools.product(range(-4, 8, 2), repeat=3))


def test_never_excludes_what_is_possible(fuzz):
    seed, count = fuzz(150)
    proved = 0
    for k in range(count):
        r = random.Random(f"{seed}/{k}")
        conditions = [random_condition(r) for _ in range(r.randint(1, 4))]
        box = [f"-4 <= {v} and {v} <= 7" for v in "abc"]
        if excluded([parse_expr(c) for c in conditions + box], {}):
            proved += 1
            assert not true_in_box(conditions), conditions
    assert proved > count // 20


def test_substitution_keeps_integers():
    e = substitute(parse_expr("i < 3"), {"i": Const(2)})
    assert implied(e, [], {}) and not implied(Op("not", (e,)), [], {})
