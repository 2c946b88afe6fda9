"""A PyTorch model and example inputs come in, a verified callable goes out: export, passes, build, check, report.

`compile` goes through torch.export; what that rejects is taken by the dynamo door (`torch.compile` with graph breaks), and the report says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .backends.cpu.bind import evaluate, match_shapes
from .backends.cpu.build import Printed, build, printed
from .backends.cpu.runtime import Runtime, Slot, load
from .backends.manifest import backend
from .evaluation.agreement import Subject, disagreements, state_of
from .evaluation.difference import Difference
from .frontend.torch_export import Dynamic, Exported, SizeLeaf, TensorLeaf, export_model
from .ir.diagnostic import WarploomError, WrongNumbers
from .ir.machine import Machine
from .ir.module import Module
from .passes.pipeline import Dump, Options, plan


class UnknownOption(WarploomError):
    """An argument of `compile` names something that this build does not have. The message says what there is."""

    code = "WL-E060"


@dataclass(frozen=True)
class Settings:
    """How a model was compiled, apart from the model itself."""

    target: str = "cpu"
    library: bool = True
    threads: int | None = None
    tune: str | None = None
    dump: Dump | None = None


@dataclass
class Compiled:
    """A compiled model. Call it like the model; parameters stay the model's own and are read on every call."""

    exported: Exported
    module: Module
    code: Printed
    machine: Machine
    library: Path
    runtime: Runtime
    settings: Settings
    compile_s: float
    example: tuple[object, ...] = ()
    differences: list[Difference] = field(default_factory=list)
    _plain: bool = field(init=False)
    _single: bool = field(init=False)

    def __post_init__(self) -> None:
        exported = self.exported
        names = [leaf.name for leaf in exported.inputs if isinstance(leaf, TensorLeaf)]
        self._arity = len(names)
        self._plain = len(names) == len(exported.inputs) and _is_flat(exported)
        self._single = exported.out_spec.is_leaf() and isinstance(exported.outputs[0], TensorLeaf)
        self._places = {name: n for n, name in enumerate(self.module.outputs)}

    def __call__(self, *args: object, **kwargs: object) -> object:
        """The model's result. Raises InputMismatch."""
        tensors = args if self._plain and not kwargs and len(args) == self._arity else self._leaves(args, kwargs)
        out = self.runtime(tensors)  # type: ignore[arg-type]
        return out[0] if self._single else self._assemble(tensors, out)

    def _leaves(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[object]:
        leaves = self.exported.flatten(args, kwargs)
        return [value for leaf, value in zip(self.exported.inputs, leaves) if isinstance(leaf, TensorLeaf)]

    def _assemble(self, tensors: Sequence[object], out: list[torch.Tensor]) -> object:
        leaves: list[object] = []
        for leaf in self.exported.outputs:
            if isinstance(leaf, TensorLeaf):
                leaves.append(out[self._places[leaf.name]])
            elif isinstance(leaf, SizeLeaf):
                shapes = [tuple(t.shape) for t in tensors]  # type: ignore[attr-defined]
                leaves.append(evaluate(leaf.expr, match_shapes(self.module, shapes)))
            else:
                leaves.append(leaf.value)
        return self.exported.unflatten(leaves)

    @property
    def sources(self) -> dict[str, str]:
        """{kernel name: C++ source}."""
        return self.code.sources()


def _is_flat(exported: Exported) -> bool:
    """The arguments are positional tensors, so that a call needs no flattening."""
    args, kwargs = exported.in_spec.children()
    return not kwargs.children() and all(child.is_leaf() for child in args.children())


def compile(
    model: torch.nn.Module | Callable[..., object],
    example_inputs: Sequence[object] | torch.Tensor,
    target: str = "cpu",
    passes: Sequence[str] = (),
    dynamic: Dynamic | None = None,
    tune: str | None = None,
    library: bool = True,
    kernels: str | Path | None = None,
    *,
    verify: bool = True,
    threads: int | None = None,
    dump: Dump | None = None,
) -> Compiled:
    """Compile and verify `model`. `dynamic`: {input name or position: {axis: name}}; `library=False`: no ATen for operators that we own.

    Raises UnsupportedModel, WrongNumbers, MissingTool, BuildFailed, UnknownTarget.
    """
    _refuse_unknown(passes, kernels)
    machine = backend(target).machine()
    args = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    settings = Settings(target, library, threads, tune, dump)
    start = time.perf_counter()
    exported = export_model(model, args, None, dynamic)
    compiled = _finish(exported, weight_slots(model, exported), machine, settings, args, start)
    if verify:
        verify_against_eager(model, compiled, args)
    return compiled


def verify_against_eager(model: Callable[..., object], compiled: Compiled, args: tuple[object, ...]) -> None:
    """Compare on fresh inputs; the differences are kept in `compiled.differences`. Raises WrongNumbers."""
    compiled.differences = disagreements(_subject(model, compiled), args)
    wrong = next((d for d in compiled.differences if not d.right), None)
    if wrong is not None:
        raise WrongNumbers(f"{wrong.name} differs from eager: {wrong.why}")


def _subject(model: Callable[..., object], compiled: Compiled) -> Subject:
    names = {id(t): name for name, t in state_of(model).items()}
    written = [name for name, _ in compiled.module.updates]
    weights = [compiled.exported.weights[name] for name in written if name in compiled.exported.weights]
    inputs = compiled.exported.input_names
    mutated = tuple(inputs.index(name) for name in written if name in inputs)
    return Subject(model, compiled, tuple(names[id(t)] for t in weights if id(t) in names), mutated)


def _refuse_unknown(passes: Sequence[str], kernels: object) -> None:
    if passes:
        raise UnknownOption(f"no pass {passes[0]!r}", hint="this build has no optional passes")
    if kernels is not None:
        raise UnknownOption("this build reads no evolve folders (`kernels=`)")


def _finish(
    exported: Exported, slots: Mapping[str, Slot], machine: Machine, settings: Settings, args: tuple[object, ...], start: float
) -> Compiled:
    module = plan(exported.graph, machine, Options(dump=settings.dump))
    code = printed(module, machine.isa)
    path = build(code, machine)
    runtime = load(code.layout, path, slots, settings.threads)
    return Compiled(exported, module, code, machine, path, runtime, settings, time.perf_counter() - start, args)


def weight_slots(model: object, exported: Exported) -> dict[str, Slot]:
    """Where each weight lives in the model, so that a replaced parameter is seen; a constant of the graph lives on its own."""
    owners: dict[int, Slot] = {}
    for part in model.modules() if isinstance(model, torch.nn.Module) else ():
        for owner in (part._parameters, part._buffers):
            for key, tensor in owner.items():
                if tensor is not None:
                    owners.setdefault(id(tensor), (owner, key))
    return {name: owners.get(id(t), ({name: t}, name)) for name, t in exported.weights.items()}


__all__ = ["Compiled", "compile", "weight_slots"]
