"""A `Verdict` comes in, a few lines that a person understands in five seconds go out."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from .verdict import MEANING, Verdict


def panel(verdict: Verdict) -> Group:
    """Accepted or not, why, where, error against allowance, speed and its interval, distance from the roofline."""
    lines = [_head(verdict)]
    for finding in verdict.findings:
        lines.append(Text.assemble(("  " + finding.code, "bold red"), f"  {MEANING[finding.code]}"))
        lines.append(Text(f"    {finding.message}" + (f"  ({finding.where})" if finding.where else ""), "dim"))
    lines += [Text(f"  {name:<9} {text}") for name, text in _facts(verdict)]
    return Group(*lines)


def _head(verdict: Verdict) -> Text:
    word, style = ("ACCEPTED", "bold green") if verdict.accepted else ("REJECTED", "bold red")
    against = verdict.measured.baseline if verdict.measured else "eager"
    speed = f"  {verdict.speedup:.2f}x {against}" if verdict.speedup and verdict.accepted else ""
    return Text.assemble((word, style), f"  {verdict.candidate} for {verdict.task}", (speed, "bold"))


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    facts = []
    if verdict.max_error is not None and verdict.tolerance is not None:
        facts.append(
            (
                "error",
                f"{verdict.max_error:.3g} at worst, {verdict.tolerance:.3g} allowed there, eager makes {verdict.reference_error or 0:.3g}; {verdict.trials} calls checked",
            )
        )
    m = verdict.measured
    if m and verdict.accepted:
        facts.append(
            (
                "speed",
                f"{m.time_ms:.4g} ms ({m.warm_ms:.4g} warm), {m.baseline} {m.baseline_ms:.4g} ms: {m.speedup:.2f}x [{m.interval[0]:.2f}, {m.interval[1]:.2f}], {m.threads or verdict.threads} threads",
            )
        )
    if m and m.noise > 0.3:
        facts.append(("noise", f"the machine is busy: a fixed piece of work varies by {m.noise:.0%}"))
    if verdict.roofline_fraction and verdict.accepted:
        facts.append(("roofline", f"{min(verdict.roofline_fraction, 9.99):.0%} of what the machine allows: {verdict.bound}"))
    facts += [("note", note) for note in verdict.notes]
    return facts
