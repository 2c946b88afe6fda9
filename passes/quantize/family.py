"""The table of lossy rewrites: a pass's name and a Graph come in, what it makes of it goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...ir.diagnostic import WarploomError
from ...ir.graph import Graph
from ...ir.numerics import Contract, Rewritten, Site
from ...ir.verify_graph import verify_graph
from . import bf16, int8


class UnknownPass(WarploomError):
    """No pass of this name. The message lists those there are."""

    code = "WL-E086"


class NothingToRewrite(WarploomError):
    """The pass found no place in this model. Leave it out."""

    code = "WL-E087"


@dataclass(frozen=True)
class Lossy:
    """`rewrite(graph, only)`: the new Graph and the places that were changed; `only`: values to look at (None: all)."""

    contract: Contract
    rewrite: Callable[[Graph, frozenset[str] | None], tuple[Graph, tuple[Site, ...]]]


FAMILY: dict[str, Lossy] = {
    "quantize:int8": Lossy(int8.CONTRACT, int8.rewrite),
    "quantize:bf16": Lossy(bf16.CONTRACT, bf16.rewrite),
}


def quantize(name: str, graph: Graph) -> Rewritten:
    """Run one pass. Raises UnknownPass, NothingToRewrite."""
    lossy = FAMILY.get(name)
    if lossy is None:
        raise UnknownPass(f"no pass {name!r}", hint="accepted: " + ", ".join(FAMILY))
    after, sites = lossy.rewrite(graph, None)
    if not sites:
        raise NothingToRewrite(f"{name} finds nothing to rewrite in this model", hint="it takes float32 products with a weight")
    return Rewritten(name, lossy.contract, graph, verify_graph(after), sites)


def rewrite_only(r: Rewritten, site: Site) -> Graph:
    """The Graph before the pass with one of its places rewritten."""
    return verify_graph(FAMILY[r.name].rewrite(r.before, frozenset((site.value,)))[0])


def check_names(names: Iterable[str]) -> None:
    """Raises UnknownPass."""
    for name in names:
        if name not in FAMILY:
            raise UnknownPass(f"no pass {name!r}", hint="accepted: " + ", ".join(FAMILY))
