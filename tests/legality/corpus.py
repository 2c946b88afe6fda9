"""Cases that should notice a weakened check: generators and tables of the other tests come in, cases with what each executes go out.

Four kinds. `refusal`: a program or a step of the test tables, which must be refused with that message. `golden`: a script of the tables,
whose result must stay. `danger`: a random program that races, leaves its buffers or reads what was not written when it runs: the verifier
must refuse it. `schedule`: a step that a random or a slightly wrong program met; if it is accepted the numbers must stay right.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import near_misses
import numpy as np
import test_kernel_typing
import test_kernel_verify
import test_schedule_steps
import test_variants
from mutants import function
from perturb import perturbed
from random_kernels import kernel
from random_programs import Texts
from random_scripts import random_script
from warploom.ir.diagnostic import IllegalProgram, IllegalStep, InputMismatch, TypeMismatch
from warploom.ir.expr import Const, Op
from warploom.ir.interpret import Fault, run_program, shape_of
from warploom.ir.kernel import Program
from warploom.ir.text import parse_expr, parse_program, print_program
from warploom.ir.types import NUMPY
from warploom.ir.typing import infer_dtype
from warploom.ir.verify import verify
from warploom.passes.schedule.script import STEPS, apply, parse_script, print_step, run_step
from warploom.passes.schedule.step import Step

Site = tuple[str, str]
"""(module, function)."""


@dataclass
class Case:
    """`noticed()` says in words what is wrong where the original checks are right, else None. `executed`: the functions it runs; `refused`:
    (file, line) of the frames that its refusal went through."""

    executed: frozenset[Site] = field(default=frozenset(), init=False)
    refused: frozenset[tuple[str, int]] = field(default=frozenset(), init=False)

    kind = ""

    def noticed(self) -> str | None:
        try:
            return self.run()
        except Exception as e:
            return f"crash: {type(e).__name__}"

    def run(self) -> str | None:
        raise NotImplementedError


@dataclass
class Refusal(Case):
    """An entry of a test's table, which must be refused with `message`; `error` is the class of the refusal."""

    table: str
    what: tuple
    message: str
    kind = "refusal"

    def run(self) -> str | None:
        try:
            _TABLES[self.table](*self.what)
        except (IllegalProgram, IllegalStep, TypeMismatch) as e:
            return None if self.message in str(e) else f"refused for another reason: {e.message[:80]}"
        return "accepted"


def _step(which: str, script: str) -> None:
    apply(test_schedule_steps.PROGRAMS[which], script)


def _near(k: int) -> None:
    body, script, _ = near_misses.REFUSED[k]
    apply(near_misses.program(body), script)


_TABLES = {
    "near": _near,
    "operands": lambda: infer_dtype(Op("exp", (Const(1.0), Const(1.0))), {}),
    "verify": lambda body: verify(test_kernel_verify.program(body)),
    "built": lambda k: verify(test_kernel_verify.BUILT[k]),
    "text": lambda text: verify(parse_program(text)),
    "naive": lambda: verify(test_kernel_verify.PROGRAMS["gemm_vnni"], "naive"),
    "step": _step,
    "type": lambda text: infer_dtype(parse_expr(text), test_kernel_typing.BUFFERS),
}


@dataclass
class Golden(Case):
    """A script of the tables, whose result must stay."""

    name: str
    want: str
    kind = "golden"

    def run(self) -> str | None:
        which, script = test_schedule_steps.GOOD[self.name]
        return None if print_program(apply(test_schedule_steps.PROGRAMS[which], script)) == self.want else "another program"


@dataclass
class Danger(Case):
    """A program that races, leaves its buffers or reads what was not written when it runs: it must be refused."""

    program: Program
    kind = "danger"

    def run(self) -> str | None:
        try:
            verify(self.program)
        except IllegalProgram:
            return None
        return "accepted, and it faults"


@dataclass
class Start:
    """A program before any step, with inputs of several sizes and what it gives on them."""

    program: Program
    sizes: tuple[Mapping[str, int], ...]
    known: dict[int, tuple[dict, dict]] = field(default_factory=dict)

    def results(self, k: int) -> tuple[dict, dict]:
        if k not in self.known:
            args = _data(self.program, self.sizes[k], k)
            self.known[k] = args, run_program(self.program, self.sizes[k], args)
        return self.known[k]

    @cached_property
    def runs(self) -> bool:
        try:
            return all(self.results(k) for k in range(len(self.sizes)))
        except (Fault, InputMismatch, ArithmeticError):
            return False

    def differs(self, scheduled: Program) -> str | None:
        for k, sizes in enumerate(self.sizes):
            args, want = self.results(k)
            try:
                got = run_program(scheduled, sizes, args, check_races=True)
            except Fault as e:
                return f"{type(e).__name__} on {dict(sizes)}"
            for name in want.keys() | got.keys():
                a, b = got.get(name, args[name]), want.get(name, args[name])  # what is never written stays
                if not np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True):
                    return f"wrong numbers in {name} on {dict(sizes)}"
        return None


def _data(p: Program, sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """Small integers for every param: outputs too, for programs that read them first."""
    rng = np.random.default_rng(seed)
    out = {}
    for b in p.params:
        shape = shape_of(b, sizes)
        low, high = (0, shape[0]) if b.within else (0, 5) if b.dtype == "u8" else (-3, 4)
        out[b.name] = rng.integers(low, high, shape).astype(NUMPY[b.dtype])
    return out


@dataclass
class Schedule(Case):
    """A step that a program met; if it is accepted the numbers must stay those of `start`."""

    start: Start
    before: Program
    step: Step
    kind = "schedule"

    def run(self) -> str | None:
        try:
            after = run_step(self.before, self.step)
        except IllegalStep:
            return None
        return self.start.differs(after)

    def __str__(self) -> str:
        return f"{self.start.sizes} {print_step(self.step)}\n{print_program(self.before)}"


@dataclass
class Meaning(Case):
    """A script that must be accepted and keep the numbers of `start`."""

    start: Start
    script: str
    kind = "meaning"

    def run(self) -> str | None:
        try:
            return self.start.differs(apply(self.start.program, self.script))
        except IllegalStep as e:
            return f"refused: {e.message[:80]}"


# ------------------------------------------------------------------------------------------------ generators
def table_cases() -> Iterator[Case]:
    for rule, body in test_kernel_verify.BROKEN:
        yield Refusal("verify", (body,), rule + ":")
    for k in range(len(test_kernel_verify.BUILT)):
        yield Refusal("built", (k,), "names:")
    yield Refusal("naive", (), "no-calls:")
    for old, new, message in (("x[i0 * 8 + i1] *", "x[i0 * 8 + i1 + 8] *", "in-bounds:"), ("y[i] = x[i] * 2.0", "pass", "variants:")):
        yield Refusal("text", (test_variants.TEXT.replace(old, new),), message)
    for which, script, message in test_schedule_steps.ILLEGAL:
        yield Refusal("step", (which, script), message)
    for k, (_, _, message) in enumerate(near_misses.REFUSED):
        yield Refusal("near", (k,), message)
    for body, script in near_misses.MEANING:
        program = near_misses.program(body)
        yield Meaning(Start(program, ({"N": 5},)), script)
    yield Refusal("operands", (), "operands")
    for text in test_kernel_typing.BAD:
        yield Refusal("type", (text,), "")
    for name, (which, script) in test_schedule_steps.GOOD.items():
        yield Golden(name, print_program(apply(test_schedule_steps.PROGRAMS[which], script)))


def danger_cases(seed: str, count: int) -> Iterator[Case]:
    for k in range(count):
        program = parse_program(Texts(f"{seed}/{k}", roomy=k % 2 == 1).program())
        try:
            verify(program)
        except IllegalProgram:
            if _faults(program):
                yield Danger(program)


def _faults(p: Program) -> bool:
    for n in (1, 2, 3, 4, 5, 8):
        try:
            args = {b.name: np.random.default_rng(n).integers(0, 8, shape_of(b, {"N": n})).astype(NUMPY[b.dtype]) for b in p.params}
            run_program(p, {"N": n}, args, check_races=True)
        except Fault:
            return True
        except InputMismatch:
            continue
    return False


def schedule_cases(seed: str, count: int) -> Iterator[Case]:
    """Steps that met a program which is slightly off (`count` tries, each kind of step equally often), and steps of random scripts."""
    for k in range(count):
        r = random.Random(f"{seed}/schedule/{k}")
        if k % 6 == 0:
            program, _ = kernel(r)
            _, steps = random_script(r, program, r.randint(2, 6), tries=8)
            start = Start(program, _sizes(r, program, 8))
            if start.runs:
                yield from _along(start, [s for text in steps for s in parse_script(text)])
        else:
            yield from _near_miss(r, list(STEPS)[k % len(STEPS)])


def _sizes(r: random.Random, p: Program, most: int) -> tuple[Mapping[str, int], ...]:
    return tuple({d.name: r.randint(d.lo, min(most, d.hi or most)) for d in p.dims} for _ in range(2))


def _near_miss(r: random.Random, name: str) -> Iterator[Case]:
    """A step of that name on a program that was changed at the start, or just before the step."""
    with_it = [(w, s) for w, s in test_schedule_steps.GOOD.values() if any(isinstance(x, STEPS[name]) for x in parse_script(s))]
    if not with_it:
        return
    which, script = r.choice(with_it)
    steps = list(parse_script(script))
    at = r.choice([k for k, x in enumerate(steps) if isinstance(x, STEPS[name])])
    program = test_schedule_steps.PROGRAMS[which]
    early = r.random() < 0.5
    if early:
        program = perturbed(r, program) or program
    start = program
    for step in steps[:at]:
        try:
            program = run_step(program, step, check=False)
        except IllegalStep:
            continue
    if not early:
        start = program = perturbed(r, program) or program
    found = Start(start, _sizes(r, start, 9))
    if found.runs:
        yield Schedule(found, program, steps[at])


def _along(start: Start, steps: list[Step]) -> Iterator[Case]:
    """A case for each step, on the program that the steps before made."""
    program = start.program
    for step in steps:
        yield Schedule(start, program, step)
        program = run_step(program, step)


# ------------------------------------------------------------------------------------------------ what a case executes
def traced(case: Case, codes: Mapping[object, Site]) -> str | None:
    """Note in the case what it executes and where it is refused; what it notices under the checks as they are."""
    seen: set[Site] = set()
    lines: set[tuple[str, int]] = set()

    def profile(frame, event, argument):
        if event == "call" and frame.f_code in codes:
            seen.add(codes[frame.f_code])
        elif event == "return" and frame.f_code in codes and (argument is None or frame.f_code.co_flags & _GENERATOR):
            lines.add((codes[frame.f_code][0], frame.f_lineno))

    sys.setprofile(profile)
    try:
        bad = case.noticed()
    finally:
        sys.setprofile(None)
    case.executed, case.refused = frozenset(seen), frozenset(lines)
    return bad


_GENERATOR = 0x20


def code_names(functions: set[Site]) -> dict[object, Site]:
    """Code object -> (module, function), nested functions under the outermost one."""
    out: dict[object, Site] = {}

    def add(code, key):
        out[code] = key
        for c in code.co_consts:
            if hasattr(c, "co_consts"):
                add(c, key)

    for key in functions:
        if key[1] != "STAGES":
            add(function(*key).__code__, key)
    return out
