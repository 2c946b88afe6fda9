"""The torch.compile door: what dynamo captured goes in as FX, an `Exported` comes out; graph breaks are dynamo's own.

`backend(compile_exported)` makes a torch.compile backend from a function that turns an Exported into a callable on flat inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch._dynamo.backends.common import aot_autograd
from torch.utils import _pytree as pytree

from ..ir.diagnostic import UnsupportedModel
from .aten import decompositions
from .convert import Converter
from .symbols import Symbols, ranges_of
from .torch_export import Exported, Leaf, Literal, SizeLeaf, TensorLeaf

Compiled = Callable[..., Sequence[object]]


def backend(compile_exported: Callable[[Exported], Compiled]) -> Callable[..., object]:
    """A torch.compile backend. `compile_exported` is called once per captured graph; what it returns takes the flat inputs
    (parameters among them) and returns the flat outputs. Asking the result for gradients raises UnsupportedModel."""

    def compile_aten(gm: torch.fx.GraphModule, example_inputs: Sequence[object]) -> Compiled:
        return compile_exported(graph_from_fx(gm, example_inputs))

    return aot_autograd(
        fw_compiler=compile_aten, inference_compiler=compile_aten, bw_compiler=_refuse, decompositions=decompositions()
    )


def _refuse(gm: torch.fx.GraphModule, example_inputs: Sequence[object]) -> Compiled:
    """The backward graph is traced whenever parameters could need gradients: only running it is an error."""

    def backward(*args: object) -> Sequence[object]:
        raise UnsupportedModel(
            "a gradient is asked for; compiled models are for inference", hint="call under torch.no_grad()", code="WL-E024"
        )

    return backward


def graph_from_fx(gm: torch.fx.GraphModule, example_inputs: Sequence[object], name: str = "model") -> Exported:
    """Convert an FX graph of functional ATen calls (what AOTAutograd hands to a compiler).

    Inputs are the graph's placeholders in order; a symbolic int among them becomes a SizeLeaf, since sizes are read off the tensors.
    Raises UnsupportedModel.
    """
    converter = Converter(Symbols(_ranges(example_inputs)))
    weights: dict[str, torch.Tensor] = {}
    inputs: list[Leaf] = []
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            inputs.append(_input(converter, node))
        elif node.op == "get_attr":
            tensor = _attribute(gm, str(node.target))
            node.meta.setdefault("val", tensor)
            weights[converter.placeholder(node, "const", tensor)] = tensor
    converter.run(gm.graph)
    output = next(n for n in gm.graph.nodes if n.op == "output")
    leaves = tuple(_output(converter, v) for v in output.args[0])
    graph = converter.graph(tuple(dict.fromkeys(x.name for x in leaves if isinstance(x, TensorLeaf))), (), name)
    used = {i.name for i in graph.inputs}
    in_spec = pytree.tree_structure((tuple(range(len(inputs))), {}))
    out_spec = pytree.tree_structure(list(range(len(leaves))))
    return Exported(graph, {k: v for k, v in weights.items() if k in used}, tuple(inputs), leaves, in_spec, out_spec)


def _ranges(example_inputs: Sequence[object]) -> dict[str, tuple[int, int | None]]:
    """Ranges of the symbols, from the shape environment of the first symbolic size."""
    for x in example_inputs:
        sizes = [x] if isinstance(x, torch.SymInt) else list(x.shape) if isinstance(x, torch.Tensor) else []
        for s in sizes:
            if isinstance(s, torch.SymInt):
                return ranges_of(s.node.shape_env.var_to_range)
    return {}


def _attribute(gm: torch.fx.GraphModule, path: str) -> torch.Tensor:
    value: object = gm
    for part in path.split("."):
        value = getattr(value, part)
    if not isinstance(value, torch.Tensor):
        raise UnsupportedModel(f"the captured graph holds `{path}`, which is no tensor")
    return value


def _input(converter: Converter, node: torch.fx.Node) -> Leaf:
    val = node.meta.get("val")
    if isinstance(val, torch.Tensor):
        return TensorLeaf(converter.placeholder(node, "input", None))
    if isinstance(val, (int, torch.SymInt)):
        converter.env[node] = converter.symbols.expr(val)
        return SizeLeaf(converter.symbols.expr(val))
    raise UnsupportedModel(f"the argument `{node.name}` of a captured graph is neither a tensor nor a size")


def _output(converter: Converter, value: object) -> Leaf:
    if not isinstance(value, torch.fx.Node):
        return Literal(value)
    if isinstance(value.meta.get("val"), torch.Tensor):
        return TensorLeaf(converter.result(value))
    return SizeLeaf(converter.size(value))
