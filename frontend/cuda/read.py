"""CUDA text -> the typed tree, by tree-sitter.

Comes in: the text of a `.cu` file. Goes out: a `CudaFile`: its functions (kernels, device and host functions), the launches in its
host code, file-scope symbols and macros. What stands inside a kernel and cannot be read is an error with its line.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Iterator
from typing import Any

from ...ir.diagnostic import Place, WarploomError
from . import tree as t
from .grammar import parsed, within
from .lambdas import own_names
from .macros import expanded
from .ptx import plain_ptx
from .ranges import counted


class UnsupportedCuda(WarploomError):
    """The CUDA holds something that the rules do not cover. The message names line and reason."""

    code = "WL-E080"
    exit_code = 1


def read(source: str, *, host: bool = False) -> t.CudaFile:
    """Reads one file; bodies of host functions only with `host`. Raises UnsupportedCuda where a function cannot be read."""
    return _Reader(expanded(plain_ptx(source)), host).file()


_HEADS = ("__global__", "__device__", "__host__", "__forceinline__", "__noinline__")
_DEFINED = {"__CUDA_ARCH__": 900, "__CUDACC__": 1, "__NVCC__": 1, "__CUDACC_VER_MAJOR__": 12, "CUDART_VERSION": 12000, "CUDA_VERSION": 12000}
SILENT_ASM = re.compile(r'\basm\s*(?:volatile\s*)?\(\s*""\s*(?=[:)])')  # a word to the compiler alone
_QUALIFIERS = ("type_qualifier", "storage_class_specifier")


class _Reader:
    def __init__(self, source: str, host: bool = False):
        self.source, self.host = source, host
        self.bytes = source.encode()
        self.extents: dict[str, t.Expr] = {}  # of arrays declared so far, the outermost
        self.root = parsed(self.bytes)

    def file(self) -> t.CudaFile:
        functions, symbols, macros = [], [], []
        for node in _top_level(self.root):
            if node.type == "preproc_def":
                name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
                macros.append((self.text(name), self.text(value).split("//")[0].strip() if value else ""))
            elif _definition(node) is not None:
                functions.append(self.function(node))
            elif node.type == "declaration" and _is_plain_declaration(node):
                symbols.append((self.declaration(node), node.start_byte, node.end_byte))
        functions = [f for f in functions if f is not None]
        return t.CudaFile(self.source, tuple(functions), tuple(self.launches(functions)), tuple(symbols), tuple(macros))

    def text(self, node: Any) -> str:
        return self.bytes[node.start_byte : node.end_byte].decode()

    def fail(self, node: Any, why: str) -> UnsupportedCuda:
        row = node.start_point[0]
        return UnsupportedCuda(f"line {row + 1}: {why}", place=Place(self.source, row))

    # --- functions

    def function(self, outer: Any) -> t.Function | None:
        node = _definition(outer)
        declarator = _function_declarator(node)
        if declarator is None:
            return None
        body = node.child_by_field_name("body")
        head = self.bytes[outer.start_byte : body.start_byte].decode()
        attributes = tuple(word for word in _HEADS if re.search(rf"\b{word}\b", head))
        kind = "kernel" if "__global__" in attributes else "device" if "__device__" in attributes else "host"
        read = kind != "host" or self.host
        params = tuple(self.params(declarator)) if read else ()
        name = self.text(declarator.child_by_field_name("declarator"))
        returns = self.text(node.child_by_field_name("type")) if node.child_by_field_name("type") else ""
        mark = self.text(node)[: declarator.start_byte - node.start_byte].rstrip()
        return t.Function(
            name=name,
            kind=kind,
            returns=returns + ("*" if mark.endswith("*") else "&" if mark.endswith("&") else ""),
            params=params,
            body=own_names(self.statements(body), params) if read else (),
            template=self.template(outer),
            bounds=tuple(self.bounds(node)),
            attributes=attributes,
            start=outer.start_byte,
            stop=outer.end_byte,
            line=node.start_point[0] + 1,
        )

    def template(self, outer: Any) -> tuple[str, ...]:
        found = next((n for n in _chain(outer) if n.type == "template_declaration"), None)
        if found is None:
            return ()
        parameters = found.child_by_field_name("parameters")
        return tuple(self.text(n) for n in parameters.named_children if n.type != "comment")

    def bounds(self, node: Any) -> Iterator[t.Expr]:
        for n in within(node, "launch_bounds", stop="compound_statement"):
            yield from (self.expression(c) for c in n.named_children)

    def params(self, declarator: Any) -> Iterator[t.Param]:
        for n in declarator.child_by_field_name("parameters").named_children:
            if n.type in ("parameter_declaration", "optional_parameter_declaration", "variadic_parameter_declaration"):
                yield self.param(n)

    def param(self, n: Any) -> t.Param:
        inner = n.child_by_field_name("declarator")
        default = n.child_by_field_name("default_value")
        type_ = self.qualified_type(n)
        if inner is None:
            return t.Param("", type_)
        name, mark, extents = self.declared(inner)
        return t.Param(name, type_, mark, extents, self.text(default) if default else "")

    def qualified_type(self, n: Any) -> str:
        words = [self.text(c) for c in n.children if c.type in _QUALIFIERS]
        return " ".join([*words, self.text(n.child_by_field_name("type"))])

    def declared(self, n: Any) -> tuple[str, str, tuple[t.Expr | None, ...]]:
        """Name, mark (`*`, `&`, `* __restrict__`, `(&a)`, `...`) and extents of a declarator."""
        if n.type == "array_declarator":
            name, mark, extents = self.declared(n.child_by_field_name("declarator"))
            size = n.child_by_field_name("size")
            return name, mark, (*extents, None if size is None else self.expression(size))
        if n.type in ("pointer_declarator", "reference_declarator", "abstract_pointer_declarator", "abstract_reference_declarator"):
            inner = n.child_by_field_name("declarator") or next(
                (c for c in n.named_children if c.type.endswith(("identifier", "declarator"))), None
            )
            words = [self.text(c) for c in n.children if c != inner and c.type != "comment"]
            if inner is None:
                return "", " ".join(words), ()
            name, mark, extents = self.declared(inner)
            return name, " ".join([*words, mark]).strip(), extents
        if n.type == "variadic_declarator":
            return "".join(self.text(c) for c in n.named_children), "...", ()
        if n.type == "parenthesized_declarator":
            name, _, extents = self.declared(n.named_children[0])
            return name, self.text(n), extents
        return self.text(n), "", ()

    # --- statements

    def statements(self, node: Any) -> t.Body:
        out: list[t.Stmt] = []
        for child in node.children:
            if child.is_named:
                out += self.statement(child)
        return tuple(out)

    def body(self, node: Any) -> t.Body:
        return self.statements(node) if node.type == "compound_statement" else tuple(self.statement(node))

    def statement(self, n: Any) -> list[t.Stmt]:
        if n.type == "ERROR" or n.is_missing:
            raise self.fail(n, f"cannot read `{self.text(n).strip()[:60]}`")
        line = n.start_point[0] + 1
        method = getattr(self, f"_{n.type}", None)
        if method is None:
            raise self.fail(n, f"no rule for this statement ({n.type.replace('_', ' ')})")
        return method(n, line)

    def _comment(self, n: Any, line: int) -> list[t.Stmt]:
        return [t.Comment(self.text(n).strip(), line)]

    def _declaration(self, n: Any, line: int) -> list[t.Stmt]:
        return [self.declaration(n)]

    def _using_declaration(self, n: Any, line: int) -> list[t.Stmt]:
        return [t.Evaluate(t.Opaque((self.text(n).rstrip(";"),)), line)]

    _alias_declaration = _static_assert_declaration = _type_definition = _namespace_alias_definition = _using_declaration

    def _struct_specifier(self, n: Any, line: int) -> list[t.Stmt]:
        return [t.Evaluate(t.Opaque((self.text(n),)), line)]

    def _preproc_call(self, n: Any, line: int) -> list[t.Stmt]:
        words = self.text(n).strip()
        if not words.startswith("#pragma"):
            raise self.fail(n, f"`{words}` inside a function")
        return [t.Pragma(words[len("#pragma") :].strip(), line)]

    def _preproc_if(self, n: Any, line: int) -> list[t.Stmt]:
        """`#if __CUDA_ARCH__ >= 300`: the device code of a recent GPU and compiler is meant."""
        condition = n.child_by_field_name("condition")
        met = _decided(self.text(condition)) if condition is not None else None
        if condition is None or met is None:
            raise self.fail(n, f"`#if {self.text(condition) if condition is not None else ''}` inside a function")
        return self._alternative(n, met, {condition.start_byte})

    def _preproc_ifdef(self, n: Any, line: int) -> list[t.Stmt]:
        name = n.child_by_field_name("name")
        known = self.text(name) in _DEFINED
        return self._alternative(n, known == self.text(n).startswith("#ifdef"), {name.start_byte})

    def _alternative(self, n: Any, met: bool, heads: set[int]) -> list[t.Stmt]:
        other = n.child_by_field_name("alternative")
        if met:
            inner = [c for c in n.named_children if c.start_byte not in heads and (other is None or c.start_byte != other.start_byte)]
            return [s for c in inner for s in self.statement(c)]
        if other is None:
            return []
        if other.type != "preproc_else":
            raise self.fail(other, "`#elif` inside a function")
        return [s for c in other.named_children for s in self.statement(c)]

    def _expression_statement(self, n: Any, line: int) -> list[t.Stmt]:
        inner = [c for c in n.named_children if c.type != "comment"]
        if inner and inner[0].type == "gnu_asm_expression" and SILENT_ASM.match(self.text(inner[0])):
            return []
        return [_declared(t.Evaluate(self.expression(inner[0]), line))] if inner else []

    def _compound_statement(self, n: Any, line: int) -> list[t.Stmt]:
        return [t.Block(self.statements(n), line)]

    def _if_statement(self, n: Any, line: int) -> list[t.Stmt]:
        clause = n.child_by_field_name("condition")
        ahead = clause.child_by_field_name("initializer")
        orelse = n.child_by_field_name("alternative")
        other = [c for c in orelse.named_children if c.type != "comment"] if orelse is not None else []
        made = t.If(
            self.expression(clause.child_by_field_name("value")),
            self.body(n.child_by_field_name("consequence")),
            self.body(other[0]) if other else (),
            line,
            "constexpr" in [c.type for c in n.children],
        )
        return [made] if ahead is None else [t.Block((*(s for c in ahead.named_children for s in self.statement(c)), made), line)]

    def _for_statement(self, n: Any, line: int) -> list[t.Stmt]:
        init = n.child_by_field_name("initializer")
        start: t.Stmt | None = None
        if init is not None:
            start = self.declaration(init) if init.type == "declaration" else t.Evaluate(self.expression(init), line)
        cond, step = (n.child_by_field_name(name) for name in ("condition", "update"))
        return [
            t.For(
                start,
                None if cond is None else self.expression(cond),
                None if step is None else self.expression(step),
                self.body(n.child_by_field_name("body")),
                line,
            )
        ]

    def _for_range_loop(self, n: Any, line: int) -> list[t.Stmt]:
        """Over an array whose extent is known, or the values of a list."""
        right = n.child_by_field_name("right")
        name, mark, _ = self.declared(n.child_by_field_name("declarator"))
        words = tuple(self.text(c) for c in n.children if c.type in _QUALIFIERS)
        item = t.Declare(self.text(n.child_by_field_name("type")), (t.Declarator(name, mark),), words, line)
        body = self.body(n.child_by_field_name("body"))
        if right.type == "initializer_list":
            values = t.unused(f"{name}_of", t.names(body), "")
            extent = t.Literal(str(_listed_values(right)))
            made = t.Declare(item.type, (t.Declarator(values, "", (extent,), self.expression(right)),), ("const",), line)
            return [t.Block((made, counted(item, t.Name(values), extent, body, line)), line)]
        over = self.expression(right)
        extent = self.extents.get(over.text) if isinstance(over, t.Name) else t.Call(t.Name("std::size"), (over,)) if isinstance(over, t.Member) else None
        if extent is None:
            raise self.fail(n, f"a loop over `{self.text(right)[:40]}`, which is no array whose extent is told in the function")
        return [counted(item, over, extent, body, line)]

    def _while_statement(self, n: Any, line: int) -> list[t.Stmt]:
        clause = n.child_by_field_name("condition")
        value = clause.child_by_field_name("value") or clause
        return [t.While(self.expression(value), self.body(n.child_by_field_name("body")), line)]

    def _do_statement(self, n: Any, line: int) -> list[t.Stmt]:
        return [t.DoWhile(self.body(n.child_by_field_name("body")), self.expression(n.child_by_field_name("condition")), line)]

    def _switch_statement(self, n: Any, line: int) -> list[t.Stmt]:
        cases = []
        for case in n.child_by_field_name("body").named_children:
            if case.type == "comment":
                continue
            if case.type != "case_statement":
                raise self.fail(case, "a statement between the cases of a switch")
            label = case.child_by_field_name("value")
            inner = [c for c in case.named_children if label is None or c.start_byte != label.start_byte]
            body = tuple(s for c in inner for s in self.statement(c))
            cases.append((None if label is None else self.expression(label), body))
        value = n.child_by_field_name("condition").child_by_field_name("value")
        return [t.Switch(self.expression(value), tuple(cases), line)]

    def _return_statement(self, n: Any, line: int) -> list[t.Stmt]:
        inner = [c for c in n.named_children if c.type != "comment"]
        return [t.Return(self.expression(inner[0]) if inner else None, line)]

    def _break_statement(self, n: Any, line: int) -> list[t.Stmt]:
        return [t.Break(line)]

    def _continue_statement(self, n: Any, line: int) -> list[t.Stmt]:
        return [t.Continue(line)]

    def declaration(self, n: Any) -> t.Declare:
        words = [self.text(c) for c in n.children if c.type in _QUALIFIERS]
        declared = [c for i, c in enumerate(n.children) if n.field_name_for_child(i) == "declarator"]
        type_ = self.text(n.child_by_field_name("type"))
        declarators = tuple(self.declarator(c) for c in declared)
        for c, d in zip(declared, declarators):
            self.extents.pop(d.name, None)
            value = c.child_by_field_name("value") if c.type == "init_declarator" else None
            listed = _listed_values(value) if value is not None and value.type == "initializer_list" else 0
            if d.extents and (known := d.extents[0] or (t.Literal(str(listed)) if listed else None)) is not None:
                self.extents[d.name] = known
        return t.Declare(type_, declarators, tuple(words), n.start_point[0] + 1)

    def declarator(self, n: Any) -> t.Declarator:
        if n.type == "init_declarator":
            name, mark, extents = self.declared(n.child_by_field_name("declarator"))
            value = n.child_by_field_name("value")
            if value.type == "argument_list":
                return t.Declarator(name, mark, extents, self.listed(value), "(")
            assigned = any(c.type == "=" for c in n.children)
            if value.type == "initializer_list" and not assigned:
                return t.Declarator(name, mark, extents, self.listed(value), "{")
            return t.Declarator(name, mark, extents, self.expression(value))
        if n.type == "function_declarator":  # `float v(x);` read as a declaration of a function
            name = self.text(n.child_by_field_name("declarator"))
            return t.Declarator(name, "", (), self.listed(n.child_by_field_name("parameters")), "(")
        name, mark, extents = self.declared(n)
        return t.Declarator(name, mark, extents)

    def listed(self, n: Any) -> t.Expr:
        """What stands between the brackets of an initialiser, joined by commas."""
        inner = [self.expression(c) for c in n.named_children if c.type != "comment"]
        if not inner:
            return t.Opaque(("",))
        return functools.reduce(lambda a, b: t.Binary(",", a, b), inner)

    # --- expressions

    def expression(self, n: Any) -> t.Expr:
        if n.type == "ERROR" or n.is_missing:
            raise self.fail(n, f"cannot read `{self.text(n).strip()[:60]}`")
        if n.type == "parenthesized_expression":
            return self.expression(next(c for c in n.named_children if c.type != "comment"))
        rule = _EXPRESSIONS.get(n.type)
        return rule(self, n) if rule else self.opaque(n)

    def opaque(self, n: Any) -> t.Expr:
        """Text with the expressions inside it kept as such."""
        parts: list[str | t.Expr] = []
        at = n.start_byte
        for child in n.named_children:
            if child.type == "parenthesized_expression":
                parts += [self.bytes[at : child.start_byte].decode() + "(", self.expression(child)]
                at = child.end_byte - 1
            elif child.type in _EXPRESSIONS:
                parts += [self.bytes[at : child.start_byte].decode(), self.expression(child)]
                at = child.end_byte
        return t.Opaque((*(p for p in parts if p != ""), self.bytes[at : n.end_byte].decode()))

    def name(self, n: Any) -> t.Expr:
        return t.Name(re.sub(r"\s+", " ", self.text(n)))

    def literal(self, n: Any) -> t.Expr:
        return t.Literal(self.text(n))

    def binary(self, n: Any) -> t.Expr:
        left, right = (self.expression(n.child_by_field_name(side)) for side in ("left", "right"))
        return t.Binary(self.text(n.child_by_field_name("operator")) if n.type != "comma_expression" else ",", left, right)

    def unary(self, n: Any) -> t.Expr:
        value = self.expression(n.child_by_field_name("argument"))
        op = n.child_by_field_name("operator")
        return t.Unary(self.text(op), value, op.start_byte > n.child_by_field_name("argument").start_byte)

    def assign(self, n: Any) -> t.Expr:
        right = n.child_by_field_name("right")
        target = self.expression(n.child_by_field_name("left"))
        return t.Assign(self.text(n.child_by_field_name("operator")), target, self.expression(right))

    def conditional(self, n: Any) -> t.Expr:
        return t.Conditional(*(self.expression(n.child_by_field_name(f)) for f in ("condition", "consequence", "alternative")))

    def call(self, n: Any) -> t.Expr:
        function, args = n.child_by_field_name("function"), n.child_by_field_name("arguments")
        if any(c.type == "kernel_call_syntax" for c in n.children):
            raise self.fail(n, "a kernel launched from device code")
        values = tuple(self.expression(c) for c in args.named_children if c.type != "comment")
        if function.type == "template_function" and self.text(function.child_by_field_name("name")).endswith("_cast"):
            type_ = self.text(function.child_by_field_name("arguments"))[1:-1].strip()
            return t.Cast(type_, values[0], self.text(function.child_by_field_name("name")))
        if function.type == "primitive_type" and len(values) == 1:
            return t.Cast(self.text(function), values[0], "functional")
        return t.Call(self.expression(function), values)

    def index(self, n: Any) -> t.Expr:
        e = self.expression(n.child_by_field_name("argument"))
        for i in n.child_by_field_name("indices").named_children:
            e = t.Index(e, self.expression(i))
        return e

    def member(self, n: Any) -> t.Expr:
        value = self.expression(n.child_by_field_name("argument"))
        return t.Member(value, self.text(n.child_by_field_name("operator")), self.text(n.child_by_field_name("field")))

    def cast(self, n: Any) -> t.Expr:
        value = n.child_by_field_name("value")
        return t.Cast(self.text(n.child_by_field_name("type")), self.expression(value))

    def lambda_(self, n: Any) -> t.Expr:
        """A lambda; one that makes variables of its own or cannot be read is carried along as text."""
        captures = self.text(n.child_by_field_name("captures"))[1:-1].strip()
        declarator = n.child_by_field_name("declarator")
        words = [c.type for c in (declarator.children if declarator is not None else ())]
        kinds = {c.type for c in n.children} | set(words)
        if re.search(r"\w\s*[=({]", captures) or kinds & {"template_parameter_list", "lambda_specifier"}:
            return self.opaque(n)
        try:
            params = tuple(self.params(declarator)) if "parameter_list" in words else ()
            returns = next((self.text(c)[2:].strip() for c in (declarator.children if declarator is not None else ()) if c.type == "trailing_return_type"), "")
            return t.Lambda(captures, params, returns, self.statements(n.child_by_field_name("body")))
        except UnsupportedCuda:
            return self.opaque(n)

    # --- launches

    def launches(self, functions: list[t.Function]) -> Iterator[t.LaunchSite]:
        for n in within(self.root, "call_expression"):
            syntax = next((c for c in n.children if c.type == "kernel_call_syntax"), None)
            if syntax is None:
                continue
            function = self.text(n.child_by_field_name("function"))
            name, _, template = function.partition("<")
            owner = next((f.name for f in functions if f.start <= n.start_byte < f.stop), "")
            args = n.child_by_field_name("arguments")
            yield t.LaunchSite(
                kernel=name.strip().rsplit("::", 1)[-1],
                template=template.rstrip()[:-1] if template else "",
                configuration=tuple(self.expression(c) for c in syntax.named_children if c.type != "comment"),
                args=tuple(self.expression(c) for c in args.named_children if c.type != "comment"),
                owner=owner,
                start=n.start_byte,
                stop=n.end_byte,
                line=n.start_point[0] + 1,
            )


def _decided(condition: str) -> bool | None:
    """The value of a preprocessor condition; None where it is more than comparisons of known macros."""
    text = re.sub(r"defined\s*\(?\s*(\w+)\s*\)?", lambda m: str(int(m[1] in _DEFINED)), condition)
    text = re.sub(r"[A-Za-z_]\w*", lambda m: str(_DEFINED.get(m[0], 0)), text)
    text = text.replace("&&", " and ").replace("||", " or ")
    try:
        return _truth(ast.parse(re.sub(r"!(?!=)", " not ", text).strip(), mode="eval").body)
    except (SyntaxError, KeyError, TypeError):
        return None


_COMPARISONS = {ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Eq: operator.eq, ast.NotEq: operator.ne}


def _truth(e: ast.expr) -> Any:
    if isinstance(e, ast.Constant):
        return e.value
    if isinstance(e, ast.BoolOp):
        values = [bool(_truth(v)) for v in e.values]
        return all(values) if isinstance(e.op, ast.And) else any(values)
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.Not):
        return not _truth(e.operand)
    if isinstance(e, ast.Compare) and len(e.ops) == 1:
        return _COMPARISONS[type(e.ops[0])](_truth(e.left), _truth(e.comparators[0]))
    raise TypeError(type(e).__name__)


_EXPRESSIONS = {
    **dict.fromkeys(("identifier", "qualified_identifier", "template_function", "this", "type_identifier"), _Reader.name),
    **dict.fromkeys(("number_literal", "string_literal", "char_literal", "true", "false", "null", "nullptr"), _Reader.literal),
    **dict.fromkeys(("binary_expression", "comma_expression"), _Reader.binary),
    **dict.fromkeys(("unary_expression", "pointer_expression", "update_expression"), _Reader.unary),
    "assignment_expression": _Reader.assign,
    "conditional_expression": _Reader.conditional,
    "call_expression": _Reader.call,
    "subscript_expression": _Reader.index,
    "field_expression": _Reader.member,
    "cast_expression": _Reader.cast,
    "lambda_expression": _Reader.lambda_,
}


def _top_level(node: Any) -> Iterator[Any]:
    """Definitions at file scope: inside `extern "C"`, namespaces and `#if` groups too."""
    for child in node.named_children:
        transparent = child.type in ("namespace_definition", "preproc_if", "preproc_ifdef", "preproc_else", "declaration_list")
        block = child.type == "linkage_specification" and child.child_by_field_name("body").type == "declaration_list"
        if transparent or block:
            yield from _top_level(child.child_by_field_name("body") or child)
        else:
            yield child


def _chain(node: Any) -> Iterator[Any]:
    """A definition and what it is wrapped in, outermost first."""
    while node is not None:
        yield node
        if node.type == "linkage_specification":
            node = node.child_by_field_name("body")
        elif node.type == "template_declaration":
            node = node.named_children[-1]
        else:
            return


def _definition(node: Any) -> Any:
    last = list(_chain(node))[-1]
    return last if last.type == "function_definition" and last.child_by_field_name("body") is not None else None


def _function_declarator(node: Any) -> Any:
    inner = node.child_by_field_name("declarator")
    while inner is not None and inner.type in ("pointer_declarator", "reference_declarator"):
        inner = inner.child_by_field_name("declarator") or inner.named_children[-1]
    return inner if inner is not None and inner.type == "function_declarator" else None


def _is_plain_declaration(node: Any) -> bool:
    declared = [c for i, c in enumerate(node.children) if node.field_name_for_child(i) == "declarator"]
    return bool(declared) and all(_innermost(c) != "function_declarator" for c in declared)


def _innermost(node: Any) -> str:
    while node.type in ("init_declarator", "pointer_declarator", "reference_declarator"):
        inner = node.child_by_field_name("declarator")
        if inner is None:
            break
        node = inner
    return node.type


def _listed_values(n: Any) -> int:
    return sum(c.type != "comment" for c in n.named_children)


def _declared(s: t.Evaluate) -> t.Stmt:
    """`A::B<32> x = e;` reads as two comparisons; nobody compares with an assignment."""
    e = s.value
    if isinstance(e, t.Binary) and e.op == ">" and isinstance(e.left, t.Binary) and e.left.op == "<" and isinstance(e.right, t.Assign):
        type_, argument, store = e.left.left, e.left.right, e.right
        if isinstance(type_, t.Name) and isinstance(argument, (t.Name, t.Literal)) and isinstance(store.target, t.Name) and store.op == "=":
            return t.Declare(f"{type_.text}<{argument.text}>", (t.Declarator(store.target.text, init=store.value),), (), s.line)
    return s
