"""What a program's outputs should be: a Program and a case come in, float64 truth and the error that honest float32 may make go out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..evaluation.difference import Difference, compare
from ..evaluation.graph_model import GraphModel
from ..evaluation.rounding import Disturbed
from .inputs import drawn, expression, families
from .program import Array, Program, outputs_of

SAMPLES = 64
SLACK = 4.0
"""Another compiler or instruction set may round otherwise than the run that was recorded."""
_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_DISTURBED_RUNS = 2


@dataclass
class Case:
    """One set of inputs: `expressions` in input order, `arrays` their values, `truth` the outputs in float64 (or exact integers)."""

    family: str
    seed: int
    expressions: tuple[str, ...]
    arrays: list[np.ndarray]
    program: Program = field(repr=False)
    truth: list[torch.Tensor] = field(default_factory=list, repr=False)
    eager: list[torch.Tensor] = field(default_factory=list, repr=False)

    def prepare(self) -> Case:
        """Runs the reference in both precisions."""
        model = GraphModel(self.program.graph, {}).eval()
        with torch.no_grad():
            self.eager = list(model(*self._tensors(False)))
            self.truth = list(model.double()(*self._tensors(True)))
        return self

    def _tensors(self, wide: bool) -> list[torch.Tensor]:
        found = [torch.from_numpy(np.array(a)) for a in self.arrays]
        return [t.double() if wide and t.is_floating_point() else t for t in found]

    def differences(self, outputs: Sequence[np.ndarray]) -> list[Difference]:
        """Each output against the truth."""
        names = [o.name for o in outputs_of(self.program.graph)]
        ours = [torch.from_numpy(np.array(a)).reshape(e.shape) for a, e in zip(outputs, self.eager)]
        return compare(names, ours, self.eager, self.truth, self._disturbed)

    def _disturbed(self) -> list[list[torch.Tensor]]:
        unit = max([2.0**-24, *(_UNIT.get(a.dtype.name, 0.0) for a in self.arrays)])
        model = GraphModel(self.program.graph, {}).eval().double()
        runs = []
        for n in range(_DISTURBED_RUNS):
            with torch.no_grad(), Disturbed(unit, self.seed + n, coherent=False):
                runs.append(list(model(*self._tensors(True))))
        return runs

    def useless(self) -> str:
        """Why the case shows nothing: outputs without a finite number, or all alike while the inputs are not."""
        for o, t in zip(outputs_of(self.program.graph), self.truth):
            if t.is_floating_point() and t.numel() and not bool(t.isfinite().any()):
                return f"{o.name} has no finite value"
        sized = [t for t in self.truth if t.numel() > 8]
        if sized and all(bool((t == t.reshape(-1)[0]).all()) for t in sized):
            return "every output is one value"
        return ""


def cases(program: Program, seed: int) -> list[Case]:
    """A case of each input family, each with a seed of its own."""
    out = []
    for n, family in enumerate(families(program.inputs)):
        texts = tuple(expression(i, family, seed + n, k) for k, i in enumerate(program.inputs))
        out.append(Case(family, seed + n, texts, [drawn(t) for t in texts], program))
    return out


def checksum(number: int, output: Array, truth: torch.Tensor, tolerance: float) -> dict[str, object]:
    """What a record keeps of an output: a digest of integers; of floats, values at sampled places, the sum, and how far one may be off."""
    head: dict[str, object] = {"case": number, "name": output.name, "dtype": output.dtype, "shape": list(output.shape)}
    flat = np.ascontiguousarray(truth.reshape(-1).numpy())
    if not output.dtype.startswith(("float", "bfloat")):
        return {**head, "sha256": hashlib.sha256(flat.astype(output.dtype).tobytes()).hexdigest()}
    rng = np.random.Generator(np.random.PCG64(len(flat)))
    at = np.sort(rng.choice(len(flat), min(SAMPLES, len(flat)), replace=False))
    finite = flat[np.isfinite(flat)]
    allowed = SLACK * tolerance
    return {
        **head, "indices": at.tolist(), "values": [_number(v) for v in flat[at]], "sum": float(finite.sum()), "tolerance": allowed,
        "sum_tolerance": allowed * max(1, len(flat)),
    }  # fmt: skip


def _number(v: float) -> float | str:
    """JSON has no infinities and no NaN: those are text."""
    return float(v) if np.isfinite(v) else str(float(v))
