"""The unscheduled program as one plain C function, loops and nothing else: a naive Module comes in, C text goes out.

    void kernel(inputs in order, outputs in order)

What a reader or a model takes for the meaning of a record, and the C side of its form for HPCTransEval.
"""

from __future__ import annotations

import math
import re

from ..evaluation.kernel_c import C_TYPE, print_c
from ..ir.diagnostic import Unreadable
from ..ir.expr import as_int
from ..ir.graph import Graph
from ..ir.module import Launch, Module
from .c_side import ENTRY, refuse_shared
from .program import inputs_of, outputs_of

COMPILE = "gcc -x c -std=gnu17 -O1 -shared -fPIC {source} -o {library} -lm"
_ENTRY = "wl_one"


def plain_c(graph: Graph, module: Module) -> str:
    """Raises Unreadable for types that plain C has not (half, double), NotAPair."""
    refuse_shared(module)
    launches = [s for s in (*module.prepare, *module.steps) if isinstance(s, Launch)]
    names = {a.name: a.name for a in inputs_of(graph)}
    names |= {module.storage(made): a.name for made, a in zip(module.outputs, outputs_of(graph))}
    lines: list[str] = []
    texts = [print_c(x.naive, {}, _ENTRY) for x in launches]
    for x, text in zip(launches, texts):
        for param, value in zip(x.naive.params, x.args):
            root = module.storage(value)
            if root not in names:
                names[root] = f"temp{len(names)}"
                count = max(1, math.prod(as_int(d) or 1 for d in param.shape))
                lines.append(f"  static {C_TYPE[param.dtype]} {names[root]}[{count}];")
        bound = {f"p_{p.name}": names[module.storage(v)] for p, v in zip(x.naive.params, x.args)}
        lines += ["  {", *(f"  {_renamed(line, bound)}" for line in _body(text)), "  }"]
    types = graph.types()
    for a in (*inputs_of(graph), *outputs_of(graph)):
        if types[a.name].dtype not in C_TYPE:
            raise Unreadable(f"`{a.name}` is {types[a.name].dtype}: plain C has no such type")
    head = [f"const {C_TYPE[types[a.name].dtype]}* {a.name}" for a in inputs_of(graph)]
    head += [f"{C_TYPE[types[a.name].dtype]}* {a.name}" for a in outputs_of(graph)]
    body = "\n".join(lines)
    return "\n".join([*_prelude(texts[0], body), "", f"void {ENTRY}({', '.join(head)}) {{", body, "}", ""])


def _body(text: str) -> list[str]:
    """The lines of the function, without its head and last brace."""
    lines = text.rstrip().split("\n")
    start = next(n for n, line in enumerate(lines) if line.startswith(f"void {_ENTRY}("))
    return lines[start + 1 : -1]


def _renamed(line: str, names: dict[str, str]) -> str:
    return re.sub(r"\bp_\w+", lambda m: names.get(m[0], m[0]), line)


def _prelude(text: str, body: str) -> list[str]:
    """The includes, and the functions before the first kernel that the body calls."""
    head = text[: text.index(f"void {_ENTRY}(")]
    functions = re.findall(r"^static inline [^\n]*}$|^static inline .*?^}$", head, re.MULTILINE | re.DOTALL)
    made = {re.search(r"(\w+)\(", f)[1]: f for f in functions}  # type: ignore[index]
    needed, waiting = set(), [body]
    while waiting:
        found = {n for n in re.findall(r"\bwl_\w+", waiting.pop()) if n in made} - needed
        needed |= found
        waiting += [made[n] for n in found]
    return [*re.findall(r"^#include .*$", head, re.MULTILINE), *(f for n, f in made.items() if n in needed)]
