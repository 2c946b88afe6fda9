"""Launches that follow one another as one loop. The kernels of a bound program come in as loops over elements, goes out who shares a
loop, and the shared loops' bodies.

`for (i < n) t[i] = x[i] + 3;  for (i < n) y[i] = t[i] * t[i];`  ->  `for (i < n) { float t_i = x[i] + 3; y[i] = t_i * t_i; }`

Two loop nests join where they have equally many elements and whatever one writes and the other touches is touched at the element's own
number only. A temporary that nothing outside the joint loop touches becomes a variable; one that is a copy of an input is the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ....frontend.cuda import tree as t
from .fold import number
from .peel import counted
from .uniform import own_escapes


@dataclass(frozen=True)
class Nest:
    """`loops` (variable, extent) around `leaf`, with names of buffers in place of parameters. `launches`: those in it; `parallel`
    and `simd`: what all of them, or one of them, asked for."""

    loops: tuple[tuple[str, int], ...]
    leaf: t.Body
    launches: tuple[int, ...]
    parallel: bool
    simd: bool

    @property
    def count(self) -> int:
        return prod(extent for _, extent in self.loops)


def nest_of(body: t.Body, env: Mapping[str, t.Expr], launch: int) -> Nest | None:
    """A kernel's statements as a perfect nest over arrays that are indexed by element; None for other forms. `env`: each parameter's
    buffer or value."""
    loops: list[tuple[str, int]] = []
    words: set[str] = set()
    while "simd" not in words:
        words |= {w for s in body if isinstance(s, t.Pragma) for w in s.text.split()}
        inner = [s for s in body if not isinstance(s, (t.Pragma, t.Comment))]
        loop = inner[0] if len(inner) == 1 else None
        found = counted(loop) if isinstance(loop, t.For) else None
        if found is None:
            break
        loops.append(found)
        body = loop.body  # type: ignore[union-attr]
    if not loops or own_escapes(body) or "reduction" in " ".join(words):
        return None
    names = {d.name for n in t.walk(body) if isinstance(n, t.Declare) for d in n.declarators} | {v for v, _ in loops}
    fresh = {name: t.Name(f"{name}_l{launch}") for name in names}
    leaf = _renamed(body, {**env, **fresh})
    renamed = tuple((fresh[v].text, extent) for v, extent in loops)
    return Nest(renamed, leaf, (launch,), "parallel" in words, "simd" in words)


def _renamed(body: t.Body, env: Mapping[str, t.Expr]) -> t.Body:
    def change(n: Any) -> Any:
        if isinstance(n, t.Declare):
            return replace(n, declarators=tuple(replace(d, name=_name(env, d.name)) for d in n.declarators))
        return env.get(n.text, n) if isinstance(n, t.Name) else n

    return t.rewrite(body, change)


def _name(env: Mapping[str, t.Expr], name: str) -> str:
    found = env.get(name)
    return found.text if isinstance(found, t.Name) else name


def joined(nests: Sequence[Nest | int], arrays: frozenset[str]) -> list[Nest | int]:
    """The nests in order, neighbours in one loop where that is allowed; a launch that is no nest stands as its number."""
    out: list[Nest | int] = []
    for nest in nests:
        last = out[-1] if out else None
        both = _joint(last, nest, arrays) if isinstance(last, Nest) and isinstance(nest, Nest) else None
        if both is not None:
            out[-1] = both
        else:
            out.append(nest)
    return out


def _joint(first: Nest, second: Nest, arrays: frozenset[str]) -> Nest | None:
    if first.count != second.count or _hinders(first, second) or not _independent(first, second, arrays):
        return None
    frame, other = (first, second) if len(first.loops) >= len(second.loops) else (second, first)
    if len(other.loops) > 1 and [n for _, n in other.loops] != [n for _, n in frame.loops]:
        return None
    leaf = _in_frame(other, frame)
    body = (*frame.leaf, *leaf) if frame is first else (*leaf, *frame.leaf)
    return Nest(frame.loops, body, (*first.launches, *second.launches), first.parallel or second.parallel, first.simd and second.simd)


_PLAIN = frozenset(("max", "min", "larger", "smaller", "bits_as_float", "bits_as_int", "bits_of_int"))


def _hinders(first: Nest, second: Nest) -> bool:
    """Whether the joint loop would lose vector forms that the loops have alone: functions of two kinds, of which one may have none; a
    maximum that becomes a branch around a function's call; a function in a short inner loop."""
    calls = [{t.called(n) for n in t.calls(nest.leaf)} for nest in (first, second)]
    functions = [found - _PLAIN for found in calls]
    extreme = bool((calls[0] | calls[1]) & {"max", "min"})
    short = any(len(nest.loops) > 1 and nest.loops[-1][1] < 16 for nest in (first, second))
    return all(functions) or (any(functions) and (extreme or short))


def _in_frame(nest: Nest, frame: Nest) -> t.Body:
    """The leaf of `nest` with the loop variables of `frame`."""
    if len(nest.loops) == len(frame.loops):
        return _renamed(nest.leaf, {v: t.Name(w) for (v, _), (w, _) in zip(nest.loops, frame.loops)})
    return _renamed(nest.leaf, {nest.loops[0][0]: _linear(frame)})


def _linear(nest: Nest) -> t.Expr:
    """The element's number: `i * 3840 + j * 120 + k`."""
    total: t.Expr | None = None
    for at, (variable, _) in enumerate(nest.loops):
        stride = prod(extent for _, extent in nest.loops[at + 1 :])
        term: t.Expr = t.Name(variable) if stride == 1 else t.Binary("*", t.Name(variable), t.Literal(str(stride)))
        total = term if total is None else t.Binary("+", total, term)
    assert total is not None
    return total


def _independent(first: Nest, second: Nest, arrays: frozenset[str]) -> bool:
    """Whether what one writes and the other touches is touched at the element's own number only."""
    if not (_plain(first, arrays) and _plain(second, arrays)):
        return False
    shared = (written(first, arrays) & touched(second, arrays)) | (touched(first, arrays) & written(second, arrays))
    return all(own for nest in (first, second) for name, own in accesses(nest, arrays) if name in shared)


def _plain(nest: Nest, arrays: frozenset[str]) -> bool:
    """Whether arrays are only indexed, never passed on."""
    mentions = sum(isinstance(n, t.Name) and n.text in arrays for n in t.walk(nest.leaf))
    opaque = any(isinstance(n, t.Opaque) and any(isinstance(p, str) and arrays & set(re.findall(r"\w+", p)) for p in n.parts) for n in t.walk(nest.leaf))
    return not opaque and mentions == sum(1 for _ in accesses(nest, arrays))


def accesses(nest: Nest, arrays: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """(array, whether it is at the element's own number) of every access."""
    strides = _strides(nest)
    for n in t.walk(nest.leaf):
        if isinstance(n, t.Index) and isinstance(n.base, t.Name) and n.base.text in arrays:
            yield n.base.text, affine(n.index) == strides


def _strides(nest: Nest) -> dict[str, int]:
    return {v: prod(n for _, n in nest.loops[at + 1 :]) for at, (v, _) in enumerate(nest.loops)}


def affine(e: t.Expr) -> dict[str, int] | None:
    """Coefficients by name ("" for the constant), without zeros; None for other forms."""
    if isinstance(e, t.Name):
        return {e.text: 1}
    if (value := number(e)) is not None:
        return {"": value} if value else {}
    if not isinstance(e, t.Binary) or e.op not in ("+", "-", "*"):
        return None
    a, b = affine(e.left), affine(e.right)
    if a is None or b is None:
        return None
    if e.op == "*":
        if set(a) - {""} and set(b) - {""}:
            return None
        terms, factor = (a, b.get("", 0)) if not set(b) - {""} else (b, a.get("", 0))
        return {k: v * factor for k, v in terms.items() if v * factor}
    sign = 1 if e.op == "+" else -1
    total = {k: a.get(k, 0) + sign * b.get(k, 0) for k in {*a, *b}}
    return {k: v for k, v in total.items() if v}


def touched(nest: Nest, arrays: frozenset[str]) -> set[str]:
    return {name for name, _ in accesses(nest, arrays)}


def written(nest: Nest, arrays: frozenset[str]) -> set[str]:
    targets = [n.target for n in t.walk(nest.leaf) if isinstance(n, t.Assign)]
    targets += [n.value for n in t.walk(nest.leaf) if isinstance(n, t.Unary) and n.op in ("++", "--", "&")]
    passed = [a for n in t.calls(nest.leaf) if t.called(n).startswith("atomic") for a in n.args]
    roots = {n.base.text for e in (*targets, *passed) for n in t.walk((e,)) if isinstance(n, t.Index) and isinstance(n.base, t.Name)}
    return roots & arrays


def with_variables(nest: Nest, private: Mapping[str, str]) -> Nest:
    """Arrays of `private` (name -> element type) that are stored before they are read, at the element's own number, as variables."""
    arrays = frozenset(private)
    kept = {name for name, own in accesses(nest, arrays) if not own}
    stored = {n.value.target.base.text for n in nest.leaf if _is_store(n, arrays - kept) and _first(nest.leaf, n)}  # type: ignore[union-attr]
    declared: set[str] = set()

    def change(n: Any) -> Any:
        return t.Name(f"{n.base.text}_i") if isinstance(n, t.Index) and isinstance(n.base, t.Name) and n.base.text in stored else n

    leaf: list[t.Stmt] = []
    for s in nest.leaf:
        if _is_store(s, frozenset(stored)) and s.value.target.base.text not in declared:  # type: ignore[union-attr]
            name = s.value.target.base.text  # type: ignore[union-attr]
            declared.add(name)
            leaf.append(t.Declare(private[name], (t.Declarator(f"{name}_i", init=t.rewrite(s.value.value, change)),)))  # type: ignore[union-attr]
        else:
            leaf.append(t.rewrite(s, change))
    return replace(nest, leaf=tuple(leaf))


def _is_store(s: Any, arrays: frozenset[str]) -> bool:
    """`a[...] = e;`."""
    if not isinstance(s, t.Evaluate) or not isinstance(s.value, t.Assign) or s.value.op != "=":
        return False
    target = s.value.target
    return isinstance(target, t.Index) and isinstance(target.base, t.Name) and target.base.text in arrays


def _first(leaf: t.Body, store: Any) -> bool:
    """Whether nothing touches the array before this statement stores to it, the stored value included."""
    name = store.value.target.base.text
    before = leaf[: next(i for i, s in enumerate(leaf) if s is store)]
    return name not in t.names((*before, t.Evaluate(store.value.value)))


def copied(nest: Nest, arrays: frozenset[str]) -> tuple[str, str] | None:
    """(copy, original) where all the nest does is `copy[i] = original[i]` at the element's own number."""
    (s, *rest) = nest.leaf
    if rest or not _is_store(s, arrays) or not all(own for _, own in accesses(nest, arrays)):
        return None
    value = s.value.value  # type: ignore[union-attr]
    if not isinstance(value, t.Index) or not isinstance(value.base, t.Name) or value.base.text not in arrays:
        return None
    return s.value.target.base.text, value.base.text  # type: ignore[union-attr]


def statements(nest: Nest) -> t.Body:
    """The loops as statements, with their pragmas."""
    body: t.Body = nest.leaf
    for at in range(len(nest.loops) - 1, -1, -1):
        variable, extent = nest.loops[at]
        init = t.Declare("int", (t.Declarator(variable, init=t.Literal("0")),))
        loop = t.For(init, t.Binary("<", t.Name(variable), t.Literal(str(extent))), t.Unary("++", t.Name(variable)), body)
        innermost = at == len(nest.loops) - 1
        words = []
        if nest.parallel and at == 0:
            words = ["parallel for" + (f" collapse({len(nest.loops) - 1})" if len(nest.loops) > 2 else "")]
        words += ["simd"] if nest.simd and innermost else []
        body = (t.Pragma("omp " + " ".join(words)), loop) if words else (loop,)
    return body
