"""Monoids of Reduce, scan and window: identities and how two partial results combine, as IR text.

A monoid has one or more slots (argmax: value and index). `combine` reads `a0, a1, ..` (the accumulator) and `b0, b1, ..`
(the new value). Identities `inf` and `-inf` stand for the largest and smallest value of an integer dtype too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Monoid:
    """`identities` and `combine` hold one IR text per slot."""

    name: str
    identities: tuple[str, ...]
    combine: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.identities)



def _arg(compare: str) -> tuple[str, str]:
    """NaN wins over all, ties keep the smaller index, as torch does."""
    better = f"(not isnan(a0)) and (isnan(b0) or b0 {compare} a0)"
    tie = "a0 == b0 or isnan(a0) and isnan(b0)"
    return f"select({better}, b0, a0)", f"select({better}, b1, select({tie}, min(a1, b1), a1))"


MONOIDS: dict[str, Monoid] = {
    m.name: m
    for m in (
        Monoid("add", ("0",), ("a0 + b0",)),
        Monoid("mul", ("1",), ("a0 * b0",)),
        Monoid("max", ("-inf",), ("max(a0, b0)",)),
        Monoid("min", ("inf",), ("min(a0, b0)",)),
        Monoid("any", ("False",), ("a0 or b0",)),
        Monoid("all", ("True",), ("a0 and b0",)),
        Monoid("argmax", ("-inf", "inf"), _arg(">")),
        Monoid("argmin", ("inf", "inf"), _arg("<")),
        Monoid(
            "lse",
            ("-inf", "0"),
            (
                "max(a0, b0)",
                "select(a0 == -inf, 0.0, a1 * exp(a0 - max(a0, b0))) + select(b0 == -inf, 0.0, b1 * exp(b0 - max(a0, b0)))",
            ),
        ),
        Monoid(
            "welford",
            ("0", "0", "0"),
            (
                "a0 + b0",
                "select(a0 + b0 == 0.0, 0.0, a1 + (b1 - a1) * (b0 / max(a0 + b0, 1.0)))",
                "a2 + b2 + (b1 - a1) * (b1 - a1) * (a0 * b0 / max(a0 + b0, 1.0))",
            ),
        ),
    )
}
