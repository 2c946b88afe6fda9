"""Cooperative groups in the words that the other steps know. A file comes in; what goes out has no groups: `block.sync()` is
`__syncthreads()`, `tile.shfl_down(v, d)` a shuffle of the tile's width, a rank an index. Groups that functions take are told by their
parameters' types and given no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ....frontend.cuda import text
from ....frontend.cuda import tree as t
from ....frontend.cuda.read import UnsupportedCuda

_TYPE = re.compile(r"(?:\w+::)*thread_block(?:_tile\s*<\s*(\w+)[^>]*>)?$")
_PARTITION = re.compile(r"(?:\w+::)*tiled_partition\s*<\s*(\w+)\s*>$")
_FULL = t.Literal("0xffffffff")
_SHUFFLES = ("shfl", "shfl_up", "shfl_down", "shfl_xor")
_VOTES = ("any", "all", "ballot")
_COMBINED = {
    "plus": "__reduce_add_sync", "bit_or": "__reduce_or_sync", "bit_xor": "__reduce_xor_sync", "bit_and": "__reduce_and_sync",
    "greater": "__reduce_max_sync", "less": "__reduce_min_sync", "multiplies": "__reduce_mul_sync",
}  # fmt: skip
_UNKNOWN = ("this_grid", "coalesced_threads", "binary_partition", "labeled_partition", "this_multi_grid", "memcpy_async", "this_cluster")
_WAITS = ("wait", "wait_prior")
_PLACES = {"group_index": "blockIdx", "thread_index": "threadIdx", "group_dim": "blockDim", "dim_threads": "blockDim"}


@dataclass(frozen=True)
class Group:
    """All threads of a block (`size` None), or tiles of `size` threads."""

    size: t.Expr | None = None


def ungrouped(file: t.CudaFile) -> t.CudaFile:
    """The file without groups. Raises UnsupportedCuda with its line for what has no rule."""
    if "cooperative_groups" not in file.source:
        return file
    taken = {f.name: {i: g for i, p in enumerate(f.params) if (g := _named(p.type))} for f in file.functions if f.kind == "device"}
    while _given(file, taken):
        pass
    return replace(file, functions=tuple(f if f.kind not in ("device", "kernel") else _Rewriter(f, taken).run() for f in file.functions))


def _given(file: t.CudaFile, taken: dict[str, dict[int, Group]]) -> bool:
    """Whether calls told a group for a parameter whose type is the function's own to choose (`template <class G> f(G g)`); added to `taken`."""
    grown = False
    for f in file.functions:
        if f.kind not in ("device", "kernel"):
            continue
        rewriter = _Rewriter(f, taken)
        rewriter.learn(f.body)
        for call in t.calls(f.body):
            function = file.function(t.called(call))
            if function is None or function.kind != "device":
                continue
            for i, (p, arg) in enumerate(zip(function.params, call.args)):
                group = rewriter.group(arg)
                if group is None or p.type.removeprefix("const ").strip() not in (*function.template_names, "auto"):
                    continue
                grown |= i not in taken[function.name]
                if taken[function.name].setdefault(i, group) != group:
                    rewriter.refuse(f"{function.name} is given groups of two kinds")
    return grown


def _named(type_: str) -> Group | None:
    """The group of a type's name."""
    found = _TYPE.search(" ".join(w for w in type_.split() if w != "const"))
    return Group(_extent(found[1])) if found else None


def _extent(word: str | None) -> t.Expr | None:
    return None if word is None else t.Literal(word) if word.isdigit() else t.Name(word)


class _Rewriter:
    def __init__(self, function: t.Function, taken: dict[str, dict[int, Group]]):
        self.function, self.taken = function, taken
        positions = taken.get(function.name, {})
        self.known = {function.params[i].name: g for i, g in positions.items()}
        self.line = function.line
        self.taken_names = t.names(function.body)
        self.extents = {d.name: len(d.extents) for n in t.walk(function.body) if isinstance(n, t.Declare) for d in n.declarators}

    def run(self) -> t.Function:
        body = self.statements(self.function.body)
        for n in t.walk(body):
            self.line = getattr(n, "line", 0) or self.line
            if isinstance(n, t.Name) and n.text in self.known:
                self.refuse(f"the group {n.text} is used in a way that has no rule")
            if isinstance(n, t.Call) and t.called(n) in _UNKNOWN:
                self.refuse(f"no rule for {t.called(n)}")
        params = tuple(p for p in self.function.params if p.name not in self.known)
        gone = {p.type.removeprefix("const ").strip() for p in self.function.params if p.name in self.known}
        template = tuple(x for x, name in zip(self.function.template, self.function.template_names) if name not in gone)
        return replace(self.function, body=body, params=params, template=template)

    def refuse(self, why: str) -> None:
        raise UnsupportedCuda(f"line {self.line}: {why} (cooperative groups)")

    def statements(self, body: t.Body) -> t.Body:
        self.learn(body)
        return t.rewrite(body, self.change)

    def learn(self, body: t.Body) -> None:
        """Which variables are groups."""
        for n in t.walk(body):
            if isinstance(n, t.Declare):
                for d in n.declarators:
                    group = _named(n.type) or (self.group(d.init) if n.type in ("auto", "const auto") else None)
                    if group is not None:
                        self.known[d.name] = group

    def group(self, e: Any) -> Group | None:
        """The group that an expression is."""
        if isinstance(e, t.Name):
            return self.known.get(e.text)
        if not isinstance(e, t.Call) or not isinstance(e.function, t.Name):
            return None
        if t.called(e) == "this_thread_block":
            return Group()
        found = _PARTITION.search(e.function.text)
        return Group(_extent(found[1])) if found else None

    def change(self, n: Any) -> Any:
        self.line = getattr(n, "line", 0) or self.line
        if isinstance(n, t.Declare) and all(d.name in self.known for d in n.declarators):
            return ()
        if isinstance(n, t.Evaluate) and isinstance(n.value, t.Call) and t.called(n.value) == "memcpy_async" and self.group(n.value.args[0]):
            return self.copied(n.value, n.line)
        if not isinstance(n, t.Call):
            return n
        if isinstance(n.function, t.Member) and (group := self.group(n.function.value)):
            return self.method(group, n.function.name, n.args)
        name = t.called(n)
        if self.taken.get(name):
            return replace(n, args=tuple(a for i, a in enumerate(n.args) if i not in self.taken[name]))
        if n.args and (group := self.group(n.args[0])) and name not in ("tiled_partition", "memcpy_async"):
            return self.free(group, name, n.args[1:])
        return n

    def method(self, group: Group, name: str, args: tuple[t.Expr, ...]) -> t.Expr:
        if group.size is None:
            return self.of_block(name)
        warp = group.size == t.Literal("32")
        if name == "sync":
            return t.Call(t.Name("__syncwarp"), ())
        if name == "thread_rank":
            return t.Binary("%", _rank(), group.size)
        if name in ("size", "num_threads"):
            return group.size
        if name == "meta_group_rank":
            return t.Binary("/", _rank(), group.size)
        if name == "meta_group_size":
            return t.Binary("/", t.Binary("-", t.Binary("+", _threads(), group.size), t.Literal("1")), group.size)
        if name in _SHUFFLES:
            return t.Call(t.Name(f"__{name}_sync"), (_FULL, *args, *(() if warp else (group.size,))))
        if name in _VOTES and warp:
            return t.Call(t.Name(f"__{name}_sync"), (_FULL, *args))
        if name in ("any", "all"):
            return t.Call(t.Name(f"__reduce_{'or' if name == 'any' else 'and'}_sync"), (_FULL, t.Cast("int", t.Binary("!=", args[0], t.Literal("0"))), group.size))
        self.refuse(f"no rule for {name} of a tile")
        raise AssertionError

    def of_block(self, name: str) -> t.Expr:
        if name == "sync":
            return t.Call(t.Name("__syncthreads"), ())
        if name == "thread_rank":
            return _rank()
        if name in ("size", "num_threads"):
            return _threads()
        if name in _PLACES:
            return t.Name(_PLACES[name])
        self.refuse(f"no rule for {name} of a block")
        raise AssertionError

    def free(self, group: Group, name: str, args: tuple[t.Expr, ...]) -> t.Expr:
        """`cg::sync(g)`, `cg::reduce(g, v, cg::plus<T>())` and the like."""
        if name in _WAITS:
            return self.method(group, "sync", ())
        if name in ("sync", "thread_rank", "group_size"):
            return self.method(group, "size" if name == "group_size" else name, ())
        if name == "reduce" and len(args) == 2 and group.size is not None:
            combine = re.sub(r"[<({].*", "", text.expression(args[1])).strip().rsplit("::", 1)[-1]
            if combine in _COMBINED:
                width = () if group.size == t.Literal("32") else (group.size,)
                return t.Call(t.Name(_COMBINED[combine]), (_FULL, args[0], *width))
        self.refuse(f"no rule for {name} over this group")
        raise AssertionError


    def copied(self, call: t.Call, line: int) -> t.Stmt:
        """`cg::memcpy_async(g, to, from, bytes)`, or with a number of elements for each side: made at once, by all threads of the group."""
        group = self.group(call.args[0])
        assert group is not None
        at = t.unused("copied", self.taken_names, "_")
        self.taken_names |= {at}
        if len(call.args) == 5:
            to, there, source, here = call.args[1:]
            count: t.Expr = t.Call(t.Name("min"), (t.Cast("int", there), t.Cast("int", here)))
        elif len(call.args) == 4:
            to, source, size = call.args[1:]
            count = t.Cast("int", t.Binary("/", _bytes(size), t.Opaque(("sizeof(", self.element(to, t.Literal("0")), ")"))))
        else:
            self.refuse("no rule for this form of memcpy_async")
            raise AssertionError
        store = t.Evaluate(t.Assign("=", self.element(to, t.Name(at)), self.element(source, t.Name(at))), line)
        init = t.Declare("int", (t.Declarator(at, init=self.method(group, "thread_rank", ())),), (), line)
        return t.For(init, t.Binary("<", t.Name(at), count), t.Assign("+=", t.Name(at), self.method(group, "size", ())), (store,), line)

    def element(self, e: t.Expr, at: t.Expr) -> t.Expr:
        """The element of memory that begins at `e`."""
        if isinstance(e, t.Unary) and e.op == "&" and isinstance(e.value, t.Index) and isinstance(e.value.base, t.Name):
            return t.Index(e.value.base, at if e.value.index == t.Literal("0") else t.Binary("+", e.value.index, at))
        if isinstance(e, t.Binary) and e.op == "+" and isinstance(e.left, t.Name):
            return t.Index(e.left, t.Binary("+", e.right, at))
        rest = self.dimensions(e)
        if rest < 2:
            return t.Index(e, at)
        for _ in range(rest):
            e = t.Index(e, t.Literal("0"))
        return t.Index(t.Unary("&", e), at)

    def dimensions(self, e: t.Expr) -> int:
        """How many indices an array still takes; 1 where nothing is known."""
        depth = 0
        while isinstance(e, t.Index):
            e, depth = e.base, depth + 1
        known = self.extents.get(e.text, 0) if isinstance(e, t.Name) else 0
        return known - depth if known else 0 if depth else 1


def _bytes(e: t.Expr) -> t.Expr:
    """The number in `cuda::aligned_size_t<16>(n)`."""
    return e.args[0] if isinstance(e, t.Call) and t.called(e) == "aligned_size_t" else e


def _size(axis: str) -> t.Expr:
    return t.Member(t.Name("blockDim"), ".", axis)


def _rank() -> t.Expr:
    """A thread's number in its block."""
    x, y, z = (t.Member(t.Name("threadIdx"), ".", axis) for axis in "xyz")
    return t.Binary("+", t.Binary("*", t.Binary("+", t.Binary("*", z, _size("y")), y), _size("x")), x)


def _threads() -> t.Expr:
    return t.Binary("*", t.Binary("*", _size("x"), _size("y")), _size("z"))
