"""A PyTorch model and example inputs in, an `Exported` out: the Graph, the live weights, and how to rebuild the model's result.

`export_model` goes through torch.export; what torch.compile captured enters in `dynamo`. Both end in `convert`.
"""

from __future__ import annotations

import inspect
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import Dim as TorchDim
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, SymIntArgument, TensorArgument
from torch.utils import _pytree as pytree

from ..ir.diagnostic import InputMismatch, UnsupportedModel
from ..ir.expr import Expr
from ..ir.graph import Graph
from .aten import decompositions
from .convert import Converter
from .symbols import Symbols, ranges_of
from .tracing import draws_kept, recurrent_shapes


@dataclass(frozen=True)
class TensorLeaf:
    """A graph input or a graph value by name. An output leaf that names an input is that very input."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A value that export fixed: a call must pass, or gets back, an equal one."""

    value: object


@dataclass(frozen=True)
class SizeLeaf:
    """An int computed from the dynamic dims."""

    expr: Expr


Leaf = TensorLeaf | Literal | SizeLeaf


@dataclass(frozen=True)
class Exported:
    """`inputs`: a leaf for each flattened argument of `((args), {kwargs})`; `outputs`: a leaf for each flattened result.

    `weights`: the model's own parameters, buffers and constants by graph input name. `Graph.updates` may name inputs of
    any role: after a run the value is copied into that tensor.
    """

    graph: Graph
    weights: Mapping[str, torch.Tensor]
    inputs: tuple[Leaf, ...]
    outputs: tuple[Leaf, ...]
    in_spec: pytree.TreeSpec
    out_spec: pytree.TreeSpec

    @property
    def input_names(self) -> tuple[str, ...]:
        """User inputs in argument order."""
        return tuple(leaf.name for leaf in self.inputs if isinstance(leaf, TensorLeaf))

    def flatten(self, args: tuple[object, ...], kwargs: Mapping[str, object] | None = None) -> list[object]:
        """The leaves of a call, one for each of `inputs`. Raises InputMismatch when the structure or a literal differs."""
        leaves, spec = pytree.tree_flatten((tuple(args), dict(kwargs or {})))
        if spec != self.in_spec:
            raise InputMismatch(" ".join(f"the arguments have the structure {spec}, compiled was {self.in_spec}".split()))
        for leaf, value in zip(self.inputs, leaves):
            if isinstance(leaf, Literal) and leaf.value != value:
                raise InputMismatch(f"an argument is {value!r}, the model was compiled for {leaf.value!r}")
        return leaves

    def tensors(self, args: tuple[object, ...]) -> dict[str, torch.Tensor]:
        """All that a run of the graph may take, by name: the tensors among the arguments, and the weights. Raises InputMismatch."""
        given = {leaf.name: v for leaf, v in zip(self.inputs, self.flatten(args)) if isinstance(leaf, TensorLeaf)}
        return {**self.weights, **given}  # type: ignore[dict-item]

    def unflatten(self, leaves: Iterable[object]) -> object:
        """The model's result from one value for each of `outputs`."""
        return pytree.tree_unflatten(list(leaves), self.out_spec)


Dynamic = Mapping[str | int, Mapping[int, object]]


def export_model(
    model: Callable[..., object],
    example_inputs: tuple[object, ...],
    kwargs: Mapping[str, object] | None = None,
    dynamic: Dynamic | None = None,
) -> Exported:
    """Export with torch.export and convert.

    `dynamic`: {input name or position: {axis: name | (name, lo, hi) | torch.export.Dim}}. Raises UnsupportedModel when torch.export
    rejects the model (the message names the user's line), InputMismatch when `dynamic` does not fit the inputs.
    """
    module = model if isinstance(model, torch.nn.Module) else _Function(model)
    kw = dict(kwargs or {})
    args = tuple(example_inputs)
    _refuse_gradients((args, kw))
    names = _argument_names(module, args, kw)
    shapes = _dynamic_shapes(names, dynamic or {}) if dynamic else None
    if shapes:
        args, kw = _widen(args, kw, names, shapes)
    program = _trace(module, args, kw, shapes)
    return _from_program(module, program, shapes)


class _Function(torch.nn.Module):
    def __init__(self, function: Callable[..., object]):
        super().__init__()
        self.function = function
        self.forward = function  # type: ignore[method-assign]


def _refuse_gradients(tree: object) -> None:
    if any(isinstance(x, torch.Tensor) and x.requires_grad for x in pytree.tree_leaves(tree)):
        raise UnsupportedModel(
            "an example input requires a gradient; compiled models are for inference",
            hint="pass detached tensors",
            code="WL-E024",
        )


# ------------------------------------------------------------------------------------------------ tracing
def _trace(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object], shapes: object
) -> torch.export.ExportedProgram:
    failures: list[Exception] = []
    for strict in (False, True):
        try:
            with (
                warnings.catch_warnings(),
                torch.random.fork_rng(devices=[]),
                torch.no_grad(),
                recurrent_shapes(),
                draws_kept(),
            ):
                warnings.simplefilter("ignore")
                program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=strict)  # type: ignore[arg-type]
                return program.run_decompositions(decompositions())
        except Exception as e:  # torch.export raises whatever the model's code or its own tracing raises
            failures.append(e)
    raise _rejected(failures[0])


def _rejected(e: Exception) -> UnsupportedModel:
    message = next((line.strip() for line in str(e).splitlines() if line.strip()), "")
    return UnsupportedModel(f"torch.export rejects the model at {user_line(e)}: {type(e).__name__}: {message[:300]}")


def user_line(e: BaseException) -> str:
    """`file:line` of the innermost frame that is neither torch's, Python's nor ours."""
    frames = [f for f in traceback.extract_tb(e.__traceback__) if not _foreign(f.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown line"


def _place(module: torch.nn.Module) -> str:
    """Where the model's forward is defined."""
    code = getattr(module.forward, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


_ROOT = Path(__file__).parents[1]
_ROOMS = ("ir", "frontend", "passes", "backends", "evaluation", "agents", "datasets")


def _foreign(filename: str) -> bool:
    path = Path(filename)
    if filename.startswith("<") or "site-packages" in path.parts or path.is_relative_to(Path(traceback.__file__).parent):
        return True
    return path.is_relative_to(_ROOT) and (path.parent == _ROOT or path.relative_to(_ROOT).parts[0] in _ROOMS)


# ------------------------------------------------------------------------------------------------ dynamic dims
def _argument_names(module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
    try:
        return dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except TypeError as e:
        raise InputMismatch(f"the example inputs do not fit the model's forward: {e}") from None


def _dynamic_shapes(names: Mapping[str, object], dynamic: Dynamic) -> dict[str, object]:
    shapes: dict[str, object] = {name: pytree.tree_map(lambda _: None, value) for name, value in names.items()}
    known: dict[str, object] = {}
    for key, dims in dynamic.items():
        name = list(names)[key] if isinstance(key, int) and key < len(names) else key
        value = names.get(str(name))
        if not isinstance(value, torch.Tensor):
            raise InputMismatch(
                f"`dynamic` names {key!r}, which is not a tensor argument", hint=f"arguments: {', '.join(names)}"
            )
        if any(not -value.ndim <= axis < value.ndim for axis in dims):
            raise InputMismatch(f"`dynamic` names an axis that {name} of shape {tuple(value.shape)} does not have")
        shapes[str(name)] = {axis % value.ndim: _torch_dim(d, known) for axis, d in dims.items()}
    return shapes


def _torch_dim(spec: object, known: dict[str, object]) -> object:
    if isinstance(spec, TorchDim):
        return known.setdefault(spec.__name__, spec)
    name, lo, hi = (spec, None, None) if isinstance(spec, str) else spec  # type: ignore[misc]
    if not str(name).isidentifier():
        raise InputMismatch(f"`{name}` is not a name for a dim")
    return known.setdefault(str(name), TorchDim(str(name), min=lo, max=hi))


def _widen(
    args: tuple[object, ...], kwargs: Mapping[str, object], names: Mapping[str, object], shapes: Mapping[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Examples whose dynamic axes have extent 0 or 1 are repeated: torch.export takes those extents for constants."""
    replaced = {
        id(names[n]): _wide(names[n], d)
        for n, d in shapes.items()
        if isinstance(d, dict) and isinstance(names[n], torch.Tensor)
    }
    return tuple(replaced.get(id(a), a) for a in args), {k: replaced.get(id(v), v) for k, v in kwargs.items()}


def _wide(x: object, dims: Mapping[int, object]) -> object:
    assert isinstance(x, torch.Tensor)
    for axis in dims:
        if x.shape[axis] == 1:
            x = torch.cat([x, x], axis)
    return x


# ------------------------------------------------------------------------------------------------ torch.export -> Graph
def _from_program(
    module: torch.nn.Module, program: torch.export.ExportedProgram, shapes: Mapping[str, object] | None
) -> Exported:
    symbols = Symbols(ranges_of(program.range_constraints))
    placeholders = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    _name_symbols(symbols, program, placeholders, shapes)
    converter = Converter(symbols, _place(module))
    weights: dict[str, torch.Tensor] = {}
    inputs: list[Leaf] = []
    targets: dict[str, str] = {}
    for spec in program.graph_signature.input_specs:
        node = placeholders.get(spec.arg.name)
        if spec.kind is InputKind.USER_INPUT:
            inputs.append(_user_input(converter, node, spec.arg))
            continue
        if node is None or not isinstance(spec.arg, TensorArgument) or spec.target is None:
            raise UnsupportedModel(f"the model holds `{spec.target}`, which is no tensor")
        tensor = _weight(module, program, spec.target)
        name = converter.placeholder(node, _ROLES[spec.kind], tensor)
        weights[name] = tensor
        targets[spec.target] = name
    converter.run(program.graph)
    return _assemble(converter, program, weights, inputs, targets)


_ROLES = {InputKind.PARAMETER: "param", InputKind.BUFFER: "buffer", InputKind.CONSTANT_TENSOR: "const"}


def _name_symbols(
    symbols: Symbols,
    program: torch.export.ExportedProgram,
    placeholders: Mapping[str, torch.fx.Node],
    shapes: Mapping[str, object] | None,
) -> None:
    if not shapes:
        return
    leaves = [s for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
    flat = pytree.tree_leaves(
        shapes, is_leaf=lambda d: d is None or (isinstance(d, dict) and all(isinstance(k, int) for k in d))
    )
    for spec, dims in zip(leaves, flat):
        for axis, dim in (dims or {}).items():
            size = placeholders[spec.arg.name].meta["val"].shape[axis]
            if isinstance(size, torch.SymInt):
                symbols.names[str(size.node.expr)] = dim.__name__


def _user_input(converter: Converter, node: torch.fx.Node | None, arg: object) -> Leaf:
    if isinstance(arg, ConstantArgument):
        return Literal(arg.value)
    if node is None or not isinstance(arg, TensorArgument):
        raise UnsupportedModel(f"the argument `{getattr(arg, 'name', arg)}` is neither a tensor nor a constant")
    return TensorLeaf(converter.placeholder(node, "input", None))


def _weight(module: torch.nn.Module, program: torch.export.ExportedProgram, target: str) -> torch.Tensor:
    """The model's own tensor, so that later changes of it are seen."""
    found = dict(module.named_parameters(remove_duplicate=False)).get(target)
    if found is None:
        found = dict(module.named_buffers(remove_duplicate=False)).get(target)
    if found is None:
        found = program.state_dict.get(target, program.constants.get(target))
    if not isinstance(found, torch.Tensor):
        raise UnsupportedModel(f"the model holds `{target}`, which is no tensor")
    return found


def _assemble(
    converter: Converter,
    program: torch.export.ExportedProgram,
    weights: dict[str, torch.Tensor],
    inputs: list[Leaf],
    targets: Mapping[str, str],
) -> Exported:
    output = next(n for n in program.graph.nodes if n.op == "output")
    updates: list[tuple[str, str]] = []
    outputs: list[Leaf] = []
    users = {
        s.arg.name: leaf
        for s, leaf in zip((s for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT), inputs)
    }
    for spec, node in zip(program.graph_signature.output_specs, output.args[0]):
        if spec.kind is OutputKind.USER_OUTPUT:
            outputs.append(_user_output(converter, spec.arg, node))
        elif spec.kind is OutputKind.USER_INPUT_MUTATION:
            leaf = users[str(spec.target)]
            assert isinstance(leaf, TensorLeaf)
            updates.append((leaf.name, converter.result(node)))
        elif spec.kind in (OutputKind.BUFFER_MUTATION, *_PARAMETER_MUTATION):
            updates.append((targets[str(spec.target)], converter.result(node)))
        else:
            raise UnsupportedModel(f"the model has an output of kind {spec.kind.name}")
    graph = converter.graph(tuple(dict.fromkeys(o.name for o in outputs if isinstance(o, TensorLeaf))), tuple(updates))
    used = {i.name for i in graph.inputs}
    weights = {k: v for k, v in weights.items() if k in used}
    spec = program.call_spec
    assert spec.in_spec is not None and spec.out_spec is not None
    return Exported(graph, weights, tuple(inputs), tuple(outputs), spec.in_spec, spec.out_spec)


_PARAMETER_MUTATION = tuple(k for k in OutputKind if k.name == "PARAMETER_MUTATION")


def _user_output(converter: Converter, arg: object, node: object) -> Leaf:
    if isinstance(arg, ConstantArgument):
        return Literal(arg.value)
    if isinstance(arg, SymIntArgument):
        return SizeLeaf(converter.size(node))
    if isinstance(node, torch.fx.Node) and isinstance(arg, TensorArgument):
        return TensorLeaf(converter.result(node))
    raise UnsupportedModel(f"the model returns {type(arg).__name__}")
