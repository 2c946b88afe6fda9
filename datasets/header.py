"""The part of the CPU printer's headers that a source needs, for one instruction set. The source's text comes in, the header's goes out.

A record must compile by itself and should show a reader no more than it uses: conditionals are decided, declarations that nothing names are
left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..backends.cpu.build import HEADERS, INCLUDE

KNOWN = {"__AVX2__": 1, "__FMA__": 1, "__F16C__": 1, "__x86_64__": 1, "WL_AVX2": 1, "WL_LANES": 8}
"""Macros of x86-64-v3, which every record is made for; all others are undefined."""
_SYSTEM = {
    "immintrin.h": r"\b_mm|__m128|__m256|\b_cvt", "omp.h": r"\bomp_", "cmath": r"\bstd::|INFINITY|NAN\b|\b(?:l?gamma|erf|exp|log|pow|tan|a?sinh?|a?cosh?)",
    "cstdint": r".", "limits": r"numeric_limits", "type_traits": r"std::(?:is|remove|enable|conditional|declval)", "utility": r"std::declval",
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Item:
    """A declaration or directive with the comment above it: the names it makes, the names it uses."""

    text: str
    makes: frozenset[str]
    uses: frozenset[str]


def needed(source: str) -> str:
    """Includes, then the declarations that `source` needs, in namespace wl."""
    items = _items()
    by_name: dict[str, list[int]] = {}
    for n, item in enumerate(items):
        for name in item.makes:
            by_name.setdefault(name, []).append(n)
    kept: set[int] = set()
    waiting = list(set(_WORD.findall(source)))
    seen = set(waiting)
    while waiting:
        for n in by_name.get(waiting.pop(), ()):
            if n not in kept:
                kept.add(n)
                waiting += [w for w in items[n].uses if w not in seen]
                seen |= items[n].uses
    body = "\n".join(items[n].text for n in sorted(kept))
    whole = body + source
    includes = [f"#include <{name}>" for name, use in _SYSTEM.items() if re.search(use, whole)]
    pragmas = ['#pragma GCC diagnostic ignored "-Wpsabi"'] if "vector_size" in body else []
    return "\n".join([*includes, *pragmas, "", *(["namespace wl {", "", body, "", "}  // namespace wl", ""] if kept else [])])


@cache
def _items() -> tuple[Item, ...]:
    lines = [line for name in HEADERS for line in _decided((INCLUDE / name).read_text())]
    out: list[Item] = []
    current: list[str] = []
    for line in lines:
        if not current and not line.strip():
            continue
        current.append(line)
        if _complete(current):
            text = "\n".join(current)
            if not re.fullmatch(r"\s*(?:namespace wl \{|\}  // namespace wl|//[^\n]*\s*)", text):
                out.append(_item(text))
            current = []
    return tuple(out)


def _complete(lines: list[str]) -> bool:
    """Whether the lines are whole declarations or directives."""
    last = lines[-1].strip()
    code = re.sub(r'//[^\n]*|"(?:\\.|[^"\\])*"', "", "\n".join(lines))
    if last.startswith("//"):
        return last.startswith("// ---") or last == "//"
    if code.strip().startswith("#") or re.match(r"\s*(?:namespace wl \{|\}\s*$)", code):
        return not last.endswith("\\")
    balanced = code.count("{") == code.count("}") and code.count("(") == code.count(")")
    end = re.sub(r"\s*//.*$", "", last)
    return balanced and (end.endswith((";", "}")) or bool(re.match(r"WL_[A-Z_0-9]+\(.*\)$", end)))


def _item(text: str) -> Item:
    code = re.sub(r"//[^\n]*", "", text)
    words = frozenset(_WORD.findall(code))
    return Item(text, _makes(code.strip()), words)


def _makes(code: str) -> frozenset[str]:
    if found := re.match(r"#define\s+(\w+)", code):
        return frozenset({found[1]})
    if found := re.match(r"using WL_JOIN\((\w+), WL_LANES\)", code):
        return frozenset({f"{found[1]}x{KNOWN['WL_LANES']}"})
    if found := re.match(r"(WL_[A-Z_0-9]+)\((.*)\)", code, re.DOTALL):
        return frozenset(_WORD.findall(found[2])[:1])
    code = re.sub(r"^template\s*<(?:[^<>]|<[^<>]*>)*>\s*", "", code)
    if found := re.match(r"(?:struct|class|enum)\s+(\w+)", code):
        return frozenset({found[1]})
    if found := re.match(r"typedef\b.*?(\w+)\s*(?:__attribute__.*)?;", code, re.DOTALL):
        return frozenset({found[1]})
    if found := re.match(r"using\s+(\w+)", code):
        return frozenset({found[1]})
    if found := re.match(r"(?:static\s+)?(?:inline\s+)?constexpr\s+(?:unsigned\s+)?[\w:<>]+\s+(\w+)\s*(?:\[[^\]]*\]\s*)?=", code):
        return frozenset(re.findall(r"(\w+)\s*(?:\[[^\]]*\]\s*)?=", code))
    if "operator" in code.split("{")[0]:
        return frozenset({re.search(r"\(\s*(\w+)", code)[1]})  # type: ignore[index]
    head = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", code)
    found = re.search(r"(\w+)\s*\(", head)
    return frozenset({found[1]}) if found else frozenset(_WORD.findall(head))


# ------------------------------------------------------------------------------------------------ conditionals
def _decided(text: str) -> list[str]:
    """The lines that the preprocessor would keep for KNOWN."""
    out: list[str] = []
    stack: list[tuple[bool, bool]] = []  # (this branch is kept, some branch was)
    for line in text.splitlines():
        word = re.match(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)", line)
        if word is None:
            if all(kept for kept, _ in stack):
                out.append(line)
            continue
        kind, rest = word[1], word[2].strip()
        if kind == "endif":
            stack.pop()
        elif kind in ("else", "elif"):
            _, done = stack.pop()
            now = not done and (kind == "else" or _holds(rest))
            stack.append((now, done or now))
        else:
            now = _holds(rest) if kind == "if" else (rest in KNOWN) == (kind == "ifdef")
            stack.append((now, now))
    start = next(n for n, line in enumerate(out) if not line.startswith("//"))
    return [line for line in out[start:] if not re.match(r"\s*#\s*(?:include|pragma)\b", line)]


def _holds(condition: str) -> bool:
    """`defined(A) && defined(B)`, `NAME` or `NAME == number`."""
    return all(_one(part.strip()) for part in condition.split("&&"))


def _one(part: str) -> bool:
    if found := re.fullmatch(r"defined\(?\s*(\w+)\s*\)?", part):
        return found[1] in KNOWN
    if found := re.fullmatch(r"(\w+)\s*==\s*(\d+)", part):
        return KNOWN.get(found[1]) == int(found[2])
    return bool(KNOWN.get(part))
