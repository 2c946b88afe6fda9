"""Graphs of one operator each, and all of them as one Graph, so that a compiler runs once."""

from warploom.ir.graph import Graph, Input, Node, Value, rename_operands
from warploom.ir.graph_text import parse_graph

NODES = {
    "pointwise": ("x: f32[33, 40], b: f32[40]", "y: f32[33, 40] = map(tanh(x[i0, i1] * 2.0 + b[i1]) - x[i0, i1] / 3.0)", "y"),
    "functions": ("x: f32[700]", "y: f32[700] = map(exp(x[i0]) + log1p(abs(x[i0])) * erf(x[i0]) + expm1(x[i0]) * sigmoid(x[i0]) - rsqrt(x[i0] * x[i0] + 1.0))", "y"),
    "steps": ("x: f32[700]", "y: f32[700] = map(floor(x[i0] * 3.0) + ceil(x[i0]) * round(x[i0] * 5.0) + trunc(x[i0] * 2.0))", "y"),
    "powers": ("x: f32[300], z: f32[300]", "y: f32[300] = map(pow(abs(x[i0]) + 0.5, z[i0]) + atan2(x[i0], z[i0]) + fmod(x[i0] * 9.0, 2.5) + x[i0] % 0.75)", "y"),
    "relu": ("x: f32[33, 40]", "y: f32[33, 40] = map(min(max(x[i0, i1], 0.0), 1.5))", "y"),
    "transpose": ("x: f32[33, 40]", "y: f32[40, 33] = map(x[i1, i0] + x[0, i0])", "y"),
    "pad": ("x: f32[5, 31]", "y: f32[9, 40] = map(select(i0 >= 2 and i0 < 7 and i1 >= 4 and i1 < 35, x[i0 - 2, i1 - 4], -1.0))", "y"),
    "concatenate": ("x: f32[6, 31], z: f32[6, 9]", "y: f32[6, 40] = map(select(i1 < 31, x[i0, i1], z[i0, i1 - 31]))", "y"),
    "gather": ("x: f32[30, 40], k: i64[50] @ within(0, 30)", "y: f32[50, 40] = map(x[k[i0], i1])", "y"),
    "positions": ("x: f32[40, 40]", "y: f32[40] = map(x[i0, 39 - i0] * f32(i0 * i0 + 1))", "y"),
    "integers": ("a: i32[70], b: i32[70]", "y: i32[70] = map(a[i0] // 3 * (b[i0] % 4) + (a[i0] & 5 | b[i0] << 2) + min(a[i0], -inf) // 2)", "y"),
    "guarded division": ("a: i32[70], b: i32[70]", "y: i32[70] = map(select(b[i0] == 0, 0, a[i0] // b[i0]))", "y"),
    "casts": ("x: f32[90]", "y: i8[90] = map(i8(i32(x[i0] * 3.0)))", "y"),
    "booleans": ("x: f32[90], m: b1[90]", "y: b1[90] = map((m[i0] and x[i0] > 0.0 or isnan(x[i0])) ^ (not m[i0]))", "y"),
    "doubles": ("x: f64[90]", "y: f64[90] = map(sqrt(abs(x[i0])) + 1.0 / 3.0)", "y"),
    "halves": ("x: f16[90]", "y: f16[90] = map(max(exp(x[i0]) * x[i0], 0.25) - tanh(x[i0]))", "y"),
    "largest half": ("x: f16[40, 90]", "y: f16[40] = reduce(max, (x,), (1,))", "y"),
    "contract of halves": ("x: f16[33, 40], w: f16[40, 50]", "y: f16[33, 50] = contract('mk,kn->mn', x, w)", "y"),
    "bytes": ("x: u8[40, 90]", "y: u8[40, 90] = map(x[i0, i1] // 3 + u8(i1))", "y"),
    "infinities": ("x: f32[90]", "y: f32[90] = map(select(x[i0] > 0.0, -inf, x[i0]))", "y"),
    "infinities of doubles": ("x: f64[90]", "y: f64[90] = map(select(x[i0] > 0.0, inf, x[i0]))", "y"),
    "reshape": ("x: f32[30, 44]", "y: f32[12, 110] = reshape(x)", "y"),
    "row sums": ("x: f32[9, 1000]", "y: f32[9] = reduce(add, (x,), (1,))", "y"),
    "sums apart": ("x: f32[8, 40, 9]", "y: f32[40] = reduce(add, (x,), (0, 2))", "y"),
    "sum of all": ("x: f32[17, 130]", "y: f32[()] = reduce(add, (x,), (0, 1))", "y"),
    "products": ("x: f32[40, 8]", "y: f32[40] = reduce(mul, (x,), (1,))", "y"),
    "largest": ("x: f32[40, 90]", "y: f32[40] = reduce(max, (x,), (1,))", "y"),
    "any": ("m: b1[40, 9]", "y: b1[40] = reduce(any, (m,), (1,))", "y"),
    "argmax": ("a: i32[40, 70]", "v, y = reduce(argmax, (a,), (1,)) @ (i32[40], i64[40])", "y"),
    "log-sum": ("m: f32[40, 9], s: f32[40, 9]", "v, y = reduce(lse, (m, s), (1,)) @ (f32[40], f32[40])", "y"),
    "softmax": (
        "x: f32[40, 90]",
        "m: f32[40] = reduce(max, (x,), (1,))\n    e: f32[40, 90] = map(exp(x[i0, i1] - m[i0]))\n"
        "    s: f32[40] = reduce(add, (e,), (1,))\n    y: f32[40, 90] = map(e[i0, i1] / s[i0])",
        "y",
    ),
    "contract": ("x: f32[70, 100], w: f32[100, 90]", "y: f32[70, 90] = contract('mk,kn->mn', x, w)", "y"),
    "contract in batches": ("x: f32[3, 33, 40], w: f32[3, 50, 40]", "y: f32[50, 3, 33] = contract('bmk,bnk->nbm', x, w)", "y"),
    "contract of bytes": ("x: u8[33, 40], w: i8[40, 50]", "y: i32[33, 50] = contract('mk,kn->mn', x, w)", "y"),
    "conv": ("x: f32[2, 4, 17, 16], w: f32[6, 2, 3, 2]", "y: f32[2, 6, 9, 15] = conv(x, w, (2, 1), (1, 0), (1, 1), 2, False, ())", "y"),
    "conv transposed": ("x: f32[2, 4, 15], w: f32[4, 3, 3]", "y: f32[2, 3, 31] = conv(x, w, (2,), (0,), (1,), 1, True, (0,))", "y"),
    "largest of windows": ("x: f32[2, 17, 16]", "y: f32[2, 9, 8] = window(max, (x,), (3, 2), (2, 2), (1, 0), (1, 1))", "y"),
    "sums of windows": ("x: f32[2, 17, 16]", "y: f32[2, 8, 16] = window(add, (x,), (3, 1), (2, 1), (1, 0), (2, 1))", "y"),
    "places of windows": ("x: f32[2, 46]", "v, y = window(argmax, (x,), (3,), (2,), (1,), (1,)) @ (f32[2, 23], i64[2, 23])", "y"),
}  # fmt: skip

REFUSED = {
    "Scan": ("x: f32[3, 5]", "y: f32[3, 5] = scan(add, (x,), 1)"),
    "Sort": ("x: f32[3, 5]", "y, i = sort(x, 1, True) @ (f32[3, 5], i64[3, 5])"),
    "Scatter": ("x: f32[4, 5], k: i64[6, 5] @ within(0, 4), s: f32[6, 5]", "y: f32[4, 5] = scatter(x, k, s, 0, add)"),
    "Extern": ("x: f32[4, 4]", "y: f32[4, 4] = extern('aten.tril.default', x)"),
    "bf16": ("x: bf16[4]", "y: bf16[4] = map(x[i0] + 1.0)"),
    "n": ("n: dim[1, 8], x: f32[n]", "y: f32[n] = map(x[i0] + 1.0)"),
}


def graph_of(signature: str, nodes: str, result: str = "y") -> Graph:
    return parse_graph(f"def g({signature}):\n    {nodes}\n    return {result},\n")


def together(graphs: dict[str, Graph]) -> tuple[Graph, dict[str, str]]:
    """All graphs side by side as one, values called p0_x, p1_x, ..; and the name of each output."""
    inputs, nodes, names = [], [], {}
    for k, (name, g) in enumerate(graphs.items()):
        new = {n: f"p{k}_{n}" for n in g.types()}
        inputs += [Input(new[i.name], i.type, within=i.within) for i in g.inputs]
        nodes += [Node(tuple(Value(new[v.name], v.type) for v in n.outputs), rename_operands(n.op, new), n.origin) for n in g.nodes]
        names[new[g.outputs[0]]] = name
    return Graph("all_of_them", (), tuple(inputs), tuple(nodes), tuple(names)), names
