"""From a Module to a shared library: kernels are printed and compiled in parallel; `runtime.load` binds the library to weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...ir.kernel import Program
from ...ir.machine import Machine
from ...ir.module import Launch, Module
from ..toolchain import Headers, compile_library, cores
from .codegen import declaration, translation_unit
from .entry import entry_source
from .isa import by_name
from .layout import Layout, layout

INCLUDE = Path(__file__).parent / "include"
HEADERS = ("warploom_cpu.h", "warploom_math.h")


@dataclass(frozen=True)
class Printed:
    """`programs`: C symbol -> program (equal programs are printed once); `symbols`: launch number -> C symbol."""

    layout: Layout
    programs: Mapping[str, Program]
    symbols: tuple[str, ...]
    isa: str

    def units(self, count: int) -> list[str]:
        """Translation units of about equal length, the entry in a unit of its own."""
        texts = {name: len(str(p)) for name, p in self.programs.items()}
        bins: list[list[str]] = [[] for _ in range(max(1, min(count, len(texts))))]
        for name in sorted(texts, key=lambda n: -texts[n]):
            min(bins, key=lambda b: sum(texts[n] for n in b)).append(name)
        return [translation_unit([self.programs[n] for n in b], self.isa) for b in bins if b] + [self.entry()]

    def entry(self) -> str:
        names = dict(zip(map(id, self.layout.launches), self.symbols))

        def declare(launch: Launch) -> str:
            return declaration(self.programs[names[id(launch)]])

        def call(launch: Launch, pointers: list[str], dims: list[str]) -> str:
            return f"{names[id(launch)]}({', '.join([*pointers, *dims])});"

        return entry_source(self.layout, declare, call)

    def sources(self) -> dict[str, str]:
        """{kernel name: C++ source}, each a unit of its own."""
        return {name: translation_unit([program], self.isa) for name, program in self.programs.items()}


def printed(module: Module, isa: str) -> Printed:
    """Give every distinct program a symbol of its own."""
    lay = layout(module)
    names: dict[Program, str] = {}
    for launch in lay.launches:
        names.setdefault(replace(launch.program, name=""), f"{launch.program.name}_{len(names)}")
    programs = {name: replace(program, name=name) for program, name in names.items()}
    return Printed(lay, programs, tuple(names[replace(x.program, name="")] for x in lay.launches), isa)


def build(code: Printed, machine: Machine) -> Path:
    """Compile the printed module (from the build cache where it is there)."""
    headers = Headers.read(INCLUDE, *HEADERS)
    return compile_library(code.units(cores()), by_name(machine.isa).flags, headers)
