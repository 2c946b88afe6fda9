"""The torch.compile door: graph breaks, sizes that change, updates, draws, and gradients refused; the interpreter runs each piece."""

import copy

import pytest
import torch
from agree import to_numpy
from torch import nn
from warploom.frontend.dynamo import backend
from warploom.frontend.extern import numpy_externs, to_torch
from warploom.frontend.torch_export import SizeLeaf, TensorLeaf
from warploom.ir.diagnostic import UnsupportedModel
from warploom.ir.interpret_graph import bind_dims, run_graph, size_of
from warploom.ir.verify_graph import verify_graph


def interpreted(exported):
    g = verify_graph(exported.graph)

    def call(*args):
        given = {leaf.name: to_numpy(v) for leaf, v in zip(exported.inputs, args) if isinstance(leaf, TensorLeaf)}
        given |= {name: to_numpy(w) for name, w in exported.weights.items()}
        made = given | run_graph(g, given, numpy_externs)
        sizes = bind_dims(g, {k: v.shape for k, v in given.items()})
        return [_leaf(leaf, made, g.types(), sizes) for leaf in exported.outputs]

    return call


def _leaf(leaf, made, types, sizes):
    if isinstance(leaf, TensorLeaf):
        return to_torch(made[leaf.name], types[leaf.name].dtype)
    return size_of(leaf.expr, sizes) if isinstance(leaf, SizeLeaf) else leaf.value


class Branching(nn.Module):
    """Neither traced nor scripted: a branch on values, buffers that change, a draw."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, x):
        x = self.linear(x)
        x = x * 2 if x.sum() > 0 else x - 1
        return self.drop(self.norm(x)) + torch.tensor([1.0, 2.0, 3.0, 4.0]), x.shape[0]


@pytest.fixture
def model():
    torch._dynamo.reset()
    yield Branching()
    torch._dynamo.reset()


def test_pieces_agree_with_eager_at_every_size(model):
    reference = copy.deepcopy(model)
    compiled = torch.compile(model, backend=backend(interpreted))
    for n in (3, 5, 7):
        x = torch.randn(n, 4)
        with torch.no_grad():
            torch.manual_seed(n)
            got = compiled(x)
            torch.manual_seed(n)
            wanted = reference(x)
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(dict(model.named_buffers()), dict(reference.named_buffers()))


def test_a_backward_pass_is_refused(model):
    compiled = torch.compile(model, backend=backend(interpreted))
    y, _ = compiled(torch.randn(3, 4))
    with pytest.raises(UnsupportedModel) as e:
        y.sum().backward()
    assert e.value.code == "WL-E024"
