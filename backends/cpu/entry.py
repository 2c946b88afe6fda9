"""The C entry of a module: a Layout comes in, C++ text goes out that runs any range of the module's kernels.

`warploom_run(table, dims, arena, offsets, threads, first, last)`: `table` are pointers by slot, `dims` the symbolic dims, `offsets` the
arena offsets of the temporaries, then the byte counts of the updates, then the arena offset of the kernels' scratch memory.
`warploom_probe(table, bytes, count)` digests a few words of each weight, so that most changes that torch does not count are seen too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.expr import ZERO
from .layout import Layout
from .printer import THREADS

ENTRY = "warploom_run"
PROBE = "warploom_probe"
_PROBE = """
extern "C" uint64_t warploom_probe(void** table, const int64_t* bytes, int count) {
  uint64_t digest = 1469598103934665603u;
  for (int w = 0; w < count; ++w)
    for (int at = 0; at < 4 && bytes[w] >= 4; ++at) {
      uint32_t word;
      memcpy(&word, (const char*)table[w] + (bytes[w] - 4) / 3 * at, 4);
      digest = (digest ^ word) * 1099511628211u;
    }
  return digest;
}
"""


def entry_source(layout: Layout, symbols: Sequence[str]) -> str:
    """`symbols`: the C function of each launch."""
    launches = layout.launches
    prototypes = dict.fromkeys(_prototype(layout, n, symbols[n]) for n in range(len(launches)))
    cases = [f"    case {n}: {symbols[n]}({', '.join(arguments_of(layout, n))}); break;" for n in range(len(launches))]
    if layout.copies:
        cases.append(f"    case {len(launches)}: {_copies(layout)} break;")
    return "\n".join([
        "#include <cstdint>", "#include <cstring>", "#include <omp.h>", 'extern "C" {',
        f"__attribute__((weak)) __thread int {THREADS} = 1;", *prototypes, "}", "",
        f'extern "C" void {ENTRY}(void** table, const int64_t* dims, char* arena, const int64_t* offsets, int threads, int first, int last) {{',
        f"  {THREADS} = threads;", "  omp_set_num_threads(threads);",
        "  for (int step = first; step < last; ++step) switch (step) {",
        *cases,
        "  }", "}", _PROBE,
    ])  # fmt: skip


def place(layout: Layout, name: str) -> str:
    """C expression of the address of a value."""
    root = layout.module.storage(name)
    home = layout.sharing.home.get(root, root)
    if home in layout.arena:
        return f"(arena + offsets[{layout.arena[home]}])"
    return f"table[{layout.slots[home]}]"


def _prototype(layout: Layout, number: int, symbol: str) -> str:
    program = layout.launches[number].program
    kinds = ["int64_t"] * len(program.dims) + ["void*"] * len(program.params) + ["char*"] * _needs_scratch(layout, number)
    return f"void {symbol}({', '.join(kinds)});"


def arguments_of(layout: Layout, number: int) -> list[str]:
    """Dims, pointers and scratch, in the order of `printer.print_function`."""
    launch, order = layout.launches[number], [d.name for d in layout.module.dims]
    dims = [f"dims[{order.index(d.name)}]" for d in launch.program.dims]
    scratch = [f"arena + offsets[{len(layout.arena) + len(layout.copies)}]"] * _needs_scratch(layout, number)
    return [*dims, *(place(layout, arg) for arg in launch.args), *scratch]


def _needs_scratch(layout: Layout, number: int) -> bool:
    return bool(layout.scratch) and layout.scratch[number] != ZERO


def _copies(layout: Layout) -> str:
    base = len(layout.arena)
    return " ".join(
        f"memcpy({place(layout, target)}, {place(layout, value)}, offsets[{base + n}]);"
        for n, (target, value) in enumerate(layout.copies)
    )
