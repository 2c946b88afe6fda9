"""A compiled model before code generation: steps over named values, in run order.

Comes from passes (lowering, fusion, memory planning); goes to a backend, which prints the launches of a run of steps as one
entry point. Every value is a dense row-major tensor, except user inputs, which the runtime makes dense first.

module = name, dims, inputs, steps, outputs, updates, types, views, prepare
step   = Launch(program, args, ..) | Library(node, reason) | Aten(node)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .graph import Input, Node, TensorType
from .kernel import Program
from .types import Dim


@dataclass(frozen=True)
class Launch:
    """One of our kernels. `args` binds each param of `program` to a value, in param order; written params are produced here.

    `naive` is the unscheduled program, `script` the schedule that made `program` from it; `nodes` the graph nodes fused in.
    """

    program: Program
    args: tuple[str, ...]
    naive: Program
    script: str
    nodes: tuple[Node, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Library:
    """A contraction or convolution that measured faster in ATen's library; `reason` says what was measured."""

    node: Node
    reason: str


@dataclass(frozen=True)
class Aten:
    """An Extern or Random node, run by ATen."""

    node: Node


Step = Launch | Library | Aten


@dataclass(frozen=True)
class Module:
    """`views`: value -> the value whose memory it shares (reshapes, in-place results); `types` has every value.

    `prepare`: launches that depend on weights alone (packing). They run before the first call and again when a weight has changed;
    what they write is kept between calls.
    """

    name: str
    dims: tuple[Dim, ...]
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    updates: tuple[tuple[str, str], ...]
    types: Mapping[str, TensorType] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[Launch, ...] = ()

    def storage(self, name: str) -> str:
        """The value that owns the memory of `name`."""
        while name in self.views:
            name = self.views[name]
        return name
