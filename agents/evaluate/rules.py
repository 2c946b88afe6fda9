"""A record comes in, the rule-based transpiler's C++ goes out, as an answer that is judged like any other."""

from __future__ import annotations

from ...evaluation.suites.cuda_side import binding_of
from ...evaluation.suites.record import Record
from ...ir.diagnostic import Unreadable


def transpiled(record: Record) -> tuple[str, str]:
    """(the answer, which path each kernel took). Raises `WarploomError` where the rules do not cover the CUDA."""
    from ...transpiler import transpile_file, transpile_program

    if record.form == "extension":
        made = transpile_file(record.cuda)
    elif record.kernels:
        made = transpile_program(record.cuda, binding_of(record.kernels), record.entry)
    else:
        raise Unreadable(f"{record.id}: the launches of its CUDA side are not known")
    paths = ", ".join(f"{k.name}: {k.path}" for k in made.kernels)
    return f"```cpp\n{made.text}\n```\n", paths
