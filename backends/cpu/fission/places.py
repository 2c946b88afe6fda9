"""Thread and block indices by short names. A prepared body comes in; what goes out says `tx` and `bx`, as loop variables will be called.

`int NAME = threadIdx.x;` gives its name to the loop and disappears. CUDA's indices are unsigned: where that could matter (an operand
of a subtraction) the cast stays visible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ....frontend.cuda import tree as t
from .inline import assigned
from .types import plain

_SHORT = {"threadIdx": "t", "blockIdx": "b"}
_SIGNED = ("int", "int32_t", "const int", "long", "int64_t", "auto", "unsigned", "unsigned int", "uint32_t", "uint", "size_t")


@dataclass(frozen=True)
class Places:
    """Loop variables: `thread["x"]`, `block["y"]`; axes that the body reads."""

    thread: dict[str, str]
    block: dict[str, str]

    @property
    def all(self) -> frozenset[str]:
        return frozenset((*self.thread.values(), *self.block.values()))


def named_places(kernel: t.Function) -> tuple[t.Body, Places]:
    """The body with short names, and the names."""
    changed = assigned(kernel.body)
    names: dict[tuple[str, str], str] = {}
    aliases: dict[str, tuple[str, str]] = {}
    for n in t.walk(kernel.body):
        if isinstance(n, t.Declare) and len(n.declarators) == 1:
            d = n.declarators[0]
            place = _place(d.init)
            if place and d.name not in changed and not d.mark and not d.extents and plain(n.type) in _SIGNED and not set(n.qualifiers) - {"const"}:
                aliases[d.name] = place
                names.setdefault(place, d.name)
    taken = set(t.names(kernel.body)) | {p.name for p in kernel.params} | {d.name for n in t.walk(kernel.body) if isinstance(n, t.Declare) for d in n.declarators}
    for place in {p for n in t.walk(kernel.body) if (p := _place(n))}:
        if place not in names:
            short = _SHORT[place[0]] + place[1]
            while short in taken:
                short += "_"
            names[place] = short
            taken.add(short)
    body = _renamed(kernel.body, names, aliases)
    by_axis = {base: {axis: name for (b, axis), name in names.items() if b == base} for base in _SHORT}
    return body, Places(by_axis["threadIdx"], by_axis["blockIdx"])


def _place(e: Any) -> tuple[str, str] | None:
    if isinstance(e, t.Cast) and plain(e.type) in _SIGNED:
        return _place(e.value)
    if isinstance(e, t.Member) and isinstance(e.value, t.Name) and e.value.text in _SHORT and e.name in "xyz":
        return e.value.text, e.name
    return None


def _renamed(body: t.Body, names: dict[tuple[str, str], str], aliases: dict[str, tuple[str, str]]) -> t.Body:
    def change(n: Any) -> Any:
        if isinstance(n, t.Declare) and n.declarators and n.declarators[0].name in aliases:
            return ()
        if isinstance(n, t.Name) and n.text in aliases:
            return t.Name(names[aliases[n.text]])
        if isinstance(n, t.Binary) and n.op == "-":
            return replace(n, left=_unsigned(n.left), right=_unsigned(n.right))
        return n

    def plainly(n: Any) -> Any:
        if isinstance(n, t.Cast) and plain(n.type) == "int" and _place(n.value):
            return t.Name(names[_place(n.value)])  # type: ignore[index]
        return n

    def last(n: Any) -> Any:
        place = _place(n) if isinstance(n, t.Member) else None
        return t.Name(names[place]) if place else n

    return t.rewrite(t.rewrite(t.rewrite(body, plainly), change), last)


def _unsigned(e: t.Expr) -> t.Expr:
    """An index as it stands in CUDA is unsigned; below a minus that is kept."""
    return t.Cast("unsigned", e) if isinstance(e, t.Member) and _place(e) else e
