"""The CPU side of a pair: a scheduled Module comes in, one C++ file that needs nothing else goes out: `extern "C" void kernel(inputs.., outputs..)`.

Its kernels are the CPU backend's; the entry here calls them one after the other on the caller's arrays and one block of memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..backends.cpu.bind import bind, evaluate
from ..backends.cpu.build import Printed, printed
from ..backends.cpu.codegen.dtypes import STORAGE
from ..backends.cpu.host import host
from ..backends.cpu.printer import THREADS
from ..backends.cpu.standalone import c_type
from ..ir.diagnostic import MissingTool, WarploomError
from ..ir.graph import Graph
from ..ir.machine import Machine
from ..ir.module import Launch, Module
from .header import needed
from .program import inputs_of, outputs_of

ISA = "avx2"
ENTRY = "kernel"
COMPILE = "g++ -x c++ -std=gnu++17 -O3 -march=x86-64-v3 -ffp-contract=fast -fno-math-errno -fwrapv -fopenmp -shared -fPIC {source} -o {library}"
"""What a record is compiled with anywhere; {source} and {library} are file names."""


class NotAPair(WarploomError):
    """The program cannot be a pair: it needs ATen, or its outputs share memory. Such programs are left out."""

    code = "WL-E111"
    exit_code = 1


@dataclass(frozen=True)
class CSide:
    """`args`: (name, C type, in | out) in order; `scripts`: the schedule of each kernel."""

    source: str
    args: tuple[tuple[str, str, str], ...]
    scripts: tuple[tuple[str, str], ...]


def cpu_machine() -> Machine:
    """This machine as far as x86-64-v3 goes. Raises MissingTool where it has no AVX2."""
    here = host()
    if not {"avx2", "fma"} <= here.features:
        raise MissingTool("this processor has no AVX2 and FMA", hint="C sides are made for x86-64-v3; build the data set on such a machine")
    return replace(here, isa=ISA)


def c_side(graph: Graph, module: Module, title: Sequence[str] = (), comments: bool = True) -> CSide:
    """The file of a module that was planned for `cpu_machine()`. Raises NotAPair."""
    refuse_shared(module)
    code = printed(replace(module, steps=(*module.prepare, *module.steps), prepare=()), ISA)
    functions = [_plain(text) if comments else _plain(_bare(text)) for text in code.functions().values()]
    entry = _entry(code, graph)
    body = "\n".join(["namespace wl {", "", *functions, "}  // namespace wl", "", entry, ""])
    head = [f"// {line}" for line in title]
    args = [(a.name, c_type(_dtype(graph, a.name)), "in") for a in inputs_of(graph)]
    args += [(a.name, c_type(_dtype(graph, a.name)), "out") for a in outputs_of(graph)]
    scripts = tuple((symbol, launch.script) for symbol, launch in zip(code.symbols, code.layout.launches))
    return CSide("\n".join([*head, needed(body), body]), tuple(args), tuple(dict(scripts).items()))


def refuse_shared(module: Module) -> None:
    """Raises NotAPair for a module whose outputs are not each a buffer of its own, or that is not all ours."""
    if not all(isinstance(s, Launch) for s in module.steps) or module.updates:
        raise NotAPair("the program needs ATen")
    roots = [module.storage(o) for o in module.outputs]
    if len(set(roots)) < len(roots) or set(roots) & {i.name for i in module.inputs}:
        raise NotAPair("outputs share memory")


def _dtype(graph: Graph, name: str) -> str:
    return graph.types()[name].dtype


def _plain(text: str) -> str:
    return re.sub(r'^extern "C" void', "static void", text, flags=re.MULTILINE)


def _bare(text: str) -> str:
    """Without the lines of kernel text above."""
    return re.sub(r"\A(?://[^\n]*\n)+", "", text)


# ------------------------------------------------------------------------------------------------ entry
def _entry(code: Printed, graph: Graph) -> str:
    layout, module = code.layout, code.layout.module
    bound = bind(layout, [a.shape for a in inputs_of(graph)], 1)
    outputs = outputs_of(graph)
    names = {name: name for name in layout.inputs}
    roots = {module.storage(name): o for name, o in zip(module.outputs, outputs)}
    for root in layout.fresh:
        names[root] = roots[root].name
        if math.prod(bound.shapes[root]) != math.prod(roots[root].shape):
            raise NotAPair(f"the output {root} shares memory with something larger")
    memory = [evaluate(e, {THREADS: t}) for e in layout.scratch for t in (1, 2)]
    each = max((b - a for a, b in zip(memory[::2], memory[1::2])), default=0)
    once = max((2 * a - b for a, b in zip(memory[::2], memory[1::2])), default=0)
    arena = int(bound.offsets[len(bound.offsets) - 1])
    calls = [_call(code, n, names, bound, arena) for n in range(len(layout.launches))]
    params = [f"const {c_type(_dtype(graph, a.name))}* {a.name}" for a in inputs_of(graph)]
    params += [f"{c_type(_dtype(graph, a.name))}* {a.name}" for a in outputs]
    lines = [f'extern "C" void {ENTRY}({", ".join(params)}) {{']
    if arena or once or each:
        scratch = f" + {each} * omp_get_max_threads()" if each else ""
        lines.append(f"    char* const memory = workspace({arena + once}{scratch});")
    lines += [*calls, "}"]
    return "\n".join([*(_WORKSPACE if arena or once or each else []), *lines])


_WORKSPACE = """#include <cstdlib>

// Memory for temporaries, kept between the calls of a thread.
static char* workspace(int64_t wanted) {
    static thread_local struct Block {
        char* data = nullptr;
        int64_t size = 0;
        ~Block() { free(data); }
    } block;
    if (wanted > block.size) {
        free(block.data);
        block.size = (wanted + 4095) / 4096 * 4096;
        block.data = static_cast<char*>(aligned_alloc(4096, block.size));
        if (!block.data) abort();
    }
    return block.data;
}
""".splitlines()


def _call(code: Printed, number: int, names: dict[str, str], bound, arena: int) -> str:
    layout = code.layout
    launch = layout.launches[number]
    written = set(launch.program.written())
    args: list[str] = []
    for param, value in zip(launch.program.params, launch.args):
        root = layout.module.storage(value)
        home = layout.sharing.home.get(root, root)
        kind = f"{'' if param.name in written else 'const '}{STORAGE[param.dtype]}*"
        kind = kind.replace("half", "wl::half").replace("bfloat", "wl::bfloat")
        if home in layout.arena:
            at = int(bound.offsets[layout.arena[home]])
            args.append(f"({kind})(memory + {at})" if at else f"({kind})memory")
        else:
            same = STORAGE[param.dtype] == c_type(param.dtype)
            args.append(names[home] if same else f"({kind}){names[home]}")
    if layout.scratch and evaluate(layout.scratch[number], {THREADS: 1}):
        args.append(f"memory + {arena}" if arena else "memory")
    return f"    wl::{code.symbols[number]}({', '.join(args)});"

