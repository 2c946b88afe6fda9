"""FX graph of functional ATen calls in, Graph out: binds each call's arguments by its schema and applies the operator's rule.

A call without a rule, or whose rule declines it, becomes an Extern node with the reason.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from ..ir.diagnostic import UnsupportedModel
from ..ir.expr import Expr, as_int
from ..ir.graph import Extern, Graph, Input, Node, Random, Ref, TensorType, operands
from .aten import IGNORED, TABLE, WHOLE
from .builder import Builder, NotOwned, T
from .dtypes import DTYPE
from .symbols import Symbols


@dataclass
class Converter:
    """`place`: where the model is defined, for errors at nodes of unknown line."""

    symbols: Symbols
    place: str = ""
    builder: Builder = field(default_factory=Builder)
    inputs: dict[str, Input] = field(default_factory=dict)
    env: dict[torch.fx.Node, object] = field(default_factory=dict)
    copied: dict[str, torch.fx.Node] = field(default_factory=dict)

    # -------------------------------------------------------------------------------- inputs
    def placeholder(self, node: torch.fx.Node, role: str, value: torch.Tensor | None) -> str:
        """Declare a graph input for a placeholder; `value` is known for constants and buffers."""
        t = self.type_of(node.meta["val"])
        self.builder.hint = node.name
        x = self.builder.declare(self.builder.fresh(), t)
        self.inputs[x.name] = Input(x.name, t, role)
        self.env[node] = x
        self.copied[x.name] = node
        self.builder.declare_input(x.name, role, value)
        return x.name

    def type_of(self, val: object) -> TensorType:
        if not isinstance(val, torch.Tensor):
            raise UnsupportedModel(f"a value of type {type(val).__name__} is no tensor")
        if val.dtype not in DTYPE or val.layout is not torch.strided:
            raise UnsupportedModel(f"a tensor of {val.dtype} ({str(val.layout).removeprefix('torch.')}) is not supported")
        return TensorType(DTYPE[val.dtype], self.symbols.shape(val.shape))

    # -------------------------------------------------------------------------------- nodes
    def run(self, graph: torch.fx.Graph) -> None:
        """Convert every call of the graph, in order."""
        for node in graph.nodes:
            if node.op == "call_function":
                try:
                    self.call(node)
                except UnsupportedModel as e:
                    raise UnsupportedModel(f"{self.where(node)}{e.message}", hint=e.hint) from None
            elif node.op not in ("placeholder", "output") and node not in self.env:
                raise UnsupportedModel(f"{self.where(node)}the graph holds a {node.op} of `{node.target}`")

    def call(self, node: torch.fx.Node) -> None:
        val = node.meta.get("val")
        if isinstance(val, (int, torch.SymInt)) and not isinstance(val, bool):
            self.env[node] = self.symbols.expr(val)
            return
        if node.target is operator.getitem:
            source = self.env[node.args[0]]  # type: ignore[index]
            self.env[node] = source[node.args[1]]  # type: ignore[index]
            return
        name = str(node.target)
        if name in IGNORED:
            return
        if not isinstance(node.target, torch._ops.OpOverload):
            raise UnsupportedModel(f"the operator `{name}` is not an ATen call")
        if isinstance(val, (torch.SymFloat, torch.SymBool, bool, float)):
            raise UnsupportedModel(f"`{name}` computes a Python number from data")
        self.env[node] = self._tensors(node, name)

    def where(self, node: torch.fx.Node) -> str:
        """`file:line: ` of the user's call."""
        frames = re.findall(r'^\s*File "(.+)", line (\d+)', node.meta.get("stack_trace") or "", re.MULTILINE)
        user = [f"{file}:{line}" for file, line in frames if not file.startswith("torch/")]
        return f"{user[-1] if user else self.place}: " if user or self.place else ""

    def _tensors(self, node: torch.fx.Node, name: str) -> object:
        b = self.builder
        val = node.meta.get("val")
        leaves = list(val) if isinstance(val, (tuple, list)) else [val]
        b.hint, b.origin, b.node = node.name, f"{name}{_module(node)}", node
        b.out = tuple(self.type_of(v) for v in leaves if v is not None)
        bound = self.bind(node)
        mark = len(b.nodes)
        try:
            if name not in TABLE:
                raise NotOwned("not in the operator table")
            out = TABLE[name](b, **bound)
            self._check(out, b.out)
            return out
        except NotOwned as e:
            del b.nodes[mark:]
            reason = WHOLE.get(name.split(".")[1], str(e))
            return self._extern(node, _draws(node, bound), name, reason, isinstance(val, (tuple, list)), leaves)

    @staticmethod
    def _check(out: object, wanted: tuple[TensorType, ...]) -> None:
        got = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if t is not None]
        for t, w in zip(got, wanted):
            assert isinstance(t, T)
            if (
                t.dtype != w.dtype
                or len(t.shape) != len(w.shape)
                or any(as_int(a) != as_int(c) for a, c in zip(t.shape, w.shape))
            ):
                raise NotOwned(f"the rule gives {t.dtype}{t.shape}, ATen {w.dtype}{w.shape}")

    def bind(self, node: torch.fx.Node) -> dict[str, object]:
        """All arguments by schema name, defaults filled in, tensors as T."""
        target = node.target
        assert isinstance(target, torch._ops.OpOverload)
        out: dict[str, object] = {}
        for k, a in enumerate(target._schema.arguments):
            if k < len(node.args) and not a.kwarg_only:
                out[a.name] = self.argument(node.args[k])
            elif a.name in node.kwargs:
                out[a.name] = self.argument(node.kwargs[a.name])
            else:
                out[a.name] = tuple(a.default_value) if isinstance(a.default_value, list) else a.default_value
        return out

    def argument(self, value: object) -> object:
        if isinstance(value, torch.fx.Node):
            return self.env[value]
        if isinstance(value, (tuple, list)):
            return tuple(self.argument(v) for v in value)
        if isinstance(value, torch.SymInt):
            return self.symbols.expr(value)
        return value

    # -------------------------------------------------------------------------------- externs
    def _extern(
        self, node: torch.fx.Node, draws: bool, name: str, reason: str, several: bool, leaves: Sequence[object]
    ) -> object:
        args = tuple(_plain(self.argument(a)) for a in node.args)
        kwargs = tuple((k, _plain(self.argument(v))) for k, v in node.kwargs.items())
        kind = Random(name, args, kwargs) if draws else Extern(name, args, kwargs, reason)
        made = iter(self.builder.emit(kind, *self.builder.out))
        out = tuple(None if v is None else next(made) for v in leaves)
        return out if several else out[0]

    # -------------------------------------------------------------------------------- results
    def result(self, node: object) -> str:
        """The value of an output node; what is not the very same tensor as an input or another output gets memory of its own."""
        assert isinstance(node, torch.fx.Node)
        x = self.env[node]
        assert isinstance(x, T)
        if self.copied.setdefault(x.name, node) is not node:
            self.builder.hint, self.builder.origin = node.name, ""
            x = self.builder.map(x.dtype, x.shape, self.builder.at(x), "copy")
            self.env[node] = x
            self.copied[x.name] = node
        return x.name

    def size(self, node: object) -> Expr:
        value = self.env[node] if isinstance(node, torch.fx.Node) else self.argument(node)
        assert isinstance(value, Expr)
        return value

    def graph(self, outputs: tuple[str, ...], updates: tuple[tuple[str, str], ...], name: str = "model") -> Graph:
        """The finished graph: dead nodes dropped (draws from the generator stay), ranges of index inputs set."""
        wanted = {*outputs, *(v for _, v in updates)}
        nodes: list[Node] = []
        for node in reversed(self.builder.nodes):
            if isinstance(node.op, Random) or any(v.name in wanted for v in node.outputs):
                nodes.append(node)
                wanted |= set(operands(node.op))
        within = self.builder.within
        inputs = tuple(
            replace(i, within=within.get(i.name))
            for i in self.inputs.values()
            if i.role == "input" or i.name in wanted or i.name in dict(updates)
        )
        return Graph(name, self.symbols.dims(), inputs, tuple(reversed(nodes)), outputs, updates)


def _draws(node: torch.fx.Node, bound: dict[str, object]) -> bool:
    """Whether the call takes from the generator; recurrent networks do only with dropout while training."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    if torch.Tag.nondeterministic_seeded not in target.tags:
        return False
    return not ("dropout" in bound and "train" in bound and not (bound["train"] and bound["dropout"]))


def _plain(value: object) -> object:
    """An argument as Extern holds it: tensors as Ref, torch's own objects as text."""
    if isinstance(value, T):
        return Ref(value.name)
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout, torch.device)):
        return str(value) if not isinstance(value, torch.device) else f"device:{value}"
    if value is None or isinstance(value, (bool, int, float, str, Expr)):
        return value
    raise UnsupportedModel(f"an argument of type {type(value).__name__} cannot be kept")


def _module(node: torch.fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return f"@{path}" if path and not path.startswith("_empty") else ""
