"""Runs a printed module: tensors come in, output tensors go out, updates are written back. The device is that of the inputs: programs run
on a GPU through the driver for CUDA tensors, and in the emulator for CPU tensors; ATen steps run on torch either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from ...frontend.dtypes import TORCH_DTYPE as TORCH
from ...ir.diagnostic import InputMismatch
from ...ir.graph import TensorType
from ...ir.module import Module
from ..cpu.aten import run_node
from ..cpu.bind import check_within, evaluated, match_shapes
from ..cpu.weights import Slot
from .module import Printed
from .program import CudaProgram

Values = dict[str, torch.Tensor]


class OnTensors(Protocol):
    """A program built for given dims and a device."""

    def on_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """All launches in order, on a dense tensor for each buffer, changed in place."""


Build = Callable[[CudaProgram, Mapping[str, int], torch.device], OnTensors]


class Runtime:
    """Call it with the user's tensors. Weights are read from their `slots` on every call."""

    def __init__(self, printed: Printed, slots: Mapping[str, Slot], build: Build | None = None):
        self.printed, self.slots, self.build = printed, slots, build or cuda
        self.module = printed.module
        self.inputs = [i for i in self.module.inputs if i.role == "input"]
        self.threads: int | None = None
        self._built: dict[object, tuple[OnTensors, list[tuple[str, tuple[int, ...], torch.dtype]]]] = {}
        self._kept: Values = {}
        self._stamp: object = None

    def __call__(self, args: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Outputs in the module's order. Raises InputMismatch."""
        with torch.no_grad():
            env, values, place = self._begin(args)
            for step in self.printed.steps:
                if isinstance(step, CudaProgram):
                    self._run(step, env, values, place)
                else:
                    with place:  # where tensors that a node draws or fills are made
                        made = run_node(step.node, _Shaped(self.module, values, env), env)
                    values.update({self.module.storage(name): _dense(t) for name, t in made.items()})
            self._update(env, values, args)
            return [self._output(name, env, values) for name in self.module.outputs]

    def _begin(self, args: Sequence[torch.Tensor]) -> tuple[dict[str, int], Values, torch.device]:
        for given, t in zip(self.inputs, args):
            _check(given.name, given.type, t)
        env = match_shapes(self.module, [tuple(t.shape) for t in args])
        for given, t in zip(self.inputs, args):
            check_within(given, t, env)
        weights: Values = {name: owner[key] for name, (owner, key) in self.slots.items()}  # type: ignore[misc]
        tensors: Values = {**{i.name: t for i, t in zip(self.inputs, args)}, **weights}
        place = _place(tensors)
        values: Values = {name: _dense(t.detach() if t.device == place else t.detach().to(place)) for name, t in tensors.items()}
        if self.printed.prepare is not None:
            stamp = tuple((w.data_ptr(), w._version) for w in weights.values())
            if stamp != self._stamp:
                made = dict(values)
                self._run(self.printed.prepare, env, made, place)
                self._kept = {name: t for name, t in made.items() if name not in values}
                self._stamp = stamp
            values.update(self._kept)
        return env, values, place

    def _run(self, program: CudaProgram, env: Mapping[str, int], values: Values, device: torch.device) -> None:
        """Run one program; the buffers that it makes are added to `values`."""
        key = (program.name, device, tuple(env.values()))
        if key not in self._built:
            shapes = program.at(env).shapes
            made = [(b.name, shapes[b.name], TORCH[b.dtype]) for b in program.buffers]
            self._built[key] = self.build(program, env, device), made
        built, made = self._built[key]
        for name, shape, dtype in made:
            if name not in values:
                values[name] = torch.empty(shape, dtype=dtype, device=device)
        built.on_tensors({b.name: values[b.name] for b in program.buffers})
        for b in program.buffers:
            if b.role == "temp":
                values.pop(b.name, None)

    def _update(self, env: Mapping[str, int], values: Values, args: Sequence[torch.Tensor]) -> None:
        """Write back what the model updates (running statistics, the caller's own inputs), all read before any is written."""
        places = {i.name: t for i, t in zip(self.inputs, args)}
        new = [(target, _shaped(self.module, values, name, env).clone()) for target, name in self.module.updates]
        for target, value in new:
            home = places[target] if target in places else self.slots[target][0][self.slots[target][1]]  # type: ignore[index]
            assert isinstance(home, torch.Tensor)
            home.copy_(value.view(home.shape))

    def _output(self, name: str, env: Mapping[str, int], values: Values) -> torch.Tensor:
        return _shaped(self.module, values, name, env)


class _Shaped(Mapping[str, torch.Tensor]):
    """Values as ATen reads them: reshapes are made on demand."""

    def __init__(self, module: Module, values: Values, env: Mapping[str, int]):
        self.module, self.made, self.env = module, values, env

    def __getitem__(self, name: str) -> torch.Tensor:
        return _shaped(self.module, self.made, name, self.env)

    def __iter__(self):
        return iter(self.module.types)

    def __len__(self) -> int:
        return len(self.module.types)


def _shaped(module: Module, values: Values, name: str, env: Mapping[str, int]) -> torch.Tensor:
    shape = evaluated(module.types[name], env)
    value = values[module.storage(name)]
    if math.prod(shape) != value.numel():
        raise InputMismatch(f"{name} has {value.numel()} elements, not those of {list(shape)}")
    return value.view(shape)


ALIGNED = 16
"""Bytes that the place of every buffer is a multiple of: kernels move so many at once."""


def _dense(t: torch.Tensor) -> torch.Tensor:
    """The tensor row-major at an aligned place: itself, or a copy."""
    t = t.contiguous()
    return t if t.data_ptr() % ALIGNED == 0 else t.clone()


def _place(given: Values) -> torch.device:
    """The one device of all tensors; those without axes may be elsewhere, as in torch. Raises InputMismatch."""
    found: dict[torch.device, str] = {}
    for name, t in sorted(given.items(), key=lambda item: not item[1].dim()):
        if t.dim() or not found:
            found.setdefault(t.device, name)
    if len(found) > 1:
        raise InputMismatch("all inputs and weights must be on one device: " + ", ".join(f"{name} is on {d}" for d, name in found.items()))
    return next(iter(found), torch.device("cpu"))


def _check(name: str, kind: TensorType, t: object) -> None:
    """Raises InputMismatch for what is no dense tensor of the dtype."""
    if not isinstance(t, torch.Tensor) or t.layout is not torch.strided:
        raise InputMismatch(f"input {name}: expected a dense tensor, got {type(t).__name__}")
    if t.dtype is not TORCH[kind.dtype]:
        raise InputMismatch(f"input {name}: expected {TORCH[kind.dtype]}, got {t.dtype}")


def cuda(program: CudaProgram, env: Mapping[str, int], device: torch.device) -> OnTensors:
    """A CUDA program on a GPU by the driver, on the CPU in the emulator."""
    if device.type == "cpu":
        from .emulated import Emulated

        return Emulated(program, env)
    from .driver import Loaded

    return Loaded(program, env, device)
