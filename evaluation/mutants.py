"""Honest C and C++ kernels come in, broken ones go out, each by one small change of its text: what a judge must not let pass.

A change that alters nothing (the start of a maximum that begins at the first element anyway) is possible and shows up among those that pass;
the list of them is short enough to read.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .candidate import Candidate

_LOOP = re.compile(r"for \((?:int|long|size_t) (\w+) = ([^;]+); \1 (<=?|>=?) ([^;]+?); (\1\+\+|\1--|\1 \+= \w+|\1 \*= 2)\)")
_LOAD = re.compile(r"(?<![\w.>\]])(\w+)\[((?:[^\[\]]|\[[^\[\]]*\])+)\](?!\s*(?:=[^=]|\+=|-=|\*=|/=|\[))")
_LOCAL = re.compile(r"(?<=[;{\n])(\s*)((?:float|double) \w+(?:\[[^\]]*\])* = )")
_ACCUMULATION = re.compile(r"(\+=)")
_WEAKER = {
    "bf16": "static float weaker(float x) { unsigned u; __builtin_memcpy(&u, &x, 4); u = (u + 0x8000) & 0xffff0000u; __builtin_memcpy(&x, &u, 4); return x; }",
    "tf32": "static float weaker(float x) { unsigned u; __builtin_memcpy(&u, &x, 4); u = (u + 0x1000) & ~0x1fffu; __builtin_memcpy(&x, &u, 4); return x; }",
    "fp16": "static float weaker(float x) { return (float)(_Float16)x; }",
}


@dataclass(frozen=True)
class Mutant:
    """A changed kernel: what was changed, in words, and the candidate."""

    change: str
    candidate: Candidate


def mutants(candidate: Candidate) -> Iterator[Mutant]:
    """All single changes of one kernel."""
    for name, make in _CHANGES.items():
        for number, text in enumerate(make(_body(candidate.source))):
            yield Mutant(name, Candidate(f"{candidate.name}:{name}:{number}", candidate.language, text))


def sample(candidates: list[tuple[str, Candidate]], count: int, seed: int) -> list[tuple[str, Mutant]]:
    """`count` mutants of (task, kernel) pairs, drawn evenly over the kinds of change."""
    rng, by_change = random.Random(seed), {}
    for task, candidate in candidates:
        for mutant in mutants(candidate):
            by_change.setdefault(mutant.change, []).append((task, mutant))
    for group in by_change.values():
        rng.shuffle(group)
    drawn: list[tuple[str, Mutant]] = []
    while len(drawn) < count and any(by_change.values()):
        drawn += [group.pop() for group in by_change.values() if group]
    return drawn[:count]


def _body(source: str) -> str:
    """Without comments, so that no change falls into one."""
    return re.sub(r"//[^\n]*", "", source)


def _replaced(pattern: re.Pattern, text: str, make: Callable[[re.Match], str | None]) -> Iterator[str]:
    """The text with one match exchanged, for each match."""
    for match in pattern.finditer(text):
        new = make(match)
        if new is not None and new != match.group(0):
            yield text[: match.start()] + new + text[match.end() :]


def _loops(make: Callable[[str, str, str, str, str], str | None]) -> Callable[[str], Iterator[str]]:
    return lambda text: _replaced(_LOOP, text, lambda m: make(*m.groups()))


def _header(name: str, start: str, relation: str, stop: str, step: str) -> str:
    return f"for (long {name} = {start}; {name} {relation} {stop}; {step})"


def _weaker(text: str) -> Iterator[str]:
    inputs = {m.group(1) for m in re.finditer(r"const float\s*\*\s*(\w+)", text)}
    for definition in _WEAKER.values():
        for changed in _replaced(_LOAD, text, lambda m: f"weaker({m.group(0)})" if m.group(1) in inputs else None):
            yield definition + "\n" + changed


_CHANGES: dict[str, Callable[[str], Iterator[str]]] = {
    "last term dropped": _loops(lambda n, a, r, b, s: _header(n, a, r, f"({b}) - 1", s) if r[0] == "<" else None),
    "first term dropped": _loops(lambda n, a, r, b, s: _header(n, f"({a}) + 1", r, b, s) if r[0] == "<" else None),
    "half skipped": _loops(lambda n, a, r, b, s: _header(n, a, r, f"({b}) / 2", s) if r[0] == "<" else None),
    "tile skipped": _loops(
        lambda n, a, r, b, s: _header(n, a, r, b, s) + f" if ({n} / 16 != 2)" if r[0] == "<" and s.endswith("++") else None
    ),
    "every other one": _loops(lambda n, a, r, b, s: _header(n, a, r, b, f"{n} += 2") if s.endswith("++") else None),
    "one too many": _loops(lambda n, a, r, b, s: _header(n, a, r, f"({b}) + 1", s) if r[0] == "<" else None),
    "index shifted": lambda text: _replaced(_LOAD, text, lambda m: f"{m.group(1)}[({m.group(2)}) + 1]"),
    "index back": lambda text: _replaced(_LOAD, text, lambda m: f"{m.group(1)}[({m.group(2)}) - 1]"),
    "always the first": lambda text: _replaced(_LOAD, text, lambda m: f"{m.group(1)}[0]"),
    "stale local": lambda text: _replaced(_LOCAL, text, lambda m: f"{m.group(1)}static {m.group(2)}"),
    "sum overwritten": lambda text: _replaced(_ACCUMULATION, text, lambda m: "="),
    "sum negated": lambda text: _replaced(_ACCUMULATION, text, lambda m: "-="),
    "maximum and minimum exchanged": lambda text: _replaced(re.compile(r"\bmax\("), text, lambda m: "min("),
    "constant changed": lambda text: _replaced(re.compile(r"\b1e-5f?\b"), text, lambda m: "1e-4f"),
    "weaker type": _weaker,
    "half accumulator": lambda text: _replaced(
        re.compile(r"\bfloat (?=s\b|s\[|acc\[|mean\b|var\b)"), text, lambda m: "_Float16 "
    ),
}
