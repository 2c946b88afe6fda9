"""The C side compiles by itself for programs that use any part of the header, and for those whose constants are prepared apart."""

import subprocess

import numpy as np
import pytest
from warploom.datasets import plans
from warploom.datasets.c_side import COMPILE, NotAPair, c_side
from warploom.datasets.cuda_side import cuda_side
from warploom.datasets.header import needed
from warploom.datasets.run_sides import build_c, check_cuda
from warploom.ir.graph_text import parse_graph

ANGLES = "def f(x: f32[64], y: f32[64]):\n    z: f32[64] = map(cos(x[i0]) + atan(y[i0]) * asin(0.1 * x[i0]) + log(y[i0] * y[i0] + 1.0))\n    return z,\n"
SCATTER = """def f(x: f32[7, 8], at: i64[7] @ within(0, 5)):
    zeros: f32[5, 8] = map(0.0)
    where: i64[7, 8] = map(at[i0])
    y: f32[5, 8] = scatter(zeros, where, x, 0, add)
    return y,
"""


@pytest.mark.parametrize("text", [ANGLES, SCATTER], ids=["angles", "scatter"])
def test_a_c_side_needs_nothing_else(text, tmp_path):
    graph = parse_graph(text)
    for n, plan in enumerate((plans.naive_c, plans.default_c)):
        (tmp_path / f"s{n}.cpp").write_text(c_side(graph, plan(graph)).source)
        done = subprocess.run(COMPILE.format(source=f"s{n}.cpp", library=f"s{n}.so").split(), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:500]


def test_every_buffer_of_a_launch_is_bound():
    side = cuda_side(parse_graph(SCATTER), plans.default_cuda(parse_graph(SCATTER)))
    names = {b["name"]: b["role"] for b in side.buffers(parse_graph(SCATTER))}
    assert all(a in names for x in side.launches() for a in x["args"])
    assert names["x"] == "input" and names["y"] == "output"


def test_a_header_has_no_more_than_is_named():
    assert needed("int x;").count("\n") < 8
    assert "sigmoid" in needed("sigmoid(x)") and "namespace wl" in needed("sigmoid(x)")


def test_what_needs_aten_is_no_pair():
    graph = parse_graph("def f(x: f32[4, 4]):\n    v, i = sort(x, 1, False) @ (f32[4, 4], i64[4, 4])\n    return v, i\n")
    with pytest.raises(NotAPair):
        c_side(graph, plans.default_c(graph))


PAIRS_SCAN = """def f(x: f32[100, 80]):
    ones: f32[100, 80] = map(1.0)
    most, total = scan(lse, (x, ones,), 1) @ (f32[100, 80], f32[100, 80])
    y: f32[100, 80] = map(most[i0, i1] + log(total[i0, i1]))
    return y,
"""


def test_a_scan_of_several_values_has_a_cuda_side():
    graph = parse_graph(PAIRS_SCAN)
    assert cuda_side(graph, plans.default_cuda(graph)).launches()


def test_precompiled_headers_change_nothing(tmp_path):
    graph = parse_graph(ANGLES)
    source = c_side(graph, plans.default_c(graph)).source
    library = build_c({"fast": (source, COMPILE)}, tmp_path)["fast"]
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "fast.cpp").write_text(source)
    subprocess.run(COMPILE.format(source="fast.cpp", library="fast.so").split(), cwd=tmp_path / "alone", check=True)
    assert library.read_bytes() == (tmp_path / "alone" / "fast.so").read_bytes()


PADDED = """def f(x: f32[3, 12, 1536]):
    y: f32[3, 14, 1536] = map(select(i1 - 1 >= 0 and i1 - 1 < 12, x[i0, i1 - 1, i2] * 2.0, 0.0))
    return y,
"""


def test_a_wide_load_reads_nothing_that_a_condition_guards():
    graph = parse_graph(PADDED)
    x = np.ones((3, 12, 1536), np.float32)
    assert check_cuda(cuda_side(graph, plans.default_cuda(graph)), {"x": x}) == []
