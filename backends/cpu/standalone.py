"""A compiled module as one C++ file that stands alone: the judge's form, `extern "C" void kernel(inputs, state, outputs)`.

Comes in: the printed module and the order of the arguments. Goes out: the text of a file without includes of ours; what depends on weights
alone is computed in every call, since a caller may pass other weights each time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...ir.module import Launch, Library
from ...ir.types import BYTES
from .bind import bind, evaluate
from .build import HEADERS, INCLUDE, Printed
from .entry import arguments_of, place
from .export import C_TYPES, NotStandalone, aligned
from .printer import THREADS

MOST_CONSTANT = 1 << 16


@dataclass(frozen=True)
class Given:
    """An argument of `kernel`: the graph input it binds (None: not used by the graph), C type, elements and bytes; `scalar`: by value."""

    value: str | None
    ctype: str
    nbytes: int = 0
    scalar: bool = False


def c_type(dtype: str) -> str:
    """The element type of a pointer argument, by IR dtype."""
    return C_TYPES[dtype]


def standalone(
    code: Printed, given: Sequence[Given], shapes: Sequence[tuple[int, ...]], constants: Mapping[str, torch.Tensor], title: Sequence[str]
) -> str:
    """`given`: inputs and state in the caller's order; `shapes`: of the module's user inputs; `constants`: weights that are no argument.

    Raises NotStandalone.
    """
    _refuse_foreign(code, constants)
    layout, module = code.layout, code.layout.module
    bound = bind(layout, shapes, 1)
    names = [f"a{n}" for n in range(len(given))]
    outputs = [_output(code, n, bound.shapes[n]) for n in module.outputs]
    slots = [(layout.slots[g.value], name) for g, name in zip(given, names) if g.value in layout.slots]
    slots += [(layout.slots[name], f"constant_{layout.slots[name]}") for name in constants]
    made, copies = _outputs(code, bound.fresh_bytes, outputs)
    kept, kept_bytes = _kept(code, bound.shapes)
    scratch = [max((evaluate(e, {**bound.env, THREADS: t}) for e in layout.scratch), default=0) for t in (1, 2)]
    values = {
        "title": title, "header": _headers(), "functions": "\n".join(code.functions().values()), "constants": _constants(code, constants),
        "offsets": list(bound.offsets) or [0], "threads": THREADS,
        "arguments": [*(f"{g.ctype}{' ' if g.scalar else '* '}{n}" for g, n in zip(given, names)), *(f"{o.ctype}* out{k}" for k, o in enumerate(outputs))],
        "arena_bytes": int(bound.offsets[len(bound.offsets) - 1]), "kept_bytes": kept_bytes, "scratch_base": 2 * scratch[0] - scratch[1],
        "scratch_each": scratch[1] - scratch[0], "slots": max(1, len(layout.slots)), "given": [*slots, *made], "kept": kept,
        "calls": _calls(code), "copies": [*_updates(code), *copies],
    }  # fmt: skip
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("standalone.cpp.j2").render(values)


def _refuse_foreign(code: Printed, constants: Mapping[str, torch.Tensor]) -> None:
    module = code.layout.module
    if module.dims:
        raise NotStandalone("the model has dynamic dimensions", hint="give it fixed shapes")
    for step in module.steps:
        if not isinstance(step, Launch):
            what = getattr(step.node.op, "target", None) or step.node.origin or type(step.node.op).__name__.lower()
            how = "a library call" if isinstance(step, Library) else "run by ATen"
            raise NotStandalone(f"the node {what} is {how}")
    if code.layout.late:
        raise NotStandalone("the model copies one of its inputs into another")
    for name, t in constants.items():
        if t.numel() * t.element_size() > MOST_CONSTANT:
            raise NotStandalone(f"the constant {name} has {t.numel()} elements, too many for a source file")


def _output(code: Printed, name: str, shape: tuple[int, ...]) -> Given:
    t = code.layout.module.types[name]
    count = 1
    for extent in shape:
        count *= extent
    return Given(name, C_TYPES[t.dtype], count * BYTES[t.dtype])


def _outputs(
    code: Printed, fresh_bytes: Sequence[int], outputs: Sequence[Given]
) -> tuple[list[tuple[int, str]], list[str]]:
    """(slot, argument) of the outputs that kernels write to directly, and copies for those that live elsewhere."""
    layout, module = code.layout, code.layout.module
    first: dict[str, int] = {}
    for k, name in enumerate(module.outputs):
        first.setdefault(module.storage(name), k)
    for root, nbytes in zip(layout.fresh, fresh_bytes):
        if nbytes > outputs[first[root]].nbytes:
            raise NotStandalone(f"the output {root} shares memory with something larger")
    made = [(layout.slots[root], f"out{first[root]}") for root in layout.fresh]
    copies = [
        f"std::memcpy(out{k}, {place(layout, name)}, {o.nbytes});"
        for k, (name, o) in enumerate(zip(module.outputs, outputs))
        if module.storage(name) not in layout.fresh or first[module.storage(name)] != k
    ]
    return made, copies


def _kept(code: Printed, shapes) -> tuple[list[tuple[int, int]], int]:
    """(slot, offset) of what is prepared from weights, and its bytes."""
    out, total = [], 0
    for name in code.layout.kept:
        out.append((code.layout.slots[name], total))
        total += aligned(_output(code, name, shapes[name]).nbytes)
    return out, total


def _calls(code: Printed) -> list[str]:
    """Calls of all kernels, those that prepare weights first."""
    count = len(code.layout.step_launches)
    order = [*range(count, len(code.layout.launches)), *range(count)]
    return [f"{code.symbols[n]}({', '.join(f'Any{{{a}}}' for a in arguments_of(code.layout, n))});" for n in order]


def _updates(code: Printed) -> list[str]:
    layout, base = code.layout, len(code.layout.arena)
    return [
        f"std::memcpy({place(layout, target)}, {place(layout, value)}, offsets[{base + n}]);"
        for n, (target, value) in enumerate(layout.copies)
    ]


def _constants(code: Printed, constants: Mapping[str, torch.Tensor]) -> list[str]:
    """C++ of each constant, its bytes as 32-bit words."""
    lines = []
    for name, t in constants.items():
        data = t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        data += b"\0" * (-len(data) % 4)
        words = ", ".join(f"{int.from_bytes(data[k : k + 4], 'little'):#x}" for k in range(0, len(data), 4))
        lines.append(f"alignas(64) uint32_t constant_{code.layout.slots[name]}[] = {{{words}}};")
    return lines


def _headers() -> str:
    """Our headers as one text, each where it is included."""
    texts = {name: (INCLUDE / name).read_text().replace("#pragma once", "") for name in HEADERS}
    return re.sub(r'#include "(\w+\.h)"', lambda m: texts[m[1]], texts[HEADERS[0]])
