"""A model to compile or time, from a file in KernelBench form (`Model`, `get_inputs`, `get_init_inputs`) or from the zoo.

Comes in: `FILE.py`, `FILE.py:Class` or `zoo:NAME`. Goes out: a Problem; whatever the user's code gets wrong is an Unreadable of one line.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...frontend import zoo
from ...frontend.torch_export import user_line
from ...ir.diagnostic import Unreadable
from ..agreement import fresh, run_eager


@dataclass(frozen=True)
class Problem:
    """`inputs()` draws new inputs from torch's generator."""

    name: str
    model: torch.nn.Module
    inputs: Callable[[], tuple[object, ...]]


def load_problem(spec: str, seed: int = 0) -> Problem:
    """Load and make the model. Raises Unreadable."""
    if spec.startswith("zoo:"):
        return _zoo(spec.removeprefix("zoo:"), seed)
    path, _, wanted = spec.partition(":")
    return _from_file(Path(path), wanted, seed)


def _from_file(path: Path, wanted: str, seed: int) -> Problem:
    module = _module(path)
    name = wanted or "Model"
    if not isinstance(getattr(module, name, None), type):
        raise Unreadable(f"{path} has no class {name}", hint="it needs Model, get_inputs() and get_init_inputs()")
    if not callable(getattr(module, "get_inputs", None)):
        raise Unreadable(f"{path} has no get_inputs()", hint="it needs Model, get_inputs() and get_init_inputs()")
    init = _call(f"{path}: get_init_inputs()", getattr(module, "get_init_inputs", list), seed)
    kind = getattr(module, name)

    def make() -> object:
        return kind(**init[0]) if len(init) == 1 and isinstance(init[0], dict) else kind(*init)

    model = _call(f"{path}: {name}(...)", make, seed)
    if not isinstance(model, torch.nn.Module):
        raise Unreadable(f"{path}: {name} is no torch.nn.Module")
    return Problem(path.stem, model, lambda: _inputs(path, module.get_inputs))


def _inputs(path: Path, draw: Callable[[], object]) -> tuple[object, ...]:
    value = _call(f"{path}: get_inputs()", draw)
    if not isinstance(value, (list, tuple)):
        raise Unreadable(f"{path}: get_inputs() gives a {type(value).__name__}, expected a list")
    return tuple(value)


def _module(path: Path):
    if not path.is_file():
        raise Unreadable(f"{path} is not a file")
    loader = importlib.util.spec_from_file_location(f"warploom_problem_{path.stem}", path)
    if loader is None or loader.loader is None:
        raise Unreadable(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(loader)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.resolve().parent))
    run = loader.loader.exec_module
    _call(str(path), lambda: run(module))
    return module


def _call(what: str, function: Callable[[], Any], seed: int | None = None) -> Any:
    """Run the user's code; what it raises becomes one line."""
    if seed is not None:
        torch.manual_seed(seed)
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise Unreadable(f"{what} raises {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """`Type: message at file:line`, on one line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    where = user_line(error)
    return f"{type(error).__name__}{': ' + text[:300] if text else ''}" + (
        "" if where.startswith("an unknown") else f" at {where}"
    )


def check_runs(problem: Problem, inputs: tuple[object, ...]) -> None:
    """The model takes its own inputs. Raises Unreadable."""
    try:
        run_eager(problem.model, inputs, 0)
    except Exception as error:
        raise Unreadable(f"{problem.name}: the model raises {first_line(error)}") from None


def _zoo(name: str, seed: int) -> Problem:
    """A model of the project; its first inputs are the zoo's own, later ones are like them."""
    model, example = zoo.build(name)
    seeds = itertools.count(seed)

    def inputs() -> tuple[object, ...]:
        number = next(seeds)
        return tuple(example) if number == seed else fresh(example, number)

    return Problem(name, model, inputs)
