"""A Task whose text is a Graph comes in; what a task file defines (`Model`, `get_inputs`, `get_init_inputs`) goes out, and the task at other sizes."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from ..ir.diagnostic import ParseError
from ..ir.graph import Graph
from ..ir.graph_text import parse_graph
from ..ir.text import parse_program
from ..ir.types import is_float
from ..ir.verify_graph import verify_graph
from .graph_model import GraphModel, Sizes, choose_draw, draw_inputs, other_sizes, own_sizes
from .task import Task

_SIZE = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(\d{1,9})\s*")


class GraphTask:
    """Stands for the module of a task file. The call takes the sizes of the dims, then the inputs, in the text's order."""

    def __init__(self, task: Task):
        """Raises WarploomError where the text is no legal graph, or does not run at the task's sizes."""
        self.graph = read_graph(task)
        self.sizes = own_sizes(self.graph, sizes_said(task))
        self.Model = partial(GraphModel, self.graph, self.sizes)
        self.how = choose_draw(self.graph, self.sizes, self.Model())

    def get_inputs(self) -> list[object]:
        """Inputs for one call, from torch's generator."""
        return draw_inputs(self.graph, self.sizes, self.how)

    def get_init_inputs(self) -> list[object]:
        """A graph has no constructor."""
        return []

    @property
    def dtypes(self) -> list[str]:
        """The float dtypes that values have anywhere in the graph: the widest unit of rounding is honest."""
        named = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16"}
        return [named[t.dtype] for t in self.graph.types().values() if is_float(t.dtype)]


def read_graph(task: Task) -> Graph:
    """The task's graph, verified. Raises ParseError, IllegalProgram."""
    return verify_graph(parse_graph(task.text))


def sizes_said(task: Task) -> dict[str, int]:
    """Sizes in `task.dims`, else in the text's line `# dims: M=4, N=8`. Raises ParseError."""
    line = re.search(r"^# dims: (.*)$", task.text, re.M)
    found = {}
    for part in filter(str.strip, (task.dims or (line[1] if line else "")).split(",")):
        match = _SIZE.fullmatch(part)
        if not match:
            raise ParseError(f"`{part.strip()}` is no size", hint="expected NAME=NUMBER, such as M=4")
        found[match[1]] = int(match[2])
    return found


def print_sizes(sizes: Sizes) -> str:
    """`M=4, N=8`."""
    return ", ".join(f"{name}={n}" for name, n in sizes.items())


def other_shapes(task: Task) -> list[Task]:
    """The task at other sizes of its dynamic dims; none where it has no dims."""
    if task.kind == "python":
        return []
    graph = read_graph(task) if task.kind == "graph" else parse_program(task.text)
    return [replace(task, dims=print_sizes(s)) for s in other_sizes(graph, own_sizes(graph, sizes_said(task)))]
