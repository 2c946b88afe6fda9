"""The numerics contract of a lossy pass: what it changes and the error that it allows, declared by the pass and checked by `compile`.

The pass's own meaning is the Graph that it makes: the compiled model must agree with that one tightly. How far that Graph is from the one
before the pass is measured, and must stay within `allowed`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .diagnostic import WarploomError
from .graph import Graph


class Inaccurate(WarploomError):
    """A lossy pass changes this model by more than it declares to. The message names the layer that loses most: leave it out, or the pass."""

    code = "WL-E088"


@dataclass(frozen=True)
class Contract:
    """`changes`: one sentence. `allowed`: largest distance from the model before, relative in the Frobenius norm, of every output."""

    changes: str
    allowed: float


@dataclass(frozen=True)
class Site:
    """One rewritten place: `layer` as the model names it, `value` the graph value whose meaning changed, `pattern` the rule that matched."""

    layer: str
    value: str
    pattern: str


@dataclass(frozen=True)
class Rewritten:
    """What a lossy pass made of a Graph. `before` and `after` have the same inputs and outputs; a site's value keeps its name and type."""

    name: str
    contract: Contract
    before: Graph
    after: Graph
    sites: tuple[Site, ...]
