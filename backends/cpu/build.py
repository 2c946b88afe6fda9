"""From a Module to a shared library: kernels are printed and compiled in parallel; `runtime.load` binds the library to weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...ir.kernel import Program
from ...ir.machine import Machine
from ...ir.module import Launch, Module
from ...ir.text import print_program
from ..toolchain import Headers, compile_library, cores
from .entry import entry_source, place
from .isa import Isa, by_name
from .layout import Layout, layout
from .printer import HEADER, print_function, scratch_bytes

INCLUDE = Path(__file__).parent / "include"
HEADERS = (HEADER, "warploom_math.h")
PER_CALLER = "-DWL_PER_CALLER=__thread"


@dataclass(frozen=True)
class Kernel:
    """A program as printed: under `program.name`, with the params that share memory with another param in this launch."""

    program: Program
    may_alias: frozenset[str]


@dataclass(frozen=True)
class Printed:
    """`kernels`: C symbol -> kernel (equal ones are printed once); `symbols`: the C symbol of each launch."""

    layout: Layout
    kernels: Mapping[str, Kernel]
    symbols: tuple[str, ...]
    isa: Isa

    def units(self, count: int) -> list[str]:
        """Translation units of about equal length, the entry in a unit of its own."""
        bodies = self.functions()
        bins: list[list[str]] = [[] for _ in range(max(1, min(count, len(bodies))))]
        for name in sorted(bodies, key=lambda n: (-len(bodies[n]), n)):
            min(bins, key=lambda b: sum(len(bodies[n]) for n in b)).append(name)
        return [unit(bodies[n] for n in b) for b in bins if b] + [self.entry()]

    def functions(self) -> dict[str, str]:
        """{C symbol: C++ function, under its kernel text}."""
        return {
            name: _commented(k.program) + print_function(k.program, self.isa, k.may_alias) for name, k in self.kernels.items()
        }

    def entry(self) -> str:
        return entry_source(self.layout, self.symbols)

    def sources(self) -> dict[str, str]:
        """{kernel name: C++ source}, each a unit of its own."""
        return {name: unit([body]) for name, body in self.functions().items()}


def unit(functions) -> str:
    """A C++ file with these functions."""
    return "\n".join([f'#include "{HEADER}"', "namespace wl {", "", *functions, "}  // namespace wl", ""])


def _commented(program: Program) -> str:
    return "".join(f"// {line}\n" for line in print_program(program).splitlines())


def printed(module: Module, isa_name: str) -> Printed:
    """Lay the module out and give every distinct kernel a symbol of its own."""
    isa, lay = by_name(isa_name), layout(module)
    names: dict[tuple[Program, frozenset[str]], str] = {}
    for launch in lay.launches:
        names.setdefault(_identity(lay, launch), f"{launch.program.name}_{len(names)}")
    kernels = {name: Kernel(replace(program, name=name), alias) for (program, alias), name in names.items()}
    symbols = tuple(names[_identity(lay, launch)] for launch in lay.launches)
    needs = {name: scratch_bytes(k.program, isa) for name, k in kernels.items()}
    return Printed(replace(lay, scratch=tuple(needs[s] for s in symbols)), kernels, symbols, isa)


def _identity(lay: Layout, launch: Launch) -> tuple[Program, frozenset[str]]:
    places = [place(lay, arg) for arg in launch.args]
    alias = frozenset(b.name for b, p in zip(launch.program.params, places) if places.count(p) > 1)
    return replace(launch.program, name=""), alias


def build(code: Printed, machine: Machine) -> Path:
    """Compile the printed module (from the build cache where it is there)."""
    headers = Headers.read(INCLUDE, *HEADERS)
    return compile_library(code.units(cores()), (*by_name(machine.isa).flags, PER_CALLER), headers)
