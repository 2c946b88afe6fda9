"""What sources cover, by the same measures for anybody's records: texts of both sides come in, counts of what differs go out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..evaluation.suites.read import read_suite

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_KERNEL = re.compile(r"__global__")
_CALL = re.compile(r"\b([a-z_]\w*)\s*\(")
_NO_FUNCTION = frozenset({"for", "if", "while", "switch", "return", "sizeof", "__launch_bounds__", "int", "float", "bool", "int64_t"})


@dataclass(frozen=True)
class Source:
    """A record as the measures see it; `operators`: names, `shapes`: of its inputs."""

    operators: tuple[str, ...]
    cuda: str
    shapes: tuple[tuple[int, ...], ...]


@dataclass
class Covered:
    """Sets of what is there."""

    records: int = 0
    operators: set[str] = field(default_factory=set)
    loops: set[str] = field(default_factory=set)
    fused: set[str] = field(default_factory=set)
    memory: set[str] = field(default_factory=set)
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    several: int = 0

    def row(self) -> dict[str, int]:
        """Measure -> count, in the order of the card."""
        return {
            "records": self.records, "operators": len(self.operators), "loop structures": len(self.loops), "fused patterns": len(self.fused),
            "memory patterns": len(self.memory), "shapes": len(self.shapes), "multi-kernel records": self.several,
        }  # fmt: skip


def covered(sources: Iterable[Source]) -> Covered:
    """Loop structures: how loops, conditions and barriers nest in a kernel. Fused patterns: the set of functions and operators that one kernel
    computes with. Memory patterns: the set of ways in which one kernel reaches memory."""
    out = Covered()
    for s in sources:
        kernels = kernels_of(s.cuda)
        out.records += 1
        out.operators.update(s.operators)
        out.shapes.update(s.shapes)
        out.loops.update(loop_structure(k) for k in kernels)
        out.fused.update(arithmetic(k) for k in kernels)
        out.memory.update(memory_pattern(k) for k in kernels)
        out.several += len(kernels) > 1
    return out


def kernels_of(cuda: str) -> list[str]:
    """The text of each `__global__` function."""
    parts = _KERNEL.split(_COMMENT.sub("", cuda))[1:]
    return [p[: _end(p)] for p in parts]


def _end(text: str) -> int:
    depth = 0
    for at, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if c == "}" and depth == 0:
            return at + 1
    return len(text)


def loop_structure(kernel: str) -> str:
    """`for(for(if)sync)`: what nests in what, in order, repeats of one kind counted once."""
    words = re.findall(r"\bfor\b|\bif\b|\bwhile\b|__syncthreads|[{};]", kernel)
    out: list[str] = []
    stack: list[str] = []
    waiting = ""
    for w in words:
        if w in ("for", "if", "while"):
            waiting = w
        elif w == "__syncthreads":
            out.append("s")
        elif w == "{":
            stack.append(waiting)
            out.append(f"{waiting}(" if waiting else "")
            waiting = ""
        elif w == "}" and stack:
            out.append(")" if stack.pop() else "")
    text = "".join(out)
    while (shorter := re.sub(r"(s|\w+\(\))\1+", r"\1", text)) != text:
        text = shorter
    return text


def arithmetic(kernel: str) -> str:
    """The functions and operators of a kernel, sorted, indices left out."""
    body = kernel[kernel.find("{") :]
    previous = ""
    while previous != body:
        previous, body = body, re.sub(r"\[[^\[\]]*\]", "", body)
    calls = {c for c in _CALL.findall(body) if c not in _NO_FUNCTION and not c.startswith("__")}
    marks = {m for m in re.findall(r"\+=|\*=|[-+*/%]|<=|>=|==|\?|<|>", re.sub(r"for\s*\([^)]*\)", "", body))}
    return " ".join(sorted(calls | marks))


_ALIAS = re.compile(r"\bconst\s+(?:int|long long)\s+(\w+)\s*=\s*\(?\s*(?:\(int\))?\s*(threadIdx|blockIdx)\.([xyz])\s*\)?\s*;")


def memory_pattern(kernel: str) -> str:
    """How its subscripts use threads and blocks (`t`: neighbours in memory for neighbouring threads, `t*`: apart, `b`: by block, `/` and `%`: by
    parts of an index, `loop`: by a loop's variable, `[]`: by what another array holds), and shared memory, shuffles, atomics."""
    body = kernel[kernel.find("{") :]
    aliases = {m[1]: f"{m[2]}.{m[3]}" for m in _ALIAS.finditer(body)}
    plain = re.sub(r"\(int\)", "", body)
    if aliases:
        plain = re.sub(r"\b(" + "|".join(aliases) + r")\b", lambda m: aliases[m[1]], plain)
    found = {_access(text) for text in _subscripts(plain)}
    words = [w for w, sign in (("shared", "__shared__"), ("shuffle", "__shfl"), ("atomic", "atomic"), ("vector", "float4"), ("block sum", "block_")) if sign in kernel]
    return " ".join([*sorted(found), *words])


def _subscripts(text: str) -> list[str]:
    """What stands in each pair of brackets that is no size of a declaration."""
    out, starts = [], []
    for at, c in enumerate(text):
        if c == "[":
            starts.append(at)
        elif c == "]" and starts:
            out.append(text[starts.pop() + 1 : at])
    return [t for t in out if not re.fullmatch(r"\s*\d*\s*", t)]


def _access(text: str) -> str:
    thread = re.search(r"threadIdx\.x\s*\)*\s*(\*\s*\d)?", text)
    parts = [
        "t*" if thread and thread[1] else "t" if thread else "", "b" if "blockIdx" in text else "", "/" if "/" in text or ">>" in text else "",
        "%" if "%" in text or "&" in text else "", "[]" if "[" in text else "",
        "loop" if re.search(r"\b(?!threadIdx|blockIdx)[a-zA-Z_]\w*\b(?!\.)", re.sub(r"\w+\.[xyz]", "", text)) else "",
    ]  # fmt: skip
    return "(" + ",".join(filter(None, parts)) + ")"


def of_rows(rows: Sequence[dict]) -> list[Source]:
    """Our own records."""
    return [
        Source(tuple(r["operators"]), r["cuda_source"], tuple(tuple(b["shape"]) for b in r["buffers"] if b["role"] == "input")) for r in rows
    ]


def of_benchmark(folder: Path) -> list[Source]:
    """The records of a benchmark's folder. Raises Unreadable."""
    suite = read_suite(folder, "HPCTransEval")
    return [Source(r.topology or (r.operator,), r.cuda, r.declared[0]) for r in suite.records]
