# ruff: noqa: F821 - kernel text uses names that Python does not know
"""Kernels as torch custom operators: eager, torch.compile, torch.export, opcheck, and names that do not fit."""

from __future__ import annotations

import pytest
import torch
import warploom
from warploom.kernels.custom_op import BadName


@warploom.kernel
def scale(x: f32[n], y: f32[n]):
    for i in serial(n):
        y[i] = x[i] * 2.0


@warploom.kernel
def add_to(x: f32[n], y: f32[n], total: f32[n]):
    for i in serial(n):
        y[i] = x[i] + 1.0
        total[i] = total[i] + x[i]


@pytest.fixture(scope="module")
def op():
    return scale.schedule("split(i, 16, tail=cut); bind(i1, vector)").register("warploom_test::scale")


def test_eager(op):
    x, y = torch.randn(37), torch.empty(37)
    assert op is torch.ops.warploom_test.scale
    assert torch.equal(op(x), x * 2)
    op(x, y)
    assert torch.equal(y, x * 2)
    assert op(x[::2]).shape == (19,)


def test_compile_and_export(op):
    x = torch.randn(37)
    f = torch.compile(lambda x: torch.ops.warploom_test.scale(x).sin(), fullgraph=True, backend="aot_eager")
    assert torch.equal(f(x), (x * 2).sin())

    def fills(x, y):
        torch.ops.warploom_test.scale(x, y)
        return y + 1

    y = torch.zeros(37)
    assert torch.equal(torch.compile(fills, fullgraph=True, backend="aot_eager")(x, y), x * 2 + 1)

    class Model(torch.nn.Module):
        def forward(self, x):
            return torch.ops.warploom_test.scale(x) + 1

    exported = torch.export.export(Model(), (x,), dynamic_shapes={"x": {0: torch.export.Dim("n")}})
    assert torch.equal(exported.module()(torch.ones(5)), torch.full((5,), 3.0))


def test_opcheck(op):
    x = torch.randn(37)
    torch.library.opcheck(op.default, (x,))
    torch.library.opcheck(op.out, (x, torch.empty(37)))


def test_in_out_params_are_copied_by_the_functional_form():
    op = add_to.register("warploom_test::add_to")
    x, total = torch.ones(4), torch.ones(4)
    y, new = op(x, total)
    assert y.tolist() == [2] * 4 and new.tolist() == [2] * 4 and total.tolist() == [1] * 4
    op(x, y, total)
    assert total.tolist() == [2] * 4
    torch.library.opcheck(op.default, (x, total))


def test_a_dim_that_no_input_tells():
    op = warploom.kernel("def iota(y: i64[n]):\n for i in serial(n):\n  y[i] = i\n").register("warploom_test::iota")
    assert op(3).tolist() == [0, 1, 2]
    assert torch.compile(lambda n: torch.ops.warploom_test.iota(n), fullgraph=True, backend="aot_eager")(4).tolist() == [0, 1, 2, 3]


def test_names(op):
    scale.register("warploom_test::scale")  # the same arguments: the newer kernel runs
    with pytest.raises(BadName, match="other arguments"):
        add_to.register("warploom_test::scale")
    with pytest.raises(BadName, match="library::name"):
        scale.register("scale")
    with pytest.raises(BadName, match="already"):
        scale.register("aten::add")
