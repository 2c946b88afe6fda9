"""Why a bare CUDA program cannot be what its C side computes. Both texts come in, one line goes out (empty: nothing found)."""

from __future__ import annotations

from . import tree as t
from .binding import Reference
from .footprint import Unknown, footprint
from .launch import bound_of, launch_order, used_axes
from .read import read


def contradiction(cuda_source: str, reference: Reference) -> str:
    """The first kernel whose stores end where no stated array, and no array of the C function, ends."""
    known = {b.count for b in reference.buffers} | set(reference.locals) | {e for e in reference.extents.values() if e}
    for kernel in launch_order(read(cuda_source).kernels):
        why = _against(kernel, known)
        if why:
            return f"line {kernel.line}: {why}"
    return ""


def _against(kernel: t.Function, known: set[int]) -> str:
    threads = bound_of(kernel)
    if threads is None or used_axes(kernel, "blockIdx") != "x":
        return ""
    try:
        some = footprint(kernel, (threads, 1, 1), (64, 1, 1))
        one = footprint(kernel, (threads, 1, 1), (1, 1, 1))
    except Unknown:
        return ""
    extents = [x.write_extent for x in some.touched.values() if x.written]
    each = max((x.write_extent for x in one.touched.values() if x.written), default=0)
    if not extents or not each or any(x.written and x.write_cover < 1 for x in one.touched.values()):
        return ""  # strided stores: the extent of one block says nothing
    sizes = ", ".join(map(str, sorted(known)))
    if not some.live.all():
        ends = max(extents)
        return "" if ends in known else f"{kernel.name} is guarded at {ends} elements, the arrays have {sizes}"
    if all(size % each for size in known):
        return f"{kernel.name} is unguarded and stores {each} elements a block, of which none of {sizes} is a multiple"
    return ""
