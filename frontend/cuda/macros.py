"""Macros that the rules must see through. CUDA text comes in; the same text, line by line, with their uses written out goes out.

Written out are, in device functions, macros that ask for the thread's place, synchronise, are statements (`CUDA_KERNEL_LOOP(i, n)`), change what
they are given or take its address (`FLOAT4(x)`), and everywhere macros that launch. Others stay as they are: the C++ compiler knows them. Macros that join or quote their arguments are never touched.
What only a GPU could read (launches, places, barriers) goes from the definitions, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DEEPEST = 8
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(\(([^()\n]*)\))?[ \t]*((?:\\\n|[^\n])*)", re.M)
_SKIPPED = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)
_KERNEL_LOOP = "for (int {0} = blockIdx.x * blockDim.x + threadIdx.x; {0} < ({1}); {0} += blockDim.x * gridDim.x)"
_PLACES = re.compile(r"\b(?:threadIdx|blockIdx|blockDim|gridDim|__sync\w+|__shfl\w*|__ballot\w*|__any_sync|__all_sync|__shared__)\b")
_STATEMENT = re.compile(r"[;{}]|\b(?:for|if|while|do|return)\b")
_CHANGE = re.compile(r"\+\+|--|(?<![=!<>])=(?!=)|(?:<<|>>)=|(?:^|[(,=?:+\-*/!~<>|^\[])\s*&(?!&)")


@dataclass(frozen=True)
class Macro:
    """`params` None: a macro without parentheses."""

    name: str
    params: tuple[str, ...] | None
    body: str


def expanded(source: str) -> str:
    """The text with those macros written out."""
    macros = {m.name: m for m in _macros(source)}
    if "CUDA_KERNEL_LOOP" in source and "CUDA_KERNEL_LOOP" not in macros:  # ATen's
        macros["CUDA_KERNEL_LOOP"] = Macro("CUDA_KERNEL_LOOP", ("i", "n"), _KERNEL_LOOP.format("i", "n"))
    launching = _closure(macros, lambda m: "<<<" in m.body)
    placed = _closure(macros, lambda m: bool(_PLACES.search(m.body)))
    inside = placed | _closure(macros, lambda m: m.params is not None and bool(_STATEMENT.search(m.body) or _CHANGE.search(m.body)))
    if not launching | inside:
        return source
    spans = list(_device_code(source))
    defined = [m.span() for m in _DEFINE.finditer(source)]
    text = _written(source, macros, launching, inside, spans, defined)
    return _DEFINE.sub(lambda m: "\n" * m.group().count("\n") if m[1] in launching | placed else m.group(), text)


def _macros(source: str) -> Iterator[Macro]:
    for m in _DEFINE.finditer(source):
        body = re.sub(r"\\\n", " ", _SKIPPED.sub(lambda s: " " if s.group()[0] == "/" else s.group(), m[4])).strip()
        if "#" not in body and "..." not in (m[3] or ""):
            params = None if m[2] is None else tuple(p.strip() for p in m[3].split(",") if p.strip())
            yield Macro(m[1], params, body)


def _closure(macros: dict[str, Macro], wanted) -> set[str]:
    """The macros whose text is wanted, and those that use them."""
    found = {m.name for m in macros.values() if wanted(m)}
    while True:
        more = {m.name for m in macros.values() if m.name not in found and found & set(re.findall(r"\w+", m.body))}
        if not more:
            return found
        found |= more


def _device_code(source: str) -> Iterator[tuple[int, int]]:
    """From each `__global__` or `__device__` to the end of the function's body."""
    blank = _SKIPPED.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), source)
    stop = 0
    for m in re.finditer(r"\b__(?:global|device)__\b", blank):
        if m.start() < stop:
            continue
        start = next((i for i in range(m.end(), len(blank)) if blank[i] in "{;"), len(blank))
        if start < len(blank) and blank[start] == "{":
            stop = closing(blank, start) + 1
            yield m.start(), stop


def closing(text: str, start: int) -> int:
    """The place of the bracket that closes the one at `start`; the end of the text without one."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return i
    return len(text)


def _written(source: str, macros: dict[str, Macro], launching: set[str], inside: set[str], spans: list, defined: list) -> str:
    out, at = [], 0
    for m in re.finditer(rf"{_SKIPPED.pattern}|\b[A-Za-z_]\w*\b", source, re.S):
        name = m.group()
        if m.start() < at or name not in launching | inside or any(a <= m.start() < b for a, b in defined):
            continue
        if name not in launching and not any(a <= m.start() < b for a, b in spans):
            continue
        made = _use(source, m.start(), m.end(), macros, launching | inside, 0)
        if made is not None:
            text, stop = made
            out += [source[at : m.start()], text, "\n" * source.count("\n", m.start(), stop)]
            at = stop
    return "".join([*out, source[at:]])


def _use(text: str, start: int, stop: int, macros: dict[str, Macro], chosen: set[str], depth: int) -> tuple[str, int] | None:
    """What a use stands for, and where it ends; None where it is no use (a macro with parameters without its parentheses)."""
    macro = macros[text[start:stop]]
    values: list[str] = []
    if macro.params is not None:
        opened = re.compile(r"\s*\(").match(text, stop)
        if opened is None:
            return None
        close = closing(text, opened.end() - 1)
        values = [v.strip() for v in _split(text[opened.end() : close])]
        stop = close + 1
        if len(values) != len(macro.params) and not (not macro.params and values == [""]):
            return None
    given = dict(zip(macro.params or (), values))
    body = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: given.get(m.group(), m.group()), macro.body)
    return (_again(body, macros, chosen, depth + 1) if depth < _DEEPEST else body), stop


def _again(body: str, macros: dict[str, Macro], chosen: set[str], depth: int) -> str:
    """Macros inside what a macro stands for."""
    out, at = [], 0
    for m in re.finditer(r"\b[A-Za-z_]\w*\b", body):
        made = _use(body, m.start(), m.end(), macros, chosen, depth) if m.start() >= at and m.group() in chosen else None
        if made is not None:
            out += [body[at : m.start()], made[0]]
            at = made[1]
    return "".join([*out, body[at:]])


def _split(text: str) -> list[str]:
    """Arguments, split at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]
