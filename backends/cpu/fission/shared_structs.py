"""Structs that stand for a block's dynamic shared memory, and shared memory that is declared outside functions, in plain CUDA. A file comes in;
one without them goes out.

`SharedMemory<T> shared; T* s = shared;`  ->  `extern __shared__ T shared[]; T* s = shared;`, as in the samples of CUDA's toolkit, whose struct
hides the declaration from kernels that are templates.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ....frontend.cuda import tree as t
from ....frontend.cuda.macros import closing
from ....frontend.cuda.read import UnsupportedCuda
from .sync import Synchronising

_STRUCT = re.compile(r"(?:\btemplate\s*<[^<>{}]*>\s*)?\bstruct\s+(\w+)\s*(<[^<>{}]*>)?\s*\{")
_OPERATOR = re.compile(r"operator\s+(?:const\s+)?([\w:]+)\s*\*")


def without_shared_structs(file: t.CudaFile) -> t.CudaFile:
    """The file with each such variable as an array, and the structs blanked."""
    if "struct" not in file.source or "extern __shared__" not in file.source:
        return file
    source, elements = _blanked(file.source)
    if not elements:
        return file
    return replace(file, source=source, functions=tuple(replace(f, body=_Rewriter(elements).run(f.body)) for f in file.functions))


def with_own_shared(file: t.CudaFile) -> t.CudaFile:
    """`extern __shared__ T s[];` outside functions becomes the first line of each kernel that uses it. Raises UnsupportedCuda."""
    outside = {d.name: s for s, _, _ in file.symbols if "__shared__" in s.qualifiers for d in s.declarators}
    if not outside:
        return file
    inlined = Synchronising(file).functions
    for f in file.functions:
        if f.kind == "device" and f.name not in inlined and t.names(f.body) & outside.keys():
            raise UnsupportedCuda(f"line {f.line}: {f.name} uses shared memory that is declared outside functions")
    data = file.source.encode()
    for s, start, stop in file.symbols:
        if "__shared__" in s.qualifiers:
            data = data[:start] + bytes(c if c in b"\n" else 32 for c in data[start:stop]) + data[stop:]
    functions = tuple(f if f.kind != "kernel" else _declaring(f, file, outside) for f in file.functions)
    kept = tuple(symbol for symbol in file.symbols if "__shared__" not in symbol[0].qualifiers)
    return replace(file, source=data.decode(), functions=functions, symbols=kept)


def _declaring(kernel: t.Function, file: t.CudaFile, outside: dict[str, t.Declare]) -> t.Function:
    """The kernel with the declarations that it and what it calls need."""
    reached: list[t.Function] = [kernel]
    for f in reached:
        called = (file.function(t.called(c)) for c in t.calls(f.body))
        reached += [g for g in called if g is not None and g not in reached]
    used = frozenset().union(*(t.names(f.body) for f in reached)) - {p.name for p in kernel.params}
    needed = [replace(s, line=kernel.line) for name, s in outside.items() if name in used]
    return replace(kernel, body=(*needed, *kernel.body)) if needed else kernel


def _blanked(source: str) -> tuple[str, dict[str, str]]:
    """The text with the structs as blanks of the same length, and the type of each struct's elements ("" where it is an argument)."""
    elements: dict[str, str] = {}
    for m in reversed(list(_STRUCT.finditer(source))):
        end = closing(source, m.end() - 1) + 1
        inside = source[m.end() : end]
        if not re.search(r"\bextern\s+__shared__", inside):
            continue
        end += len(re.match(r"\s*;", source[end:])[0]) if re.match(r"\s*;", source[end:]) else 0  # type: ignore[index]
        gives = _OPERATOR.search(inside)
        elements.setdefault(m[1], "" if m[0].startswith("template") or gives is None else gives[1])
        blank = re.sub(r"[^\n]", lambda c: " " * len(c[0].encode()), source[m.start() : end])
        source = source[: m.start()] + blank + source[end:]
    return source, elements


class _Rewriter:
    def __init__(self, elements: dict[str, str]):
        self.elements = elements
        self.variables: set[str] = set()

    def run(self, body: t.Body) -> t.Body:
        return t.rewrite(body, self.change)

    def element(self, type_: str) -> str:
        name, _, argument = type_.partition("<")
        return "" if name.strip() not in self.elements else self.elements[name.strip()] or argument.rstrip().removesuffix(">").strip()

    def change(self, n: Any) -> Any:
        if isinstance(n, t.Declare) and (element := self.element(n.type)):
            names = [d.name for d in n.declarators]
            self.variables.update(names)
            return tuple(_array(name, element, n.line) for name in names)
        if isinstance(n, t.Declare) and isinstance(made := n.declarators[0].init, t.Call) and isinstance(made.function, t.Name) and (element := self.element(made.function.text)):
            name = f"{n.declarators[0].name}_memory"
            return (_array(name, element, n.line), replace(n, declarators=(replace(n.declarators[0], init=t.Name(name)), *n.declarators[1:])))
        if isinstance(n, t.Call) and isinstance(n.function, t.Member) and isinstance(n.function.value, t.Name) and n.function.value.text in self.variables:
            return n.function.value
        return n


def _array(name: str, element: str, line: int) -> t.Declare:
    return t.Declare(element, (t.Declarator(name, "", (None,)),), ("extern", "__shared__"), line)
