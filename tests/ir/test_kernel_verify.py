"""Every rule of the verifier: programs that break it, with the place, and near relatives that do not."""

import pytest
from hand_kernels import PROGRAMS
from warploom.ir.diagnostic import IllegalProgram
from warploom.ir.text import parse_program
from warploom.ir.verify import RULES, STAGES, verify

HEAD = "def f(N: dim[2, 64], p: i64[8] @ within(0, 8), x: f32[8, 8], y: f32[64, 8], z: f32[N, 8], q: i64[8]):\n"


def program(body):
    return parse_program(HEAD + "".join(f"    {line}\n" for line in body.splitlines()))


BROKEN = [
    ("names", "y[0, 0] = t[0]"),
    ("names", "y[0, 0] = f32(k)"),
    ("names", "y[0] = 1"),
    ("names", "for i in serial(4):\n    for i in serial(4):\n        y[i, i] = 1"),
    ("names", "for i in serial(4):\n    t: local.f32[1]\n    t[0] = 0\nfor i in serial(4):\n    t: local.f32[1]\n    t[0] = 0"),
    ("names", "for i in serial(4):\n    t: local.f32[1]\nt[0] = 0"),
    ("names", "t: local.f32[q[0]]\nt[0] = 0"),
    ("types", "y[0, 0] = q[0]"),
    ("types", "for i in serial(4):\n    y[i, 0] = x[i, 0] * i"),
    ("types", "for i in serial(inf):\n    y[0, 0] = 1"),
    ("types", "for i in serial(-inf, 4):\n    y[0, 0] = 1"),
    ("fixed", "for i in vector(N):\n    y[i, 0] = 1"),
    ("fixed", "for i in unroll(N):\n    y[i, 0] = 1"),
    ("fixed", "for i in vector(1, 4):\n    y[i, 0] = 1"),
    ("regions", "for i in vector(4):\n    for j in lanes(4):\n        y[i, j] = 1"),
    ("regions", "for i in lanes(4):\n    for j in block(4):\n        y[i, j] = 1"),
    ("regions", "for i in lanes(4):\n    y[i, 0] = 1\n    for j in lanes(4):\n        y[i, j] = 1"),
    ("owned", "t: local.f32[8]\nfor i in lanes(8):\n    t[i] = 1"),
    ("owned", "t: local.f32[[8]]\nfor i in lanes(8):\n    t[i] = 1\ny[0, 0] = t[0]"),
    ("owned", "t: local.f32[[8]]\nfor i in lanes(8):\n    t[7 - i] = 1"),
    ("independence", "for i in lanes(8):\n    y[0, 0] = x[i, 0]"),
    ("independence", "for i in lanes(8):\n    y[i + 1, 0] = y[i, 0]"),
    ("independence", "for i in lanes(8):\n    y[i // 2, 0] = x[i, 0]"),
    ("independence", "for i in lanes(8):\n    for j in serial(3):\n        y[i + j, 0] = 1"),
    ("independence", "for i in lanes(8):\n    y[p[i], 0] = 1"),
    ("independence", "s: shared.f32[1]\ns[0] = 0\nfor i in lanes(8):\n    s[0] += x[i, 0]\n    y[i, 0] = s[0]"),
    ("independence", "s: shared.f32[1]\ns[0] = 0\nfor i in lanes(8):\n    s[0] += x[i, 0]\n    reduce(max, s[0], x[i, 0])"),
    ("independence", "s: local.f32[1]\ns[0] = 0\nfor i in block(8):\n    y[i, 0] = scan(add, s[0], x[i, 0])"),
    (
        "independence",
        "s: shared.f32[1]\ns[0] = 0\nfor i in lanes(4):\n    for j in serial(2):\n        y[i * 2 + j, 0] = scan(add, s[0], x[i, j])",
    ),
    ("independence", "for i in lanes(4):\n    for j in serial(4):\n        y[i * 3 + j, 0] = 1"),
    (
        "atomic",
        "v: scratch.f32[1]\nk: scratch.i64[1]\nv[0] = -inf\nk[0] = 0\nfor i in block(8):\n    reduce(argmax, (v[0], k[0]), (x[i, 0], i))",
    ),
    ("atomic", "v: scratch.f32[1]\nv[0] = 1\nfor i in block(8):\n    reduce(mul, v[0], x[i, 0])"),
    ("in-bounds", "for i in serial(9):\n    y[i, 0] = x[i, 0]"),
    ("in-bounds", "for i in serial(N):\n    z[i + 1, 0] = 1"),
    ("in-bounds", "for i in serial(N):\n    x[i, 0] = 1"),
    ("in-bounds", "y[q[0], 0] = 1"),
    ("in-bounds", "for i in serial(N):\n    y[i, 0] = select(i < 9, x[i, 0], 0)"),
    ("defined", "t: local.f32[4]\nt[0] = 1\ny[0, 0] = t[1]"),
    ("defined", "t: local.f32[1]\nt[0] += 1"),
    ("defined", "t: local.f32[1]\nfor i in serial(N):\n    if i < N - 2:\n        t[0] = 1\ny[0, 0] = t[0]"),
    ("defined", "t: local.f32[8]\nfor i in serial(4):\n    t[i * 2] = 1\nfor i in serial(8):\n    y[i, 0] = t[i]"),
    ("within", "p[0] = 8"),
    ("within", "p[0] += 1"),
    ("variants", "match N:\n    case within(1, 4):\n        y[0, 0] = 1\n    case within(5, 6):\n        y[0, 0] = 1"),
]
ACCEPTED = [
    "for i in lanes(8):\n    t: local.f32[1]\n    t[0] = x[i, 0]\n    y[i, 0] = t[0]",
    "t: local.f32[[8]]\nfor i in lanes(8):\n    t[i] = 1\nfor i in lanes(8):\n    y[i, 0] = t[i]",
    "s: shared.f32[1]\ns[0] = 0\nfor i in lanes(8):\n    s[0] += x[i, 0]\ny[0, 0] = s[0]",
    "s: shared.f32[1]\ns[0] = 0\nfor i in lanes(8):\n    y[i, 0] = scan(add, s[0], x[i, 0])",
    "for i in lanes(4):\n    for j in serial(4):\n        y[i * 4 + j, 0] = 1",
    "for i in vector(4):\n    for j in serial(8):\n        y[i + j * 4, 0] = y[i + j * 4, 0] + 1",
    "for i in block(32):\n    y[i // 8, i % 8] = 1",
    "for i in block(8):\n    y[p[i], 0] += 1",
    "for i in block(8):\n    y[i, 0] = y[i, 1] + x[7 - i, 0]",
    "for i in serial(N):\n    if i < 8:\n        y[i, 0] = x[i, 0]",
    "for i in serial(N):\n    y[i, 0] = select(i < 8, x[i, 0], 0)",
    "y[p[0], p[1]] = x[p[p[2]], 0]",
    "t: scratch.f32[N]\nfor i in serial(N // 8):\n    for j in serial(8):\n        t[i * 8 + j] = 1\nfor i in serial(N // 8 * 8, N):\n    t[i] = 2\nfor i in serial(N):\n    y[i, 0] = t[i]",
    "t: local.f32[1]\nfor i in serial(8):\n    if i == 0:\n        t[0] = x[0, 0]\n    if i == 0:\n        y[i, 0] = t[0]",
    "p[0] = q[0] % 8",
]  # fmt: skip


def test_every_rule_is_broken_by_some_program():
    assert {rule for rule, _ in BROKEN} == RULES.keys() - {"no-calls"}
    assert {r for rules in STAGES.values() for r in rules} >= RULES.keys()


@pytest.mark.parametrize("rule, body", BROKEN)
def test_refused(rule, body):
    with pytest.raises(IllegalProgram) as e:
        verify(program(body))
    assert e.value.message.startswith(rule + ":")
    assert e.value.place is not None and "^^^" in e.value.pretty()


@pytest.mark.parametrize("body", ACCEPTED)
def test_accepted(body):
    verify(program(body))


def test_calls_are_refused_in_a_naive_program():
    with pytest.raises(IllegalProgram, match="no-calls"):
        verify(PROGRAMS["gemm_vnni"], "naive")


def test_a_call_is_checked_by_its_meaning():
    text = "def f(c: i32[16], a: u8[3], b: i8[16, 4]):\n    vnni16(c[0], a[0], b[0, 0])\n"
    with pytest.raises(IllegalProgram, match="in-bounds"):
        verify(parse_program(text))
    with pytest.raises(IllegalProgram, match="is not an intrinsic"):
        verify(parse_program(text.replace("vnni16", "vnni17")))
    with pytest.raises(IllegalProgram, match="takes u8"):
        verify(parse_program(text.replace("u8", "i8")))
