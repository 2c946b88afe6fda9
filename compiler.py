"""A PyTorch model and example inputs come in, a verified callable goes out: export, passes, build, check, report.

`compile` goes through torch.export; what that rejects is taken by the dynamo door (`torch.compile` with graph breaks), and the report says so.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console

from .backends.cpu.allocator import pool
from .backends.cpu.bind import bind, evaluate, match_shapes
from .backends.cpu.build import Printed, build, printed
from .backends.cpu.malloc import KEEPING
from .backends.cpu.peaks import measured
from .backends.cpu.runtime import Runtime, Slot, load
from .backends.manifest import backend
from .evaluation.agreement import Subject, disagreements, state_of
from .evaluation.bench.contenders import eager, enter, inductor, ran, rotating
from .evaluation.bench.interleave import interleave
from .evaluation.bench.problem import Problem, check_runs, load_problem
from .evaluation.bench.race import Row, allocator_gain, race
from .evaluation.bench.show import line as bench_line
from .evaluation.bench.show import show as show_bench
from .evaluation.bench.suite import Item, bench_data, items, row_from, run_suite, run_worker, zoo_items
from .evaluation.difference import Difference
from .evaluation.report.collect import extern_rows, kernel_rows, step_lines
from .evaluation.report.outcome import outcome
from .evaluation.report.record import Report
from .evaluation.report.terminal import show
from .frontend.torch_export import Dynamic, Exported, SizeLeaf, TensorLeaf, export_model
from .ir.diagnostic import Unreadable, WarploomError, WrongNumbers
from .ir.graph_text import print_graph
from .ir.machine import Machine
from .ir.module import Module
from .passes.pipeline import Dump, Options, plan


class UnknownOption(WarploomError):
    """An argument of `compile` names something that this build does not have. The message says what there is."""

    code = "WL-E060"


@dataclass(frozen=True)
class Settings:
    """How a model was compiled, apart from the model itself."""

    target: str = "cpu"
    library: bool = True
    threads: int | None = None
    tune: str | None = None
    dump: Dump | None = None


@dataclass(frozen=True)
class Timed:
    """Seconds by contender, 95% intervals of (contender / warploom), remarks."""

    times: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...]


@dataclass
class Compiled:
    """A compiled model. Call it like the model; parameters stay the model's own and are read on every call."""

    exported: Exported
    module: Module
    code: Printed
    machine: Machine
    library: Path
    runtime: Runtime
    settings: Settings
    compile_s: float
    example: tuple[object, ...] = ()
    name: str = "model"
    differences: list[Difference] = field(default_factory=list)
    _plain: bool = field(init=False)
    _single: bool = field(init=False)

    def __post_init__(self) -> None:
        exported = self.exported
        names = [leaf.name for leaf in exported.inputs if isinstance(leaf, TensorLeaf)]
        self._arity = len(names)
        self._plain = len(names) == len(exported.inputs) and _is_flat(exported)
        self._single = exported.out_spec.is_leaf() and isinstance(exported.outputs[0], TensorLeaf)
        self._places = {name: n for n, name in enumerate(self.module.outputs)}

    def __call__(self, *args: object, **kwargs: object) -> object:
        """The model's result. Raises InputMismatch."""
        tensors = args if self._plain and not kwargs and len(args) == self._arity else self._leaves(args, kwargs)
        out = self.runtime(tensors)  # type: ignore[arg-type]
        return out[0] if self._single else self._assemble(tensors, out)

    def tensors(self, args: Sequence[object]) -> list[torch.Tensor]:
        """The tensors of positional arguments, in the runtime's order."""
        return self._leaves(tuple(args), {})  # type: ignore[return-value]

    def _leaves(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[object]:
        leaves = self.exported.flatten(args, kwargs)
        return [value for leaf, value in zip(self.exported.inputs, leaves) if isinstance(leaf, TensorLeaf)]

    def _assemble(self, tensors: Sequence[object], out: list[torch.Tensor]) -> object:
        leaves: list[object] = []
        for leaf in self.exported.outputs:
            if isinstance(leaf, TensorLeaf):
                leaves.append(out[self._places[leaf.name]])
            elif isinstance(leaf, SizeLeaf):
                shapes = [tuple(t.shape) for t in tensors]  # type: ignore[attr-defined]
                leaves.append(evaluate(leaf.expr, match_shapes(self.module, shapes)))
            else:
                leaves.append(leaf.value)
        return self.exported.unflatten(leaves)

    @property
    def report(self) -> Report:
        """What was made of the model, with the time of each kernel on the example inputs."""
        return describe(self)

    @property
    def sources(self) -> dict[str, str]:
        """{kernel name: C++ source}."""
        return self.code.sources()


def _is_flat(exported: Exported) -> bool:
    """The arguments are positional tensors, so that a call needs no flattening."""
    args, kwargs = exported.in_spec.children()
    return not kwargs.children() and all(child.is_leaf() for child in args.children())


def compile(
    model: torch.nn.Module | Callable[..., object],
    example_inputs: Sequence[object] | torch.Tensor,
    target: str = "cpu",
    passes: Sequence[str] = (),
    dynamic: Dynamic | None = None,
    tune: str | None = None,
    library: bool = True,
    kernels: str | Path | None = None,
    *,
    verify: bool = True,
    threads: int | None = None,
    dump: Dump | None = None,
) -> Compiled:
    """Compile and verify `model`. `dynamic`: {input name or position: {axis: name}}; `library=False`: no ATen for operators that we own.

    Raises UnsupportedModel, WrongNumbers, MissingTool, BuildFailed, UnknownTarget.
    """
    _refuse_unknown(passes, kernels)
    machine = backend(target).machine()
    args = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    settings = Settings(target, library, threads, tune, dump)
    start = time.perf_counter()
    exported = export_model(model, args, None, dynamic)
    compiled = _finish(exported, weight_slots(model, exported), machine, settings, args, start)
    if verify:
        verify_against_eager(model, compiled, args)
    return compiled


def verify_against_eager(model: Callable[..., object], compiled: Compiled, args: tuple[object, ...]) -> None:
    """Compare on fresh inputs; the differences are kept in `compiled.differences`. Raises WrongNumbers."""
    compiled.differences = disagreements(_subject(model, compiled), args)
    wrong = next((d for d in compiled.differences if not d.right), None)
    if wrong is not None:
        raise WrongNumbers(f"{wrong.name} differs from eager: {wrong.why}")


def _subject(model: Callable[..., object], compiled: Compiled) -> Subject:
    names = {id(t): name for name, t in state_of(model).items()}
    written = [name for name, _ in compiled.module.updates]
    weights = [compiled.exported.weights[name] for name in written if name in compiled.exported.weights]
    inputs = compiled.exported.input_names
    mutated = tuple(inputs.index(name) for name in written if name in inputs)
    return Subject(model, compiled, tuple(names[id(t)] for t in weights if id(t) in names), mutated)


def describe(compiled: Compiled, timed: Timed | None = None) -> Report:
    """The report of a compiled model. `timed`: times of the whole model against others."""
    runtime, module = compiled.runtime, compiled.module
    tensors = compiled.tensors(compiled.example)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        seconds = runtime.profile(tensors)
    threads = runtime.threads or torch.get_num_threads()
    machine = measured()
    bound = bind(runtime.layout, [tuple(t.shape) for t in tensors], threads)
    rows = kernel_rows(module, compiled.code.symbols, compiled.sources, seconds, machine, bound.env, threads)
    return Report(
        name=compiled.name, machine=machine, threads=threads, compile_s=compiled.compile_s,
        max_error=max((d.relative for d in compiled.differences), default=0.0), ok=all(d.right for d in compiled.differences),
        kernels=rows, externs=extern_rows(module, seconds), prepared=tuple(p.program.name for p in module.prepare),
        graph=print_graph(compiled.exported.graph), steps=step_lines(module), arena_bytes=bound.arena_bytes,
        times=timed.times if timed else {}, intervals=timed.intervals if timed else {}, notes=timed.notes if timed else (),
    )  # fmt: skip


def time_against_others(compiled: Compiled, problem: Problem, budget_s: float = 2.0) -> Timed:
    """Interleaved with eager and Inductor, on rotating inputs."""
    inputs = rotating(problem.inputs, seed=1)
    entries = [
        enter("warploom", lambda: lambda values: compiled(*values), inputs[0]),
        enter("eager", lambda: eager(problem.model), inputs[0]),
        enter("inductor", lambda: inductor(problem.model), inputs[0]),
    ]
    with torch.no_grad():
        samples = interleave(ran(entries), inputs, budget_s, torch.get_num_threads())
    times = {name: samples.median(name) for name in samples.seconds}
    intervals = {name: samples.interval(name, "warploom") for name in times if name != "warploom"}
    return Timed(times, intervals, tuple(f"{e.name} cannot run this model: {e.reason}" for e in entries if e.run is None))


def _refuse_unknown(passes: Sequence[str], kernels: object) -> None:
    if passes:
        raise UnknownOption(f"no pass {passes[0]!r}", hint="this build has no optional passes")
    if kernels is not None:
        raise UnknownOption("this build reads no evolve folders (`kernels=`)")


def _finish(
    exported: Exported, slots: Mapping[str, Slot], machine: Machine, settings: Settings, args: tuple[object, ...], start: float
) -> Compiled:
    module = plan(exported.graph, machine, Options(dump=settings.dump))
    code = printed(module, machine.isa)
    path = build(code, machine)
    runtime = load(code.layout, path, slots, settings.threads)
    return Compiled(exported, module, code, machine, path, runtime, settings, time.perf_counter() - start, args)


def weight_slots(model: object, exported: Exported) -> dict[str, Slot]:
    """Where each weight lives in the model, so that a replaced parameter is seen; a constant of the graph lives on its own."""
    owners: dict[int, Slot] = {}
    for part in model.modules() if isinstance(model, torch.nn.Module) else ():
        for owner in (part._parameters, part._buffers):
            for key, tensor in owner.items():
                if tensor is not None:
                    owners.setdefault(id(tensor), (owner, key))
    return {name: owners.get(id(t), ({name: t}, name)) for name, t in exported.weights.items()}


# ------------------------------------------------------------------------------------------------ the command
@dataclass(frozen=True)
class CompileRequest:
    """The arguments of `warploom compile`."""

    model: str
    target: str = "cpu"
    passes: tuple[str, ...] = ()
    tune: str | None = None
    library: bool = True
    threads: int | None = None
    dynamic: tuple[str, ...] = ()
    report: str | None = None
    export: str | None = None
    dump_ir: str | None = None
    compare: bool = True


def run_compile(request: CompileRequest, as_json: bool) -> int:
    """`warploom compile`: 0 done, 1 wrong numbers, 2 usage or an unreadable model, 3 the environment lacks something."""
    return outcome(lambda: _compile_and_tell(request, as_json), as_json)


def _compile_and_tell(request: CompileRequest, as_json: bool) -> tuple[int, object]:
    if request.threads is not None:
        torch.set_num_threads(_positive(request.threads))
    problem = load_problem(request.model)
    torch.manual_seed(0)
    inputs = problem.inputs()
    check_runs(problem, inputs)
    dump = _dumper(request.dump_ir) if request.dump_ir else None
    dynamic = parse_dynamic(request.dynamic)
    compiled = compile(problem.model, inputs, request.target, request.passes, dynamic, request.tune, request.library, dump=dump)
    compiled.name = problem.name
    timed = time_against_others(compiled, problem) if request.compare else None
    report = describe(compiled, timed)
    if request.report:
        write_text(Path(request.report), report.to_html())
    if request.export:
        compiled.export(request.export)
    if not as_json:
        show(report, Console(file=sys.__stdout__, highlight=False))
    return (0 if report.ok else 1), report.data()


def _positive(threads: int) -> int:
    if threads < 1:
        raise UnknownOption(f"--threads {threads}: expected 1 or more")
    return threads


def parse_dynamic(texts: Sequence[str]) -> Dynamic | None:
    """`x:0=batch` -> {"x": {0: "batch"}}; the input by name or position, `x:0=batch[2..64]` gives a range. Raises UnknownOption."""
    found: dict[str | int, dict[int, object]] = {}
    for text in texts:
        m = re.fullmatch(r"(\w+):(\d+)=([A-Za-z_]\w*)(?:\[(\d+)\.\.(\d+)\])?", text)
        if m is None:
            raise UnknownOption(f"--dynamic {text}: expected INPUT:AXIS=NAME, such as x:0=batch")
        name, axis, dim, lo, hi = m.groups()
        spec: object = dim if lo is None else (dim, int(lo), int(hi))
        found.setdefault(int(name) if name.isdigit() else name, {})[int(axis)] = spec
    return found or None


def write_text(path: Path, text: str) -> None:
    """Raises Unreadable where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise Unreadable(f"cannot write {path}: {error.strerror or error}") from None


def _dumper(folder: str) -> Dump:
    return lambda stage, text: write_text(Path(folder) / f"{stage}.txt", text)


# ------------------------------------------------------------------------------------------------ bench
@dataclass(frozen=True)
class BenchRequest:
    """The arguments of `warploom bench cpu`."""

    suite: str | None = None
    threads: str = "1"
    only: str | None = None
    budget_s: float = 2.0
    timeout_s: float = 300.0
    library: bool = True
    out: str | None = None


def run_bench(request: BenchRequest, as_json: bool) -> int:
    """`warploom bench cpu`: 0 done, 1 some problem failed or gave wrong numbers, 2 usage."""
    return outcome(lambda: _bench_and_tell(request, as_json), as_json)


def _bench_and_tell(request: BenchRequest, as_json: bool) -> tuple[int, object]:
    counts = thread_counts(request.threads)
    chosen = items(Path(request.suite), request.only) if request.suite else zoo_items(request.only)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="warploom-bench-") as cache:
        worker = Worker(request, counts, cache)
        for row in run_suite(chosen, worker.measure, counts):
            print(bench_line(row), file=sys.stderr, flush=True)
            rows.append(row)
    data = bench_data(rows)
    if request.out:
        write_text(Path(request.out), json.dumps(data, indent=1))
    if not as_json:
        show_bench(rows, Console(file=sys.__stdout__, highlight=False))
    return (0 if all(r.ok for r in rows) else 1), data


@dataclass(frozen=True)
class Worker:
    """Runs `bench_worker` in processes of their own: kernel speed with malloc keeping memory, the allocator's gain without."""

    request: BenchRequest
    counts: Sequence[int]
    cache: str

    def measure(self, item: Item) -> list[Row]:
        common = {**os.environ, "WARPLOOM_CACHE": f"{self.cache}/build", "TORCHINDUCTOR_CACHE_DIR": f"{self.cache}/inductor"}
        rows = [row_from(r) for r in self._ask(item, "race", {**common, **KEEPING})]  # type: ignore[attr-defined]
        if not rows or not rows[0].ok:
            return rows
        plain = {k: v for k, v in common.items() if k not in KEEPING}
        gain = self._ask(item, "allocator", plain)
        return [replace(row, allocator_gain=gain) for row in rows]  # type: ignore[arg-type]

    def _ask(self, item: Item, what: str, environment: Mapping[str, str]) -> object:
        arguments = [
            item.spec,
            item.level,
            what,
            ",".join(map(str, self.counts)),
            str(self.request.budget_s),
            str(int(self.request.library)),
        ]
        code = f"from {__name__} import bench_worker; bench_worker()"
        return run_worker([sys.executable, "-c", code, *arguments], self.request.timeout_s, environment)


def bench_worker() -> None:
    """The process behind one problem: arguments in `sys.argv`, one JSON value on the last line of stdout."""
    spec, level, what, counts, budget, library = sys.argv[1:]

    def work() -> tuple[int, object]:
        problem = load_problem(spec)

        def compile_model(model: torch.nn.Module, inputs: tuple) -> tuple[Callable[[tuple], object], float]:
            compiled = compile(model, inputs, library=library == "1", verify=what == "race")
            return lambda values: compiled(*values), compiled.compile_s

        if what == "race":
            return 0, [asdict(r) for r in race(problem, level, compile_model, thread_counts(counts), float(budget))]
        return 0, allocator_gain(problem, compile_model, lambda on: setattr(pool, "enabled", on), float(budget) / 2)

    sys.exit(outcome(work, as_json=True))


def thread_counts(text: str) -> list[int]:
    """`1,2` -> [1, 2]. Raises UnknownOption."""
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise UnknownOption(f"--threads {text}: expected counts such as 1,2")
    return [int(t) for t in text.split(",")]


__all__ = ["Compiled", "compile", "weight_slots"]
