"""Decisions that a measurement may overrule: a rule asks with its own value and the values worth trying, the caller's value comes out.

What was asked is kept, so that running the rules once tells the space of their decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Choices = dict[str, int]
"""Name of a decision -> the value taken."""


@dataclass
class Decisions:
    """`choices`: decisions made by the caller. `asked`: decision -> (the rule's own value, all values worth trying)."""

    choices: Mapping[str, int] = field(default_factory=dict)
    asked: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)

    def choose(self, name: str, default: int, worth: Iterable[int]) -> int:
        """The caller's value for the decision, else `default`; `worth`: values worth trying."""
        values = dict.fromkeys((default, *worth))
        known = self.asked.get(name, (default, ()))
        self.asked[name] = known[0], tuple(dict.fromkeys((*known[1], *values)))
        return self.choices.get(name, default)
