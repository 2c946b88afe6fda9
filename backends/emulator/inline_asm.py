"""`asm` statements of CUDA. A tokenized source comes in; in it each PTX statement becomes the C++ that `ptx` makes of it, on the same lines."""

from __future__ import annotations

import ast

from ...frontend.cuda.ptx import plain_statement
from . import ptx
from .tokens import Code

ASM = frozenset(("asm", "__asm__", "__asm"))
_QUALIFIERS = frozenset(("volatile", "__volatile__", "__volatile"))


def rewrite_asm(code: Code) -> bool:
    """Whether there was PTX. What is not PTX (the host's own assembly) stays."""
    found = False
    for i in range(len(code.at)):
        if code.text(i) not in ASM:
            continue
        start = i + 1
        while code.text(start) in _QUALIFIERS:
            start += 1
        if code.text(start) == "(":
            found |= _rewrite_one(code, i, start, code.find_close(start))
    return found


def _rewrite_one(code: Code, i: int, start: int, close: int) -> bool:
    parts = _parts(code, start + 1, close)
    text = _text(code, *parts[0])
    if not ptx.is_ptx(text):
        return False
    operands = [x for part in parts[1:3] for x in _operands(code, *part)]
    made = ptx.statement(text, operands)
    if ptx.UNKNOWN in made and (plain := plain_statement(text, [(x.name, x.constraint, x.value) for x in operands])) is not None:
        made = f"do {{ {plain} }} while (0)"
    code.erase(i, close + 1)
    code.at[i].text = made
    return True


def _parts(code: Code, start: int, stop: int) -> list[tuple[int, int]]:
    """The ranges of text, outputs, inputs and clobbers, which colons part."""
    out, begin, at = [], start, start
    while at < stop:
        word = code.text(at)
        if word in ("(", "[", "{"):
            at = code.find_close(at)
        elif word in (":", "::"):
            out.append((begin, at))
            out += [(at, at)] if word == "::" else []
            begin = at + 1
        at += 1
    return [*out, (begin, stop)]


def _text(code: Code, start: int, stop: int) -> str:
    """The string that the literals make together."""
    return "".join(_literal(code.text(k)) for k in range(start, stop) if code.at[k].kind == "string")


def _literal(text: str) -> str:
    if text.startswith('R"'):
        fence = text[2 : text.index("(")]
        return text[3 + len(fence) : -2 - len(fence)]
    try:
        return str(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        return text[1:-1]


def _operands(code: Code, start: int, stop: int) -> list[ptx.Operand]:
    """`[name] "constraint" (value)`, at each comma."""
    out: list[ptx.Operand] = []
    name, at = "", start
    while at < stop:
        if code.text(at) == "[":
            name, at = code.text(at + 1), at + 2
        elif code.at[at].kind == "string" and code.text(at + 1) == "(":
            close = code.find_close(at + 1)
            out.append(ptx.Operand(_literal(code.text(at)), code.words(at + 1, close + 1), name))
            name, at = "", close
        at += 1
    return out
