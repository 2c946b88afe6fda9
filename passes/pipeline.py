"""Graph to Module: canonical form, fusion, lowering, schedule scripts, in this order. `plan` is the one way from a model to kernels.

Comes in: a Graph from the frontend, the machine, options. Goes out: a Module that a backend builds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..ir.diagnostic import IllegalStep, ParseError
from ..ir.expr import Expr
from ..ir.graph import Graph, Node, Reshape
from ..ir.graph_text import print_graph
from ..ir.kernel import For, Program, rename_buffers, statements
from ..ir.machine import Machine
from ..ir.module import Aten, Launch, Library, Module, Step
from ..ir.text import print_program
from .canonical import canonicalize
from .convolution import explicit_padding
from .decisions import Decisions
from .draft import Draft
from .flatten import flatten
from .fuse import Fused, Group, fuse
from .lower import Lowered, lower
from .pack import pack_operands, weights_alone
from .scatter import lower_scatter, scatters
from .schedule.script import NAMES, apply, parse_script, run_step
from .separate import separate
from .sketch import sketch
from .state import writes_in_place

Dump = Callable[[str, str], None]
"""Receives (stage name, text) after each pass."""


@dataclass(frozen=True)
class Options:
    """`library`: output name of a contraction or convolution -> why ATen's library runs it. `scripts`: naive kernel text (without its
    name) -> schedule script that replaces the sketch's (tuned or evolved). `schedule=False` leaves kernels naive. `decisions`: of the passes
    over the graph (what is packed, what shares a kernel); what they ask is noted there. `in_place`: state that receives a Scatter into itself is
    written where it lives (the backend runs on the caller's own memory)."""

    library: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    schedule: bool = True
    dump: Dump | None = None
    decisions: Decisions = field(default_factory=Decisions)
    in_place: bool = False


def plan(graph: Graph, machine: Machine, options: Options | None = None) -> Module:
    """All passes. `options.library` names values of the canonical graph, see `canonical_graph`."""
    options = options or Options()
    _dump_graph(options, "0_exported", graph)
    graph = canonicalize(graph)
    _dump_graph(options, "1_canonical", graph)
    graph = separate(explicit_padding(graph, options.library, options.decisions), options.decisions)
    _dump_graph(options, "2_padded", graph)
    graph, packs = pack_operands(graph, machine, options.library, options.decisions)
    _dump_graph(options, "3_packed", graph)
    fused = fuse(graph, options.library, packs, options.decisions)
    types, ranges = dict(graph.types()), _index_ranges(graph, fused)
    steps: list[Step] = []
    done: dict[str, tuple[str, Program]] = {}
    for index, step in enumerate(fused.steps):
        if isinstance(step, Group):
            lowered = lower(step, kernel_name(step, index), types, graph.dims, ranges)
            steps.append(_launch(step.nodes, step.kind, lowered, machine, options, done))
        elif (reason := options.library.get(step.node.outputs[0].name)) is not None:
            steps.append(Library(step.node, reason))
        elif scatters(step.node, types):
            lowered = lower_scatter(step.node, f"k{index}_scatter", types, graph.dims, ranges)
            steps.append(_launch((step.node,), "scatter", lowered, machine, options, done))
        else:
            steps.append(Aten(step.node))
    views = _live_views(graph, fused)
    for number, target in (writes_in_place(graph, steps, views) if options.in_place else {}).items():
        node = steps[number].nodes[0]  # type: ignore[union-attr]
        lowered = lower_scatter(node, f"k{number}_scatter", types, graph.dims, ranges, in_place=True)
        steps[number] = _launch((node,), "scatter", lowered, machine, options, done)
        views[node.outputs[0].name] = target
    prepare, rest = _hoist(steps, weights_alone(graph), views)
    return Module(graph.name, graph.dims, graph.inputs, rest, graph.outputs, graph.updates, types, views, prepare)


def _index_ranges(graph: Graph, fused: Fused) -> dict[str, tuple[Expr, Expr]]:
    """Ranges that given index tensors keep, their views included."""
    ranges = {i.name: i.within for i in graph.inputs if i.within is not None}
    for view, base in fused.views.items():  # in program order: a view of a view finds its base
        if base in ranges:
            ranges[view] = ranges[base]
    return ranges


def _hoist(steps: list[Step], still: frozenset[str], views: Mapping[str, str]) -> tuple[tuple[Launch, ...], tuple[Step, ...]]:
    """Launches that read weights alone are run once, when weights are new."""
    known = set(still)
    prepare: list[Launch] = []
    rest: list[Step] = []
    for step in steps:
        made = set(step.naive.written()) if isinstance(step, Launch) else set()
        if isinstance(step, Launch) and all(a in known for p, a in zip(step.program.params, step.args) if p.name not in made):
            prepare.append(step)
            known.update(a for p, a in zip(step.program.params, step.args) if p.name in made)
            known.update(v for v, base in views.items() if base in known)
        else:
            rest.append(step)
    return tuple(prepare), tuple(rest)


def _launch(
    nodes: tuple[Node, ...],
    kind: str,
    lowered: Lowered,
    machine: Machine,
    options: Options,
    done: dict[str, tuple[str, Program]],
) -> Launch:
    """Schedule a kernel; one equal to an earlier one (`done`) takes its schedule."""
    naive = plain_names(flatten(lowered.program))
    key = kernel_key(naive)
    if key in done and not options.dump:
        script, program = done[key]
        return Launch(replace(program, name=naive.name), lowered.args, naive, script, nodes, kind)
    script = options.scripts.get(key)
    program: Program | None = None
    if script is not None:
        try:
            program = apply(naive, script)
        except (IllegalStep, ParseError):
            script = None  # a stored script of an older version: the sketch below replaces it
    if program is None:
        draft = sketch(naive, kind, machine) if options.schedule else Draft(program=naive, machine=machine)
        script, program = draft.script, draft.program
    if options.dump:
        _dump_kernel(options.dump, lowered.program, naive, script or "", program)
    done[key] = script or "", program
    return Launch(program, lowered.args, naive, script or "", nodes, kind)


def _dump_graph(options: Options, stage: str, graph: Graph) -> None:
    if options.dump:
        options.dump(f"graph_{stage}", print_graph(graph))


def _dump_kernel(dump: Dump, lowered: Program, naive: Program, script: str, program: Program) -> None:
    """The program as lowered, after the passes over kernels, with its schedule, after every step of it, and in the end."""
    dump(f"{naive.name}_0_lowered", print_program(lowered))
    dump(f"{naive.name}_1_naive", print_program(naive))
    dump(f"{naive.name}_2_schedule", (f"# schedule: {script}\n" if script else "") + print_program(naive))
    for number, step in enumerate(parse_script(script)):
        naive = run_step(naive, step, check=False)
        dump(f"{naive.name}_3_step{number:02d}_{NAMES[type(step)]}", print_program(naive))
    dump(f"{program.name}_4_scheduled", print_program(program))


_WEIGHTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def plain_names(program: Program) -> Program:
    """Buffers named by what they are (weight, bias, relu) rather than by which layer's, so that equal kernels are equal texts."""
    taken = {d.name for d in program.dims} | {s.axis for s in statements(program.body) if isinstance(s, For)}
    new: dict[str, str] = {}
    for name in program.buffers():
        base = _plain(name)
        count = 1
        while (wanted := base if count == 1 else f"{base}_{count}") in taken:
            count += 1
        taken.add(wanted)
        new[name] = wanted
    params = tuple(replace(b, name=new[b.name]) for b in program.params)
    return replace(program, params=params, body=rename_buffers(program.body, new))


def _plain(name: str) -> str:
    role = next((w for w in _WEIGHTS if re.search(rf"(^|_){w}(_|$)", name)), None)
    if role and re.match(r"[pb]_", name):
        return role + ("_packed" if re.search(r"_p\d+_", name) else "")
    packed = re.match(r"(.*?)(_\d+)*_p\d+_", name)
    tail = re.search(r"_(v|row|sum|pad)$", name)
    base = re.sub(r"(_p?\d+|_(v|row|sum|pad))+$", "", name)
    return packed.group(1) + "_packed" if packed else base + (f"_{tail.group(1)}" if tail else "")


def kernel_key(naive: Program) -> str:
    """Text of a naive program without its name: equal for kernels that a schedule fits alike."""
    return re.sub(r"^def \w+", "def _", print_program(naive))


def kernel_name(group: Group, index: int) -> str:
    """k3_conv_add_relu: the operators fused, at most four named."""
    words: list[str] = []
    for node in group.nodes:
        target = node.origin.split("@")[0].strip()
        parts = target.split(".")
        word = re.sub(r"\W", "", parts[1] if len(parts) > 1 else target) or type(node.op).__name__.lower()
        if word not in words:
            words.append(word)
    shown = words[:3] + words[-1:] if len(words) > 4 else words
    return f"k{index}_" + "_".join(shown)[:60]


def _live_views(graph: Graph, fused: Fused) -> dict[str, str]:
    """Reshapes of values that have storage."""
    stored = {i.name for i in graph.inputs} | {v.name for n in graph.nodes for v in n.outputs} - fused.inlined
    views: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node.op, Reshape):
            name, base = node.outputs[0].name, node.op.x
            if (base in views or base in stored) and base not in (fused.views.keys() - views.keys()):
                views[name] = base
    return views
