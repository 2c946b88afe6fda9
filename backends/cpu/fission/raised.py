"""Kernels that Kernel IR can hold, scheduled for the CPU like any other. What fission made of a kernel comes in; the raised program, its
schedule and its C++ go out, or the reason why the kernel stays as fission made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ....frontend.cuda import tree as t
from ....frontend.cuda.raising import NotRaised, raise_kernel
from ....ir.diagnostic import WarploomError
from ....ir.expr import Const
from ....ir.kernel import Program
from ....ir.text import print_program
from ....passes.flatten import flatten
from ....passes.sketch import sketch
from ..build import HEADERS, INCLUDE
from ..host import host
from ..isa import detect
from ..printer import print_function, scratch_bytes
from .kernel import KernelCode
from .pays import pays


@dataclass(frozen=True)
class Raised:
    """`program` as it stands in the source, unscheduled; `code` as it is printed; `pays`: why it beats fission's loops ("": it may not)."""

    program: Program
    code: KernelCode
    pays: str


def raised(kernel: t.Function, code: KernelCode, counts: Mapping[str, int]) -> Raised:
    """`counts`: elements behind each pointer. Raises NotRaised."""
    program = raise_kernel(code.name, kernel.params, counts, code.tree)
    flat = flatten(program)
    try:
        draft = sketch(flat, "map", host())
        if scratch_bytes(draft.program, detect()) != Const(0):
            raise NotRaised("its schedule wants scratch memory")
        text = print_function(draft.program, detect())
    except NotRaised:
        raise
    except WarploomError as error:
        raise NotRaised(f"it has no schedule: {error.message}") from None
    lines = "".join(f"// {line}\n" for line in print_program(draft.program).splitlines())
    schedule = draft.script or "as it stands"
    made = replace(code, text=lines + text, path="raised", why=f"accesses are affine; schedule: {schedule}", tree=())
    return Raised(program, made, pays(flat, draft))


def vector_headers() -> str:
    """The explicit vector types that raised code is written in, as one text."""
    texts = {name: (INCLUDE / name).read_text().replace("#pragma once", "") for name in HEADERS}
    return re.sub(r'#include "(\w+\.h)"', lambda m: texts[m[1]], texts[HEADERS[0]])
