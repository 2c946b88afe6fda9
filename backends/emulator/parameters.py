"""Whether a kernel leaves its parameters as they are. A kernel's tokens come in; where the answer is yes, its threads can share them."""

from __future__ import annotations

from .tokens import Code

_BEFORE = frozenset(("&", "++", "--", "&&"))  # an address, a step, a reference
_BEHIND = frozenset(["[", ";", ")", ",", "]", "}", "?", ":", "+", "-", "*", "/", "%", "<", ">", "<=", ">=", "==", "!=", "&&", "||", "&", "|", "^", "->"])
_LISTS = frozenset(("(", "{", "<"))


def kept(code: Code, first: int, close: int, body: int, end: int) -> bool:
    """Whether the body at `body:end` surely changes no parameter of those at `first:close`. What it calls may take references: a parameter that
    is an argument by itself counts as changed."""
    pointers = _pointers(code, first, close)
    if not pointers or any(code.text(i) in ("...", "asm") or _refers(code, i) for i in range(first, end)) or pointers.keys() & _in_macros(code):
        return False
    used = (i for i in range(body, end) if code.text(i) in pointers and code.text(i - 1) not in (".", "->", "::"))
    return all(_is_read(code, i) and (pointers[code.text(i)] or code.text(i + 1) != "[") for i in used)


def _pointers(code: Code, first: int, close: int) -> dict[str, bool]:
    """The parameters' names, and whether each is a pointer; none at all where one has no name."""
    found: dict[str, bool] = {}
    depth, last, pointer = 0, "", False
    for i in range(first, close + 1):
        word = code.text(i)
        if i == close or (word == "," and depth == 0):
            found[last] = pointer
            last, pointer = "", False
        depth += (word in _LISTS) - (word in (")", "}", ">"))
        pointer |= word == "*"
        if depth == 0 and code.is_name(i) and not last and code.text(i + 1) in (",", ")", "=", "["):
            last = word
    return {} if "" in found else found


def _refers(code: Code, i: int) -> bool:
    """Whether a reference is declared here: `int& r = n`."""
    return code.text(i) in ("&", "&&") and code.is_name(i + 1) and code.text(i + 2) in ("=", "{", "(", ":")


def _in_macros(code: Code) -> set[str]:
    words: set[str] = set()
    for i in range(len(code.at)):
        if code.text(i) == "#" and code.text(i + 1) == "define":
            words |= code.names(i + 2, code.directive_end(i))
    return words


def _is_read(code: Code, i: int) -> bool:
    before, behind = code.text(i - 1), code.text(i + 1)
    if before in _BEFORE or behind not in _BEHIND or (behind in ("<", ">") and code.text(i + 2) == f"{behind}="):
        return False
    return not (before in ("(", ",", "{") and behind in (")", ",", "}")) or (before == "(" and code.text(i - 2) == ">")
