"""A PyTorch model and example inputs come in, a verified callable goes out: export, passes, build, check, report.

`compile` goes through torch.export; what that rejects is taken by the dynamo door (`torch.compile` with graph breaks), and the report says so.
"""

from __future__ import annotations

import re
import sys
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch.utils import _pytree as pytree

from .agents.dispatch import tune_dispatch
from .agents.library import Answers, Stopwatch, answer, recalled
from .agents.records import Records, StoredScripts
from .agents.tune import remembered, seconds_of
from .agents.tune import tune as tune_kernels
from .backends.chosen import Chosen, read_chosen
from .backends.cpu import saved
from .backends.cpu.allocator import pool
from .backends.cpu.bind import bind, evaluate, match_shapes
from .backends.cpu.build import Printed, build, printed
from .backends.cpu.export import c_name, sample_run
from .backends.cpu.export import export as export_project
from .backends.cpu.peaks import measured
from .backends.cpu.runtime import Runtime
from .backends.cpu.runtime import load as load_library
from .backends.cpu.weights import Slot
from .backends.cuda.export import write as export_cuda
from .backends.manifest import backend
from .evaluation.agreement import SEEDS, Subject, disagreements, fresh, run_compiled, state_of
from .evaluation.bench.command import thread_counts, write_text
from .evaluation.bench.contenders import eager, enter, inductor, quiet, quiet_logs, ran, rotating
from .evaluation.bench.gpu import ROTATED_BYTES, equal_terms, on_gpu, race_gpu, time_on_gpu
from .evaluation.bench.interleave import Samples, interleave
from .evaluation.bench.problem import Problem, check_runs, load_problem
from .evaluation.bench.race import allocator_gain, race
from .evaluation.bench.rows import Built
from .evaluation.bisect import first_wrong
from .evaluation.difference import Difference
from .evaluation.lossy import Measured, against_meaning, measure
from .evaluation.report.collect import extern_rows, kernel_rows, step_lines
from .evaluation.report.device import device_report
from .evaluation.report.outcome import outcome
from .evaluation.report.record import Report
from .evaluation.report.terminal import show
from .evaluation.sizes import resized, sizes_to_check
from .frontend.dynamo import backend as dynamo_door
from .frontend.torch_export import Dynamic, Exported, SizeLeaf, TensorLeaf, export_model
from .ir.diagnostic import InputMismatch, UnsupportedModel, WarploomError, WrongNumbers
from .ir.graph_text import print_graph
from .ir.machine import Machine
from .ir.module import Launch, Module
from .ir.variants import variants
from .ir.version import VERSION
from .kernels.failure import reduced as reduced_failure
from .kernels.failure import worth_reducing
from .passes.decisions import Decisions
from .passes.pipeline import Dump, Options, kernel_key, plan
from .passes.quantize import check_names, quantize


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
    chosen: Chosen | None = None


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
    slots: Mapping[str, Slot]
    settings: Settings
    compile_s: float
    example: tuple[object, ...] = ()
    name: str = "model"
    differences: list[Difference] = field(default_factory=list)
    remarks: tuple[str, ...] = ()
    lossy: tuple[Measured, ...] = ()
    _plain: bool = field(init=False)
    _single: bool = field(init=False)

    def __post_init__(self) -> None:
        exported = self.exported
        names = [leaf.name for leaf in exported.inputs if isinstance(leaf, TensorLeaf)]
        self._arity = len(names)
        self._plain = len(names) == len(exported.inputs) and _is_flat(exported)
        self._single = exported.out_spec.is_leaf() and isinstance(exported.outputs[0], TensorLeaf)
        self._places = {name: n for n, name in enumerate(exported.graph.outputs)}

    def __call__(self, *args: object, **kwargs: object) -> object:
        """The model's result. Raises InputMismatch."""
        tensors = args if self._plain and not kwargs and len(args) == self._arity else self._leaves(args, kwargs)
        out = self.runtime(tensors)  # type: ignore[arg-type]
        return out[0] if self._single else self._assemble(tensors, out)

    def tensors(self, args: Sequence[object]) -> list[torch.Tensor]:
        """The tensors of positional arguments, in the runtime's order."""
        return self._leaves(tuple(args), {})  # type: ignore[return-value]

    def _leaves(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[object]:
        if self._plain and not kwargs and len(args) != self._arity:
            raise InputMismatch(f"expected {self._arity} tensors, got {len(args)} arguments")
        leaves = self.exported.flatten(args, kwargs)
        return [value for leaf, value in zip(self.exported.inputs, leaves) if isinstance(leaf, TensorLeaf)]

    def flat(self, *leaves: object) -> list[object]:
        """Flat inputs (sizes among them) in, flat outputs out: the form that torch.compile calls. The first call's inputs are kept as examples."""
        tensors = [value for leaf, value in zip(self.exported.inputs, leaves) if isinstance(leaf, TensorLeaf)]
        if not self.example:
            self.example = tuple(leaves)
        return self._outputs(tensors, self.runtime(tensors))  # type: ignore[arg-type]

    def _assemble(self, tensors: Sequence[object], out: list[torch.Tensor]) -> object:
        return self.exported.unflatten(self._outputs(tensors, out))

    def _outputs(self, tensors: Sequence[object], out: list[torch.Tensor]) -> list[object]:
        leaves: list[object] = []
        for leaf in self.exported.outputs:
            if isinstance(leaf, TensorLeaf):
                leaves.append(out[self._places[leaf.name]])
            elif isinstance(leaf, SizeLeaf):
                shapes = [tuple(t.shape) for t in tensors]  # type: ignore[attr-defined]
                leaves.append(evaluate(leaf.expr, match_shapes(self.module, shapes)))
            else:
                leaves.append(leaf.value)
        return leaves

    @property
    def report(self) -> Report:
        """What was made of the model, with the time of each kernel on the example inputs."""
        return describe(self)

    def save(self, path: str | Path) -> None:
        """Write one file that `load` reads, with the weights as they are now. Raises Unreadable."""
        if self.settings.target != "cpu":
            raise UnknownOption(f"save: not for target {self.settings.target}", hint="export writes its sources and launches")
        exported = (self.exported.graph, self.exported.inputs, self.exported.outputs)
        specs = tuple(pytree.treespec_dumps(spec) for spec in (self.exported.in_spec, self.exported.out_spec))
        settings = replace(self.settings, dump=None)
        program = (exported, specs, self.module, self.code, self.machine, settings, self.compile_s, self.name)
        saved.write(Path(path), saved.Saved(program, self.library, self.weights(), self.machine.features, VERSION))

    def export(self, folder: str | Path) -> None:
        """Write a standalone C++ project with the weights as they are now; for a GPU the sources, each with its launches. Raises
        NotStandalone, Unreadable."""
        if self.settings.target != "cpu":
            return export_cuda(self.code.programs, self._dims(), Path(folder))  # type: ignore[attr-defined]
        tensors = self.tensors(fresh(self.example, SEEDS[0]))
        kept = {name: w.detach().clone() for name, w in self.weights().items()}
        inputs = [t.detach().clone() for t in tensors]
        export_project(self.code, kept, sample_run(self.runtime, inputs, kept), c_name(self.name), Path(folder))

    def _dims(self) -> dict[str, int]:
        """Values of the symbolic dims for the example inputs."""
        return match_shapes(self.module, [tuple(t.shape) for t in self.tensors(self.example)])

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights as they are now, by graph name."""
        return {name: owner[key] for name, (owner, key) in self.slots.items()}  # type: ignore[misc]

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
) -> Compiled | Patchwork:
    """Compile and verify `model`. `dynamic`: {input name or position: {axis: name}}; `library=False`: no ATen for operators that we own;
    `passes`: lossy ones by name (`passes.quantize.FAMILY`), each held to the error that it declares; `kernels`: the folder of an evolve run,
    whose kernels are used wherever the model has them.

    Raises UnsupportedModel, WrongNumbers, Inaccurate, UnknownPass, MissingTool, BuildFailed, UnknownTarget.
    """
    check_names(passes)
    if tune:
        seconds_of(tune)
    machine = backend(target).machine()
    args = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    settings = Settings(target, library, threads, tune, dump, read_chosen(kernels) if kernels is not None else None)
    start = time.perf_counter()
    try:
        with quiet():
            exported = export_model(model, args, None, dynamic)
    except UnsupportedModel as rejection:
        if rejection.code != UnsupportedModel.code:
            raise
        return through_dynamo(model, args, settings, rejection, verify)
    slots = weight_slots(model, exported)
    if passes:
        return _lossy(exported, slots, tuple(passes), machine, settings, args, verify, start)
    compiled = _finish(exported, slots, machine, settings, args, start)
    if verify:
        verify_against_eager(model, compiled, args)
    return compiled


def _lossy(
    exported: Exported, slots: Mapping[str, Slot], passes: tuple[str, ...], machine: Machine, settings: Settings,
    args: tuple[object, ...], verify: bool, start: float,
) -> Compiled:  # fmt: skip
    """Compile what lossy passes make of the model: each within its allowance, the result as its exact meaning says."""
    graph, made = exported.graph, []
    for name in passes:
        made.append(quantize(name, graph))
        graph = made[-1].after
    given = [_arrays(exported, slots, a) for a in _examples(args)] if verify else []
    measured = tuple(measure(r, given) for r in made) if verify else ()
    compiled = _finish(replace(exported, graph=graph), slots, machine, settings, args, start)
    compiled.lossy = measured
    if verify:
        given += [_arrays(exported, slots, a) for a in _other_sizes(compiled, args)]
    for arrays, leaves in zip(given, [*_examples(args), *(_other_sizes(compiled, args) if verify else ())]):
        ours = [np.asarray(t.float() if t.dtype is torch.bfloat16 else t) for t in (t.detach().cpu() for t in compiled.runtime(compiled.tensors(leaves)))]
        compiled.differences += against_meaning(graph, arrays, ours)
    wrong = next((d for d in compiled.differences if not d.right), None)
    if wrong is not None:
        raise WrongNumbers(f"{wrong.name} differs from what {', '.join(passes)} makes of it: {wrong.why}; {_blame(compiled, args)}")
    return compiled


def _examples(args: tuple[object, ...]) -> list[tuple[object, ...]]:
    return [args, *(tuple(fresh(args, seed)) for seed in SEEDS)]


def _arrays(exported: Exported, slots: Mapping[str, Slot], args: tuple[object, ...]) -> dict[str, np.ndarray]:
    """NumPy arrays of all graph inputs, weights as they are now."""
    leaves = exported.flatten(args, {})
    tensors = iter(value for leaf, value in zip(exported.inputs, leaves) if isinstance(leaf, TensorLeaf))
    found = {i.name: next(tensors) if i.role == "input" else slots[i.name][0][slots[i.name][1]] for i in exported.graph.inputs}
    return {n: (t.float() if t.dtype is torch.bfloat16 else t).detach().cpu().contiguous().numpy() for n, t in found.items()}  # type: ignore[union-attr]


def verify_against_eager(model: Callable[..., object], compiled: Compiled, args: tuple[object, ...], seeds: Sequence[int] = SEEDS) -> None:
    """Compare on fresh inputs, drawn for each seed; the differences are kept in `compiled.differences`. Raises WrongNumbers."""
    compiled.differences = disagreements(_subject(model, compiled), args, seeds)
    for other in _other_sizes(compiled, args):
        compiled.differences += disagreements(_subject(model, compiled), other, SEEDS[:1])
    wrong = next((d for d in compiled.differences if not d.right), None)
    if wrong is not None:
        raise WrongNumbers(f"{wrong.name} differs from eager: {wrong.why}; {_blame(compiled, args)}")


def _other_sizes(compiled: Compiled, args: tuple[object, ...]) -> list[tuple[object, ...]]:
    """The examples at the sizes where a variant begins; none where arguments are nested."""
    if not compiled._plain or not compiled.module.dims:
        return []
    tensors = compiled.tensors(args)
    example = match_shapes(compiled.module, [tuple(t.shape) for t in tensors])
    inputs = compiled.runtime.inputs
    return [tuple(resized(inputs, tensors, sizes)) for sizes in sizes_to_check(compiled.module, example)]


def _blame(compiled: Compiled, args: tuple[object, ...]) -> str:
    """Names the first operator that is wrong on its own, where one is."""
    if compiled.settings.target != "cpu":
        return f"on target {compiled.settings.target}"
    tensors = compiled.tensors(fresh(args, SEEDS[0]))
    graph, slots = compiled.exported.graph, compiled.slots
    culprit = first_wrong(graph, compiled.module, compiled.machine, slots, tensors, SEEDS[0])
    return f"the first wrong operator is {culprit}" if culprit else "every operator is right on its own within a coarse bound"


def _subject(model: Callable[..., object], compiled: Compiled) -> Subject:
    names = {id(t): name for name, t in state_of(model).items()}
    written = [name for name, _ in compiled.module.updates]
    weights = [compiled.exported.weights[name] for name in written if name in compiled.exported.weights]
    inputs = compiled.exported.input_names
    mutated = tuple(inputs.index(name) for name in written if name in inputs)
    return Subject(model, compiled, tuple(names[id(t)] for t in weights if id(t) in names), mutated)


def describe(compiled: Compiled, timed: Timed | None = None) -> Report:
    """The report of a compiled model. `timed`: times of the whole model against others."""
    if compiled.settings.target != "cpu":
        return _describe_device(compiled, timed)
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
        times=timed.times if timed else {}, intervals=timed.intervals if timed else {},
        numerics=tuple(m.data() for m in compiled.lossy),
        notes=(*map(str, compiled.lossy), *(compiled.remarks or remembered(module, Records(compiled.machine, threads))), *(timed.notes if timed else ())),
    )  # fmt: skip


def _describe_device(compiled: Compiled, timed: Timed | None) -> Report:
    tensors = compiled.tensors(compiled.example)
    return device_report(
        compiled.name, compiled.settings.target, compiled.module, compiled.code, compiled.machine, compiled._dims(), compiled.compile_s,  # type: ignore[arg-type]
        print_graph(compiled.exported.graph), max((d.relative for d in compiled.differences), default=0.0),
        all(d.right for d in compiled.differences), bool(compiled.differences), any(t.is_cuda for t in tensors),
        (*compiled.remarks, *(timed.notes if timed else ())), timed.times if timed else {}, timed.intervals if timed else {},
    )  # fmt: skip


def time_against_others(compiled: Compiled | Patchwork, problem: Problem, on_a_gpu: bool = False, budget_s: float = 2.0) -> Timed:
    """Interleaved with eager and Inductor, on rotating inputs."""
    if on_a_gpu:
        equal_terms()
        drawn = rotating(problem.inputs, seed=1, nbytes=ROTATED_BYTES)
        raced = time_on_gpu(lambda values: compiled(*values), problem.model, drawn, budget_s)
        return _timed(raced.samples, (*((raced.absent,) if raced.absent else ()), *_alone(raced.device)))
    inputs = rotating(problem.inputs, seed=1)
    entries = [
        enter("warploom", lambda: lambda values: compiled(*values), inputs[0]),
        enter("eager", lambda: eager(problem.model), inputs[0]),
        enter("inductor", lambda: inductor(problem.model), inputs[0]),
    ]
    with torch.no_grad():
        samples = interleave(ran(entries), inputs, budget_s, torch.get_num_threads())
    return _timed(samples, tuple(f"{e.name} cannot run this model: {e.reason}" for e in entries if e.run is None))


def _timed(samples: Samples, notes: tuple[str, ...]) -> Timed:
    times = {name: samples.median(name) for name in samples.seconds}
    return Timed(times, {name: samples.interval(name, "warploom") for name in times if name != "warploom"}, notes)


def _alone(device: Mapping[str, float]) -> tuple[str, ...]:
    """What a report says of the time that the GPU takes, without the calls."""
    return ("on the GPU alone, float32 without TF32: " + ", ".join(f"{name} {1e3 * s:.4f} ms" for name, s in device.items()),) if device else ()


def _finish(
    exported: Exported, slots: Mapping[str, Slot], machine: Machine, settings: Settings, args: tuple[object, ...], start: float
) -> Compiled:
    """Plan, build and bind, by what this machine's records know; then, where there are inputs to measure with, tune if asked to, and find
    out which operators the library runs faster."""
    if settings.target != "cpu":
        return _for_device(exported, slots, machine, settings, args, start)
    records = Records(machine, settings.threads or torch.get_num_threads())
    answers = recalled(exported.graph, machine, records) if settings.library else Answers(())
    compiled = _planned(exported, slots, machine, settings, args, answers.choices())
    if settings.tune and args:
        compiled = _tuned(compiled, records, answers.choices())
    if answers.open and args:
        compiled = _asked(compiled, records, answers)
    compiled.compile_s = time.perf_counter() - start
    return compiled


def _for_device(
    exported: Exported, slots: Mapping[str, Slot], machine: Machine, settings: Settings, args: tuple[object, ...], start: float
) -> Compiled:
    """Plan and print for a GPU; its runtime runs on CUDA tensors, and in the emulator on CPU tensors."""
    if settings.tune:
        raise UnknownOption(f"tune: not for target {settings.target}", hint="tuning measures on the CPU")
    module = plan(exported.graph, machine, Options(dump=settings.dump))
    load_device = backend(settings.target).load
    assert load_device is not None
    code, runtime = load_device(module, slots, exported.graph)
    seconds = time.perf_counter() - start
    return Compiled(exported, code.module, code, machine, Path(), runtime, slots, settings, seconds, args)  # type: ignore


def _planned(
    exported: Exported,
    slots: Mapping[str, Slot],
    machine: Machine,
    settings: Settings,
    args: tuple[object, ...],
    library: Mapping[str, str],
) -> Compiled:
    scripts: Mapping[str, str] = StoredScripts(Records(machine, settings.threads or torch.get_num_threads()))
    decisions, remarks = Decisions(), ()
    if settings.chosen is not None:
        scripts, decisions = ChainMap(dict(settings.chosen.scripts), scripts), Decisions(settings.chosen.decisions)  # type: ignore[arg-type]
        library, remarks = _around(settings.chosen, exported, machine, library)
    options = Options(library=library, scripts=scripts, dump=settings.dump, decisions=decisions, in_place=True)
    module = plan(exported.graph, machine, options)
    code = printed(module, machine.isa)
    path = build(code, machine)
    runtime = load_library(code.layout, path, slots, settings.threads)
    return Compiled(exported, module, code, machine, path, runtime, slots, settings, 0.0, args, remarks=remarks)


def _around(
    chosen: Chosen, exported: Exported, machine: Machine, library: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The library's operators without those that the pack has a kernel for, and a line that says what was used."""
    whole = plan(exported.graph, machine, Options(scripts=chosen.scripts, decisions=Decisions(chosen.decisions)))
    launches = [s for s in (*whole.prepare, *whole.steps) if isinstance(s, Launch) and kernel_key(s.naive) in chosen.scripts]
    made = {v.name for launch in launches for node in launch.nodes for v in node.outputs}
    used = ", ".join(launch.program.name for launch in launches) or "none: the model has no kernel of this pack"
    return {k: v for k, v in library.items() if k not in made}, (f"kernels evolved for {chosen.problem}: {used}",)


def _replanned(own: Compiled, library: Mapping[str, str]) -> Compiled:
    made = _planned(own.exported, own.slots, own.machine, own.settings, own.example, library)
    made.remarks = own.remarks
    return made


def _tuned(own: Compiled, records: Records, library: Mapping[str, str]) -> Compiled:
    """Tune the heavy kernels, then plan again with what was found."""
    budget_s = seconds_of(own.settings.tune or "")
    with torch.random.fork_rng(devices=[]):
        tensors = own.tensors(own.example)
        found = [
            *tune_dispatch(own.runtime, tensors, own.machine, records, Stopwatch()),
            *tune_kernels(own.runtime, tensors, own.machine, records, budget_s, Stopwatch()),
        ]
    own.remarks = tuple(map(str, found)) or (f"tuning for {own.settings.tune} found no faster schedule",)
    return _replanned(own, library) if found else own


def _asked(own: Compiled, records: Records, answers: Answers) -> Compiled:
    """Answer what is open by measurement; plan again where the library is faster somewhere."""
    before = answers.choices()
    with torch.random.fork_rng(devices=[]):
        answer(answers, own.machine, own.runtime, own.tensors(own.example), records, Stopwatch())
    return _replanned(own, answers.choices()) if answers.choices() != before else own


def weight_slots(model: object, exported: Exported) -> dict[str, Slot]:
    """Where each weight lives in the model, so that a replaced parameter is seen; a constant of the graph lives on its own."""
    owners: dict[int, Slot] = {}
    for part in model.modules() if isinstance(model, torch.nn.Module) else ():
        for owner in (part._parameters, part._buffers):
            for key, tensor in owner.items():
                if tensor is not None:
                    owners.setdefault(id(tensor), (owner, key))
    return {name: owners.get(id(t), ({name: t}, name)) for name, t in exported.weights.items()}


def load(path: str | Path) -> Compiled:
    """A model that `Compiled.save` wrote. Raises Unreadable, OtherVersion, OtherMachine."""
    found = saved.read(Path(path), VERSION)
    (graph, inputs, outputs), (given, result), module, code, machine, settings, compile_s, name = found.program
    exported = Exported(graph, found.weights, inputs, outputs, pytree.treespec_loads(given), pytree.treespec_loads(result))
    slots: dict[str, Slot] = {key: (found.weights, key) for key in found.weights}
    runtime = load_library(code.layout, found.library, slots, settings.threads)
    return Compiled(exported, module, code, machine, found.library, runtime, slots, settings, compile_s, (), name)


# ------------------------------------------------------------------------------------------------ the dynamo door
@dataclass
class Patchwork:
    """A model that torch.export rejects: graphs between graph breaks are compiled, Python runs in between."""

    run: Callable[..., object]
    parts: list[Compiled]
    breaks: tuple[str, ...]
    rejection: UnsupportedModel
    settings: Settings
    compile_s: float
    example: tuple[object, ...]
    name: str = "model"
    differences: list[Difference] = field(default_factory=list)

    def __call__(self, *args: object, **kwargs: object) -> object:
        """The model's result. Raises InputMismatch."""
        if torch.is_grad_enabled() and any(isinstance(a, torch.Tensor) and a.requires_grad for a in (*args, *kwargs.values())):
            raise InputMismatch("an input requires grad: gradients are out of scope", hint="call it under torch.no_grad()")
        with torch.no_grad():
            return self.run(*args, **kwargs)

    @property
    def report(self) -> Report:
        """What was made of the graphs, with the time of each kernel on the example inputs."""
        return describe_patchwork(self)

    @property
    def sources(self) -> dict[str, str]:
        """{kernel name: C++ source}."""
        return {f"graph{n}_{name}": text for n, part in enumerate(self.parts) for name, text in part.sources.items()}

    def _whole(self, what: str) -> UnsupportedModel:
        return UnsupportedModel(f"{what} needs one graph, and this model has graph breaks: {self.rejection.message}")

    def save(self, path: str | Path) -> None:
        """Refused: there is no single graph."""
        raise self._whole("save")

    def export(self, folder: str | Path) -> None:
        """Refused: there is no single graph."""
        raise self._whole("export")


def through_dynamo(
    model: Callable[..., object], args: tuple[object, ...], settings: Settings, rejection: UnsupportedModel, verify: bool
) -> Patchwork:
    """Compile with graph breaks. Raises `rejection` where dynamo finds no graph either."""
    start, parts = time.perf_counter(), []
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    run = torch.compile(model, backend=dynamo_compiler(settings, parts))  # type: ignore[arg-type]
    subject = Subject(model, run, tuple(state_of(model)))
    try:
        with quiet_logs():
            run_compiled(subject, args, SEEDS[0])
    except Exception as error:
        raise _our_error(error) or rejection from None
    if not parts:
        raise rejection
    breaks = tuple(str(reason).split("\n")[0][:200] for reason in torch._dynamo.utils.counters["graph_break"])
    made = Patchwork(run, parts, breaks, rejection, settings, time.perf_counter() - start, args)
    if verify:
        made.differences = disagreements(subject, args)
        wrong = next((d for d in made.differences if not d.right), None)
        if wrong is not None:
            raise WrongNumbers(f"{wrong.name} differs from eager: {wrong.why}")
    return made


def _our_error(error: BaseException | None) -> WarploomError | None:
    """The WarploomError behind what dynamo wrapped, if there is one."""
    while error is not None and not isinstance(error, WarploomError):
        error = getattr(error, "inner_exception", None) or error.__cause__
    return error


def dynamo_compiler(settings: Settings, parts: list[Compiled] | None = None) -> Callable[..., object]:
    """A torch.compile backend; what it compiles is appended to `parts`."""

    def compile_part(exported: Exported) -> Callable[..., Sequence[object]]:
        machine = backend(settings.target).machine()
        compiled = _finish(
            exported,
            {name: ({name: t}, name) for name, t in exported.weights.items()},
            machine,
            settings,
            (),
            time.perf_counter(),
        )
        if parts is not None:
            parts.append(compiled)
        return compiled.flat

    return dynamo_door(compile_part)


def dynamo_backend(gm: torch.fx.GraphModule, example_inputs: Sequence[object], **options: object) -> Callable[..., object]:
    """`torch.compile(model, backend="warploom")`."""
    return dynamo_compiler(Settings())(gm, example_inputs)  # type: ignore[return-value]


def describe_patchwork(made: Patchwork, timed: Timed | None = None) -> Report:
    """The report of all graphs together, graph breaks in the notes."""
    parts = [describe(part) for part in made.parts if part.example]
    seconds = sum(p.run_s for p in parts) or 1.0
    kernels = tuple(replace(k, share=k.seconds / seconds) for p in parts for k in p.kernels)
    externs = tuple(replace(e, share=e.seconds / seconds) for p in parts for e in p.externs)
    notes = (
        f"torch.export rejects this model, so it is compiled in {len(made.parts)} graphs: {made.rejection.message}",
        *(f"graph break: {b}" for b in made.breaks),
    )
    return Report(
        name=made.name, machine=measured(), threads=made.settings.threads or torch.get_num_threads(), compile_s=made.compile_s,
        max_error=max((d.relative for d in made.differences), default=0.0), ok=all(d.right for d in made.differences),
        kernels=kernels, externs=externs, prepared=tuple(n for p in parts for n in p.prepared), graph="\n\n".join(p.graph for p in parts),
        steps=tuple(line for p in parts for line in p.steps), arena_bytes=max((p.arena_bytes for p in parts), default=0),
        times=timed.times if timed else {}, intervals=timed.intervals if timed else {}, notes=(*notes, *(timed.notes if timed else ())),
    )  # fmt: skip


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
    there = request.target != "cpu" and torch.cuda.is_available()
    problem = on_gpu(problem) if there else problem
    torch.manual_seed(0)
    inputs = problem.inputs()
    check_runs(problem, inputs)
    dump = _dumper(request.dump_ir) if request.dump_ir else None
    dynamic = parse_dynamic(request.dynamic)
    try:
        compiled = compile(problem.model, inputs, request.target, request.passes, dynamic, request.tune, request.library, dump=dump)
    except Exception as error:
        if request.target != "cpu" or not worth_reducing(error):
            raise
        raise CompileFailed.of(error, _reduced_to_file(request, problem, inputs)) from error
    compiled.name = problem.name
    timed = time_against_others(compiled, problem, there) if request.compare and (there or request.target == "cpu") else None
    report = describe(compiled, timed) if isinstance(compiled, Compiled) else describe_patchwork(compiled, timed)
    if request.report:
        write_text(Path(request.report), report.to_html())
    if request.export:
        compiled.export(request.export)
    if not as_json:
        show(report, Console(file=sys.__stdout__, highlight=False))
    return (0 if report.ok else 1), report.data()


class CompileFailed(WarploomError):
    """Compiling gave wrong numbers, code that the compiler refuses, an exception of our own or a crash. The message names a small file that
    shows it; report it with that file."""

    code = "WL-E023"
    exit_code = 1

    @classmethod
    def of(cls, error: Exception, reduced: str) -> WarploomError:
        """The error with what it was reduced to as its hint; one that is not ours becomes a CompileFailed."""
        if isinstance(error, WarploomError):
            return type(error)(error.message, hint=reduced, code=error.code, exit_code=error.exit_code)
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return cls(f"internal error: {type(error).__name__}: {first[:300]}", hint=reduced)


def run_crashed(request: CompileRequest, signal_name: str, as_json: bool) -> int:
    """`warploom compile` after its process died: find what kills it, and say so. Always 1, or 2 where the model cannot be read again."""

    def work() -> tuple[int, object]:
        problem = load_problem(request.model)
        torch.manual_seed(0)
        raise CompileFailed(f"the compiled model crashed ({signal_name})", hint=_reduced_to_file(request, problem, problem.inputs()))

    return outcome(work, as_json)


def _reduced_to_file(request: CompileRequest, problem: Problem, inputs: tuple[object, ...]) -> str:
    """Reduce what fails to a small program in a file; says where it is, or that nothing fails by itself."""
    with quiet():
        exported = export_model(problem.model, inputs, None, parse_dynamic(request.dynamic))
    machine = backend("cpu").machine()
    records = Records(machine, request.threads or torch.get_num_threads())
    library = recalled(exported.graph, machine, records).choices() if request.library else {}
    found = reduced_failure(exported.graph, Options(library=library, scripts=StoredScripts(records)))
    if found is None:
        return "no kernel and no graph of it fails by itself on other inputs"
    path = Path(request.dump_ir or ".") / f"{problem.name}-failure.txt"
    return f"reduced to {path}; reproduce: {found.write(path)}"


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


def _dumper(folder: str) -> Dump:
    return lambda stage, text: write_text(Path(folder) / f"{stage}.txt", text)


# ------------------------------------------------------------------------------------------------ bench
def compile_rows(model: torch.nn.Module, x: torch.Tensor, most: int, passes: tuple[str, ...]) -> Built:
    """For `warploom bench int8` and `dynamic`: compiled once for 1 to `most` rows, without the library."""
    compiled = compile(model, (x,), passes=passes, dynamic={0: {0: ("rows", 1, most)}}, library=False)
    if not isinstance(compiled, Compiled):
        raise UnsupportedModel("this model has graph breaks")
    count = max((len(variants(s.program)) for s in compiled.module.steps if isinstance(s, Launch)), default=0)
    return Built(lambda values: compiled(*values), compiled.compile_s, count, tuple(map(str, compiled.lossy)))


BENCH_WORKER = f"from {__name__} import bench_worker; bench_worker()"


def bench_worker() -> None:
    """The process behind one problem of `warploom bench cpu`: arguments in `sys.argv`, one JSON value on the last line of stdout."""
    spec, level, what, counts, budget, library = sys.argv[1:]

    def compile_model(model: torch.nn.Module, inputs: tuple) -> tuple[Callable[[tuple], object], float]:
        compiled = compile(model, inputs, library=library == "1", verify=what == "race")
        return lambda values: compiled(*values), compiled.compile_s

    def work() -> tuple[int, object]:
        problem = load_problem(spec)
        if what == "race":
            return 0, [asdict(r) for r in race(problem, level, compile_model, thread_counts(counts), float(budget))]
        return 0, allocator_gain(problem, compile_model, lambda on: setattr(pool, "enabled", on), float(budget) / 2)

    sys.exit(outcome(work, as_json=True))


GPU_WORKER = f"from {__name__} import gpu_worker; gpu_worker()"


def gpu_worker() -> None:
    """The process behind one problem of `warploom bench gpu`: arguments in `sys.argv`, one JSON value on the last line of stdout."""
    spec, level, target, budget = sys.argv[1:]

    def compile_model(model: torch.nn.Module, inputs: tuple) -> tuple[Callable[[tuple], object], float]:
        compiled = compile(model, inputs, target)
        return lambda values: compiled(*values), compiled.compile_s

    sys.exit(outcome(lambda: (0, asdict(race_gpu(load_problem(spec), level, target, compile_model, float(budget)))), as_json=True))


__all__ = ["Compiled", "Patchwork", "compile", "dynamo_backend", "load", "weight_slots"]
