"""A run as it goes: what the search says comes in, a live table on a terminal or plain lines elsewhere go out, all on stderr."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .board import Board
from .search import Listener, Outcome
from .state import State


def listener(quiet: bool, budget_s: float) -> Listener:
    """Live on a terminal, else plain lines."""
    console = Console(stderr=True, highlight=False)
    return LiveView(console, budget_s) if console.is_terminal and not quiet else Lines(console)


class Lines(Listener):
    """One line a generation."""

    def __init__(self, console: Console):
        self.console = console

    def started(self, board: Board, floor_s: float) -> None:
        ms = 1e3 * sum(board.default.kernels)
        self.console.print(f"default schedule: {ms:.3f} ms, floor {1e3 * floor_s:.3f} ms; " + "; ".join(b.words() for b in board.bottlenecks[:2]))

    def generation(self, board: Board, outcome: Outcome, state: State) -> None:
        best = board.best
        self.console.print(
            f"[{state.seconds:6.1f} s] generation {board.generation}: {outcome.evaluations} evaluations, {len(board.refused)} refused, "
            f"best {1 / best.ratio:.3f}x the default ({best.operator}: {best.candidate.strategy.name[:60]})"
        )

    def said(self, line: str) -> None:
        self.console.print("  " + line, markup=False)


class LiveView(Lines):
    """A table that is redrawn: the best against default and roofline, what was tried, what was refused and why."""

    def __init__(self, console: Console, budget_s: float):
        super().__init__(console)
        self.budget_s, self.floor_s, self.lines = budget_s, 0.0, []
        self.live = Live(console=console, refresh_per_second=4, transient=False)

    def started(self, board: Board, floor_s: float) -> None:
        self.floor_s = floor_s
        self.live.start()

    def generation(self, board: Board, outcome: Outcome, state: State) -> None:
        self.live.update(table(board, outcome, state.seconds, self.budget_s, self.floor_s, self.lines[-5:]))
        if outcome.stopped:
            self.live.stop()

    def said(self, line: str) -> None:
        self.lines.append(line)


def table(board: Board, outcome: Outcome, seconds: float, budget_s: float, floor_s: float, lines: list[str]) -> Table:
    """The live view's content."""
    out = Table(title=f"evolve: {seconds:.0f} of {budget_s:.0f} s, {outcome.evaluations} evaluations, generation {board.generation}", show_header=False)
    default = sum(board.default.kernels)
    best = board.best
    out.add_row("default schedule", f"{1e3 * default:.3f} ms")
    out.add_row("best", f"{1e3 * default * best.ratio:.3f} ms, {1 / best.ratio:.3f}x: {best.candidate.strategy.name[:70]}")
    judged = outcome.best.individual
    out.add_row("accepted by the judge", f"{1 / judged.ratio:.3f}x, {judged.key}")
    out.add_row("roofline", f"{1e3 * floor_s:.3f} ms" + (f", {100 * floor_s / (default * best.ratio):.0f}% reached" if default else ""))
    for b in board.bottlenecks[:3]:
        out.add_row("bottleneck", b.words())
    tried = Counter(i.operator for i in board.individuals.values())
    out.add_row("tried", ", ".join(f"{n} {name}" for name, n in tried.most_common()))
    why = Counter(r.reason.split(":")[0] for r in board.refused)
    out.add_row("refused", ", ".join(f"{n} {name}" for name, n in why.most_common()) or "none")
    for r in board.refused[-2:]:
        out.add_row("", r.reason[:100])
    for line in lines:
        out.add_row("", line)
    return out
