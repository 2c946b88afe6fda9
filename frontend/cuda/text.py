"""C++ text of the typed CUDA tree: expressions with as few parentheses as precedence allows, statements with two-space indents."""

from __future__ import annotations

from dataclasses import replace

from . import tree as t

_BINARY = {
    "*": 13, "/": 13, "%": 13, "+": 12, "-": 12, "<<": 11, ">>": 11, "<": 10, "<=": 10, ">": 10, ">=": 10,
    "==": 9, "!=": 9, "&": 8, "^": 7, "|": 6, "&&": 5, "||": 4, ",": 1,
}  # fmt: skip
_UNARY, _POSTFIX, _ASSIGN, _PRIMARY = 14, 15, 2, 16
# Pairs that compilers warn about or people misread: parentheses stay although precedence would not want them.
_CLARIFIED = {("&&", "||"), ("<<", "+"), (">>", "+"), ("<<", "-"), (">>", "-"), ("+", "<<"), ("+", ">>"), ("-", "<<"), ("-", ">>")}
_BITS = {"&", "|", "^", "<<", ">>"}


def expression(e: t.Expr) -> str:
    """The C++ text of an expression."""
    return _at(e, 0)


def _at(e: t.Expr, level: int) -> str:
    text, own = _printed(e)
    return f"({text})" if own < level else text


def _printed(e: t.Expr) -> tuple[str, int]:
    if isinstance(e, (t.Name, t.Literal)):
        return e.text, _PRIMARY if not e.text.startswith("-") else _UNARY
    if isinstance(e, t.Binary):
        own = _BINARY[e.op]
        joint = ", " if e.op == "," else f" {e.op} "
        return _operand(e.left, e.op, own) + joint + _operand(e.right, e.op, own + 1), own
    if isinstance(e, t.Unary):
        return _unary(e)
    if isinstance(e, t.Assign):
        return f"{_at(e.target, _UNARY)} {e.op} {_at(e.value, _ASSIGN)}", _ASSIGN
    if isinstance(e, t.Conditional):
        return f"{_at(e.cond, 4)} ? {_at(e.then, _ASSIGN)} : {_at(e.orelse, _ASSIGN)}", 3
    if isinstance(e, t.Call):
        return f"{_at(e.function, _POSTFIX)}({arguments(e.args)})", _POSTFIX
    if isinstance(e, t.Index):
        return f"{_at(e.base, _POSTFIX)}[{expression(e.index)}]", _POSTFIX
    if isinstance(e, t.Member):
        return f"{_at(e.value, _POSTFIX)}{e.op}{e.name}", _POSTFIX
    if isinstance(e, t.Cast):
        return _cast(e)
    if isinstance(e, t.Lambda):
        return _lambda(e), _PRIMARY
    return "".join(p if isinstance(p, str) else _at(p, _ASSIGN) for p in e.parts), _PRIMARY


def _operand(e: t.Expr, op: str, level: int) -> str:
    if isinstance(e, t.Binary) and e.op != op and ((e.op, op) in _CLARIFIED or (op in _BITS and e.op in _BINARY)):
        return f"({expression(e)})"
    return _at(e, level)


def _unary(e: t.Unary) -> tuple[str, int]:
    if e.postfix:
        return _at(e.value, _POSTFIX) + e.op, _POSTFIX
    inner = _at(e.value, _UNARY)
    return e.op + (" " if inner[:1] == e.op[-1:] else "") + inner, _UNARY


def _cast(e: t.Cast) -> tuple[str, int]:
    if e.style == "c":
        return f"({e.type}){_at(e.value, _UNARY)}", _UNARY
    if e.style == "functional":
        return f"{e.type}({expression(e.value)})", _POSTFIX
    return f"{e.style}<{e.type}>({expression(e.value)})", _POSTFIX


def _lambda(e: t.Lambda) -> str:
    head = f"[{e.captures}]({', '.join(parameter(p) for p in e.params)}){f' -> {e.returns}' if e.returns else ''} {{"
    lines = body(e.body)
    return f"{head} {lines[0]} }}" if len(lines) == 1 else "\n".join([head, *("  " + line for line in lines), "}"])


def arguments(args: tuple[t.Expr, ...]) -> str:
    """A comma-separated list."""
    return ", ".join(_at(a, _ASSIGN) for a in args)


def declarator(d: t.Declarator) -> str:
    """`* name[4] = init` without the type."""
    extents = "".join("[]" if e is None else f"[{expression(e)}]" for e in d.extents)
    mark = d.mark + ("" if d.mark.endswith(("*", "&")) or not d.mark else " ")
    text = f"{mark}{d.name}{extents}"
    if d.init is None:
        return text
    init = _at(d.init, _ASSIGN) if d.form == "=" else expression(d.init)
    return text + (f" = {init}" if d.form == "=" else f"({init})" if d.form == "(" else f"{{{init}}}")


def declaration(s: t.Declare) -> str:
    """One declaration without the semicolon; a pointer's star stands with the type when there is one declarator."""
    lead = " ".join([*s.qualifiers, s.type])
    if len(s.declarators) == 1 and s.declarators[0].mark:
        text = declarator(s.declarators[0])
        mark = s.declarators[0].mark.split()[0].rstrip() if s.declarators[0].mark[0] in "*&" else ""
        return lead + mark + " " + text[len(mark) :].lstrip() if mark else f"{lead} {text}"
    return f"{lead} {', '.join(declarator(d) for d in s.declarators)}"


def parameter(p: t.Param) -> str:
    """`const float* __restrict__ x`."""
    if "(" in p.mark:
        return f"{p.type} {p.mark}" + "".join("[]" if e is None else f"[{expression(e)}]" for e in p.extents)
    gap = "" if p.mark.startswith(("*", "&", "...")) else " "
    mark = p.mark + (" " if p.mark else "")
    extents = "".join("[]" if e is None else f"[{expression(e)}]" for e in p.extents)
    return f"{p.type}{gap}{mark}{p.name}{extents}" + (f" = {p.default}" if p.default else "")


def body(statements: t.Body, indent: int = 0) -> list[str]:
    """Lines of a statement list."""
    return [line for s in statements for line in statement(s, indent)]


def statement(s: t.Stmt, indent: int = 0) -> list[str]:
    """Lines of one statement."""
    pad = "  " * indent
    if isinstance(s, t.Declare):
        return [f"{pad}{declaration(s)};"]
    if isinstance(s, t.Evaluate):
        return [f"{pad}{expression(s.value)};"]
    if isinstance(s, t.Return):
        return [f"{pad}return{'' if s.value is None else ' ' + expression(s.value)};"]
    if isinstance(s, (t.Break, t.Continue)):
        return [f"{pad}{'break' if isinstance(s, t.Break) else 'continue'};"]
    if isinstance(s, t.Comment):
        return [pad + line.strip() if i == 0 else pad + " " + line.strip() for i, line in enumerate(s.text.splitlines())]
    if isinstance(s, t.Pragma):
        return [f"{pad}#pragma {s.text}"]
    return _compound(s, pad, indent)


def _compound(s: t.Stmt, pad: str, indent: int) -> list[str]:
    if isinstance(s, t.Block):
        return [f"{pad}{{", *body(s.body, indent + 1), f"{pad}}}"]
    if isinstance(s, t.If):
        return _if(s, pad, indent)
    if isinstance(s, t.DoWhile):
        return [f"{pad}do {{", *body(s.body, indent + 1), f"{pad}}} while ({expression(s.cond)});"]
    if isinstance(s, t.Switch):
        return _switch(s, pad, indent)
    assert isinstance(s, (t.For, t.While)), s
    return _headed(_head(s), s.body, pad, indent)


def _head(s: t.For | t.While) -> str:
    if isinstance(s, t.While):
        return f"while ({expression(s.cond)})"
    init = "" if s.init is None else statement(s.init)[0].rstrip(";")
    cond, step = ("" if e is None else " " + expression(e) for e in (s.cond, s.step))
    return f"for ({init};{cond};{step})"


def _headed(head: str, inner: t.Body, pad: str, indent: int) -> list[str]:
    return [f"{pad}{head} {{", *body(inner, indent + 1), f"{pad}}}"]


def _if(s: t.If, pad: str, indent: int) -> list[str]:
    word = "if constexpr" if s.constexpr else "if"
    head = f"{word} ({expression(s.cond)})"
    if not s.orelse and len(s.then) == 1 and isinstance(s.then[0], (t.Return, t.Break, t.Continue)):
        return [f"{pad}{head} {statement(s.then[0])[0]}"]
    lines = _headed(head, s.then, pad, indent)
    if len(s.orelse) == 1 and isinstance(s.orelse[0], t.If):
        nested = _if(s.orelse[0], pad, indent)
        if len(nested) == 1:
            return [*lines[:-1], f"{pad}}} else {{", "  " + nested[0], f"{pad}}}"]
        return [*lines[:-1], f"{pad}}} else {nested[0].strip()}", *nested[1:]]
    if s.orelse:
        lines = [*lines[:-1], f"{pad}}} else {{", *body(s.orelse, indent + 1), f"{pad}}}"]
    return lines


def _ended(cases: tuple[tuple[t.Expr | None, t.Body], ...]) -> tuple[tuple[t.Expr | None, t.Body], ...]:
    """A label at the end labels a statement."""
    bare = bool(cases) and all(isinstance(x, t.Comment) for x in cases[-1][1])
    return (*cases[:-1], (cases[-1][0], (*cases[-1][1], t.Break()))) if bare else cases


def _switch(s: t.Switch, pad: str, indent: int) -> list[str]:
    seen = [d for i, (_, inner) in enumerate(s.cases) if _starts(inner) for d in inner if _is_seen(d, s.cases[i + 1 :])]
    if seen:  # by cases that the braces below would hide them from
        cases = tuple((label, tuple(x for x in inner if not any(x is d for d in seen))) for label, inner in s.cases)
        return [f"{pad}{{", *body(tuple(seen), indent + 1), *_switch(replace(s, cases=cases), f"{pad}  ", indent + 1), f"{pad}}}"]
    lines = [f"{pad}switch ({expression(s.value)}) {{"]
    for label, inner in _ended(s.cases):
        head = f"{pad}  {'default' if label is None else 'case ' + expression(label)}:"
        lines += [head + " {", *body(inner, indent + 2), f"{pad}  }}"] if _starts(inner) else [head, *body(inner, indent + 2)]
    return [*lines, f"{pad}}}"]


def _starts(inner: t.Body) -> bool:
    """Whether a case gives variables their first value: no jump may pass it."""
    return any(isinstance(x, t.Declare) and any(d.init is not None for d in x.declarators) for x in inner)


def _is_seen(s: t.Stmt, cases: tuple[tuple[t.Expr | None, t.Body], ...]) -> bool:
    if not isinstance(s, t.Declare) or any(d.init is not None for d in s.declarators):
        return False
    return not t.names(tuple(x for _, inner in cases for x in inner)).isdisjoint(d.name for d in s.declarators)
