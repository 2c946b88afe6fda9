"""Graphs from outside: models whose parts become programs, and benchmarks that no program may repeat. Names, files and folders come in.

A model is `zoo:NAME`, a file in KernelBench form, or a folder of such files; a benchmark is a folder of such files or of HPCTransEval's lists. Models are
traced without data: their weights become inputs. What cannot be traced is left out and counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch.func import functional_call

from ..evaluation.bench.problem import load_problem
from ..evaluation.suites.hpctranseval import is_records
from ..evaluation.suites.read import read_suite
from ..frontend.operators.operator import TORCH, Given, Pick
from ..frontend.operators.table import operator
from ..frontend.operators.trace import trace
from ..frontend.zoo import MODELS
from ..ir.diagnostic import Unreadable, WarploomError
from ..ir.graph import Extern, Graph, Input, Node, Random, operands
from .augment import live
from .dedup import Keys, keys_of
from .program import NUMPY, Program, used

_NAMES = {dtype: name for name, dtype in TORCH.items()}
_POSITIVE = ("running_var", "variance")
_NODES = (2, 9)


@dataclass
class Sources:
    """`models`: whole models as programs; `families`: keys of benchmark programs; `named`: (operators, first shape) of benchmark records;
    `operators`: the only ones that programs are made of, all where empty."""

    models: list[Program] = field(default_factory=list)
    families: set[str] = field(default_factory=set)
    named: set[tuple[tuple[str, ...], tuple[int, ...]]] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    operators: frozenset[str] = frozenset()

    def avoids(self, program: Program, keys: Keys) -> bool:
        """Whether a benchmark has this program: the same but for shapes, or by name and shape."""
        shape = program.inputs[0].shape if program.inputs else ()
        return keys.family in self.families or (tuple(program.operators), shape) in self.named


def read_sources(models: Sequence[str], avoid: Sequence[str], operators: Sequence[str] = ()) -> Sources:
    """Raises Unreadable for what does not exist or holds nothing, UnknownOperator."""
    out = Sources(operators=frozenset(operator(name).name for name in operators))
    for spec in models:
        for one in _files(spec):
            program = _model(one, out)
            if program:
                out.models.append(program)
    for folder in avoid:
        _benchmark(Path(folder), out)
    return out


def _files(spec: str) -> list[str]:
    if spec == "zoo":
        return [f"zoo:{name}" for name in MODELS]
    if spec.startswith("zoo:") or Path(spec).is_file():
        return [spec]
    found = sorted(str(p) for p in Path(spec).rglob("*.py")) if Path(spec).is_dir() else []
    if not found:
        raise Unreadable(f"no model in {spec[-120:]!r}", hint="give zoo, zoo:NAME, a file in KernelBench form, or a folder of such files")
    return found


def _model(spec: str, out: Sources) -> Program | None:
    try:
        problem = load_problem(spec)
        example = problem.inputs()
        return model_program(problem.name, problem.model.eval(), example)
    except (WarploomError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        out.left_out.append(f"{spec}: {str(error).splitlines()[0][:120]}")
        return None


def model_program(name: str, model: torch.nn.Module, example: Sequence[object]) -> Program:
    """A model as a program: state, then inputs. Raises Unreadable for arguments that are no tensors."""
    if not all(isinstance(x, torch.Tensor) for x in example):
        raise Unreadable(f"{name} takes arguments that are no tensors")
    state = dict(model.state_dict())
    given = [_state(k, v) for k, v in state.items()] + [_input(n, x) for n, x in enumerate(example)]  # type: ignore[arg-type]

    def run(*tensors: torch.Tensor):
        return functional_call(model, dict(zip(state, tensors)), tuple(tensors[len(state) :]))

    graph = trace(run, given, "model")
    return Program(graph, used(graph, given), "model", (name,), (), name)


def _state(name: str, value: torch.Tensor) -> Given:
    flat = name.replace(".", "_")
    draw = "positive" if name.endswith(_POSITIVE) else "weight" if value.dim() > 1 else "normal"
    return Given(flat, tuple(value.shape), _dtype(value), draw if value.is_floating_point() else "count", 2)


def _input(number: int, value: torch.Tensor) -> Given:
    top = int(value.max()) + 1 if not value.is_floating_point() and value.numel() else 2
    return Given(f"x{number}" if number else "x", tuple(value.shape), _dtype(value), "normal" if value.is_floating_point() else "index", top)


def _dtype(value: torch.Tensor) -> str:
    if value.dtype not in _NAMES:
        raise Unreadable(f"a tensor of {value.dtype}")
    return _NAMES[value.dtype]


# ------------------------------------------------------------------------------------------------ benchmarks
def _benchmark(folder: Path, out: Sources) -> None:
    lists = [p for p in sorted(folder.rglob("*.json")) if is_records(p)] if folder.is_dir() else []
    if lists:
        for r in read_suite(folder, "HPCTransEval").records:
            out.named.update((r.topology or (r.operator,), shape) for shape in r.declared[0][:1])
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else []
    for path in files:
        program = _model(str(path), out)
        if program:
            out.families.add(keys_of(program.graph).family)
    if not lists and not files:
        raise Unreadable(f"no benchmark in {str(folder)[-120:]!r}", hint="HPCTransEval's JSON lists, or files in KernelBench form")


def digest(sources: Sources) -> str:
    """What identifies the sources of a build."""
    return json.dumps([[p.parent for p in sources.models], len(sources.families), len(sources.named), *sorted(sources.operators)])


# ------------------------------------------------------------------------------------------------ parts
def part(pick: Pick, model: Program) -> Program | None:
    """A connected part of a model: a node and what leads to it, a few nodes deep; values from before become inputs."""
    graph = model.graph
    producers = graph.producers()
    last = pick.of(*graph.nodes)
    wanted = pick.whole(*_NODES)
    chosen: dict[str, Node] = {}
    waiting = [last]
    while waiting and len(chosen) < wanted:
        node = waiting.pop(0)
        if node.outputs[0].name in chosen or isinstance(node.op, (Extern, Random)):
            continue
        chosen[node.outputs[0].name] = node
        waiting += [producers[x] for x in operands(node.op) if x in producers]
    inside = {id(n) for n in chosen.values()}
    nodes = tuple(n for n in graph.nodes if id(n) in inside)
    return _as_program(model, graph, nodes, last) if len(nodes) > 1 else None


def _as_program(model: Program, graph: Graph, nodes: tuple[Node, ...], last: Node) -> Program:
    types, made = graph.types(), {v.name for n in nodes for v in n.outputs}
    given = {g.name: g for g in model.inputs}
    known = {i.name: i for i in graph.inputs}
    needed = dict.fromkeys(x for n in nodes for x in operands(n.op) if x not in made)
    inputs = tuple(known.get(x) or Input(x, types[x]) for x in needed)
    cut = live(replace(graph, inputs=inputs, nodes=nodes, outputs=tuple(v.name for v in last.outputs)))
    shapes = {x: tuple(int(d.value) for d in types[x].shape) for x in needed}  # type: ignore[union-attr]
    drawn = tuple(given.get(i.name) or Given(i.name, shapes[i.name], NUMPY[i.type.dtype]) for i in cut.inputs)
    words = dict.fromkeys(n.origin.split("@")[0].split(".")[1] if "." in n.origin else "map" for n in cut.nodes)
    return Program(cut, drawn, "model", tuple(words), (("model", model.parent),), model.parent)
