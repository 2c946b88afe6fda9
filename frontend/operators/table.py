"""All operator specifications by name. Adding one is a function in the file of its kind."""

from __future__ import annotations

from difflib import get_close_matches

from ...ir.diagnostic import WarploomError
from .blocks import BLOCKS
from .indexing import INDEXING
from .operator import Operator
from .pointwise import POINTWISE
from .products import PRODUCTS
from .reductions import REDUCTIONS
from .windows import WINDOWS

OPERATORS: dict[str, Operator] = {**POINTWISE, **REDUCTIONS, **PRODUCTS, **WINDOWS, **INDEXING, **BLOCKS}


class UnknownOperator(WarploomError):
    """No operator has this name. Use one that the message lists."""

    code = "WL-E110"


def operator(name: str) -> Operator:
    """The operator called `name`. Raises UnknownOperator."""
    if name not in OPERATORS:
        close = get_close_matches(name, OPERATORS, 8, 0.5) or list(OPERATORS)[:8]
        raise UnknownOperator(f"no operator {name!r} among {len(OPERATORS)}", hint="some that there are: " + ", ".join(close))
    return OPERATORS[name]
