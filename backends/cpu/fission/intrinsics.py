"""CUDA's rarer functions for generated C++, as the emulator defines them (`__brev`, `__double_as_longlong`, `normcdf`). Names come in, C++ goes out."""

from __future__ import annotations

import re
from functools import cache

from ....frontend.cuda.macros import closing
from ...emulator.unit import include_folder

_HEAD = re.compile(r"^(?:template <[^>\n]*>\s*)?inline [\w:&* ]*?\b(\w+)\(", re.M)
_CONVERT = re.compile(r"^WL_CONVERT\((\w+), ([\w ]+), ([\w ]+)\)$", re.M)
_ROUNDINGS = {"rn": "rint", "rz": "trunc", "ru": "ceil", "rd": "floor"}


def intrinsics(names: set[str], there: frozenset[str] = frozenset()) -> str:
    """The definitions of those among `names` that the emulator has, each after what it calls; "" for none. `there`: helpers that the text has."""
    known = {name: texts for name, texts in _functions().items() if name not in there}
    needed: dict[str, None] = {}

    def need(name: str) -> None:
        if name not in needed and name in known:
            for word in re.findall(r"\w+", " ".join(known[name])):
                if word != name:
                    need(word)
            needed.setdefault(name)

    for name in sorted(names & _callable()):
        need(name)
    return "".join(f"namespace wl {{\n{text}\n}}\n" if name in _helpers() else f"{text}\n" for name in needed for text in known[name])


@cache
def _source() -> tuple[str, str]:
    """The header's inner namespace and what follows it."""
    text = (include_folder() / "warploom/math.h").read_text()
    expanded = _CONVERT.sub(
        lambda m: "\n".join(f"inline {m[3]} {m[1]}_{mode}({m[2]} v) {{ return wl::saturated<{m[3]}>({how}(v)); }}" for mode, how in _ROUNDINGS.items()), text
    )
    inside, outside = [], []
    at = 0
    for m in re.finditer(r"^namespace wl \{(.*?)^\}\s*// namespace wl$", expanded, re.S | re.M):
        outside.append(expanded[at : m.start()])
        inside.append(m[1])
        at = m.end()
    return "\n".join(inside), "\n".join([*outside, expanded[at:]])


def _definitions(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for m in _HEAD.finditer(text):
        end = closing(text, text.index("{", m.end())) + 1
        found.setdefault(m[1], []).append(text[m.start() : end])
    return found


@cache
def _helpers() -> dict[str, list[str]]:
    return _definitions(_source()[0])


@cache
def _callable() -> frozenset[str]:
    return frozenset(_definitions(_source()[1]))


@cache
def _functions() -> dict[str, list[str]]:
    return {**_definitions(_source()[1]), **_helpers()}
