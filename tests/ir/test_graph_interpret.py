"""The graph oracle against NumPy written out by hand, operator by operator."""

import itertools

import numpy as np
import pytest
from warploom.ir.diagnostic import IllegalProgram, InputMismatch
from warploom.ir.graph_text import parse_graph
from warploom.ir.interpret import OutOfBounds
from warploom.ir.interpret_graph import run_graph
from warploom.ir.interpret_map import round_bf16

RNG = np.random.default_rng(5)


def one(signature, node, result="y", **inputs):
    g = parse_graph(f"def g({signature}):\n    {node}\n    return {result},\n")
    return run_graph(g, inputs)[result.split(",")[0]]


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def test_select_is_lazy_where_it_chooses_and_strict_where_it_does_not():
    x = floats(5)
    padded = one("x: f32[5]", "y: f32[9] = map(select(i0 >= 2 and i0 < 7, x[i0 - 2], 0.0))", x=x)
    assert np.array_equal(padded, np.pad(x, 2))
    with pytest.raises(OutOfBounds, match="extent 5"):
        one("x: f32[5]", "y: f32[9] = map(select(i0 >= 2, x[i0 - 2], 0.0))", x=x)
    with pytest.raises(OutOfBounds):
        one("x: f32[5], k: i64[2]", "y: f32[2] = map(x[k[i0]])", x=x, k=np.array([1, 5]))


def test_loads_transpose_broadcast_gather_and_stride():
    x, k = floats(3, 4), np.array([2, 0])
    assert np.array_equal(one("x: f32[3, 4]", "y: f32[4, 3] = map(x[i1, i0])", x=x), x.T)
    assert np.array_equal(one("x: f32[3, 4]", "y: f32[2, 3] = map(x[i1, 2])", x=x), np.tile(x[:, 2], (2, 1)))
    assert np.array_equal(one("x: f32[3, 4], k: i64[2]", "y: f32[2, 4] = map(x[k[i0], i1])", x=x, k=k), x[k])
    assert np.array_equal(one("x: f32[3, 4]", "y: f32[2, 2] = map(x[2 * i0, 3 - i1])", x=x), x[::2, :1:-1])
    assert np.array_equal(one("x: f32[3, 4]", "y: f32[3] = map(x[i0, i0])", x=x), x[np.arange(3), np.arange(3)])


def test_integers_floor_and_take_the_limits_for_infinities():
    a = np.array([-7, 7, -8], np.int32)
    assert one("a: i32[3]", "y: i32[3] = map(a[i0] // 2)", a=a).tolist() == [-4, 3, -4]
    assert one("a: i32[3]", "y: i32[3] = map(a[i0] % 3)", a=a).tolist() == [2, 1, 1]
    assert one("a: i32[3]", "y: i32[3] = map(min(a[i0], -inf))", a=a).tolist() == [-(2**31)] * 3
    assert one("a: i32[3]", "y: i8[3] = map(i8(a[i0] * 100))", a=a).tolist() == (a * 100).astype(np.int8).tolist()
    assert one("a: i32[3]", "y: f32[3] = map(1 / f32(a[i0]))", a=a).dtype == np.float32


def test_bfloat16_rounds_to_even_after_every_operator():
    x = round_bf16(floats(64))
    y = one("x: bf16[64]", "y: bf16[64] = map(x[i0] * x[i0] + 1.0)", x=x)
    assert np.array_equal(y, round_bf16(round_bf16(x * x) + np.float32(1)))
    assert round_bf16(np.array([1 + 2**-8, 1 + 3 * 2**-8, np.inf, np.nan], np.float32)).tolist()[:3] == [1.0, 1 + 2**-6, np.inf]
    wide = run_graph(
        parse_graph("def g(x: bf16[64]):\n    y: bf16[64] = map(x[i0] / 3.0)\n    return y,\n"), {"x": x}, float64=True
    )["y"]
    assert wide.dtype == np.float64 and np.array_equal(wide, x.astype(np.float64) / 3.0)


@pytest.mark.parametrize("monoid", ["add", "mul", "max", "min", "any", "all"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_reductions(monoid, axes):
    logical = monoid in ("any", "all")
    x = floats(3, 4, 2) > 0.8 if logical else floats(3, 4, 2)
    dtype = "b1" if logical else "f32"
    kept = ", ".join(str(n) for k, n in enumerate(x.shape) if k not in axes) or "()"
    text = f"({', '.join(map(str, axes))},)"
    got = one(f"x: {dtype}[3, 4, 2]", f"y: {dtype}[{kept}] = reduce({monoid}, (x,), {text})", x=x)
    fold = {"add": np.sum, "mul": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all}[monoid]
    assert np.allclose(got, fold(x.astype(np.float64) if not logical else x, axis=axes))


def test_argmax_prefers_nan_then_the_first_and_counts_flat():
    x = np.array([[1, 3, 3], [3, 0, 1]], np.float32)
    text = "def g(x: f32[2, 3]):\n    v, k = reduce(argmax, (x,), (0, 1)) @ (f32[()], i64[()])\n    return v, k\n"
    assert run_graph(parse_graph(text), {"x": x})["k"] == 1
    x[1, 2] = np.nan
    out = run_graph(parse_graph(text), {"x": x})
    assert out["k"] == 5 and np.isnan(out["v"])


def test_monoids_of_several_slots():
    x, ones = floats(3, 7), np.ones((3, 7), np.float32)
    text = "def g(x: f32[3, 7], o: f32[3, 7]):\n    m, s = {} @ (f32[{}], f32[{}])\n    return m, s\n"
    whole = run_graph(parse_graph(text.format("reduce(lse, (x, o), (1,))", 3, 3)), {"x": x, "o": ones})
    assert np.allclose(whole["m"] + np.log(whole["s"]), np.log(np.exp(x).sum(1)), atol=1e-5)
    running = run_graph(parse_graph(text.format("scan(lse, (x, o), 1)", "3, 7", "3, 7")), {"x": x, "o": ones})
    assert np.allclose(running["m"] + np.log(running["s"]), np.log(np.cumsum(np.exp(x), 1)), atol=1e-5)
    text = "def g(o: f32[9], x: f32[9], z: f32[9]):\n    n, m, s = reduce(welford, (o, x, z), (0,)) @ (f32[()], f32[()], f32[()])\n    return n, m, s\n"
    v = floats(9)
    out = run_graph(parse_graph(text), {"o": np.ones(9, np.float32), "x": v, "z": np.zeros(9, np.float32)})
    assert np.isclose(out["m"], v.mean(), atol=1e-6) and np.isclose(out["s"] / 9, v.var(), atol=1e-6)


def test_a_reduction_of_nothing_is_the_identity():
    empty = np.zeros((2, 0), np.float32)
    assert one("x: f32[2, 0]", "y: f32[2] = reduce(max, (x,), (1,))", x=empty).tolist() == [-np.inf] * 2
    assert one("x: i64[2, 0]", "y: i64[2] = reduce(min, (x,), (1,))", x=empty.astype(np.int64)).tolist() == [2**63 - 1] * 2


@pytest.mark.parametrize(("size", "stride", "padding", "dilation"), [(3, 1, 1, 1), (2, 2, 0, 1), (3, 2, 1, 2), (4, 3, 2, 1)])
def test_windows_tap_by_tap(size, stride, padding, dilation):
    x = floats(2, 9)
    n = (9 + 2 * padding - dilation * (size - 1) - 1) // stride + 1
    rows = [[o * stride - padding + t * dilation for t in range(size)] for o in range(n)]
    inside = [[p for p in row if 0 <= p < 9] for row in rows]
    geometry = f"({size},), ({stride},), ({padding},), ({dilation},)"
    total = one("x: f32[2, 9]", f"y: f32[2, {n}] = window(add, (x,), {geometry})", x=x)
    assert np.allclose(total, np.stack([x[:, p].sum(1) for p in inside], 1), atol=1e-6)
    text = f"def g(x: f32[2, 9]):\n    v, k = window(argmax, (x,), {geometry}) @ (f32[2, {n}], i64[2, {n}])\n    return v, k\n"
    out = run_graph(parse_graph(text), {"x": x})
    assert np.array_equal(out["k"], np.stack([np.array(p)[x[:, p].argmax(1)] for p in inside], 1))
    assert np.array_equal(out["v"], np.take_along_axis(x, out["k"], 1))


@pytest.mark.parametrize("spec", ["mk,kn->mn", "bmk,bnk->bnm", "k,k->", "m,n->nm", "abk,ckb->cab", "bhmk,hkn->bhmn"])
def test_contractions(spec):
    sizes = dict(zip("abchkmn", (2, 3, 4, 2, 5, 3, 4)))
    left, right = spec.split("->")[0].split(",")
    out = spec.split("->")[1]
    a, b = floats(*(sizes[c] for c in left)), floats(*(sizes[c] for c in right))

    def t(letters):
        return f"f32[{', '.join(str(sizes[c]) for c in letters) or '()'}]"

    got = one(f"a: {t(left)}, b: {t(right)}", f"y: {t(out)} = contract('{spec}', a, b)", a=a, b=b)
    assert np.allclose(got, np.einsum(spec, a, b), atol=1e-5)


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (3, 2, 2, 1), (1, 1, 2, 4)])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_element_by_element(stride, padding, dilation, groups, transposed):
    x, cin, cout, k = floats(2, 4, 8), 4, 8, 3
    w = floats(*((cin, cout // groups, k) if transposed else (cout, cin // groups, k)))
    n = (7 * stride - 2 * padding + dilation * 2 + 1) if transposed else (8 + 2 * padding - dilation * 2 - 1) // stride + 1
    want = np.zeros((2, cout, n))
    for o, i, p, t in itertools.product(range(cout), range(cin), range(8 if transposed else n), range(k)):
        if o // (cout // groups) != i // (cin // groups):
            continue
        q = p * stride - padding + t * dilation
        if transposed and 0 <= q < n:
            want[:, o, q] += x[:, i, p] * w[i, o % (cout // groups), t]
        if not transposed and 0 <= q < 8:
            want[:, o, p] += x[:, i, q] * w[o, i % (cin // groups), t]
    node = f"y: f32[2, {cout}, {n}] = conv(x, w, ({stride},), ({padding},), ({dilation},), {groups}, {transposed}, (0,))"
    shape = ", ".join(map(str, w.shape))
    assert np.allclose(one(f"x: f32[2, 4, 8], w: f32[{shape}]", node, x=x, w=w), want, atol=1e-5)


def test_sort_is_stable_in_both_directions():
    x = np.array([2, 1, 2, np.nan, 1], np.float32)
    text = "def g(x: f32[5]):\n    v, k = sort(x, 0, {}) @ (f32[5], i64[5])\n    return v, k\n"
    assert run_graph(parse_graph(text.format(False)), {"x": x})["k"].tolist() == [1, 4, 0, 2, 3]
    assert run_graph(parse_graph(text.format(True)), {"x": x})["k"].tolist() == [3, 0, 2, 1, 4]


def test_scatter_accumulates_repeats_and_checks_its_range():
    base, k, src = np.zeros((3, 2), np.float32), np.array([[0, 2], [0, 1]]), np.array([[1, 2], [3, 4]], np.float32)
    signature = "b: f32[3, 2], k: i64[2, 2], s: f32[2, 2]"
    assert one(signature, "y: f32[3, 2] = scatter(b, k, s, 0, add)", b=base, k=k, s=src).tolist() == [[4, 0], [0, 4], [0, 2]]
    assert one(signature, "y: f32[3, 2] = scatter(b, k, s, 0, None)", b=base, k=k, s=src).tolist() == [[3, 0], [0, 4], [0, 2]]
    with pytest.raises(OutOfBounds):
        one(signature, "y: f32[3, 2] = scatter(b, k, s, 0, add)", b=base, k=k + 1, s=src)


def test_dims_come_from_the_inputs_and_must_agree():
    g = parse_graph("def g(n: dim, x: f32[n, 3], z: f32[n]):\n    y: f32[n * 3] = reshape(x)\n    return y,\n")
    assert run_graph(g, {"x": floats(4, 3), "z": floats(4)})["y"].shape == (12,)
    with pytest.raises(InputMismatch, match="extent 5"):
        run_graph(g, {"x": floats(4, 3), "z": floats(5)})
    with pytest.raises(InputMismatch, match="missing"):
        run_graph(g, {"x": floats(4, 3)})


def test_externs_are_passed_in_or_refused():
    g = parse_graph("def g(x: f32[3]):\n    y: f32[3] = extern('aten.relu.default', x)\n    return y,\n")
    assert run_graph(g, {"x": floats(3)}, lambda node, tensors, sizes: [tensors["x"][0] * 2])["y"].shape == (3,)
    with pytest.raises(IllegalProgram):
        run_graph(g, {"x": floats(3)})
