"""Graph text: `parse_graph(print_graph(g)) == g`. A line per node, types as annotations, operators as calls.

    def mlp(batch: dim[1, 512], x: f32[batch, 1024], w: param.f32[1024, 1024]):
        h: f32[batch, 1024] = contract('mk,nk->mn', x, w)
        y: f32[batch, 1024] = map(max(h[i0, i1], 0.0))
        v, ix = reduce(argmax, (y,), (1,)) @ (f32[batch], i64[batch])
        return v, ix
"""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields

from .expr import Const, Expr, Load, Op, Var
from .graph import (
    Contract,
    Conv,
    Extern,
    Graph,
    Input,
    Map,
    Node,
    Operator,
    Random,
    Reduce,
    Ref,
    Reshape,
    Scan,
    Scatter,
    Sort,
    TensorType,
    Value,
    Window,
)
from .kernel import Buffer
from .text import Parser, print_buffer, print_dim, print_expr
from .types import Dim

ROLES = ("input", "param", "buffer", "const")
_NAMES: dict[str, type] = {
    "map": Map, "reshape": Reshape, "reduce": Reduce, "contract": Contract, "conv": Conv, "window": Window,
    "scan": Scan, "scatter": Scatter, "sort": Sort, "random": Random, "extern": Extern,
}  # fmt: skip
_TEXT = {v: k for k, v in _NAMES.items()}
_TENSOR_FIELDS = {"x", "w", "a", "b", "base", "index", "src"}


# ------------------------------------------------------------------------------------------------ print
def print_type(t: TensorType) -> str:
    return print_buffer(Buffer("", t.dtype, t.shape))


def print_graph(g: Graph) -> str:
    """Graph text, ending in a newline."""
    head = ", ".join([*(print_dim(d) for d in g.dims), *(_print_input(i) for i in g.inputs)])
    lines = [f"def {g.name}({head}):", *("    " + print_node(n) for n in g.nodes)]
    lines += [f"    update({name}, {value})" for name, value in g.updates]
    lines.append(f"    return {', '.join(g.outputs)}" + ("," if len(g.outputs) == 1 else "") if g.outputs else "    return ()")
    return "\n".join(lines) + "\n"


def _print_input(i: Input) -> str:
    text = print_buffer(Buffer(i.name, i.type.dtype, i.type.shape, within=i.within))
    return f"{i.name}: {text if i.role == 'input' else i.role + '.' + text}"


def print_node(n: Node) -> str:
    """One node as a line of text."""
    origin = f"  # {n.origin}" if n.origin else ""
    if len(n.outputs) == 1:
        return f"{n.outputs[0].name}: {print_type(n.outputs[0].type)} = {print_operator(n.op)}{origin}"
    types = ", ".join(print_type(v.type) for v in n.outputs)
    return f"{', '.join(v.name for v in n.outputs)} = {print_operator(n.op)} @ ({types}){origin}"


def print_operator(op: Operator) -> str:
    if isinstance(op, Map):
        return f"map({print_expr(op.expr)})"
    if isinstance(op, (Extern, Random)):
        parts = [repr(op.target), *(_print_arg(a) for a in op.args), *(f"{k}={_print_arg(v)}" for k, v in op.kwargs)]
        parts += [f"reason_={op.reason!r}"] if isinstance(op, Extern) and op.reason else []
        return f"{_TEXT[type(op)]}({', '.join(parts)})"
    return f"{_TEXT[type(op)]}({', '.join(_print_field(f.name, getattr(op, f.name)) for f in fields(op))})"


def _print_field(name: str, value: object) -> str:
    if name in _TENSOR_FIELDS and isinstance(value, str):
        return value
    if name == "monoid":
        return str(value)
    if name == "inputs" and isinstance(value, tuple):
        return f"({', '.join(value)},)"
    return repr(value)


def _print_arg(value: object) -> str:
    if isinstance(value, Ref):
        return value.name
    if isinstance(value, tuple):
        return f"({', '.join(_print_arg(v) for v in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, (Const, Var, Op, Load)):
        return f"size({print_expr(value)})"
    if isinstance(value, float):
        return f"number({print_expr(Const(value))})"
    return repr(value)


# ------------------------------------------------------------------------------------------------ parse
class _GraphParser(Parser):
    def graph(self) -> Graph:
        f = self.function()
        dims: list[Dim] = []
        inputs: list[Input] = []
        for a in f.args.args:
            if a.annotation is None:
                raise self.fail(a, f"`{a.arg}` needs a type such as dim or f32[M, N]")
            d = self.dim(a.arg, a.annotation)
            if d is not None:
                dims.append(d)
            else:
                inputs.append(self._input(a.arg, a.annotation))
        return self._assemble(f, tuple(dims), tuple(inputs))

    def _assemble(self, f: ast.FunctionDef, dims: tuple[Dim, ...], inputs: tuple[Input, ...]) -> Graph:
        if not f.body or not isinstance(f.body[-1], ast.Return):
            raise self.fail(f, "a graph ends in `return`")
        nodes: list[Node] = []
        updates: list[tuple[str, str]] = []
        for s in f.body[:-1]:
            if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and self.name(s.value.func) == "update":
                if len(s.value.args) != 2:
                    raise self.fail(s, "expected `update(input, value)`")
                updates.append((self.name(s.value.args[0]), self.name(s.value.args[1])))
            else:
                nodes.append(self._node(s))
        value = f.body[-1].value
        outputs = tuple(self.name(x) for x in value.elts) if isinstance(value, ast.Tuple) else (self.name(value or f),)
        return Graph(f.name, dims, inputs, tuple(nodes), outputs, tuple(updates))

    def _input(self, name: str, n: ast.AST) -> Input:
        role, node = "input", n
        inner = node.left if isinstance(node, ast.BinOp) else node
        if isinstance(inner, ast.Subscript) and isinstance(inner.value, ast.Attribute) and isinstance(inner.value.value, ast.Name):
            role = inner.value.value.id
            if role not in ROLES:
                raise self.fail(inner, f"unknown role `{role}`", f"accepted: {', '.join(ROLES)}")
            inner.value = ast.copy_location(ast.Name(inner.value.attr), inner.value)
        b = self.buffer(name, node)
        return Input(name, TensorType(b.dtype, b.shape), role, b.within)

    def _type(self, n: ast.AST) -> TensorType:
        b = self.buffer("type", n)
        return TensorType(b.dtype, b.shape)

    def _origin(self, n: ast.stmt) -> str:
        line = self.text.splitlines()[(n.end_lineno or n.lineno) - 1]
        tail = line[n.end_col_offset :] if line.isascii() else line.encode()[n.end_col_offset :].decode()
        return tail.strip().removeprefix("#").strip()

    def _node(self, n: ast.stmt) -> Node:
        if isinstance(n, ast.AnnAssign) and n.value is not None:
            value = Value(self.name(n.target), self._type(n.annotation))
            return Node((value,), self.operator(n.value), self._origin(n))
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.BinOp) and isinstance(n.value.op, ast.MatMult):
            target = n.targets[0]
            names = [self.name(x) for x in (target.elts if isinstance(target, ast.Tuple) else [target])]
            right = n.value.right
            types = [self._type(x) for x in (right.elts if isinstance(right, ast.Tuple) else [right])]
            return Node(tuple(Value(a, t) for a, t in zip(names, types)), self.operator(n.value.left), self._origin(n))
        raise self.fail(n, "expected `name: type = operator(...)`")

    def operator(self, n: ast.AST) -> Operator:
        if not (isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in _NAMES):
            raise self.fail(n, "expected an operator", f"accepted: {', '.join(_NAMES)}")
        cls = _NAMES[n.func.id]
        if not n.args:
            raise self.fail(n, f"{n.func.id} without arguments")
        if cls is Map:
            return Map(self.expr(n.args[0]))
        if cls in (Extern, Random):
            kwargs = {k.arg: self.argument(k.value) for k in n.keywords if k.arg}
            target = self._string(n.args[0])
            args = tuple(self.argument(a) for a in n.args[1:])
            if cls is Random:
                return Random(target, args, tuple(kwargs.items()))
            reason = kwargs.pop("reason_", "")
            return Extern(target, args, tuple(kwargs.items()), reason if isinstance(reason, str) else "")
        names = [f.name for f in fields(cls)]
        needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
        given = [*zip(names, n.args), *((k.arg or "**", k.value) for k in n.keywords)]
        found = {name: self._field(name, a) for name, a in given if name in names}
        if len(n.args) > len(names) or len(found) < len(given) or not found.keys() >= set(needed):
            raise self.fail(n, f"wrong arguments of {n.func.id}", f"accepted: {', '.join(names)}, each once; needed: {', '.join(needed)}")
        return cls(**found)

    def _string(self, n: ast.AST) -> str:
        if isinstance(n, ast.Constant) and isinstance(n.value, str):
            return n.value
        raise self.fail(n, "expected the name of an ATen operator as a string")

    def _field(self, name: str, n: ast.AST) -> object:
        if name in _TENSOR_FIELDS:
            return self.name(n)
        if name == "monoid":
            return None if isinstance(n, ast.Constant) and n.value is None else self.name(n)
        if name == "inputs" and isinstance(n, ast.Tuple):
            return tuple(self.name(x) for x in n.elts)
        return self.argument(n)

    def argument(self, n: ast.AST) -> object:
        if isinstance(n, ast.Name):
            return Ref(n.id)
        if isinstance(n, ast.Tuple):
            return tuple(self.argument(x) for x in n.elts)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in ("size", "number"):
            e: Expr = self.expr(n.args[0])
            return e.value if n.func.id == "number" and isinstance(e, Const) else e
        if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub) and isinstance(n.operand, ast.Constant):
            return -n.operand.value  # type: ignore[operator]
        if isinstance(n, ast.Constant):
            return n.value
        raise self.fail(n, "expected a tensor name, a literal, size(...) or a tuple of these")


def parse_graph(text: str) -> Graph:
    """Graph text to Graph. Raises ParseError."""
    return _GraphParser(text).graph()
