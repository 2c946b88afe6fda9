"""Which contractions and convolutions are faster in ATen's library? A graph and a running module come in, measured answers go out.

An operator is asked about together with its epilogue: ours is the fused kernel with the padding and packing it needs, the library's is
its call and a kernel for the epilogue. Both are planned, built and timed side by side on random data. Answers are kept (`records`).
"""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from ..backends.cpu.aten import run_node
from ..backends.cpu.build import build, printed
from ..backends.cpu.runtime import Runtime, load
from ..frontend.dtypes import TORCH_DTYPE
from ..ir.expr import Load, as_int, loads
from ..ir.graph import Contract, Conv, Graph, Input, Map, Node, Reshape, TensorType, Value, operands, rename_operands
from ..ir.graph_text import print_graph
from ..ir.machine import Machine
from ..ir.module import Launch, Module, Step
from ..ir.types import BYTES, is_float
from ..passes.canonical import canonicalize
from ..passes.indexing import coords
from ..passes.pack import weights_alone
from ..passes.pipeline import Options, plan
from ..passes.plan_memory import written
from .records import Record, Records

MARGIN = 1.05
"""The library is chosen where it is at least this many times faster."""
LEAST_SECONDS = 25e-6
"""At the machine's peak; a smaller operator stays ours without a question."""
SECONDS_PER_OPERATOR, SECONDS_IN_ALL = 0.3, 3.0
MOST_OPERATORS = 8
_MOST_BYTES = 1 << 31
_PEAK = 100e9
_BANDWIDTH = 20e9


@dataclass(frozen=True)
class Question:
    """`values`: the operators of the graph that are equal to `part`, a graph of one operator with its epilogue, values named by position.
    `least`: seconds at the machine's peak, of all of them."""

    part: Graph
    values: tuple[str, ...]
    least: float

    @property
    def text(self) -> str:
        return print_graph(self.part)

    @property
    def node(self) -> Node:
        return next(n for n in self.part.nodes if isinstance(n.op, (Contract, Conv)))


@dataclass
class Answers:
    """`known`: question text -> seconds of either way; `open`: questions without an answer yet."""

    questions: tuple[Question, ...]
    known: dict[str, Record] = field(default_factory=dict)

    @property
    def open(self) -> list[Question]:
        return [q for q in self.questions if q.text not in self.known]

    def choices(self) -> dict[str, str]:
        """{value: why the library runs it}: the form of `pipeline.Options.library`."""
        out: dict[str, str] = {}
        for q in self.questions:
            record = self.known.get(q.text)
            if record and (reason := _reason(record)):
                out.update(dict.fromkeys(q.values, reason))
        return out


def _reason(record: Record) -> str | None:
    ours, library = record.get("ours"), record.get("library")
    if not isinstance(ours, float) or not isinstance(library, float) or ours < MARGIN * library:
        return None
    return f"measured {ours / library:.2f}x faster than our kernel ({library * 1e3:.3f} ms against {ours * 1e3:.3f} ms)"


# ------------------------------------------------------------------------------------------------ questions
def recalled(graph: Graph, machine: Machine, records: Records) -> Answers:
    """The questions that a graph raises, with the answers that are known already."""
    answers = Answers(tuple(questions(canonicalize(graph), machine)))
    for q in answers.questions:
        record = records.recall("library", q.text)
        if record is not None:
            answers.known[q.text] = record
    return answers


def questions(graph: Graph, machine: Machine) -> list[Question]:
    """The distinct contractions and convolutions of a canonical graph that are worth a measurement, largest first. Dynamic ones stay ours."""
    found: dict[str, Question] = {}
    for node in graph.nodes:
        if not isinstance(node.op, (Contract, Conv)):
            continue
        part = _extract(graph, node)
        least = _least_seconds(part, machine)
        if least is None or least < LEAST_SECONDS:
            continue
        text = print_graph(part)
        before = found.get(text, Question(part, (), 0.0))
        found[text] = Question(part, (*before.values, node.outputs[0].name), before.least + least)
    total = sum(q.least for q in found.values())
    heavy = [q for q in found.values() if q.least > 0.03 * total]
    return sorted(heavy, key=lambda q: -q.least)[:MOST_OPERATORS]


def _extract(graph: Graph, node: Node) -> Graph:
    """The operator with the reshapes and transpositions that lead to it and the maps over its own output that follow it."""
    types, position = graph.types(), {v.name: k for k, n in enumerate(graph.nodes) for v in n.outputs}
    at = position[node.outputs[0].name]
    before = _leading(graph.producers(), node)
    after = _epilogue(graph.nodes[at + 1 :], node, lambda name: position.get(name, -1) < at)
    inside = sorted((*before, node, *after), key=lambda n: position[n.outputs[0].name])
    made = {v.name for n in inside for v in n.outputs}
    still, live, readers = weights_alone(graph), graph.live(), graph.consumers()
    given = dict.fromkeys(name for n in inside for name in operands(n.op) if name not in made)
    inputs = tuple(Input(name, types[name], "param" if name in still else "input") for name in given)
    kept = {id(n) for n in inside}
    last = [v.name for n in (node, *after) for v in n.outputs]
    outputs = tuple(v for v in last if v in live or any(id(r) not in kept for r in readers.get(v, ())))
    nodes = tuple(replace(n, origin="") for n in inside)
    part = Graph("part", (), inputs, nodes, outputs)
    return renamed(part, {name: f"v{k}" for k, name in enumerate(part.types())})


def _leading(producers: Mapping[str, Node], node: Node) -> list[Node]:
    found: dict[str, Node] = {}
    stack = list(operands(node.op))
    while stack:
        producer = producers.get(stack.pop())
        if producer is None or producer.outputs[0].name in found:
            continue
        if isinstance(producer.op, Reshape) or (isinstance(producer.op, Map) and isinstance(producer.op.expr, Load)):
            found[producer.outputs[0].name] = producer
            stack += operands(producer.op)
    return list(found.values())


def _epilogue(later: Iterable[Node], node: Node, earlier: Callable[[str], bool]) -> list[Node]:
    out = node.outputs[0]
    full, names, found = coords(len(out.type.shape)), {out.name}, []
    for n in later:
        if not isinstance(n.op, Map) or n.outputs[0].type.shape != out.type.shape:
            continue
        read = loads(n.op.expr)
        own = [x for x in read if x.buffer in names]
        if own and all(x.index == full for x in own) and all(x in own or earlier(x.buffer) for x in read):
            found.append(n)
            names.add(n.outputs[0].name)
    return found


def renamed(graph: Graph, new: Mapping[str, str]) -> Graph:
    """The graph with other names for its values."""
    nodes = tuple(
        Node(tuple(Value(new[v.name], v.type) for v in n.outputs), rename_operands(n.op, dict(new)), n.origin)
        for n in graph.nodes
    )
    inputs = tuple(replace(i, name=new[i.name]) for i in graph.inputs)
    return replace(graph, inputs=inputs, nodes=nodes, outputs=tuple(new[o] for o in graph.outputs))


def _numel(t: TensorType) -> int | None:
    sizes = [as_int(d) for d in t.shape]
    return None if any(s is None for s in sizes) else math.prod(s for s in sizes if s is not None)


def _bytes(part: Graph) -> int | None:
    total = 0
    for t in part.types().values():
        count = _numel(t)
        if count is None:
            return None
        total += count * BYTES[t.dtype]
    return total


def _least_seconds(part: Graph, machine: Machine) -> float | None:
    """None where the part is not ours to ask about: of unknown or huge size, or not of floats."""
    nbytes = _bytes(part)
    node, types = next(n for n in part.nodes if isinstance(n.op, (Contract, Conv))), part.types()
    if nbytes is None or not 0 < nbytes < _MOST_BYTES or not is_float(node.outputs[0].type.dtype):
        return None
    if isinstance(node.op, Contract):
        size = {c: d for t, x in zip(re.split(",|->", node.op.spec), (node.op.a, node.op.b)) for c, d in zip(t, types[x].shape)}
        flops = 2 * math.prod(as_int(d) or 1 for d in size.values())
    else:
        assert isinstance(node.op, Conv)
        taps = math.prod(as_int(d) or 1 for d in types[node.op.w].shape[1:])
        flops = 2 * taps * (_numel(types[node.op.x] if node.op.transposed else node.outputs[0].type) or 1)
    return max(flops / (machine.flops or _PEAK), nbytes / _BANDWIDTH)


# ------------------------------------------------------------------------------------------------ answers
class Stopwatch:
    """Takes the times that answers rest on: medians, CPU seconds on one thread."""

    def steps(self, runtime: Runtime, tensors: Sequence[torch.Tensor], budget_s: float) -> list[float]:
        """Seconds of each step of a module, all steps in turn, the first round left out."""
        start, rounds = time.perf_counter(), []
        while len(rounds) < 4 or (len(rounds) < 40 and time.perf_counter() - start < budget_s):
            rounds.append(runtime.profile(tensors, repeats=1))
        return [statistics.median(taken) for taken in zip(*rounds[1:])]

    def call(self, run: Callable[[], object], threads: int) -> float:
        """Seconds of one call."""
        now, taken = time.process_time if threads == 1 else time.perf_counter, []
        for _ in range(4):
            start = now()
            run()
            taken.append(now() - start)
        return statistics.median(taken[1:])


def answer(
    answers: Answers, machine: Machine, runtime: Runtime, tensors: Sequence[torch.Tensor], records: Records, watch: Stopwatch
) -> None:
    """Measure what is open and keep it. `runtime` runs the graph with all that is open as our kernels; an operator whose bare library
    call is no faster than these needs no closer look."""
    asked = answers.open
    if not asked:
        return
    deadline = time.perf_counter() + SECONDS_IN_ALL
    ours = _kernel_seconds(runtime.layout.module, watch.steps(runtime, tensors, SECONDS_PER_OPERATOR))
    near: list[Question] = []
    for q in asked:
        if time.perf_counter() > deadline or q.values[0] not in ours:
            continue
        record: Record = {"ours": ours[q.values[0]], "library": _bare_call(q, records.threads, watch)}
        if _reason(record):
            near.append(q)
        else:
            _store(answers, records, q, record)
    for q, record in zip(near, _both_ways(near, machine, runtime.threads, watch)):
        _store(answers, records, q, record)


def _store(answers: Answers, records: Records, q: Question, record: Record) -> None:
    answers.known[q.text] = record
    records.keep("library", q.text, record)


def _kernel_seconds(module: Module, seconds: Sequence[float]) -> dict[str, float]:
    """value -> seconds of the launch that computes it and of those that pad and pack for it, for contractions and convolutions."""
    out: dict[str, float] = {}
    laid_out: dict[str, float] = {}
    for step, s in zip(module.steps, seconds):
        if not isinstance(step, Launch):
            continue
        if all(n.origin in ("pad", "pack") for n in step.nodes):
            laid_out.update(dict.fromkeys(written(step), s))
        whole = s + sum(laid_out.get(arg, 0.0) for arg in step.args if arg not in written(step))
        out.update({n.outputs[0].name: whole for n in step.nodes if isinstance(n.op, (Contract, Conv))})
    return out


def _bare_call(q: Question, threads: int, watch: Stopwatch) -> float:
    types = q.part.types()
    tensors = {name: random_values(types[name]) for name in operands(q.node.op)}
    with torch.no_grad():
        return watch.call(lambda: run_node(q.node, tensors, {}), threads)


def random_values(t: TensorType) -> torch.Tensor:
    """Uniform in 0..1, zeros where not of floats; a million different values are enough for timing."""
    count = _numel(t) or 0
    if not is_float(t.dtype):
        return torch.zeros([as_int(d) or 0 for d in t.shape], dtype=TORCH_DTYPE[t.dtype])
    values = torch.rand(min(count, 1 << 20), generator=torch.Generator().manual_seed(0)).to(TORCH_DTYPE[t.dtype])
    return values.repeat(-(-count // max(1, len(values))))[:count].view([as_int(d) or 0 for d in t.shape])


def _both_ways(asked: Sequence[Question], machine: Machine, threads: int | None, watch: Stopwatch) -> list[Record]:
    """Seconds of either way, as many operators in one module as memory allows."""
    out: list[Record] = []
    while len(out) < len(asked):
        batch, size = [], 0
        for q in asked[len(out) :]:
            size += 2 * (_bytes(q.part) or 0)
            if batch and size > _MOST_BYTES:
                break
            batch.append(q)
        out += _side_by_side(batch, machine, threads, watch)
    return out


def _side_by_side(batch: Sequence[Question], machine: Machine, threads: int | None, watch: Stopwatch) -> list[Record]:
    """One module with all questions in it, twice: the values of question n are named o{n}_ (ours) and l{n}_ (the library's)."""
    parts = [renamed(q.part, {v: f"{side}{n}_{v}" for v in q.part.types()}) for n, q in enumerate(batch) for side in "ol"]
    inputs, nodes = tuple(i for p in parts for i in p.inputs), tuple(x for p in parts for x in p.nodes)
    whole = Graph("both", (), inputs, nodes, tuple(o for p in parts for o in p.outputs))
    library = {f"l{n}_{q.node.outputs[0].name}": "asked" for n, q in enumerate(batch)}
    module = plan(whole, machine, Options(library=library))
    code = printed(module, machine.isa)
    values = {i.name: random_values(i.type) for i in module.inputs}
    weights = {i.name: (values, i.name) for i in module.inputs if i.role != "input"}
    runtime = load(code.layout, build(code, machine), weights, threads)
    tensors = [values[i.name] for i in module.inputs if i.role == "input"]
    seconds = watch.steps(runtime, tensors, SECONDS_PER_OPERATOR * len(batch))
    taken = {f"{side}{n}": 0.0 for n in range(len(batch)) for side in "ol"}
    for step, s in zip(module.steps, seconds):
        taken[_made(step)[0].split("_")[0]] += s
    return [{"ours": taken[f"o{n}"], "library": taken[f"l{n}"]} for n in range(len(batch))]


def _made(step: Step) -> list[str]:
    return written(step) if isinstance(step, Launch) else [v.name for v in step.node.outputs]
