"""Every rule of the verifier: programs that break it, with the place, and near relatives that do not."""

from dataclasses import replace

import pytest
from hand_kernels import PROGRAMS
from warploom.ir.diagnostic import IllegalProgram
from warploom.ir.expr import Cast, Const, Load, Var
from warploom.ir.kernel import Alloc, Buffer, For, Program, Reduce, Store
from warploom.ir.text import parse_program
from warploom.ir.types import Dim
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
    ("types", "if q[0]:\n    y[0, 0] = 1"),
    ("types", "y[0, 0] += q[0]"),
    ("types", "q[0] = scan(add, y[0, 0], x[0, 0])"),
    ("types", "reduce(any, y[0, 0], x[0, 0])"),
    ("fixed", "for i in serial(4):\n    for j in unroll(i, 4):\n        y[j, 0] = 1"),
    ("fixed", "for i in vector(N):\n    y[i, 0] = 1"),
    ("fixed", "for i in unroll(N):\n    y[i, 0] = 1"),
    ("fixed", "for i in vector(1, 4):\n    y[i, 0] = 1"),
    ("regions", "for i in vector(4):\n    for j in lanes(4):\n        y[i, j] = 1"),
    ("regions", "for i in lanes(4):\n    for j in block(4):\n        y[i, j] = 1"),
    ("regions", "for i in lanes(4):\n    y[i, 0] = 1\n    for j in lanes(4):\n        y[i, j] = 1"),
    ("regions", "for i in lanes(4):\n    if i < 2:\n        for j in lanes(4):\n            y[i, j] = 1"),
    ("regions", "for i in lanes(4):\n    for b in serial(2):\n        for j in lanes(4):\n            y[i, b * 4 + j] = 1"),
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
    ("independence", "s: shared.f32[1]\ns[0] = 0\nfor i in lanes(8):\n    y[i, 0] = scan(add, s[0], x[i, 0])\n    y[i, 1] = s[0]"),
    (
        "atomic",
        "v: scratch.f32[1]\nk: scratch.i64[1]\nv[0] = -inf\nk[0] = 0\nfor i in block(8):\n    reduce(argmax, (v[0], k[0]), (x[i, 0], i))",
    ),
    ("atomic", "s: local.f32[1]\ns[0] = 0\nfor i in block(8):\n    s[0] += x[i, 0]\ny[0, 0] = s[0]"),
    ("atomic", "v: scratch.f32[1]\nv[0] = 1\nfor i in block(8):\n    reduce(mul, v[0], x[i, 0])"),
    ("atomic", "v: local.f32[1]\nv[0] = 0\nfor i in block(8):\n    v[0] += x[i, 0]\ny[0, 0] = v[0]"),
    ("in-bounds", "for i in serial(9):\n    y[i, 0] = x[i, 0]"),
    ("in-bounds", "for i in serial(N):\n    z[i + 1, 0] = 1"),
    ("in-bounds", "for i in serial(N):\n    x[i, 0] = 1"),
    ("in-bounds", "y[q[0], 0] = 1"),
    ("in-bounds", "for i in serial(N):\n    y[i, 0] = select(i < 9, x[i, 0], 0)"),
    ("in-bounds", "y[min(q[0], 5), 0] = 1"),
    ("in-bounds", "y[max(q[0], 2), 0] = 1"),
    ("in-bounds", "for i in lanes(4):\n    y[i + q[0], 0] = 1"),
    ("in-bounds", "for i in serial(8):\n    if x[i, 0] > 0 and x[i, 0] < 1:\n        y[i + 64, 0] = 1"),
    ("in-bounds", "for i in serial(8):\n    if x[i, 0] * 2 > 0 and x[i, 0] * 2 < 1:\n        y[i + 64, 0] = 1"),
    ("in-bounds", "for i in serial(8):\n    if f32(x[i, 0]) > 0 and f32(x[i, 0]) < 1:\n        y[i + 64, 0] = 1"),
    ("in-bounds", "for i in serial(8):\n    y[i % p[0], 0] = 1"),
    ("in-bounds", "for i in serial(8):\n    y[i % (N - 2), 0] = 1"),
    ("defined", "t: local.f32[4]\nt[0] = 1\ny[0, 0] = t[1]"),
    ("defined", "t: local.f32[1]\nt[0] += 1"),
    ("defined", "t: local.f32[1]\nfor i in serial(N):\n    if i < N - 2:\n        t[0] = 1\ny[0, 0] = t[0]"),
    ("defined", "t: local.f32[8]\nfor i in serial(4):\n    t[i * 2] = 1\nfor i in serial(8):\n    y[i, 0] = t[i]"),
    ("defined", "t: local.f32[16]\nfor a in serial(1, 4):\n    for b in serial(4):\n        t[a * 4 - b] = 1\nfor i in serial(16):\n    y[i, 0] = t[i]"),
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

Y, FOUR = Buffer("y", "f32", (Const(4),)), Const(4)
AT, ONE = Load("y", (Const(0),)), Const(1.0)


def built(*body, params=(Y,), dims=()):
    return Program("f", dims, params, body)


SET = Store("y", (Const(0),), ONE)


def loop(axis="i", kind="serial", body=(SET,)):
    return For(axis, Const(0), FOUR, kind, body)


BUILT = [  # what no text can say, or what its parser refuses before
    built(dims=(Dim("n"), Dim("n"))),
    built(dims=(Dim("y"),)),
    built(params=(Y, Y)),
    built(dims=(Dim("2n"),)),
    built(params=(Y, replace(Y, name="a b"))),
    built(loop("y")),
    built(loop("i j")),
    built(loop(kind="warp")),
    built(loop(body=(loop(),))),
    built(loop(body=(Alloc(replace(Y, name="i", space="local")),))),
    built(Alloc(replace(Y, name="a b", space="local"))),
    built(Alloc(replace(Y, space="local"))),
    built(Alloc(replace(Y, name="t", dtype="f99", space="local"))),
    built(Alloc(replace(Y, name="t", space="heap"))),
    built(params=(Y, replace(Y, name="z", dtype="f99"))),
    built(Alloc(replace(Y, name="t", space="local", owned=2))),
    built(Alloc(replace(Y, name="t", space="local", owned=-1))),
    built(Alloc(replace(Y, name="t", space="shared", owned=1))),
    built(Alloc(Buffer("t", "f32", (Var("n"),), "local"))),
    built(Alloc(Buffer("t", "f32", (Load("q", (Const(0),)),), "local")), params=(Y, Buffer("q", "i64", (FOUR,)))),
    built(params=(Y, Buffer("q", "i64", (FOUR,), within=(Const(0), Var("n"))))),
    built(Reduce("sum", (AT,), (ONE,))),
    built(Reduce("add", (AT,), (ONE, ONE))),
    built(Reduce("add", (AT, AT), (ONE, ONE))),
    built(Reduce("argmax", (AT,), (ONE,))),
    built(Reduce("add", (AT,), (ONE,), (AT, AT))),
    built(Reduce("add", (Load("t", (Const(0),)),), (ONE,))),
    built(Reduce("add", (Load("y", (Const(0), Const(0))),), (ONE,))),
    built(Store("t", (Const(0),), ONE)),
    built(Store("y", (), ONE)),
    built(Store("y", (Var("n"),), ONE)),
    built(Store("y", (Const(0),), Cast("f99", ONE))),
    built(Store("y", (Const(0),), Load("t", (Const(0),)))),
]


@pytest.mark.parametrize("number", range(len(BUILT)))
def test_built_programs_are_refused(number):
    with pytest.raises(IllegalProgram, match=r"^WL-E012: names: "):
        verify(BUILT[number])


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
