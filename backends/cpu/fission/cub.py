"""CUB's reductions and scans of a block or a warp, and its loads and stores, in plain CUDA. A file comes in; what goes out calls `__device__`
functions of its own instead, which are written out in the kernels like any other that synchronises.

`BlockReduce(temp).Sum(v)`  ->  `cub_reduce_1<float, 256>(v)`, a function that keeps every thread's value in shared memory; `temp` goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ....frontend.cuda import text
from ....frontend.cuda import tree as t
from ....frontend.cuda.read import UnsupportedCuda, read
from .inline import split_arguments

KINDS = ("BlockReduce", "BlockScan", "WarpReduce", "WarpScan", "BlockLoad", "BlockStore")
_TYPE = re.compile(r"(?:typename\s+)?(?:(?:::)?cub::)?(" + "|".join(KINDS) + r")\s*<(.*)>\s*$", re.S)
_USING = re.compile(r"using\s+(\w+)\s*=\s*(.*)$", re.S)
_TYPEDEF = re.compile(r"typedef\s+(.*?)(\w+)\s*$", re.S)
ALIASES = re.compile(
    r"^[ \t]*(?:using\s+\w+\s*=\s*(?:typename\s+)?(?:::)?cub::[^;]*;|typedef\s+(?:typename\s+)?(?:::)?cub::[^;]*;|using\s+namespace\s+cub\s*;"
    r"|namespace\s+\w+\s*=\s*cub\s*;)[ \t]*\n?",
    re.M,
)
"""Declarations at file scope that only CUB gives a meaning."""

_FULL = t.Literal("0xffffffff")
_COMBINED = {"Sum": "({0} + {1})", "Max": "({0} < {1} ? {1} : {0})", "Min": "({1} < {0} ? {1} : {0})"}
_LAMBDAS = {
    name: t.Lambda("", (t.Param("cub_a", "auto"), t.Param("cub_b", "auto")), "", (t.Return(e),))
    for name, e in {
        "Sum": t.Binary("+", t.Name("cub_a"), t.Name("cub_b")),
        "Max": t.Conditional(t.Binary("<", t.Name("cub_a"), t.Name("cub_b")), t.Name("cub_b"), t.Name("cub_a")),
        "Min": t.Conditional(t.Binary("<", t.Name("cub_b"), t.Name("cub_a")), t.Name("cub_b"), t.Name("cub_a")),
    }.items()
}  # what CUB's function objects are to other functions
_OF_WARP = {"Sum": "__reduce_add_sync", "Max": "__reduce_max_sync", "Min": "__reduce_min_sync"}
_NUMBERS = ("float", "double", "int", "unsigned", "unsigned int", "long", "long long", "int64_t", "uint32_t", "int32_t", "size_t")
_RANK = "(threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x"
_LANES = "min(CubN, (int)(blockDim.x * blockDim.y * blockDim.z) - cub_rank / CubN * CubN)"


@dataclass(frozen=True)
class Primitive:
    """`cub::BlockReduce<type, 256>`: its kind, the type of its values, the threads that take part, further arguments."""

    kind: str
    type: str
    count: str
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Combine:
    """How two values combine: a text over {0} and {1}; `type` makes a function object, `value` is one."""

    form: str
    name: str = ""
    type: str = ""
    value: t.Expr | None = None


def uncubbed(file: t.CudaFile) -> t.CudaFile:
    """The file without CUB. Raises UnsupportedCuda with its line for what has no rule."""
    if not re.search(r"#\s*include\s*[<\"]cub/", file.source):
        return file
    made: dict[str, t.Function] = {}
    known = _file_scope(file)
    functions = tuple(f if f.kind not in ("device", "kernel") else _Rewriter(f, dict(known), made).run() for f in file.functions)
    return replace(file, functions=(*functions, *made.values()))


def _file_scope(file: t.CudaFile) -> dict[str, Primitive]:
    found = (_alias(line.strip().rstrip(";")) for line in ALIASES.findall(file.source))
    return {name: primitive for name, primitive in filter(None, found)}


def _alias(line: str) -> tuple[str, Primitive] | None:
    """The name that a `using` or `typedef` gives to one of CUB's classes."""
    using, typedef = _USING.match(line), _TYPEDEF.match(line)
    name, type_ = (using[1], using[2]) if using else (typedef[2], typedef[1].strip()) if typedef else ("", "")
    primitive = primitive_of(type_)
    return (name, primitive) if primitive else None


def primitive_of(type_: str) -> Primitive | None:
    """What `cub::BlockScan<float, 128>` is."""
    found = _TYPE.match(type_.strip())
    if found is None:
        return None
    args = split_arguments(found[2])
    if found[1].startswith("Warp"):
        return Primitive(found[1], args[0], args[1] if len(args) > 1 else "32")
    items = found[1] in ("BlockLoad", "BlockStore")
    extents = [args[1], *args[4 if items else 3 :][:2]]
    return Primitive(found[1], args[0], " * ".join(f"({e})" for e in extents) if len(extents) > 1 else _grouped(extents[0]), tuple(args[2:4]))


def _grouped(count: str) -> str:
    return count if re.fullmatch(r"\w+", count) else f"({count})"


class _Rewriter:
    def __init__(self, function: t.Function, known: dict[str, Primitive], made: dict[str, t.Function]):
        self.function, self.known, self.made = function, known, made
        self.operators: dict[str, str] = {}  # variable -> the function object's type
        self.storage: set[str] = set()
        self.arrays: dict[str, str] = {}
        self.line = function.line
        self.lines = {id(n): s.line for s in t.walk(function.body) if getattr(s, "line", 0) for n in t.walk((s,))}  # inner statements come last

    def run(self) -> t.Function:
        for n in t.walk(self.function.body):
            if isinstance(n, t.Evaluate) and isinstance(n.value, t.Opaque) and (found := _alias(text.expression(n.value))):
                self.known[found[0]] = found[1]
            if isinstance(n, t.Declare):
                self.note(n)
        body = t.rewrite(self.function.body, self.change)
        for n in t.walk(body):
            self.line = getattr(n, "line", 0) or self.line
            if isinstance(n, t.Name) and (n.text in self.known or n.text in self.storage or primitive_of(n.text)):
                self.refuse(f"{n.text} is used in a way that has no rule")
        return replace(self.function, body=body)

    def refuse(self, why: str) -> None:
        raise UnsupportedCuda(f"line {self.line}: {why} (CUB)")

    def note(self, s: t.Declare) -> None:
        """What a declaration says of CUB: storage, an object of one of its classes, a function object, an array of items."""
        for d in s.declarators:
            if self.is_storage(s):
                self.storage.add(d.name)
            elif primitive := self.primitive(s.type):
                self.known[d.name] = primitive
            elif (name := _operator(s.type)) is not None:
                self.operators[d.name] = name
            elif d.extents and d.extents[0] is not None:
                self.arrays[d.name] = text.expression(d.extents[0])

    def is_storage(self, s: t.Declare) -> bool:
        """`TempStorage`, or a union or struct of nothing else."""
        if "TempStorage" not in s.type:
            return False
        inside = re.search(r"\{(.*)\}", s.type, re.S)
        members = [m for m in inside[1].split(";") if m.strip()] if inside else []
        return all("TempStorage" in m for m in members)

    def primitive(self, type_: str) -> Primitive | None:
        return self.known.get(type_.removeprefix("typename ").strip()) or primitive_of(type_)

    def change(self, n: Any) -> Any:
        self.line = self.lines.get(id(n), self.line)
        if isinstance(n, t.Declare) and all(d.name in self.storage or d.name in self.known or d.name in self.operators for d in n.declarators):
            return ()
        if isinstance(n, t.Evaluate) and isinstance(n.value, t.Opaque):
            line = text.expression(n.value)
            gone = _alias(line) or ("TempStorage" in line and line.startswith(("using", "typedef")))
            return () if gone or re.match(r"using\s+namespace\s+cub\b", line) else n
        if isinstance(n, t.Call) and not n.args and isinstance(n.function, t.Name) and (name := _operator(n.function.text)):
            return _LAMBDAS[name]
        if isinstance(n, t.Call) and isinstance(n.function, t.Member) and (primitive := self.object(n.function.value)):
            return self.method(primitive, n.function.name.partition("<")[0], n.args)
        return n

    def object(self, e: Any) -> Primitive | None:
        """The class of `BlockReduce(temp)`, or of a variable."""
        if isinstance(e, t.Call) and isinstance(e.function, t.Name):
            e = e.function
        return self.primitive(e.text) if isinstance(e, t.Name) else None

    def method(self, p: Primitive, name: str, args: tuple[t.Expr, ...]) -> t.Expr:
        rule: Callable[[Primitive, str, tuple[t.Expr, ...]], t.Expr] = {
            "BlockReduce": self.reduced, "WarpReduce": self.reduced, "BlockScan": self.scanned, "WarpScan": self.scanned,
            "BlockLoad": self.moved, "BlockStore": self.moved,
        }[p.kind]  # fmt: skip
        return rule(p, name, args)

    # --- reductions

    def reduced(self, p: Primitive, name: str, args: tuple[t.Expr, ...]) -> t.Expr:
        """`Sum(v)`, `Sum(v, valid)`, `Reduce(v, op)`, `Reduce(v, op, valid)`, each of an item or of an array of items."""
        if name not in ("Sum", "Reduce") or len(args) < (2 if name == "Reduce" else 1):
            self.refuse(f"no rule for {p.kind}::{name}")
        combine = Combine(_COMBINED["Sum"], "Sum") if name == "Sum" else self.combine(args[1])
        valid = args[2 if name == "Reduce" else 1 :]
        items = self.items(args[0])
        if p.kind == "WarpReduce" and combine.name and not valid and not items and p.type in _NUMBERS:
            width = () if p.count == "32" else (t.Literal(p.count) if p.count.isdigit() else t.Name(p.count),)
            return t.Call(t.Name(_OF_WARP[combine.name]), (_FULL, t.Cast(p.type, args[0]), *width))
        head, first = _value(items, combine)
        if p.kind == "BlockReduce":
            lines = [*first, *_kept(), "CubT cub_total = cub_slots[0];", "if (cub_rank == 0) {",
                     f"for (int cub_i = 1; cub_i < {'cub_valid' if valid else 'CubN'}; ++cub_i) cub_total = {_both(combine, 'cub_total', 'cub_slots[cub_i]')};",
                     "}", "return cub_total;"]  # fmt: skip
        else:
            lines = [*first, f"const int cub_rank = {_RANK};", "const int cub_lane = cub_rank % CubN;", f"const int cub_lanes = {'cub_valid' if valid else _LANES};",
                     "CubT cub_own = cub_value;", "for (int cub_step = 1; cub_step < CubN; cub_step *= 2) {",
                     "CubT cub_other = __shfl_down_sync(0xffffffff, cub_own, cub_step, CubN);",
                     f"if (cub_lane % (2 * cub_step) == 0 && cub_lane + cub_step < cub_lanes) cub_own = {_both(combine, 'cub_own', 'cub_other')};",
                     "}", "return cub_own;"]  # fmt: skip
        return self.call("reduce", "CubT", [head, *(["int cub_valid"] if valid else [])], lines, p, combine, (args[0], *valid), items)

    # --- scans

    def scanned(self, p: Primitive, name: str, args: tuple[t.Expr, ...]) -> t.Expr:
        """`InclusiveSum(in, out)`, `ExclusiveScan(in, out, first, op)` and their like, the total as a last argument where it is wanted."""
        found = re.fullmatch(r"(Inclusive|Exclusive)(Sum|Scan)", name)
        if found is None:
            self.refuse(f"no rule for {p.kind}::{name}")
            raise AssertionError
        inclusive, rest, start = found[1] == "Inclusive", list(args[2:]), None
        combine = Combine(_COMBINED["Sum"], "Sum")
        if found[2] == "Scan":
            if not inclusive and len(rest) > 1 and not self.is_operator(rest[0]):
                start = rest.pop(0)
            combine = self.combine(rest.pop(0)) if rest else combine
        if len(rest) > 1:
            self.refuse(f"no rule for {p.kind}::{name} with {len(args)} arguments")
        items = self.items(args[0])
        head, first = _value(items, combine)
        beginning = "cub_first" if start is not None else "(CubT)0" if combine.name == "Sum" else "cub_value"
        before = f"cub_first_place ? {beginning} : " + (_both(combine, "cub_first", "cub_before") if start is not None else "cub_before")
        lines = [*first, *(_block_scan if p.kind == "BlockScan" else _warp_scan)(combine)]
        if items:
            lines += ["CubT cub_next = cub_before;", *_spread(items, inclusive, combine, start is not None)]
        else:
            lines.append(f"cub_out = {'cub_through' if inclusive else before};")
        params = [head, "CubT* cub_out" if items else "CubT& cub_out", *(["CubT cub_first"] if start is not None else []), *(["CubT& cub_all"] if rest else [])]
        if rest:
            lines.append("cub_all = cub_total;")
        return self.call("scan", "void", params, lines, p, combine, (args[0], args[1], *([start] if start is not None else []), *rest), items)

    # --- loads and stores

    def moved(self, p: Primitive, name: str, args: tuple[t.Expr, ...]) -> t.Expr:
        """`Load(from, items)`, `Load(from, items, valid)`, `Load(from, items, valid, fill)`, `Store(to, items)`, `Store(to, items, valid)`."""
        load = p.kind == "BlockLoad"
        if name not in ("Load", "Store") or not 2 <= len(args) <= (4 if load else 3):
            self.refuse(f"no rule for {p.kind}::{name}")
        count, *how = p.rest
        striped = bool(how) and how[0].endswith("_STRIPED")
        place = "cub_i * CubN + cub_rank" if striped else "cub_rank * CubK + cub_i"
        move = f"cub_items[cub_i] = cub_memory[{place}];" if load else f"cub_memory[{place}] = cub_items[cub_i];"
        guard = f"if ({place} < cub_valid) " if len(args) > 2 else ""
        other = " else cub_items[cub_i] = cub_fill;" if len(args) > 3 else ""
        lines = [f"const int cub_rank = {_RANK};", f"for (int cub_i = 0; cub_i < CubK; ++cub_i) {{ {guard}{move}{other} }}"]
        params = [("const " if load else "") + "CubT* cub_memory", "CubT* cub_items", "int cub_valid", "CubT cub_fill"][: len(args)]
        return self.call("move", "void", params, lines, p, None, args, count)

    # --- functions

    def items(self, e: t.Expr) -> str:
        """How many items an array has; "" for one value."""
        return self.arrays.get(e.text, "") if isinstance(e, t.Name) else ""

    def is_operator(self, e: t.Expr) -> bool:
        return self.combine(e).value is None or isinstance(e, t.Lambda)

    def combine(self, e: t.Expr) -> Combine:
        """The operator that an argument is: `cub::Max()`, a function object of the file's own, a lambda, a variable."""
        known = next((name for name, made in _LAMBDAS.items() if made == e), None)
        if known is not None:
            return Combine(_COMBINED[known], known)
        type_ = self.operators.get(e.text, "") if isinstance(e, t.Name) else re.sub(r"[({]\s*[)}]\s*$", "", text.expression(e))
        name = _operator(type_)
        if name is not None:
            return Combine(_COMBINED[name], name)
        if not isinstance(e, (t.Name, t.Lambda)) and re.fullmatch(r"[\w:]+(<.*>)?", type_):
            return Combine("CubOp()({0}, {1})", type=type_)
        return Combine("cub_op({0}, {1})", value=e)

    def call(
        self, what: str, returns: str, params: list[str], lines: list[str], p: Primitive, combine: Combine | None, args: tuple[t.Expr, ...], items: str
    ) -> t.Expr:
        """A call of the function with these lines, made where there is none yet."""
        given = [("typename CubT", p.type), ("int CubN", p.count)]
        given += [("int CubK", _grouped(items))] if items else []
        if combine is not None and combine.type:
            given.append(("typename CubOp", combine.type))
        if combine is not None and combine.value is not None:
            params, args = [*params, "auto cub_op"], (*args, combine.value)
        head = f"template <{', '.join(name for name, _ in given)}>\n__device__ {returns} NAME({', '.join(params)}) {{\n"
        source = head + "\n".join(lines) + "\n}\n"
        if source not in self.made:
            (function,) = read(source.replace("NAME", f"cub_{what}_{len(self.made)}")).functions
            self.made[source] = replace(function, start=0, stop=0, line=self.line)
        return t.Call(t.Name(f"{self.made[source].name}<{', '.join(value for _, value in given)}>"), args)


def _operator(type_: str) -> str | None:
    """Sum, Max or Min, where a type is CUB's."""
    found = re.fullmatch(r"(?:::)?(?:cub::|cuda::std::|cuda::)?(Sum|Max|Min|plus|maximum|minimum)(?:\s*<.*>)?", type_.strip())
    if found is None or (not type_.strip().lstrip(":").startswith("cu")):
        return None
    return {"plus": "Sum", "maximum": "Max", "minimum": "Min"}.get(found[1], found[1])


def _both(combine: Combine, a: str, b: str) -> str:
    return combine.form.format(a, b)


def _value(items: str, combine: Combine) -> tuple[str, list[str]]:
    """The parameter with a thread's part, and the lines that make one value of it."""
    if not items:
        return "CubT cub_value", []
    return "CubT* cub_items", ["CubT cub_value = cub_items[0];", f"for (int cub_j = 1; cub_j < CubK; ++cub_j) cub_value = {_both(combine, 'cub_value', 'cub_items[cub_j]')};"]


def _kept() -> list[str]:
    return ["__shared__ CubT cub_slots[CubN];", f"const int cub_rank = {_RANK};", "cub_slots[cub_rank] = cub_value;", "__syncthreads();"]


def _block_scan(combine: Combine) -> list[str]:
    """The first thread combines what all have left; then everyone reads its own place and the one before."""
    return [
        *_kept(), "if (cub_rank == 0) {",
        f"for (int cub_i = 1; cub_i < CubN; ++cub_i) cub_slots[cub_i] = {_both(combine, 'cub_slots[cub_i - 1]', 'cub_slots[cub_i]')};",
        "}", "__syncthreads();", "const bool cub_first_place = cub_rank == 0;", "const CubT cub_through = cub_slots[cub_rank];",
        "const CubT cub_before = cub_slots[cub_rank == 0 ? 0 : cub_rank - 1];", "const CubT cub_total = cub_slots[CubN - 1];",
    ]  # fmt: skip


def _warp_scan(combine: Combine) -> list[str]:
    return [
        f"const int cub_rank = {_RANK};", "const int cub_lane = cub_rank % CubN;", f"const int cub_lanes = {_LANES};", "CubT cub_through = cub_value;",
        "for (int cub_step = 1; cub_step < CubN; cub_step *= 2) {", "CubT cub_other = __shfl_up_sync(0xffffffff, cub_through, cub_step, CubN);",
        f"if (cub_lane >= cub_step) cub_through = {_both(combine, 'cub_other', 'cub_through')};", "}",
        "CubT cub_before = __shfl_up_sync(0xffffffff, cub_through, 1, CubN);", "CubT cub_total = __shfl_sync(0xffffffff, cub_through, cub_lanes - 1, CubN);",
        "const bool cub_first_place = cub_lane == 0;",
    ]  # fmt: skip


def _spread(items: str, inclusive: bool, combine: Combine, started: bool) -> list[str]:
    """From the value before a thread's items to each of them."""
    start = "cub_first" if started else "(CubT)0"
    lines = [f"if (cub_first_place) cub_next = {start};" if started or combine.name == "Sum" else "if (cub_first_place) cub_next = cub_items[0];"]
    if started:
        lines.append(f"else cub_next = {_both(combine, 'cub_first', 'cub_next')};")
    alone = not started and combine.name != "Sum"  # nothing to begin with: the first item stands for itself
    step = _both(combine, "cub_next", "cub_items[cub_i]")
    step = f"cub_first_place && cub_i == 0 ? cub_items[0] : {step}" if alone else step
    body = f"const CubT cub_item = {step}; " + ("cub_out[cub_i] = cub_item; " if inclusive else "cub_out[cub_i] = cub_next; ") + "cub_next = cub_item;"
    return [*lines, f"for (int cub_i = 0; cub_i < CubK; ++cub_i) {{ {body} }}"]
