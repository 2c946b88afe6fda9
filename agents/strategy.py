"""A strategy: what is slow, what is done about it, what that should bring, and the decisions, script or code that do it.

Text comes in, a `Strategy` goes out, and back: `parse_strategy(print_strategy(s)) == s`. Its words are held against what the program does
in `agents.evolve.features`.

    strategy tall-tiles
      class: contract
      bottleneck: compute: 61% of the time is arithmetic below peak
      transformation: tiles of 12 rows by 2 vectors, operands read where they lie
      expected: 1.20
      needs: rows >= 12
      choose pack_columns matmul = 0
      choose matmul/tile_rows = 12
      script matmul: split(i, 12); bind(i1, unroll)
      code c++
        | extern "C" void kernel(const float* a, float* out) {}
      evidence: matmul_tall 1.310 run 5f0c2a on AMD EPYC
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..ir.diagnostic import ParseError, Place

GRAPH_MARK, ANY = "/", "@"
LANGUAGES = ("c++", "python", "cuda")


def languages(isa: str) -> tuple[str, ...]:
    """What free code for a machine may be written in; Python holds Triton kernels where the target is Triton."""
    return {"cuda": ("cuda",), "triton": ("python",)}.get(isa, ("c++", "python"))




@dataclass(frozen=True)
class Evidence:
    """Where the strategy helped: `speedup` over the default schedule; `run` names the run that earned it (empty: a prior, which counts in
    no claim)."""

    problem: str
    speedup: float
    run: str = ""
    machine: str = ""


@dataclass(frozen=True)
class Strategy:
    """`kind`: the class of kernel (`fuse.Group.kind`) that it is about. `choices`: `decision NODE` of the graph's passes or
    `KERNEL/decision` of a sketch -> value, where `@` stands for any node and `@contract` for any kernel of that class. `scripts`: kernel ->
    a script that replaces its sketch. `code`: free code instead of all that, in `language`."""

    name: str
    kind: str = ""
    bottleneck: str = ""
    transformation: str = ""
    expected: float = 1.0
    needs: tuple[str, ...] = ()
    choices: tuple[tuple[str, int], ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    language: str = ""
    code: str = ""
    evidence: tuple[Evidence, ...] = ()

    @property
    def plan(self) -> tuple[object, ...]:
        """What it does, without words: equal for strategies that make the same program."""
        return self.choices, self.scripts, self.language, self.code

    def with_choices(self, choices: dict[str, int]) -> Strategy:
        """The same strategy with these decisions, in the order of their names."""
        return replace(self, choices=tuple(sorted(choices.items())))


def print_strategy(s: Strategy) -> str:
    """Text of a strategy."""
    lines = [f"strategy {one_line(s.name)}"]
    for key, value in (("class", s.kind), ("bottleneck", s.bottleneck), ("transformation", s.transformation)):
        if value:
            lines.append(f"  {key}: {one_line(value)}")
    if s.expected != 1.0:
        lines.append(f"  expected: {s.expected:g}")
    lines += [f"  needs: {one_line(n)}" for n in s.needs]
    lines += [f"  choose {name} = {value}" for name, value in s.choices]
    lines += [f"  script {kernel}: {one_line(script)}" for kernel, script in s.scripts]
    if s.code:
        lines += [f"  code {s.language}", *(f"    | {line}" for line in s.code.split("\n"))]
    lines += [
        f"  evidence: {one_line(e.problem)} {e.speedup:g} run {e.run or '-'} on {one_line(e.machine) or '-'}" for e in s.evidence
    ]
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """The text with white space made single spaces."""
    return " ".join(text.split())


def parse_strategy(text: str) -> Strategy:
    """One strategy. Raises ParseError with the line underlined."""
    found = parse_strategies(text)
    if len(found) != 1:
        raise ParseError(f"expected one strategy, found {len(found)}", hint="begin with `strategy NAME`", place=Place(text, 0))
    return found[0]


def parse_strategies(text: str) -> list[Strategy]:
    """All strategies of a text. Raises ParseError."""
    out: list[_Reading] = []
    for number, line in enumerate(text.split("\n")):
        bare = line.strip()
        if line.startswith("    |") and out:
            out[-1].code.append(line[6:] if line.startswith("    | ") else line[5:])
        elif bare.startswith("strategy "):
            out.append(_Reading(Strategy(bare.removeprefix("strategy ").strip()), [], []))
        elif bare and not bare.startswith("#"):
            if not out:
                raise ParseError("expected `strategy NAME`", place=Place(text, number))
            out[-1].take(bare, text, number)
    return [r.done() for r in out]


@dataclass
class _Reading:
    strategy: Strategy
    code: list[str]
    choices: list[tuple[str, int]]

    def take(self, line: str, text: str, number: int) -> None:
        s = self.strategy
        if m := re.fullmatch(r"choose ([\w@#/. -]{1,200}?) = (-?\d{1,6})", line):
            self.choices.append((m[1], int(m[2])))
        elif m := re.fullmatch(r"script ([\w@#]{1,100}): (.*)", line):
            self.strategy = replace(s, scripts=(*s.scripts, (m[1], m[2])))
        elif m := re.fullmatch(r"code (\S+)", line):
            if m[1] not in LANGUAGES:
                raise ParseError(f"no language {m[1]!r}", hint="one of " + ", ".join(LANGUAGES), place=Place(text, number))
            self.strategy = replace(s, language=m[1])
        elif m := re.fullmatch(r"expected: (\d+(?:\.\d+)?)x?", line):
            self.strategy = replace(s, expected=float(m[1]))
        elif m := re.fullmatch(r"evidence: (.+) (\d+(?:\.\d+)?(?:e-?\d+)?) run (\S+) on (.*)", line):
            seen = Evidence(m[1], float(m[2]), "" if m[3] == "-" else m[3], "" if m[4] == "-" else m[4])
            self.strategy = replace(s, evidence=(*s.evidence, seen))
        elif m := re.fullmatch(r"(class|bottleneck|transformation|needs): (.+)", line):
            value = (*s.needs, m[2]) if m[1] == "needs" else m[2]
            self.strategy = replace(s, **{"kind" if m[1] == "class" else m[1]: value})
        else:
            hint = "lines: class, bottleneck, transformation, expected, needs, choose NAME = N, script KERNEL: .., code LANGUAGE, evidence"
            raise ParseError("this is no line of a strategy", hint=hint, place=Place(text, number))

    def done(self) -> Strategy:
        return replace(self.strategy, choices=tuple(sorted(dict(self.choices).items())), code="\n".join(self.code))


def merged(name: str, parts: Iterable[tuple[str, int]]) -> Strategy:
    """A strategy of decisions alone."""
    return Strategy(name).with_choices(dict(parts))
