"""Canonical form: equal values before and after, on the NumPy oracle."""

import numpy as np
import pytest
from warploom.ir.graph_text import parse_graph
from warploom.ir.interpret_graph import run_graph
from warploom.passes.canonical import canonicalize

GRAPHS = {
    "slice of a reshape": """
def g(x: f32[6, 8]):
    e: f32[6, 8] = map(exp(x[i0, i1]))
    r: f32[2, 3, 8] = reshape(e)
    y: f32[2, 2, 8] = map(r[i0, i1, i2] + 1.0)
    return y,
""",
    "group norm": """
def g(x: f32[2, 6, 4, 5], w: f32[6]):
    r: f32[2, 3, 2, 20] = reshape(x)
    s: f32[2, 3] = reduce(add, (r,), (2, 3))
    m: f32[2, 3, 2, 20] = map(r[i0, i1, i2, i3] - s[i0, i1] / 40.0)
    q: f32[2, 6, 4, 5] = reshape(m)
    y: f32[2, 6, 4, 5] = map(q[i0, i1, i2, i3] * w[i1])
    z: f32[2, 6] = reduce(max, (y,), (2, 3))
    return y, z
""",
    "merged contraction": """
def g(x: f32[2, 3, 4], w: f32[5, 4], b: f32[5]):
    h: f32[2, 3, 5] = contract('bsk,nk->bsn', x, w)
    y: f32[2, 3, 5] = map(h[i0, i1, i2] + b[i2])
    return y,
""",
    "mish": """
def g(x: f32[4, 64]):
    y: f32[4, 64] = map(x[i0, i1] * 20.0 * tanh(select(x[i0, i1] * 20.0 > 20, x[i0, i1] * 20.0, log1p(exp(x[i0, i1] * 20.0)))))
    return y,
""",
    "pointwise convolution": """
def g(x: f32[2, 3, 4, 5], w: f32[7, 3, 1, 1]):
    y: f32[2, 7, 4, 5] = conv(x, w, (1, 1), (0, 0), (1, 1), 1, False, ())
    return y,
""",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_values_stay(name: str) -> None:
    graph = parse_graph(GRAPHS[name])
    rng = np.random.Generator(np.random.PCG64(0))
    inputs = {i.name: rng.standard_normal([s.value for s in i.type.shape]).astype(np.float32) for i in graph.inputs}  # type: ignore[union-attr]
    new = canonicalize(graph)
    before, after = run_graph(graph, inputs), run_graph(new, inputs)
    for old, now in zip(graph.outputs, new.outputs):
        np.testing.assert_allclose(after[now], before[old], rtol=1e-5, atol=1e-6)
