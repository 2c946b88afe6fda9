"""A record comes in, the same with its inputs as large as its C side reads them goes out: some declare fewer elements than they use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...frontend.cuda.binding import Buffer, read_reference, stated_reference
from ...ir.diagnostic import WarploomError
from ..signature import Argument
from .record import Record


def as_large_as_read(record: Record) -> Record:
    """The record, unchanged where its C side stays inside what is declared or cannot be followed."""
    try:
        extents = stated_reference(record.c_code, [stated(a) for a in record.arguments]).extents
    except WarploomError:
        return record
    if not any(a.role == "input" and extents.get(a.name, 0) > count(a) for a in record.arguments):
        return record
    shapes = {role: [a.shape for a in record.arguments if a.role == role] for role in ("input", "output")}
    try:
        fitted = {b.name: b for b in read_reference(record.c_code, shapes["input"], shapes["output"]).buffers}
    except WarploomError:
        return record
    return replace(record, arguments=tuple(replace(a, shape=_shape(fitted[a.name], a)) for a in record.arguments))


def _shape(fitted: Buffer, a: Argument) -> tuple[int, ...]:
    """The declared shape that fits what is read (equal names may stand for other arrays in the IR's text), else one large enough."""
    if a.role == "output":
        return a.shape
    shape = fitted.shape
    return tuple(shape) if shape is not None and int(np.prod(shape, dtype=np.int64)) >= fitted.count else (fitted.count,)


def stated(a: Argument) -> Buffer:
    """An argument as the CUDA reader's binder takes it."""
    return Buffer(a.name, "out" if a.role == "output" else "in", a.dtype, count(a), a.shape)


def count(a: Argument) -> int:
    """Elements."""
    return int(np.prod(a.shape, dtype=np.int64))
