"""Regions as loops over the block's threads. Items come in, the statements of one block go out.

A thread's own variable stays inside its loop where one region uses it; is computed again where it is made of indices and uniform
values alone; and becomes an array with an element for each thread where several regions use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ....frontend.cuda import tree as t
from ....frontend.cuda.read import UnsupportedCuda
from .fold import fold
from .inline import assigned
from .lower import Lowered
from .places import Places
from .split import Choice, Fill, Loop, Once, Region, Split, UntilNone
from .strided import Strided
from .types import plain, type_of
from .uniform import Uniform, own_escapes, pure

MOST_THREADS = 1024
_SLOW = ("atomic", "printf", "assert")


@dataclass(frozen=True)
class Block:
    """The block's extents as C++ (`{"x": 256}` or `blockDim.x`), the axes it loops over, and how many threads it can have."""

    extents: dict[str, t.Expr]
    axes: str
    most: int

    def threads(self) -> t.Expr:
        """The number of threads."""
        sizes = [self.extents[a] for a in self.axes] or [t.Literal("1")]
        product = sizes[0]
        for size in sizes[1:]:
            product = t.Binary("*", product, size)
        return fold(product)


@dataclass
class Assembled:
    """Statements of one block; `shared`: declarations of shared memory; `dynamic`: the name and type of `extern __shared__`."""

    body: list[Any]
    dynamic: list[tuple[str, str]] = field(default_factory=list)


class Assembler:
    def __init__(self, split: Split, lowered: Lowered, places: Places, uniform: Uniform, block: Block, declared: dict[str, str], returns: dict[str, str]):
        self.split, self.sent, self.places = split, lowered.sent, places
        self.uniform, self.block, self.declared, self.returns = uniform, block, declared, returns
        self.flags = set(split.flags)
        self.thread = self._thread_name()
        self.shared: list[Any] = []
        self.dynamic: list[tuple[str, str]] = []

    def _thread_name(self) -> str:
        if len(self.block.axes) == 1 and self.block.axes in self.places.thread:
            return self.places.thread[self.block.axes]
        name = "tx" if len(self.block.axes) <= 1 else "thread"
        while name in self.declared or name in self.places.all:
            name += "_"
        return name

    def run(self) -> Assembled:
        """Raises UnsupportedCuda."""
        self.regions = list(_regions(self.split.items))
        self.find_variables()
        body = self.items(self.split.items)
        arrays = [self.array(name) for name in self.arrays]
        return Assembled([*self.shared, *arrays, *body], self.dynamic)

    # --- where variables live

    def find_variables(self) -> None:
        self.declares: dict[str, t.Declare] = {}
        users: dict[str, set[int]] = {}
        again = assigned(tuple(s for r in self.regions for s in r.body))
        for region in self.regions:
            for s in region.body:
                if isinstance(s, t.Declare):
                    self.declares[s.declarators[0].name] = s
        for number, region in enumerate(self.regions):
            for name in t.names((*region.body, *(t.Evaluate(g) for g in region.guards))):
                users.setdefault(name, set()).add(number)
        declared_in = {s.declarators[0].name: n for n, r in enumerate(self.regions) for s in r.body if isinstance(s, t.Declare)}
        self.again: dict[str, t.Declare] = {}
        self.arrays: dict[str, tuple[str, tuple[Any, ...]]] = {name: ("bool", ()) for name in self.split.flags}
        for name, s in self.declares.items():
            d = s.declarators[0]
            if "__shared__" in s.qualifiers:
                self.share(s)
            elif name in self.sent:
                self.arrays[name] = (self.sent[name][0], ())
            elif users.get(name, set()) <= {declared_in[name]}:
                continue
            elif self.can_repeat(s, again):
                self.again[name] = s
            else:
                self.arrays[name] = self.element(s, d)
        self.whole = {name for name, (_, extents) in self.arrays.items() if extents and not self.always_indexed(name, len(extents))}

    def can_repeat(self, s: t.Declare, again: frozenset[str]) -> bool:
        """Whether computing the variable again in each region gives the same, cheaply."""
        d = s.declarators[0]
        if d.extents or (d.name in again and "&" not in d.mark) or d.init is None or set(s.qualifiers) & {"static", "volatile"}:
            return False
        init = d.init
        if "&" in d.mark or (isinstance(init, t.Unary) and init.op == "&"):
            init = _address(init.value if isinstance(init, t.Unary) else init)
        if init is None or not pure(init) or any(isinstance(n, t.Call) for n in t.walk((init,))):
            return False
        for name in t.names((init,)):
            if name in self.uniform.scalars and name in self.rewritten():
                return False
            if name in self.declares and name not in self.again and "__shared__" not in self.declares[name].qualifiers:
                return False
            if name in again:
                return False
        return True

    def rewritten(self) -> frozenset[str]:
        """Scalars that the block changes outside the heads of its loops."""
        return frozenset(name for s in _once(self.split.items) for name in assigned((s,)))

    def element(self, s: t.Declare, d: t.Declarator) -> tuple[str, tuple[Any, ...]]:
        if "&" in d.mark:
            raise UnsupportedCuda(f"line {s.line}: reference {d.name} is needed on both sides of a barrier")
        type_ = s.type if s.type != "auto" else type_of(d.init, self.declared, self.returns) if d.init is not None else ""
        if not type_:
            raise UnsupportedCuda(f"line {s.line}: the type of {d.name}, which is needed on both sides of a barrier, cannot be told")
        mark = d.mark.replace("__restrict__", "").strip()
        qualifier = "const " if "const" in s.qualifiers and "*" in mark else ""
        row = _row(d.init) if None in d.extents else None
        extents = (t.Literal(str(len(row))),) if row else d.extents
        return f"{qualifier}{plain(type_) if not mark else type_}{mark}", extents

    def always_indexed(self, name: str, depth: int) -> bool:
        """Whether every use of a local array names one element, and none asks where that is: its neighbours may be meant, too."""
        nodes = [n for r in self.regions for n in t.walk(tuple(r.body))]
        total = sum(isinstance(n, t.Name) and n.text == name for n in nodes)
        full = sum(1 for n in nodes if isinstance(n, t.Index) and _indexed(n) == (name, depth))
        return total == full and not any(_points(n) and _indexed(n.value)[0] == name for n in nodes)

    def array(self, name: str) -> t.Declare:
        type_, extents = self.arrays[name]
        count = t.Literal(str(self.block.most))
        shape = (count, *extents) if name in self.whole else (*extents, count)
        return t.Declare(type_, (t.Declarator(name, "", shape),))

    def share(self, s: t.Declare) -> None:
        d = s.declarators[0]
        if "extern" in s.qualifiers:
            self.dynamic.append((d.name, s.type))
            return
        qualifiers = tuple(q for q in s.qualifiers if q not in ("__shared__", "static", "volatile"))
        self.shared.append(replace(s, qualifiers=qualifiers))

    # --- items

    def items(self, items: list[Any]) -> list[Any]:
        return [s for item in items for s in self.item(item)]

    def item(self, item: Any) -> list[Any]:
        if isinstance(item, Region):
            return [*self.fills(item), *self.region(item.body, item.guards)]
        if isinstance(item, Strided):
            return self.strided(item)
        if isinstance(item, Once):
            return [item.statement]
        if isinstance(item, Fill):
            return [self.fill(item.name, item.value)]
        if isinstance(item, UntilNone):
            any_left = t.Call(t.Name("any_of"), (t.Name(item.flag), self.block.threads()))
            return [t.If(t.Unary("!", any_left), (t.Break(),))]
        if isinstance(item, Choice):
            return [t.If(item.cond, tuple(self.items(item.then)), tuple(self.items(item.orelse)))]
        inner = tuple(self.items(item.items))
        return [replace(item.head, body=inner)]

    def fills(self, region: Region) -> Iterator[Any]:
        """What inactive threads count as, before the active ones send."""
        for s in region.body:
            if isinstance(s, t.Declare):
                idle = self.sent.get(s.declarators[0].name, ("", None))[1]
                if idle is not None:
                    yield self.fill(s.declarators[0].name, idle)

    def fill(self, name: str, value: str) -> t.Stmt:
        return t.Evaluate(t.Call(t.Name("std::fill_n"), (t.Name(name), t.Literal(str(self.block.most)), t.Literal(value))))

    def region(self, body: list[Any], guards: tuple[t.Expr, ...]) -> list[Any]:
        lead = []
        while body and isinstance(body[0], t.Comment):
            lead.append(body[0])
            body = body[1:]
        inner = tuple(x for s in body for x in self.own(s))
        if all(isinstance(x, t.Comment) for x in inner):
            return [*lead, *inner]
        placed = tuple(self.placed(g) for g in guards)
        if len(inner) == 1 and isinstance(inner[0], t.If) and not inner[0].orelse and not own_escapes(inner):
            placed, inner = (*placed, inner[0].cond), inner[0].then
        return [*lead, *self.thread_loop(inner, placed)]

    def own(self, s: Any) -> list[Any]:
        """A statement with each thread's variables where they live."""
        if isinstance(s, t.Declare):
            d = s.declarators[0]
            if "__shared__" in s.qualifiers or d.name in self.again:
                return []
            if d.name in self.arrays:
                return self.initialised(s, d)
        return [self.placed(s)]

    def initialised(self, s: t.Declare, d: t.Declarator) -> list[Any]:
        if d.init is None:
            return []
        if d.extents:
            return self.zeroed(s, d)
        value = d.init if d.form == "=" else _braced(plain(s.type), d.init) if d.form == "{" else t.Call(t.Name(plain(s.type)), _listed(d.init))
        return [self.placed(t.Evaluate(t.Assign("=", t.Name(d.name), value), s.line))]

    def zeroed(self, s: t.Declare, d: t.Declarator) -> list[Any]:
        """`float acc[4][4] = {0}` and `float w[3] = {a, b, c}` element by element."""
        values, row = _list_values(d.init), _row(d.init)
        if len(d.extents) == 1 and row and any(v not in _ZEROS for v in values or ()):
            zero = replace(d, init=t.Opaque(("{0}",)))
            rest = [] if d.extents[0] in (None, t.Literal(str(len(row)))) else self.zeroed(s, zero)
            places = (t.Index(t.Name(d.name), t.Literal(str(k))) for k in range(len(row)))
            return [*rest, *(self.placed(t.Evaluate(t.Assign("=", place, v), s.line)) for place, v in zip(places, row))]
        if values is None or any(v not in _ZEROS for v in values):
            raise UnsupportedCuda(f"line {s.line}: array {d.name} is initialised with values and needed on both sides of a barrier")
        names = [f"{d.name}_{'ijkl'[k]}" for k in range(len(d.extents))]
        target: t.Expr = t.Name(d.name)
        for name in names:
            target = t.Index(target, t.Name(name))
        stmt: Any = t.Evaluate(t.Assign("=", target, t.Literal("0")))
        for name, extent in zip(reversed(names), reversed(d.extents)):
            init = t.Declare("int", (t.Declarator(name, init=t.Literal("0")),))
            stmt = t.For(init, t.Binary("<", t.Name(name), extent), t.Unary("++", t.Name(name)), (stmt,))  # type: ignore[arg-type]
        return [self.placed(stmt)]

    def placed(self, s: Any) -> Any:
        """Names of arrays with this thread's index, exchanges with the other thread's."""
        mine = self.mine()

        def change(n: Any) -> Any:
            if isinstance(n, t.Call) and isinstance(n.function, t.Name) and n.function.text.startswith("@"):
                return self.exchanged(n.function.text[1:], n.args)
            if isinstance(n, t.Index):
                name, depth = _indexed(n)
                if name in self.arrays and name not in self.whole and depth and depth == len(self.arrays[name][1]):
                    return t.Index(n, mine)
            if isinstance(n, t.Name) and n.text in self.arrays and (not self.arrays[n.text][1] or n.text in self.whole):
                return t.Index(n, mine)
            return n

        return t.rewrite(s, change)

    def mine(self) -> t.Expr:
        """The index of this thread's element."""
        return t.Name(self.thread) if self.block.axes else t.Literal("0")

    def exchanged(self, kind: str, args: tuple[t.Expr, ...]) -> t.Expr:
        sent = _array(args[0])
        mine = self.mine()
        if kind.startswith("shfl"):
            return t.Index(sent, t.Call(t.Name(kind), (mine, *args[1:])))
        if kind.startswith("warp_match"):
            return t.Call(t.Name(kind), (sent, _array(args[1]), mine))
        last = self.block.threads() if kind.startswith("block") else mine
        return t.Call(t.Name(kind), (sent, last, *args[1:]))

    # --- loops over threads

    def thread_loop(self, body: t.Body, guards: tuple[t.Expr, ...], stop: t.Expr | None = None) -> list[Any]:
        """`for (tx = 0; tx < 256; ++tx) body`, guards in its bound where they say `tx < n`. Both are placed already."""
        guards = tuple(g for part in guards for g in _conjuncts(part))
        needed = self.repeated(body, guards)
        if not self.block.axes and own_escapes(body):  # what leaves a thread's loop must not leave the loop around it
            return self.counted(self.thread, t.Literal("1"), tuple([*needed, *self.guarded(body, guards)]))
        if not self.block.axes:
            return [*needed, *self.guarded(body, guards)]
        if len(self.block.axes) == 1:
            return self.line_loop(body, guards, needed, stop)
        return self.nest_loop(body, guards, needed)

    def line_loop(self, body: t.Body, guards: tuple[t.Expr, ...], needed: list[Any], stop: t.Expr | None) -> list[Any]:
        bound = stop if stop is not None else self.block.extents[self.block.axes]
        rest = []
        for g in guards:
            limit = self.limit(g)
            if limit == t.Literal("1"):
                return self.for_first(body, guards, g, needed)
            if limit is not None:
                bound = smaller(limit, bound)
            else:
                rest.append(g)
        inner = tuple([*needed, *self.guarded(body, tuple(rest))])
        return self.counted(self.thread, bound, inner)

    def limit(self, g: t.Expr) -> t.Expr | None:
        """`n` of a guard `tx < n`, and 1 of `tx == 0`."""
        if not isinstance(g, t.Binary):
            return None
        mine = t.Name(self.thread)
        if g.op == "==" and g.left == mine and g.right == t.Literal("0"):
            return t.Literal("1")
        if g.op == "<" and g.left == mine and self.uniform.uniform(g.right):
            return g.right
        if g.op == ">" and g.right == mine and self.uniform.uniform(g.left):
            return g.left
        return None

    def for_first(self, body: t.Body, guards: tuple[t.Expr, ...], first: t.Expr, needed: list[Any]) -> list[Any]:
        """What only thread 0 does needs no loop."""
        rest = tuple(g for g in guards if g != first)
        inner = self.guarded(body, rest)
        zero = {self.thread: t.Literal("0")}
        lines = tuple(fold(t.substitute(s, zero)) for s in (*needed, *inner))
        if own_escapes(lines):
            return self.counted(self.thread, t.Literal("1"), tuple([*needed, *inner]))
        return [t.Block(lines)] if any(isinstance(s, t.Declare) for s in lines) else list(lines)

    def nest_loop(self, body: t.Body, guards: tuple[t.Expr, ...], needed: list[Any]) -> list[Any]:
        inner = tuple([*needed, *self.guarded(body, guards)])
        names = {a: self.places.thread.get(a, f"t{a}") for a in self.block.axes}
        if self.thread in t.names(inner):
            linear: t.Expr | None = None
            for a in reversed(self.block.axes):
                linear = t.Name(names[a]) if linear is None else t.Binary("+", t.Binary("*", linear, self.block.extents[a]), t.Name(names[a]))
            assert linear is not None
            inner = (t.Declare("int", (t.Declarator(self.thread, init=linear),), ("const",)), *inner)
        first, *outer = self.block.axes
        loops = self.counted(names[first], self.block.extents[first], inner)
        for a in outer:
            loops = [_for(names[a], self.block.extents[a], tuple(loops))]
        return loops

    def counted(self, name: str, bound: t.Expr, body: t.Body) -> list[Any]:
        if own_escapes(body):
            body = _leaving(body)
        loop = _for(name, bound, body)
        return [t.Pragma("omp simd"), loop] if independent(body) else [loop]

    def guarded(self, body: t.Body, guards: tuple[t.Expr, ...]) -> list[Any]:
        if not guards:
            return list(body)
        cond = guards[0]
        for g in guards[1:]:
            cond = t.Binary("&&", cond, g)
        return [t.If(cond, body)]

    def repeated(self, body: t.Body, guards: tuple[t.Expr, ...]) -> list[Any]:
        """Declarations that a region computes again, in order of declaration."""
        wanted = set(t.names((*body, *(t.Evaluate(g) for g in guards))))
        needed: list[t.Declare] = []
        for name, s in reversed(self.again.items()):
            if name in wanted:
                needed.insert(0, s)
                wanted |= t.names((s,))
        return [self.placed(s) for s in needed]

    def strided(self, s: Strided) -> list[Any]:
        """The stride outside, the threads inside; one plain loop where the stride is the block and no thread keeps anything."""
        inner = tuple(x for one in s.body for x in self.own(one))
        extent = self.block.extents[self.block.axes]
        uses_thread = self.thread in t.names((*inner, *(t.Evaluate(self.placed(g)) for g in s.guards)))
        declared = t.Declare(s.type, (t.Declarator(s.name, init=t.Literal("0")),))
        needed = self.repeated(inner, s.guards)
        uses_thread |= self.thread in t.names(tuple(needed))
        if s.step == extent and not uses_thread and not s.guards:
            loop = replace(_for(s.name, s.stop, (*needed, *inner), s.type), init=replace(declared, declarators=(t.Declarator(s.name, init=s.start or t.Literal("0")),)))
            return [t.Pragma("omp simd"), loop] if independent(inner) else [loop]
        base = s.name + "_base"
        start = s.start or t.Literal("0")
        element = t.Declare(s.type, (t.Declarator(s.name, init=t.Binary("+", t.Name(base), t.Name(self.thread))),), ("const",))
        left = t.Binary("-", s.stop, t.Name(base))
        guards = tuple(self.placed(g) for g in s.guards)
        threads = self.thread_loop((element, *inner), guards, smaller(left, extent))
        head = replace(declared, declarators=(t.Declarator(base, init=start),))
        return [t.For(head, t.Binary("<", t.Name(base), s.stop), t.Assign("+=", t.Name(base), s.step), tuple(threads))]


def smaller(a: t.Expr, b: t.Expr) -> t.Expr:
    """`min(a, b)` as C++, folded for numbers."""
    if isinstance(a, t.Literal) and isinstance(b, t.Literal):
        return a if int(a.text, 0) <= int(b.text, 0) else b
    return t.Call(t.Name("std::min<int64_t>"), (a, b))


def _for(name: str, bound: t.Expr, body: t.Body, type_: str = "int") -> t.For:
    init = t.Declare(type_, (t.Declarator(name, init=t.Literal("0")),))
    return t.For(init, t.Binary("<", t.Name(name), bound), t.Unary("++", t.Name(name)), body)


def independent(body: t.Body) -> bool:
    """Whether a loop over threads may run in vector lanes: nothing in it is ordered, and it is simple enough to gain."""
    for n in t.walk(body):
        if isinstance(n, (t.While, t.DoWhile, t.Switch, t.Return)):
            return False
        if isinstance(n, t.Call) and t.called(n).startswith(_SLOW):
            return False
        if isinstance(n, t.Opaque) and any(isinstance(p, str) and "[" in p and "]" in p for p in n.parts):
            return False
    return True


def _leaving(body: t.Body) -> t.Body:
    """`return` leaves the loop's body: `continue`, or a lambda's return where it stands in a loop of its own."""
    nested = any(isinstance(n, t.Return) for s in t.walk(body) if isinstance(s, (t.For, t.While, t.DoWhile, t.Switch)) for n in t.walk((s,)))
    if nested:
        from ....frontend.cuda.text import body as lines

        text = "[&] {\n" + "\n".join(lines(body, 2)) + "\n  }()"
        return (t.Evaluate(t.Opaque((text,))),)
    return t.rewrite(body, lambda n: t.Continue(n.line) if isinstance(n, t.Return) else n)


def _conjuncts(e: t.Expr) -> tuple[t.Expr, ...]:
    return (*_conjuncts(e.left), *_conjuncts(e.right)) if isinstance(e, t.Binary) and e.op == "&&" else (e,)


def _indexed(e: t.Expr) -> tuple[str, int]:
    depth = 0
    while isinstance(e, t.Index):
        e, depth = e.base, depth + 1
    return (e.text, depth) if isinstance(e, t.Name) else ("", depth)


def _points(n: Any) -> bool:
    """Whether it is `&a[i]`, or `a[i]` as something else by reference."""
    address = isinstance(n, t.Unary) and n.op == "&"
    return (address or (isinstance(n, t.Cast) and n.type.endswith("&"))) and isinstance(n.value, t.Index)


def _array(e: t.Expr) -> t.Expr:
    """The array of an element."""
    return e.base if isinstance(e, t.Index) else e


def _address(e: t.Expr) -> t.Expr | None:
    """The index of `base[index]`, which is all that an address depends on."""
    if isinstance(e, t.Index) and isinstance(e.base, t.Name):
        return t.Binary("+", e.base, e.index)
    return e if isinstance(e, t.Name) else None


_ZEROS = ("0", "0.0f", "0.f", "0.0", "0.")


def _row(e: t.Expr | None) -> list[t.Expr]:
    """The values of `{a, b, c}`; none where it is something else."""
    if not isinstance(e, t.Opaque) or not all(re.fullmatch(r"[\s{,}]*", p) for p in e.parts if isinstance(p, str)):
        return []
    return [p for p in e.parts if not isinstance(p, str)] if sum(p.count("{") for p in e.parts if isinstance(p, str)) == 1 else []


def _list_values(e: t.Expr | None) -> list[str] | None:
    if not isinstance(e, t.Opaque):
        return None
    from ....frontend.cuda.text import expression

    text = expression(e).replace("{", " ").replace("}", " ")
    return [v.strip() for v in text.split(",") if v.strip()]


def _listed(e: t.Expr) -> tuple[t.Expr, ...]:
    """The values between the brackets of an initialiser."""
    return (*_listed(e.left), e.right) if isinstance(e, t.Binary) and e.op == "," else () if e == t.Opaque(("",)) else (e,)


def _braced(type_: str, e: t.Expr) -> t.Expr:
    """`T{a, b}`."""
    parts: list[str | t.Expr] = [type_ + "{"]
    for k, value in enumerate(_listed(e)):
        parts += [", ", value] if k else [value]
    return t.Opaque((*parts, "}"))


def _regions(items: list[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, (Region, Strided)):
            yield item
        elif isinstance(item, Loop):
            yield from _regions(item.items)
        elif isinstance(item, Choice):
            yield from _regions(item.then)
            yield from _regions(item.orelse)


def _once(items: list[Any]) -> Iterator[Any]:
    """Statements that the block runs once, heads of loops apart."""
    for item in items:
        if isinstance(item, Once):
            yield item.statement
        elif isinstance(item, Loop):
            yield from _once(item.items)
        elif isinstance(item, Choice):
            yield from (*_once(item.then), *_once(item.orelse))
