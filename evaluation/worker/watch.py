"""A call of a Python candidate comes in, the library operators that it reaches go out. Runs inside the sandbox, imported by `nest`.

Torch's dispatcher and function mode say what Python threads ask for, the profiler what all threads do, also where modes are switched
off; arrays that report say what NumPy is asked for, and the interpreter's events name routines looked up in shared libraries.
What is imported and kept here was loaded before the candidate.
"""

import contextlib
import sys
import threading
from typing import Any

import numpy as np
import torch
from torch._C._profiler import _ExperimentalConfig
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

MOST_SPOKEN = 1000
EVERYWHERE = 1 << 40  # the size told of a routine that is only known to have been looked up
METHODS = ("argmax", "argmin", "argsort", "cumprod", "cumsum", "dot", "max", "mean", "min", "prod", "sort", "std", "sum", "var")
FUNCTIONS = (*METHODS, "convolve", "correlate", "einsum", "inner", "matmul", "tensordot", "vdot")
NUMPY = {name: getattr(np, name) for name in FUNCTIONS if hasattr(np, name)}
WATCHERS = (TorchDispatchMode, TorchFunctionMode, torch.profiler.profile, threading.Thread)
KEPT = [(owner, dict(vars(owner))) for owner in WATCHERS]
AS_ARRAY = torch.Tensor.numpy
WITH_KERNELS = {
    name
    for key in ("CPU", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")
    for name in torch._C._dispatch_get_registrations_for_dispatch_key(key)
}
leaves_of = _pytree.tree_leaves


class Notes:
    """What has been heard: operators with the most elements that one was given, and the functions called by name."""

    def __init__(self):
        self.operators: list[tuple[str, int]] = []
        self.spoken: list[str] = []
        self.routines: list[str] = []

    def hook(self, event: str, args: tuple) -> None:
        """An audit hook: routines that the candidate looks up in shared libraries."""
        if event in {"ctypes.dlsym", "ctypes.dlsym/handle"} and isinstance(args[1], str):
            self.routines.append(args[1])

    def note(self, name: str, values) -> None:
        """One operator and what it was given and gave."""
        sizes = [
            v.size if isinstance(v, np.ndarray) else v.numel()
            for v in leaves_of(values)
            if isinstance(v, np.ndarray | torch.Tensor)
        ]
        self.operators.append((name, max(sizes, default=0)))

    def merged(self) -> dict[str, list[int]]:
        """Most elements and number of calls for each operator."""
        merged: dict[str, list[int]] = {}
        for name, size in [*self.operators, *((f"+routine.{r}", EVERYWHERE) for r in self.routines)]:
            most, count = merged.get(name, [0, 0])
            merged[name] = [max(most, size), count + 1]
        return merged


def heard(notes: Notes, call) -> dict:
    """The operators and spoken functions of one call, made twice: under the profiler, then under the dispatcher's eyes."""
    for owner, attributes in KEPT:
        for name, value in attributes.items():
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)
    everywhere = _ExperimentalConfig(profile_all_threads=True, capture_overload_names=True)
    with torch.no_grad(), _arrays(notes):
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True, experimental_config=everywhere
        ) as seen:
            call()
        with _threads(notes), _Watch(notes), _Listen(notes):
            call()
    dispatched = {name for name, _ in notes.operators}
    notes.operators += [(name, size) for name, size in _profiled(seen.events()) if name.removeprefix("+") not in dispatched]
    return {"operators": notes.merged(), "spoken": notes.spoken[:MOST_SPOKEN]}


def _profiled(events):
    """Operators of a profile; `+` before those that are made of others, or called by another from inside."""
    for event in events:
        if not event.name.startswith("aten::"):
            continue
        shapes = [s for s in event.input_shapes or [] if s and all(isinstance(x, int) for x in s)]
        inner, above = not _has_kernel(event), event.cpu_parent
        while above is not None and not inner:
            inner, above = _has_kernel(above), above.cpu_parent
        size = max((int(np.prod(s, dtype=np.int64)) for s in shapes), default=0)
        yield ("+" if inner else "") + event.name.removeprefix("aten::"), size


def _has_kernel(event) -> bool:
    """False for operators that are only ever made of others, and for what is none."""
    return event.name + (f".{event.overload_name}" if event.overload_name else "") in WITH_KERNELS


class _Watch(TorchDispatchMode):
    def __init__(self, notes: Notes):
        super().__init__()
        self.notes = notes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.notes.note(func._schema.name.split("::")[-1], (args, out))
        return out


class _Listen(TorchFunctionMode):
    def __init__(self, notes: Notes):
        super().__init__()
        self.notes = notes

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.notes.spoken.append((resolve_name(func) or getattr(func, "__name__", "?")).split(".")[-1])
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _threads(notes: Notes):
    """Threads that start meanwhile are watched too: modes hold for one thread."""
    plain = threading.Thread.run

    def run(self):
        with torch.no_grad(), _Watch(notes), _Listen(notes):
            plain(self)

    threading.Thread.run = run
    try:
        yield
    finally:
        threading.Thread.run = plain


# ---- NumPy ----
@contextlib.contextmanager
def _arrays(notes: Notes):
    """Arrays made from tensors report what is done with them, and NumPy's functions who calls them."""
    heard_array = _reporting(notes)

    def numpy(self, *args, **kwargs):
        return AS_ARRAY(self, *args, **kwargs).view(heard_array)

    torch.Tensor.numpy = numpy
    for name, function in NUMPY.items():
        setattr(np, name, _told(notes, name, function))
    try:
        yield
    finally:
        torch.Tensor.numpy = AS_ARRAY
        for name, function in NUMPY.items():
            setattr(np, name, function)


def _told(notes: Notes, name: str, function):
    """A NumPy function that reports its calls, but for those of Triton's interpreter."""

    def call(*args, **kwargs):
        if not str(sys._getframe(1).f_globals.get("__name__", "")).startswith(("triton", "numpy")):
            notes.note(f"+numpy.{name}", (args, kwargs))
        return function(*args, **kwargs)

    return call


def _reporting(notes: Notes) -> type:
    """The class of arrays that report."""
    scans = {"add": "cumsum", "multiply": "cumprod"}

    class Reporting(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            notes.note("+numpy." + (scans.get(ufunc.__name__, "?") if method == "accumulate" else ufunc.__name__), inputs)
            made = getattr(ufunc, method)(*_plain(inputs), **_plain(kwargs))
            out = kwargs.get("out") or ()
            return out[0] if len(out) == 1 else _dressed(made, Reporting)

        def __array_function__(self, func, types, args, kwargs):
            notes.note(f"+numpy.{func.__name__}", args)
            return _dressed(func(*_plain(args), **_plain(kwargs)), Reporting)

    def method(name: str):
        def call(self, *args, **kwargs):
            notes.note(f"+numpy.{name}", self)
            return _dressed(getattr(_plain(self), name)(*_plain(args), **_plain(kwargs)), Reporting)

        return call

    for name in METHODS:
        setattr(Reporting, name, method(name))
    return Reporting


def _plain(value) -> Any:
    """Arrays as NumPy's own, in tuples, lists and dictionaries too."""
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return type(value)(_plain(v) for v in value) if type(value) in (tuple, list) else value


def _dressed(value, as_type: type):
    if isinstance(value, np.ndarray):
        return value.view(as_type)
    return type(value)(_dressed(v, as_type) for v in value) if type(value) in (tuple, list) else value
