"""A backend described in one frozen record: which machine it prints for, how it prints and how it builds. Listed explicitly in `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.diagnostic import WarploomError
from ..ir.kernel import Program
from ..ir.machine import Machine


@dataclass(frozen=True)
class Backend:
    """`machine()` describes the host; `source(program)` prints one scheduled program as a source file."""

    name: str
    machine: Callable[[], Machine]
    source: Callable[[Program], str]


class UnknownTarget(WarploomError):
    """The target is not one of those this build has. Use one that the message lists."""

    code = "WL-E050"


def _cpu_machine() -> Machine:
    from .cpu.host import host

    return host()


def _cpu_source(program: Program) -> str:
    from .cpu.host import host
    from .cpu.isa import by_name
    from .cpu.printer import translation_unit

    return translation_unit([program], by_name(host().isa))


BACKENDS = {b.name: b for b in (Backend("cpu", _cpu_machine, _cpu_source),)}


def backend(name: str) -> Backend:
    """The backend called `name`. Raises UnknownTarget."""
    if name not in BACKENDS:
        raise UnknownTarget(f"no target {name!r}", hint="this build has: " + ", ".join(sorted(BACKENDS)))
    return BACKENDS[name]
