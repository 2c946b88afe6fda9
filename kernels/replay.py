"""Runs a dumped program again: a kernel or graph text comes in, out comes whether the built code agrees with its meaning.

A kernel file may begin with comments that say how to run it: `# schedule: split(i, 8)` (applied first; the meaning is that of the program
as written), `# dims: M=4, N=8`, `# seed: 3`. What is run natively runs in a child process, so that a crash is an outcome like any other.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ..backends.cpu.build import build, printed
from ..backends.cpu.host import host
from ..backends.cpu.runtime import load as load_runtime
from ..evaluation.report.outcome import outcome as told
from ..evaluation.report.work import work
from ..frontend.dtypes import TORCH_DTYPE
from ..frontend.extern import numpy_externs, to_torch
from ..ir.diagnostic import BuildFailed, IllegalProgram, IllegalStep, ParseError, TypeMismatch, Unreadable, WarploomError
from ..ir.graph import Graph
from ..ir.graph_text import parse_graph, print_graph
from ..ir.interpret import run_program, shape_of
from ..ir.interpret_graph import run_graph, size_of
from ..ir.kernel import Body, Buffer, For, If, Program
from ..ir.text import parse_program, print_program
from ..ir.types import NUMPY, is_float
from ..ir.verify import verify
from ..ir.verify_graph import verify_graph
from ..passes.pipeline import Options, plan
from ..passes.schedule.script import apply
from . import launch

SLOW = 2e6  # statement runs above which the meaning is taken from a serial build instead of the interpreter
SECONDS = 120.0
SIZE = 7  # of a dim that nothing else decides
_LARGEST_ERROR = {"f16": 3e-2, "bf16": 2e-1}
_ERROR = 1e-3


@dataclass(frozen=True)
class Outcome:
    """`kind`: agrees; step (the schedule changed the meaning); wrong (the built code's numbers); build (the compiler refused it); crash (the
    process died); refused or error (an error of ours or an exception before there was code). `message` is one line; `error` the largest
    difference over the largest value."""

    kind: str
    message: str = ""
    error: float = 0.0

    @property
    def failed(self) -> bool:
        return self.kind != "agrees"

    def like(self, other: Outcome) -> bool:
        """The same way of failing: of errors, the same type."""
        return self.kind == other.kind and (self.kind != "error" or self.message.split(":")[0] == other.message.split(":")[0])


@dataclass(frozen=True)
class KernelCase:
    """A program as written, the schedule it gets, sizes and the seed of its inputs. `scheduled`: the result, where no script leads to it;
    `flags`: of the compiler, beyond the usual ones."""

    program: Program
    script: str = ""
    dims: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    scheduled: Program | None = None
    flags: tuple[str, ...] = ()

    def text(self) -> str:
        """The file's text: `parse_case` gives the case back."""
        head = [f"# schedule: {self.script}"] if self.script else []
        known = {d.name for d in self.program.dims}
        dims = ", ".join(f"{k}={v}" for k, v in self.dims.items() if k in known)
        head += [f"# dims: {dims}"] if dims else []
        head += [f"# seed: {self.seed}"] if self.seed else []
        return "".join(line + "\n" for line in head) + print_program(self.program)

    def check(self, native: bool = True) -> Outcome:
        """Print, build and run it, and compare with its meaning; `native=False` compares only what the schedule made of it."""
        return isolated(lambda: self._check(native))

    def _check(self, native: bool) -> Outcome:
        verify(self.program)
        final = self.scheduled or apply(self.program, self.script)
        sizes = {d.name: self.dims.get(d.name, max(d.lo, min(SIZE, d.hi or SIZE))) for d in self.program.dims}
        args, dtypes = data(self.program, sizes, self.seed), {b.name: b.dtype for b in self.program.params}
        short = work_of(self.program, sizes) <= SLOW
        want = run_program(self.program, sizes, args) if short else native_run(_serial(self.program), sizes, args)
        if short and final != self.program:
            steps = compared(want, run_program(final, sizes, args), dtypes)
            if steps.failed:
                return replace(steps, kind="step")
        if not native:
            return Outcome("agrees")
        return compared(want, native_run(final, sizes, args, self.flags), dtypes)


@dataclass(frozen=True)
class GraphCase:
    """A graph and how it is planned."""

    graph: Graph
    options: Options = field(default_factory=Options)
    seed: int = 0

    def text(self) -> str:
        return (f"# seed: {self.seed}\n" if self.seed else "") + print_graph(self.graph)

    def check(self) -> Outcome:
        """Plan, build and run it, and compare with the graph's meaning in float64."""
        return isolated(self._check)

    def _check(self) -> Outcome:
        verify_graph(self.graph)
        module = plan(self.graph, host(), self.options)
        code = printed(module, host().isa)
        path = build(code, host())
        arrays = graph_data(self.graph, self.seed)
        tensors = {i.name: to_torch(arrays[i.name], i.type.dtype) for i in self.graph.inputs}
        slots = {i.name: ({i.name: tensors[i.name]}, i.name) for i in self.graph.inputs if i.role != "input"}
        runtime = load_runtime(code.layout, path, slots, 1)
        with torch.no_grad():
            torch.manual_seed(self.seed)
            out = runtime([tensors[i.name] for i in self.graph.inputs if i.role == "input"])
            torch.manual_seed(self.seed)
            want = run_graph(replace(self.graph, updates=()), arrays, numpy_externs, float64=True)
        got = {name: (t.float() if t.dtype is torch.bfloat16 else t).numpy() for name, t in zip(self.graph.outputs, out)}
        types = self.graph.types()
        return compared({n: want[n] for n in self.graph.outputs}, got, {n: types[n].dtype for n in self.graph.outputs})


Case = KernelCase | GraphCase


# ------------------------------------------------------------------------------------------------ read
def parse_case(text: str) -> Case:
    """A kernel's or a graph's text, with the comments that say how to run it. Raises ParseError."""
    said = dict(re.findall(r"^# (schedule|dims|seed): (.*)$", text, re.MULTILINE))
    seed = _integer(said.get("seed", "0"))
    if re.search(r"^    (return\b|update\()", text, re.MULTILINE):
        return GraphCase(parse_graph(text), Options(), seed)
    dims = parse_dims(said.get("dims", ""))
    return KernelCase(parse_program(text), said.get("schedule", ""), dims, seed)


def parse_dims(text: str) -> dict[str, int]:
    """`M=4, N=8` -> numbers by name. Raises ParseError."""
    out: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        if not name.strip().isidentifier():
            raise ParseError(f"`{part}` is no size", hint="expected NAME=NUMBER, such as M=4")
        out[name.strip()] = _integer(value)
    return out


def _integer(text: str) -> int:
    if not re.fullmatch(r"\s*\d{1,9}\s*", text):
        raise ParseError(f"`{text.strip()}` is not a number")
    return int(text)


def read_case(path: Path) -> Case:
    """The case in a file. Raises Unreadable, ParseError."""
    try:
        return parse_case(path.read_text())
    except (OSError, UnicodeDecodeError) as e:
        raise Unreadable(f"{path} cannot be read: {e}") from None


# ------------------------------------------------------------------------------------------------ run
def work_of(p: Program, sizes: Mapping[str, int]) -> float:
    """About how many statements a run executes."""
    return work(p, sizes).flops + sum(float(np.prod(shape_of(b, sizes))) for b in p.params)


def _serial(p: Program) -> Program:
    """The same program, all loops serial."""
    return replace(p, body=_serial_body(p.body))


def _serial_body(body: Body) -> Body:
    kinds = [(replace(s, kind="serial") if isinstance(s, For) else s) for s in body]
    return tuple(replace(s, body=_serial_body(s.body)) if isinstance(s, (For, If)) else s for s in kinds)


def data(p: Program, sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """Inputs for every param: small integers mostly, so that sums agree whatever their order."""
    rng = np.random.default_rng(seed)
    return {b.name: _array(rng, b, shape_of(b, sizes), sizes) for b in p.params}


def graph_data(g: Graph, seed: int) -> dict[str, np.ndarray]:
    sizes = {d.name: max(d.lo, min(SIZE, d.hi or SIZE)) for d in g.dims}
    rng = np.random.default_rng(seed)
    out = {}
    for i in g.inputs:
        shape = tuple(size_of(d, sizes) for d in i.type.shape)
        out[i.name] = _array(rng, Buffer(i.name, i.type.dtype, i.type.shape, within=i.within), shape, sizes)
    return out


def _array(rng: np.random.Generator, b: Buffer, shape: tuple[int, ...], sizes: Mapping[str, int]) -> np.ndarray:
    if b.within is not None:
        lo, hi = (size_of(e, sizes) for e in b.within)
        return rng.integers(lo, max(hi, lo + 1), shape).astype(NUMPY[b.dtype])
    low, high = (0, 2) if b.dtype == "b1" else (0, 7) if b.dtype == "u8" else (-3, 4)
    found = rng.integers(low, high, shape)
    return (found * 0.5 if is_float(b.dtype) else found).astype(NUMPY[b.dtype])


def native_run(
    p: Program, sizes: Mapping[str, int], args: Mapping[str, np.ndarray], flags: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Build and run; the written params by name."""
    tensors = [to_torch(args[b.name], b.dtype).contiguous() for b in p.params]
    assert all(t.dtype is TORCH_DTYPE[b.dtype] for b, t in zip(p.params, tensors))
    launch.native(p, flags).bound(tensors, sizes, 1)()
    named = dict(zip([b.name for b in p.params], tensors))
    return {n: (named[n].float() if named[n].dtype is torch.bfloat16 else named[n]).numpy() for n in p.written()}


def compared(want: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], dtypes: Mapping[str, str]) -> Outcome:
    """Agrees, or wrong with the output that differs most."""
    worst = Outcome("agrees")
    for name, w in want.items():
        a, b = np.asarray(got.get(name, w), np.float64).reshape(np.shape(w)), np.asarray(w, np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        usual = np.abs(b[np.isfinite(b)])
        scale = float(usual.max()) if usual.size else 0.0
        error = float(apart.max()) / (scale or 1.0) if apart.size else 0.0
        if not error <= worst.error:
            at = np.unravel_index(int(np.nanargmax(np.where(np.isnan(apart), np.inf, apart))), apart.shape)
            wrong = not error <= _LARGEST_ERROR.get(dtypes.get(name, ""), _ERROR)
            where = f"{name}[{', '.join(map(str, at))}] is {a[at]:.6g}, expected {b[at]:.6g}"
            worst = Outcome("wrong" if wrong else "agrees", where if wrong else "", error)
    return worst


# ------------------------------------------------------------------------------------------------ isolation
def isolated(run: Callable[[], Outcome], seconds: float = SECONDS) -> Outcome:
    """`run` in a forked child: what it raises, and whether it dies, become an Outcome."""
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(read)
        _quiet()
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(attempted(run), pipe)
        os._exit(0)
    os.close(write)
    return _waited(child, read, seconds)


def attempted(run: Callable[[], Outcome]) -> Outcome:
    """What `run` says, or what it raises as an Outcome."""
    try:
        return run()
    except BuildFailed as e:
        return Outcome("build", e.message[:300])
    except (IllegalStep, IllegalProgram, ParseError, TypeMismatch) as e:
        return Outcome("refused", str(e))
    except WarploomError as e:
        return Outcome("error", f"{type(e).__name__}: {e}")
    except Exception as e:
        return Outcome("error", f"{type(e).__name__}: {' '.join(str(e).split())[:200]}")


def _quiet() -> None:
    """The child says nothing, and an interrupt is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.disable()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _waited(child: int, read: int, seconds: float) -> Outcome:
    end, parts = time.monotonic() + seconds, []
    try:
        while (left := end - time.monotonic()) > 0:
            if select.select([read], [], [], left)[0]:
                part = os.read(read, 1 << 16)
                if not part:
                    break
                parts.append(part)
        else:
            return Outcome("crash", f"no end after {seconds:.0f} s")
    finally:
        os.close(read)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL) if time.monotonic() >= end else None
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Outcome("crash", f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
    return pickle.loads(b"".join(parts)) if parts else Outcome("crash", "the process ended early")


# ------------------------------------------------------------------------------------------------ command
def run_replay(file: str, dims: str, seed: int | None, as_json: bool) -> int:
    """`warploom replay FILE`: 0 it agrees with its meaning, 1 it does not, 2 unreadable."""
    return told(lambda: _replay(Path(file), dims, seed, as_json), as_json)


def _replay(path: Path, dims: str, seed: int | None, as_json: bool) -> tuple[int, object]:
    case = read_case(path)
    if isinstance(case, KernelCase):
        known = {d.name for d in case.program.dims}
        given = parse_dims(dims)
        if unknown := given.keys() - known:
            raise ParseError(f"{case.program.name} has no dim `{min(unknown)}`", hint=f"dims: {', '.join(sorted(known)) or 'none'}")
        case = replace(case, dims={**case.dims, **given})
    if seed is not None:
        case = replace(case, seed=seed)
    found = case.check()
    name = case.program.name if isinstance(case, KernelCase) else case.graph.name
    if not as_json:
        line = f"{name}: {found.kind}" + (f": {found.message}" if found.message else f", largest relative error {found.error:.2g}")
        print(line, file=sys.__stdout__)
    return int(found.failed), {"ok": not found.failed, "name": name, **asdict(found)}
