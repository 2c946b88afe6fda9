"""A task's source comes in, cases go out: inputs, what float64 says about them, and how far honest float32 work may be off.

Runs in a process of its own, forked by `host`. It never meets a candidate.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from . import cost, families
from .graph_task import GraphTask
from .rounding import COMPOSITE, SPREADS, Disturbed, widened_model
from .signature import Argument, Signature
from .task import Task

UNITS = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-11,
    "fp16": 2.0**-11,
    "bf16": 2.0**-8,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
UNTIED = {"topk", "sort", "kthvalue", "median", "mode", "nanmedian", "argsort"}
DIVIDES = {"div", "div_", "rsqrt", "reciprocal", "linalg_vector_norm", "norm", "cosine_similarity"}
_TINY = 1e-37
WEAKER_S = 2.0
HEAVY_FLOPS = 3e8  # below this one thread computes the cases: two would wait for each other
SINGLY = 6  # with so few operators each is disturbed alone, so that no two cancel


@dataclass(frozen=True)
class Expected:
    """One output: `value` float64 (or integers), `tolerance` per element, `eager` what float32 torch says; `.npy` file names."""

    value: str
    tolerance: str
    eager: str
    has_nan: bool


@dataclass(frozen=True)
class CaseFiles:
    """One case on disk: files of the input and state arrays (None for Python scalars), scalars, and the expected outputs."""

    family: str
    arrays: tuple[str | None, ...]
    scalars: tuple[object, ...]
    expected: tuple[Expected, ...]
    seconds: float


@dataclass(frozen=True)
class Description:
    """What the judge needs to know of a task before the first case."""

    signature: Signature
    cost: cost.Cost
    calls: cost.Calls
    eager_s: float
    families: tuple[str, ...]
    mutated: tuple[int, ...]
    scalars: tuple[object, ...]
    notes: tuple[str, ...]


class Skip(Exception):
    """The family lies outside the reference's domain."""


def explain(method: str, error: BaseException) -> str:
    """One line for a person: which part of the task failed and how."""
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return first if isinstance(error, Refused) else f"the reference raises {type(error).__name__} ({method}): {first}"


class Refused(Exception):
    """The task cannot be judged; the message says why."""


class Reference:
    """The task's model at several precisions. Methods are called by the judge through `host.ReferenceProcess`."""

    def __init__(self, threads: int):
        self.threads = threads
        self.cases: dict[str, tuple[list, dict]] = {}
        self.notes: list[str] = []
        self.initial: dict[str, torch.Tensor] | None = None
        self.scalars: list | None = None

    # ---- opening ----
    def open(self, task: Task, seed: int, folder: str) -> Description:
        """Runs the task's source, draws its own inputs twice and describes its call; cases are written to the folder."""
        return self.begin(task, _load(task), seed, folder)

    def begin(self, task: Task, module: types.ModuleType | GraphTask, seed: int, folder: str) -> Description:
        """As `open`, for a task that is loaded already."""
        torch.set_num_threads(self.threads)
        self.task, self.folder, self.module = task, folder, module
        self.init_seed = seed
        _seed(seed)
        self.init = list(getattr(self.module, "get_init_inputs", list)())
        self.model = self._make_model()
        first, second = self._own(seed + 1), self._own(seed + 2)
        self.spec = [_describe(i, value) for i, value in enumerate(first)]
        self.promises = [
            families.promise(_stored(a), _stored(b))
            if isinstance(a, torch.Tensor) and a.is_floating_point() and a.dtype == torch.float32
            else families.Promise(keep=True)
            for a, b in zip(first, second)
        ]
        self.first_state = {name: value.clone() for name, value in self.model.state_dict().items()}
        return self._describe(first, seed)

    def _make_model(self):
        if not hasattr(self.module, "Model"):
            raise Refused("the task file defines no Model")
        init = self.init
        return self.module.Model(**init[0]) if len(init) == 1 and isinstance(init[0], dict) else self.module.Model(*init)

    def _own(self, seed: int) -> list:
        _seed(seed)
        values = list(self.module.get_inputs())
        flat = pytree.tree_leaves(values)
        for value in flat:
            if not isinstance(value, torch.Tensor | bool | int | float):
                raise Refused(f"get_inputs gives a {type(value).__name__}; tensors and Python scalars can be judged")
        self.structure = pytree.tree_structure(values)
        flat = [v.detach().contiguous() if isinstance(v, torch.Tensor) else v for v in flat]
        self.scalars = self.scalars or flat  # Python scalars are the first draw's: a call's plan fixes them
        return [v if isinstance(v, torch.Tensor) else kept for v, kept in zip(flat, self.scalars)]

    def _describe(self, inputs: list, seed: int) -> Description:
        state = self._state(seed)
        kept = [v.clone() if isinstance(v, torch.Tensor) else v for v in inputs]
        outputs, seconds = self._timed(inputs, state)
        again, faster = self._timed(kept, state, seed + 99)
        mutated = tuple(
            i for i, (a, b) in enumerate(zip(inputs, self._own(seed + 1))) if isinstance(a, torch.Tensor) and not _same(a, b)
        )
        if not all(_close(a, b) for a, b in zip(outputs, again)):
            raise Refused("the reference is random: equal inputs give different outputs")
        arguments = [*self.spec, *(_tensor(f"state {n}", "state", t) for n, t in self.model.state_dict().items())]
        arguments += [_tensor(f"output {i}", "output", t) for i, t in enumerate(outputs)]
        self.signature = Signature(tuple(arguments))
        floats = [
            t.dtype
            for t in [*inputs, *self.model.state_dict().values()]
            if isinstance(t, torch.Tensor) and t.is_floating_point()
        ]
        within = self.module.dtypes if isinstance(self.module, GraphTask) else []
        self.unit = max(
            [UNITS.get(name, 2.0**-24) for name in [*(str(d).removeprefix("torch.") for d in floats), *within]] or [2.0**-24]
        )
        if self.task.precision != "float32":
            self.unit = max(self.unit, UNITS[self.task.precision])
        tensors = [t for t in inputs if isinstance(t, torch.Tensor)]
        needs, calls = cost.measure(lambda: self._run(self.model, inputs), tensors, list(self.model.state_dict().values()))
        self.outputs = outputs
        self.contracts = needs.contraction_flops > 0
        self.heavy = needs.flops > HEAVY_FLOPS
        self.untied = any(name in UNTIED for name, _ in calls.operators)
        self.spreads = any(name in SPREADS or name in COMPOSITE for name, _ in calls.operators)
        self.divides = any(name in DIVIDES for name, _ in calls.operators)
        return Description(
            self.signature, needs, calls, min(seconds, faster), tuple(self._families()), mutated,
            tuple(None if isinstance(v, torch.Tensor) else v for v in inputs), tuple(self.notes),
        )  # fmt: skip

    def _families(self) -> list[str]:
        free = [i for i, p in enumerate(self.promises) if not p.keep]
        if not free:
            return ["own"]
        names = ["own", "own"]
        if len(free) > 1:
            names += [f"many zeros:{i}" for i in free[:3]]
        names += [
            f.name for f in families.FAMILIES if not (f.ties and self.untied) and not (f.name == "heavy row" and self.contracts)
        ]
        if not self.contracts and all(t.numel() <= 16 for t in self.outputs):
            names += ["heavy row"] * 2  # losses: each time another row decides
        return [n for n in names if not (n.startswith("many zeros") and self.untied)]

    # ---- values ----
    def _state(self, seed: int) -> dict[str, torch.Tensor]:
        """Random weights with the spread of the task's own; those that start at one value are moved too."""
        if self.initial is not None:
            return {k: v.clone() for k, v in self.initial.items()}
        generator = torch.Generator().manual_seed(seed)
        made = {}
        for name, value in self.first_state.items():
            made[name] = _randomised(name, value, generator)
        return made

    def _values(self, family: str, seed: int) -> list:
        own = self._own(seed)
        if family.startswith("own"):
            return own
        if family.startswith(("touch", "few")):
            return self._touch(own, seed, family)
        name, _, which = family.partition(":")
        rng = np.random.default_rng(seed)
        values = []
        for i, (value, pledge) in enumerate(zip(own, self.promises)):
            if pledge.keep:
                values.append(value)
                continue
            kind = families.BY_NAME["mixed sign" if which and int(which) != i else name]
            drawn = pledge.hold(np.array(kind.draw(rng, tuple(value.shape)), dtype=np.float64))
            values.append(torch.from_numpy(np.ascontiguousarray(drawn)).to(value.dtype))
        return values

    def _touch(self, own: list, seed: int, family: str) -> list:
        """`touch:n` changes some elements of the task's own inputs (0: inside of each); `few:n` sets some elements among zeros, few enough or many."""
        kind, _, number = family.partition(":")
        rng, odd = np.random.default_rng([seed, int(number)]), int(number) % 2
        free = [i for i, p in enumerate(self.promises) if not p.keep]
        chosen = set(free)
        if kind == "touch" and free and number != "0":
            chosen = set(rng.permutation(free)[: 1 + int(rng.integers(0, len(free)))].tolist())

        def change(array: np.ndarray) -> np.ndarray:
            if kind == "touch":
                return families.touched(rng, array, 1 if odd else 12) if number != "0" else families.touched_inside(rng, array)
            return families.few(rng, array, 64 if odd else 6, self.divides)

        return [
            torch.from_numpy(np.ascontiguousarray(self.promises[i].hold(change(v.numpy())))).to(v.dtype) if i in chosen else v
            for i, v in enumerate(own)
        ]

    # ---- running ----
    def _run(self, model, inputs: list) -> list[torch.Tensor]:
        """The model's outputs as a flat list of contiguous tensors."""
        out = model(*pytree.tree_unflatten(inputs, self.structure))
        self.bare = not isinstance(out, tuple | list | dict)
        flat = [torch.as_tensor(v) for v in pytree.tree_leaves(out) if v is not None]
        return [t.detach().contiguous() for t in flat]

    def _timed(self, inputs: list, state: dict, seed: int = 1) -> tuple[list[torch.Tensor], float]:
        self.model.load_state_dict(state)
        _seed(seed)
        start = time.perf_counter()
        with torch.no_grad():
            out = self._run(self.model, inputs)
        return out, time.perf_counter() - start

    def _exact(self, inputs: list, state: dict) -> list[torch.Tensor]:
        """The outputs in float64."""
        self.wide.load_state_dict(state)
        with torch.no_grad():
            return self._run(self.wide, [_widened(v) for v in inputs])

    @property
    def wide(self):
        """The model in float64, made once."""
        if not hasattr(self, "_wide"):
            self._wide = widened_model(self.model)
        return self._wide

    def _disturbed(
        self, inputs: list, state: dict, seed: int, coherent: bool, silent: bool, lowest: bool = False, only: int = 0
    ) -> tuple[list[torch.Tensor], Disturbed]:
        self.wide.load_state_dict(state)
        mode = Disturbed(self.unit, seed, coherent, silent, lowest, only)
        wide = [_widened(v) for v in inputs]
        with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), mode:
            out = self._run(self.wide, wide)
        return out, mode

    # ---- cases ----
    def case(self, key: str, family: str, seed: int, draws: int) -> CaseFiles | str:
        """One case; a string says why the family does not apply to this task."""
        started = time.process_time()
        torch.set_num_threads(self.threads if self.heavy else 1)
        try:
            inputs, state = self._values(family, seed), self._state(seed)
            made = self._judged(family, inputs, state, seed, draws)
        except Skip as why:
            return str(why)
        except (RuntimeError, ValueError, IndexError, ZeroDivisionError) as error:
            if family.startswith("own"):
                raise
            return f"{family}: {type(error).__name__}"
        self.cases[key] = (inputs, state)
        values = [*inputs, *state.values()]
        arrays = tuple(
            self._save(f"{key}-in{i}", _stored(v)) if isinstance(v, torch.Tensor) else None for i, v in enumerate(values)
        )
        scalars = tuple(None if isinstance(v, torch.Tensor) else v for v in values)
        return CaseFiles(
            family, arrays, scalars, tuple(self._write(key, i, *e) for i, e in enumerate(made)), time.process_time() - started
        )

    def _judged(self, family: str, inputs: list, state: dict, seed: int, draws: int) -> list[tuple]:
        kind = families.BY_NAME.get(family.partition(":")[0])
        own = family.startswith(("own", "touch"))
        kind = families.BY_NAME["many zeros"] if family.startswith("few") else kind
        eager, _ = self._timed([v.clone() if isinstance(v, torch.Tensor) else v for v in inputs], state)
        if not draws:
            return [(single, None, single) for single in eager]
        exact = self._exact(inputs, state)
        if not own:
            for value, single in zip(exact, eager):
                _in_domain(kind, value, single)
        coherent = bool(kind and kind.coherent) or (own and self._is_flat(inputs))
        return [
            (value, tolerance, single)
            for value, tolerance, single in zip(
                exact, self._tolerances(inputs, state, exact, eager, seed, coherent, draws), eager
            )
        ]

    def _is_flat(self, inputs: list) -> bool:
        for value in inputs:
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() > 1:
                x = value.double()
                if x.std() < 0.2 * x.mean().abs():
                    return True
        return False

    def _tolerances(self, inputs, state, exact, eager, seed, coherent, draws) -> list[torch.Tensor | None]:
        moved = self._movement(inputs, state, exact, seed, coherent, draws)
        return [
            tolerance_of(value, single, shift, self.unit) if value.is_floating_point() else None
            for value, single, shift in zip(exact, eager, moved)
        ]

    def _movement(self, inputs, state, exact, seed, coherent, draws) -> list[torch.Tensor]:
        """How far each output moves under float32-sized disturbances of every operator."""
        _, quiet = self._disturbed(inputs, state, seed, coherent, True)
        if len(exact) == 1 and quiet.amplitude is not None and quiet.is_last(exact[0]):
            return [quiet.amplitude.reshape(exact[0].shape)]
        lowest = (
            self._shift(exact, self._disturbed(inputs, state, seed, coherent, False, lowest=True)[0]) if self.spreads else []
        )
        if quiet.sources <= SINGLY:
            runs = [self._disturbed(inputs, state, seed * 31 + n, coherent, False, only=n) for n in range(1, quiet.sources + 1)]
            moved = [torch.zeros(v.shape, dtype=torch.float64) for v in exact]
            for noisy, _ in runs:
                moved = [a + b for a, b in zip(moved, self._shift(exact, noisy))]
        else:
            runs = [self._disturbed(inputs, state, seed * 31 + n, coherent, False) for n in range(draws)]
            shifts = [self._shift(exact, noisy) for noisy, _ in runs]
            moved = [torch.stack(s).amax(0) for s in zip(*shifts)]
        return [torch.maximum(a, b) for a, b in zip(moved, lowest)] if lowest else moved

    def _shift(self, exact: list[torch.Tensor], noisy: list[torch.Tensor]) -> list[torch.Tensor]:
        """How far each element has moved; infinite where it is no number any more."""
        shifts = []
        for value, changed in zip(exact, noisy):
            if not value.is_floating_point():
                shifts.append(torch.zeros(value.shape, dtype=torch.float64))
                continue
            shift = torch.where(torch.isfinite(value), (changed.double() - value.double()).abs(), 0.0)
            shifts.append(torch.nan_to_num(shift, nan=torch.inf, posinf=torch.inf))
        return shifts

    def _write(self, key: str, at: int, value, tolerance, eager) -> Expected:
        is_float = value.is_floating_point()
        nan = bool(is_float and torch.isnan(value).any())
        exact = value.double().numpy() if is_float else _stored(value)
        return Expected(
            self._save(f"{key}-v{at}", exact),
            self._save(f"{key}-t{at}", tolerance.float().numpy()) if tolerance is not None else "",
            self._save(
                f"{key}-e{at}", eager.double().numpy().astype(np.float32) if eager.is_floating_point() else _stored(eager)
            ),
            nan,
        )

    def _save(self, name: str, array: np.ndarray) -> str:
        path = os.path.join(self.folder, f"{name}.npy")
        np.save(path, array)
        return path

    # ---- other questions ----
    def needs(self, task: Task) -> cost.Cost:
        """What the task needs at least, by a run on tensors without data where the reference allows it, else on its own inputs."""
        torch.set_num_threads(2)
        self.module = _load(task)
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                return self._needed()
        except Exception:
            return self._needed()

    def _needed(self) -> cost.Cost:
        self.init = list(getattr(self.module, "get_init_inputs", list)())
        self.model = self._make_model()
        inputs = self._own(1)
        tensors = [t for t in inputs if isinstance(t, torch.Tensor)]
        return cost.measure(lambda: self._run(self.model, inputs), tensors, list(self.model.state_dict().values()))[0]

    def weaker(self, key: str) -> dict[str, tuple[str, ...]]:
        """The float64 outputs of a case with inputs and weights in weaker types: all rounded, all cut off, one input alone."""
        inputs, state = self.cases[key]
        made = {}
        started = time.perf_counter()
        for name, low in WEAKER.items():
            everything = [low(v) if isinstance(v, torch.Tensor) else v for v in inputs]
            made[name] = self._exact(everything, {k: low(v) for k, v in state.items()})
        floats = [i for i, v in enumerate(inputs) if isinstance(v, torch.Tensor) and v.dtype == torch.float32]
        for at in floats if len(floats) > 1 or state else []:
            for name in WEAKER:
                if time.perf_counter() - started < WEAKER_S:
                    alone = [WEAKER[name](v) if i == at else v for i, v in enumerate(inputs)]
                    made[f"{name} (input {at})"] = self._exact(alone, state)
        return {
            name: tuple(self._save(f"{key}-{number}-{i}", v.double().numpy()) for i, v in enumerate(outputs))
            for number, (name, outputs) in enumerate(made.items())
        }

    def moved_by(self, key: str, changes: list[tuple[int, int, float]]) -> list[tuple[str, ...]]:
        """For each single change (input, flat index, new value) of a case, as far as time allows: how far each output moves, in float64."""
        inputs, state = self.cases[key]
        started, before = time.process_time(), self._exact(inputs, state)
        made = []
        for n, (which, at, value) in enumerate(changes):
            if made and time.process_time() - started > WEAKER_S:
                break
            changed = [v.clone() if isinstance(v, torch.Tensor) else v for v in inputs]
            changed[which].view(-1)[at] = value
            after = self._exact(changed, state)
            made.append(
                tuple(
                    self._save(f"{key}-d{n}-{i}", (a.double() - b.double()).abs().numpy())
                    for i, (a, b) in enumerate(zip(after, before))
                )
            )
        return made

    def time(self, keys: list[str], repeats: int, wake: bool) -> int:
        """Runs eager on each of these cases, `repeats` times over; the judge holds the clock, so there is nothing to `wake` before it runs."""
        with torch.no_grad():
            for key in keys * repeats:
                inputs, _ = self.cases[key]
                self._run(self.model, inputs)
        return len(keys)

    def prepare_timing(self, key: str, threads: int) -> int:
        """Loads a case's weights for the timed runs, which have so many threads."""
        torch.set_num_threads(threads)
        self.model.load_state_dict(self.cases[key][1])
        return 0

    def python_init(self) -> tuple[bytes, int, bytes, bool]:
        """What a Python candidate is made with: pickled arguments, the seed of its initial weights, the inputs' structure, whether it returns one bare value."""
        return pickle.dumps(self.init), self.init_seed, pickle.dumps(self.structure), self.bare

    def keep_initial_weights(self) -> int:
        """From now on the weights are those that one seed makes in a fresh model."""
        _seed(self.init_seed)
        self.initial = {k: v.clone() for k, v in self._make_model().state_dict().items()}
        return 0


def _load(task: Task) -> types.ModuleType | GraphTask:
    if task.kind == "graph":
        return GraphTask(task)
    module = types.ModuleType("task")
    module.__file__ = os.path.join(task.folder, task.name + ".py")
    sys.modules["task"] = module
    if task.folder:
        sys.path.insert(0, task.folder)
    exec(compile(task.text, module.__file__, "exec"), module.__dict__)
    if not hasattr(module, "get_inputs"):
        raise Refused("the task file defines no get_inputs")
    return module


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _tensor(name: str, role: str, value: torch.Tensor) -> Argument:
    return Argument(name, role, "tensor", str(value.dtype).removeprefix("torch."), tuple(value.shape))


def _describe(at: int, value) -> Argument:
    if isinstance(value, torch.Tensor):
        return _tensor(f"input {at}", "input", value)
    kind = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"
    return Argument(f"input {at}", "input", kind)


def _stored(value: torch.Tensor) -> np.ndarray:
    """The bytes as NumPy keeps them: half and bfloat16 as uint16, bool as uint8."""
    value = value.detach().contiguous()
    if value.dtype in (torch.bfloat16, torch.float16):
        return value.view(torch.int16).numpy().view(np.uint16)
    return value.numpy().view(np.uint8) if value.dtype == torch.bool else value.numpy()


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and np.array_equal(_stored(a).view(np.uint8), _stored(b).view(np.uint8))


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-3, equal_nan=True)


def _widened(value):
    return (
        value.double()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value.clone()
        if isinstance(value, torch.Tensor)
        else value
    )


def _through(dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda value: value.to(dtype).float() if value.dtype == torch.float32 else value


def _cut(bits: int, nearest: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Float32 with the last `bits` of the significand rounded away or cut off."""
    half = 1 << (bits - 1) if nearest else 0

    def low(value: torch.Tensor) -> torch.Tensor:
        if value.dtype != torch.float32:
            return value
        return ((value.view(torch.int32) + half) & -(1 << bits)).view(torch.float32)

    return low


WEAKER = {
    "bf16": _through(torch.bfloat16),
    "fp16": _through(torch.float16),
    "tf32": _cut(13, True),
    "bf16 (cut off)": _cut(16, False),
    "tf32 (cut off)": _cut(13, False),
}


def _randomised(name: str, value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if not value.is_floating_point():
        return value.clone()
    wide = value.detach().double()
    spread = float(wide.std()) if value.numel() > 1 else 0.0
    noise = torch.rand(value.shape, dtype=torch.float64, generator=generator)
    if spread > 1e-6 * max(1e-30, float(wide.abs().max() if value.numel() else 0)):
        if float(wide.min()) >= 0:
            return (wide[...] * (0.5 + noise)).to(value.dtype)
        permuted = wide.reshape(-1)[torch.randperm(value.numel(), generator=generator)].reshape(value.shape)
        return (permuted * (0.75 + 0.5 * noise)).to(value.dtype)
    level = float(wide.reshape(-1)[0]) if value.numel() else 0.0
    if level > 0 or "var" in name.rsplit(".", 1)[-1]:
        return ((level or 1.0) * (0.5 + noise)).to(value.dtype)
    return (level + (noise - 0.5) * (abs(level) or 1.0)).to(value.dtype)


def _in_domain(kind, value: torch.Tensor, eager: torch.Tensor) -> None:
    if not value.is_floating_point():
        return
    if torch.isnan(value).any() or torch.isnan(eager).any():
        raise Skip("the reference gives NaN")
    if kind is not None and kind.finite_only and not torch.isfinite(value).all():
        raise Skip("the reference gives infinity")


def _pool(x: torch.Tensor) -> torch.Tensor:
    """The smaller of the root mean squares along the last axis and across all others, for each element."""
    x = torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
    if x.ndim == 0:
        return x.abs()
    flat = x.reshape(-1, x.shape[-1]).square()
    rows = flat.mean(1, keepdim=True)
    columns = flat.mean(0, keepdim=True) if flat.shape[0] >= 8 else rows.mean().reshape(1, 1)
    if x.shape[-1] < 8:
        rows = columns
    return torch.minimum(rows.expand_as(flat), columns.expand_as(flat)).sqrt().reshape(x.shape)


def tolerance_of(value: torch.Tensor, eager: torch.Tensor, moved: torch.Tensor, unit: float) -> torch.Tensor:
    """Allowed absolute error per element; grounds and constants stand in the module's account of rounding."""
    value = value.double()
    own = torch.nan_to_num((eager.double() - value).abs(), nan=0.0, posinf=0.0, neginf=0.0)
    size = torch.nan_to_num(value.abs(), nan=0.0, posinf=0.0)
    resolution = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}.get(eager.dtype, 2.0**-24)
    allowed = 8 * (moved + 0.5 * _pool(moved)) + 8 * torch.maximum(own, _pool(own))
    scale = torch.sqrt(torch.mean(torch.nan_to_num(size, nan=0.0, posinf=0.0) ** 2)) if size.numel() else 0.0
    largest = size.max() if size.numel() else 0.0  # what is right by the norm of a matrix (Strassen) is right
    return allowed + 16 * unit * (_pool(size) + scale) + 4 * unit * largest + 8 * max(resolution, unit) * size + _TINY
