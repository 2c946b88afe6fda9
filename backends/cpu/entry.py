"""The one C entry of a module: a Layout comes in, C++ text goes out that runs any range of the module's launches.

`warploom_run(table, dims, arena, offsets, threads, first, last)`: `table` are pointers by slot, `dims` the symbolic dims, `offsets` the
arena offsets followed by the byte counts of the updates.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.module import Launch
from .layout import Layout

C_TYPES = {
    "f64": "double", "f32": "float", "f16": "_Float16", "bf16": "uint16_t", "i64": "int64_t", "i32": "int32_t", "i16": "int16_t",
    "i8": "int8_t", "u8": "uint8_t", "b1": "uint8_t",
}  # fmt: skip

ENTRY = "warploom_run"


def entry_source(layout: Layout, declare: Callable[[Launch], str], call: Callable[[Launch, list[str], list[str]], str]) -> str:
    """`declare(launch)` is the prototype of its kernel; `call(launch, pointers, dims)` a statement that runs it."""
    launches = layout.launches
    prototypes = dict.fromkeys(declare(launch) for launch in launches)
    cases = [f"    case {n}: {call(x, _pointers(layout, x), _dims(layout, x))} break;" for n, x in enumerate(launches)]
    if layout.copies:
        cases.append(f"    case {len(launches)}: {_copies(layout)} break;")
    return "\n".join([
        "#include <cstdint>", "#include <cstring>", "#include <omp.h>", *prototypes, "",
        f'extern "C" void {ENTRY}(void** table, const int64_t* dims, char* arena, const int64_t* offsets, int threads, int first, int last) {{',
        "  omp_set_num_threads(threads);",
        "  for (int step = first; step < last; ++step) switch (step) {",
        *cases,
        "  }", "}", "",
    ])  # fmt: skip


def place(layout: Layout, name: str) -> str:
    """C expression of the address of a value."""
    root = layout.module.storage(name)
    home = layout.sharing.home.get(root, root)
    if home in layout.arena:
        return f"(arena + offsets[{layout.arena[home]}])"
    return f"table[{layout.slots[home]}]"


def _pointers(layout: Layout, launch: Launch) -> list[str]:
    return [f"({C_TYPES[b.dtype]}*){place(layout, arg)}" for arg, b in zip(launch.args, launch.program.params)]


def _dims(layout: Layout, launch: Launch) -> list[str]:
    order = [d.name for d in layout.module.dims]
    return [f"dims[{order.index(d.name)}]" for d in launch.program.dims]


def _copies(layout: Layout) -> str:
    base = len(layout.arena)
    return " ".join(
        f"memcpy({place(layout, target)}, {place(layout, value)}, offsets[{base + n}]);"
        for n, (target, value) in enumerate(layout.copies)
    )
