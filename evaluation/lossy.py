"""Holds a lossy pass to its numerics contract: what it made of a Graph and inputs come in; distances and Differences go out, or Inaccurate.

Two questions, asked of the same inputs. Is the compiled model what the pass says (its exact meaning, `Rewritten.after`, run by the interpreter)?
That is judged tightly: within four times what moving the inputs by a few parts in a million does to that meaning. Float32 sums in another
order move later layers by less, but may let a value at the edge of a rounding step fall to the other side; so do these runs, more often.
How far is that meaning from the Graph before the pass? That must be within what it allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..frontend.extern import numpy_externs
from ..ir.graph import Graph
from ..ir.interpret_graph import run_graph
from ..ir.numerics import Inaccurate, Rewritten
from ..passes.quantize import rewrite_only
from .difference import LAST_PLACES, Difference

Arrays = Mapping[str, np.ndarray]
"""An array for each graph input."""

DISTURBED = 4.0
_RUNS = 3
_UNIT = 2.0**-18


@dataclass(frozen=True)
class Measured:
    """A pass on a model: `distance` is the largest over outputs and inputs, relative in the Frobenius norm; `layers`: (layer, pattern)."""

    name: str
    changes: str
    allowed: float
    distance: float
    layers: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        places = ", ".join(f"{layer} ({pattern})" for layer, pattern in self.layers[:6])
        more = f" and {len(self.layers) - 6} more" if len(self.layers) > 6 else ""
        return f"{self.name}: {self.changes}; {places}{more}; {self.distance:.2%} from float32, {self.allowed:.0%} allowed"

    def data(self) -> dict[str, object]:
        """For JSON."""
        sites = [{"layer": layer, "pattern": pattern} for layer, pattern in self.layers]
        return {"pass": self.name, "changes": self.changes, "allowed": self.allowed, "distance": self.distance, "sites": sites}


def measure(r: Rewritten, inputs: Sequence[Arrays]) -> Measured:
    """How far the pass takes the model from what it was. Raises Inaccurate, the layer that loses most named."""
    distance = max(_distance(r.before, r.after, given) for given in inputs)
    if not distance <= r.contract.allowed:
        raise Inaccurate(
            f"{r.name} moves this model by {distance:.2%} from float32, {r.contract.allowed:.0%} is allowed; {_worst_layer(r, inputs)}",
            hint="compile it without the pass, or leave that layer out of the model that is compiled with it",
        )
    layers = tuple((s.layer, s.pattern) for s in r.sites)
    return Measured(r.name, r.contract.changes, r.contract.allowed, distance, layers)


def _worst_layer(r: Rewritten, inputs: Sequence[Arrays]) -> str:
    """The layer that, rewritten alone, moves the model most."""
    alone = {s: max(_distance(r.before, rewrite_only(r, s), given) for given in inputs) for s in r.sites}
    worst = max(alone, key=lambda s: np.inf if np.isnan(alone[s]) else alone[s])
    return f"layer {worst.layer} alone by {alone[worst]:.2%}"


def _distance(before: Graph, after: Graph, given: Arrays) -> float:
    exact, lossy = outputs(before, given), outputs(after, given)
    return max((relative(lossy[name], exact[name]) for name in before.outputs), default=0.0)


def relative(ours: np.ndarray, exact: np.ndarray) -> float:
    """Frobenius norm of the difference over that of the exact values; places where both are the same infinity or NaN do not count."""
    a, b = np.asarray(ours, np.float64), np.asarray(exact, np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, a - b)
    size = float(np.linalg.norm(b[np.isfinite(b)]))
    return float(np.linalg.norm(apart)) / size if size else float(np.linalg.norm(apart))


def outputs(graph: Graph, given: Arrays, seed: int = 0) -> dict[str, np.ndarray]:
    """What the Graph means, in the dtypes that it declares."""
    torch.manual_seed(seed)
    return run_graph(graph, given, numpy_externs)


# ------------------------------------------------------------------------------------------------ the exact meaning
def against_meaning(after: Graph, given: Arrays, ours: Sequence[np.ndarray]) -> list[Difference]:
    """The compiled model's outputs against the exact meaning, one Difference each."""
    clean = outputs(after, given)
    moved = [outputs(after, _disturbed(given, n)) for n in range(_RUNS)]
    return [_difference(name, value, clean[name], [m[name] for m in moved]) for name, value in zip(after.outputs, ours)]


def _disturbed(given: Arrays, seed: int) -> Arrays:
    """Every float moved by up to `_UNIT` of itself."""
    rng = np.random.default_rng(seed)
    return {n: (a * (1 + _UNIT * rng.uniform(-1, 1, a.shape))).astype(a.dtype) if a.dtype.kind == "f" else a for n, a in given.items()}


def _difference(name: str, ours: np.ndarray, clean: np.ndarray, moved: Sequence[np.ndarray]) -> Difference:
    if ours.shape != clean.shape:
        return Difference(name, float("inf"), 0.0, 1.0, False, f"shape {ours.shape} instead of {clean.shape}")
    finite = np.isfinite(clean)
    scale = float(np.abs(clean[finite]).max()) if finite.any() else 0.0
    eps = float(np.finfo(np.float32).eps) if clean.dtype.kind == "f" else 0.0
    allowed = max(LAST_PLACES * eps * scale, DISTURBED * max(_largest(m, clean) for m in moved))
    error = _largest(ours, clean)
    right = error <= allowed
    return Difference(name, error, allowed, scale, right, "" if right else f"error {error:.3g}, allowed {allowed:.3g}")


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
    return float(np.where(np.isnan(apart), np.inf, apart).max()) if apart.size else 0.0
