"""Monoids as expressions: the parsed `combine` and `identities` of `monoid.MONOIDS`, by name, parsed once."""

from __future__ import annotations

from functools import cache

from .expr import Expr
from .monoid import MONOIDS
from .text import parse_expr


@cache
def combine_terms(monoid: str) -> tuple[Expr, ...]:
    """One expression per slot over the Vars a0, a1, .. (accumulator) and b0, b1, .. (new value)."""
    return tuple(parse_expr(text) for text in MONOIDS[monoid].combine)


@cache
def identity_terms(monoid: str) -> tuple[Expr, ...]:
    """One constant per slot; weak, so it takes the slot's dtype."""
    return tuple(parse_expr(text) for text in MONOIDS[monoid].identities)
