"""Prints a program with what a step changed highlighted: the programs before and after each step come in, coloured lines go out.

Lines that the step made are green with `+`, lines that it took away red with `-`; without a terminal the marks remain.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from ..ir.diagnostic import WarploomError
from ..ir.kernel import Program
from ..ir.text import print_program
from ..passes.schedule.script import Script, print_step

_STYLE = {"+": "bold green", "-": "red strike", " ": ""}


class NoStep(WarploomError):
    """The kernel has fewer steps than that. Leave the number out to see the last one."""

    code = "WL-E063"


def show(programs: Sequence[Program], steps: Script, number: int | None = None, console: Console | None = None) -> None:
    """Print the last program, or what step `number` (from 0; negative ones from the end) made. Raises NoStep."""
    console = console or Console(highlight=False)
    if number is not None and not -len(steps) <= number < len(steps):
        raise NoStep(f"there is no step {number}", hint=f"this kernel has {len(steps)} steps")
    at = (len(steps) - 1 if number is None else number) % max(1, len(steps))
    if not steps:
        console.print(_lines((" ", line) for line in print_program(programs[0]).splitlines()), soft_wrap=True)
        return
    console.print(Text(f"# step {at}: {print_step(steps[at])}", "bold cyan"))
    console.print(_lines(changes(programs[at], programs[at + 1])), soft_wrap=True)


def changes(before: Program, after: Program) -> Iterator[tuple[str, str]]:
    """(mark, line) pairs: " " kept, "-" gone, "+" new."""
    old, new = (print_program(p).splitlines() for p in (before, after))
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            yield from ((" ", line) for line in new[c:d])
        else:
            yield from (("-", line) for line in old[a:b])
            yield from (("+", line) for line in new[c:d])


def _lines(marked: Iterator[tuple[str, str]]) -> Text:
    out = Text(no_wrap=True, overflow="ignore")
    for mark, line in marked:
        out.append(f"{mark} {line}\n", _STYLE[mark])
    out.rstrip()
    return out
