"""Which contractions and convolutions are faster in ATen's library? A running module and inputs come in, measured choices go out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from ...frontend.dtypes import TORCH_DTYPE
from ...ir.graph import Contract, Conv, Graph, Node, operands
from ...ir.module import Launch
from ...ir.types import BYTES
from ...passes.canonical import canonicalize
from .aten import run_node
from .bind import evaluated, match_shapes
from .runtime import Runtime

LEAST_SHARE = 0.04
"""Of the run's time; a smaller kernel is not worth a question."""
MARGIN = 0.9
"""The library must need less than this share of our time, its extra pass over the result included."""
_ASSUMED_BANDWIDTH = 20e9  # bytes per second at which a result is read and written once more by an epilogue of its own


def library_choices(graph: Graph, runtime: Runtime, tensors: Sequence[torch.Tensor]) -> dict[str, str]:
    """{value: what was measured} for contractions and convolutions that the library runs clearly faster than our kernel."""
    threads = runtime.threads or torch.get_num_threads()
    seconds = runtime.profile(tensors, repeats=3)
    env = match_shapes(runtime.layout.module, [tuple(t.shape) for t in tensors])
    producers = canonicalize(graph).producers()
    types = runtime.layout.module.types
    choices: dict[str, str] = {}
    for step, ours in zip(runtime.layout.module.steps, seconds):
        node = _heavy(step, producers) if isinstance(step, Launch) and ours > LEAST_SHARE * sum(seconds) else None
        if node is None or any(name not in types for name in operands(node.op)):
            continue
        theirs = _library_seconds(
            node, {n: (TORCH_DTYPE[types[n].dtype], evaluated(types[n], env)) for n in operands(node.op)}, threads
        )
        out = node.outputs[0]
        size = BYTES[out.type.dtype]
        for extent in evaluated(out.type, env):
            size *= extent
        extra = 2 * size / _ASSUMED_BANDWIDTH if len(step.nodes) > 1 else 0.0  # type: ignore[union-attr]
        if theirs + extra < MARGIN * ours:
            choices[out.name] = f"the library needs {theirs * 1e3:.3f} ms, our kernel {ours * 1e3:.3f} ms ({threads} thread(s))"
    return choices


def _heavy(launch: Launch, producers: Mapping[str, Node]) -> Node | None:
    """The one contraction or convolution of a launch, as it stands in the canonical graph."""
    names = [n.outputs[0].name for n in launch.nodes if isinstance(n.op, (Contract, Conv))]
    node = producers.get(names[0]) if len(names) == 1 else None
    return node if node is not None and isinstance(node.op, (Contract, Conv)) else None


def _library_seconds(node: Node, operand_types: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], threads: int) -> float:
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.rand(shape, generator=generator).to(dtype) for name, (dtype, shape) in operand_types.items()}
    with torch.no_grad():
        return best_of(lambda: run_node(node, tensors, {}), threads)


def best_of(run: Callable[[], object], threads: int, repeats: int = 4) -> float:
    """Median seconds of a few runs after a first one; CPU seconds on one thread."""
    now = time.process_time if threads == 1 else time.perf_counter
    run()
    taken = []
    for _ in range(repeats):
        start = now()
        run()
        taken.append(now() - start)
    return statistics.median(taken)
