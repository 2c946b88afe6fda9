"""A kernel as a torch custom operator: a Kernel and a name come in, `torch.ops.<name>` goes out, with a fake implementation.

Two overloads: `name(inputs) -> outputs` makes new outputs (an in-out param is copied first); `name.out(all params) -> ()` fills what it
is given. Where a dim follows from no input's shape, both take it as a last integer argument.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..frontend.dtypes import TORCH_DTYPE
from ..ir.diagnostic import WarploomError
from .signature import Signature, sizes_of

if TYPE_CHECKING:
    from .handwritten import Kernel


class BadName(WarploomError):
    """An operator's name is "library::name"; a name that is taken can be given again only with the same arguments."""

    code = "WL-E065"


_LIBRARIES: dict[str, torch.library.Library] = {}
_CURRENT: dict[str, tuple[str, Kernel]] = {}


def register(kernel: Kernel, name: str) -> object:
    """Register `kernel`, or let the operator of that name and schema run this kernel from now on. Raises BadName."""
    if not re.fullmatch(r"[A-Za-z_]\w*::[A-Za-z_]\w*", name):
        raise BadName(f"`{name}` is no operator name", hint='expected "library::name", such as "mylib::scale"')
    space, op = name.split("::")
    text = _schema(op, kernel.signature)
    known = _CURRENT.get(name)
    if known is None and hasattr(getattr(torch.ops, space), op):
        raise BadName(f"`{name}` is an operator already, and not one of warploom's")
    if known is not None and known[0] != text:
        raise BadName(f"`{name}` is registered with other arguments: {known[0]}")
    _CURRENT[name] = text, kernel
    if known is None:
        _define(space, op, text, kernel.signature, name)
    return getattr(getattr(torch.ops, space), op)


def _schema(op: str, sig: Signature) -> str:
    sizes = [f"SymInt {d}" for d in sig.free]
    given = ", ".join([*(f"Tensor {b.name}" for b in sig.given), *sizes])
    count = len(sig.in_out) + len(sig.made)
    return f"{op}({given}) -> {'Tensor' if count == 1 else '(' + ', '.join(['Tensor'] * count) + ')'}"


def _out_schema(op: str, sig: Signature) -> str:
    marks = dict(zip(sig.program.written(), "abcdefghijklmnopqrstuvwxyz"))
    tensors = [f"Tensor({marks[b.name]}!) {b.name}" if b.name in marks else f"Tensor {b.name}" for b in sig.program.params]
    return f"{op}.out({', '.join([*tensors, *(f'SymInt {d}' for d in sig.free)])}) -> ()"


def _define(space: str, op: str, text: str, sig: Signature, name: str) -> None:
    library = _LIBRARIES.setdefault(space, torch.library.Library(space, "FRAGMENT"))
    count = len(sig.given)

    def call(*args: object) -> object:
        tensors, sizes = args[:count], dict(zip(sig.free, args[count:]))
        fresh = [t.clone(memory_format=torch.contiguous_format) if b in sig.in_out else t for b, t in zip(sig.given, tensors)]  # type: ignore[attr-defined]
        return _CURRENT[name][1](*fresh, **sizes)  # type: ignore[arg-type]

    def fake(*args: object) -> object:
        made = _empty(sig, args[:count], dict(zip(sig.free, args[count:])))  # type: ignore[arg-type]
        return made[0] if len(made) == 1 else tuple(made)

    library.define(text)
    library.impl(op, call, "CPU" if sig.given else "CompositeExplicitAutograd")
    torch.library.register_fake(name, fake, lib=library)
    if sig.made:
        width = len(sig.program.params)
        library.define(_out_schema(op, sig))
        library.impl(f"{op}.out", lambda *a: _fill(_CURRENT[name][1], a[:width], dict(zip(sig.free, a[width:]))), "CPU")
        torch.library.register_fake(f"{name}.out", lambda *a: None, lib=library)


def _fill(kernel: Kernel, tensors: Sequence[object], sizes: dict[str, int]) -> None:
    kernel(*tensors, **sizes)


def _empty(sig: Signature, tensors: Sequence[torch.Tensor], sizes: dict[str, int]) -> list[torch.Tensor]:
    """Outputs of the right shape and dtype without data, in param order."""
    env = sig.dims({b.name: t.shape for b, t in zip(sig.given, tensors)}, sizes, check=False)
    device = tensors[0].device if tensors else "cpu"
    written = sig.program.written()
    return [
        torch.empty(sizes_of(b.shape, env), dtype=TORCH_DTYPE[b.dtype], device=device) for b in sig.program.params if b.name in written
    ]
