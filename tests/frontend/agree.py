"""Export a model, run its graph in the interpreter, compare with eager under the same seed."""

import copy
import warnings

import torch
from torch.utils import _pytree as pytree
from warploom.frontend.extern import numpy_externs, to_numpy, to_torch
from warploom.frontend.torch_export import SizeLeaf, TensorLeaf, export_model
from warploom.ir.graph import Extern
from warploom.ir.graph_text import parse_graph, print_graph
from warploom.ir.interpret_graph import bind_dims, run_graph, size_of
from warploom.ir.verify_graph import verify_graph


def arrays(exported, args, kwargs=None):
    leaves = exported.flatten(args, kwargs)
    given = {name: to_numpy(w) for name, w in exported.weights.items()}
    return given | {leaf.name: to_numpy(v) for leaf, v in zip(exported.inputs, leaves) if isinstance(leaf, TensorLeaf)}


def run(exported, args, kwargs=None):
    """(result in the model's structure, {updated input: its new value})"""
    given = arrays(exported, args, kwargs)
    types = exported.graph.types()
    made = given | run_graph(exported.graph, given, numpy_externs)

    def leaf_value(leaf):
        if isinstance(leaf, TensorLeaf):
            return to_torch(made[leaf.name], types[leaf.name].dtype)
        return (
            size_of(leaf.expr, bind_dims(exported.graph, {k: v.shape for k, v in given.items()}))
            if isinstance(leaf, SizeLeaf)
            else leaf.value
        )

    result = exported.unflatten(leaf_value(leaf) for leaf in exported.outputs)
    return result, {name: to_torch(made[value], types[value].dtype) for name, value in exported.graph.updates}


def eager(model, args, kwargs=None, seed=11):
    """Eager's result on copies, so that the model's buffers stay as they are; and the model after the call."""
    model = copy.deepcopy(model)
    torch.manual_seed(seed)
    with torch.no_grad():
        return model(*copy.deepcopy(args), **copy.deepcopy(kwargs or {})), model


def assert_same(got, wanted, **tolerance):
    mine, theirs = pytree.tree_flatten(got), pytree.tree_flatten(wanted)
    assert mine[1] == theirs[1]
    for a, b in zip(mine[0], theirs[0]):
        if isinstance(b, torch.Tensor):
            torch.testing.assert_close(a, b, equal_nan=True, **tolerance)
        else:
            assert type(a) is type(b) and a == b


def check(model, args, kwargs=None, seed=11, owned=True, dynamic=None, calls=(), **tolerance):
    """Assert that the exported graph is legal, prints and parses, owns everything if `owned`, and agrees with eager.

    `calls`: more argument tuples to try, of other sizes where dims are dynamic. Returns the Exported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = export_model(model, args, kwargs, dynamic)
    verify_graph(exported.graph)
    assert parse_graph(print_graph(exported.graph)) == exported.graph
    if owned:
        assert externs(exported) == []
    for call in (args, *calls):
        wanted, after = eager(model, call, kwargs, seed)
        torch.manual_seed(seed)
        got, updates = run(exported, call, kwargs)
        assert_same(got, wanted, **tolerance)
        check_updates(exported, updates, after, **tolerance)
    return exported


def check_updates(exported, updates, after, **tolerance):
    """Every buffer of the model after eager's call has the value that the graph gives it."""
    buffers = (
        {f"b_{name.replace('.', '_')}": b for name, b in after.named_buffers()} if isinstance(after, torch.nn.Module) else {}
    )
    for name, value in updates.items():
        if name in buffers:
            torch.testing.assert_close(value, buffers[name], **tolerance)


def externs(exported):
    """(target, reason) of what stays with ATen, random operators aside."""
    return [(n.op.target, n.op.reason) for n in exported.graph.nodes if isinstance(n.op, Extern)]
