"""What makes threads wait for one another. A file comes in; statements that synchronise, and how, go out."""

from __future__ import annotations

from typing import Any

from ....frontend.cuda import tree as t

BARRIERS = frozenset(("__syncthreads", "__syncwarp", "__barrier_sync"))
COUNTS = {"__syncthreads_count": "count", "__syncthreads_and": "all", "__syncthreads_or": "any"}
SHUFFLES = {
    "__shfl_sync": "shfl", "__shfl_up_sync": "shfl_up", "__shfl_down_sync": "shfl_down", "__shfl_xor_sync": "shfl_xor",
    "__shfl": "shfl", "__shfl_up": "shfl_up", "__shfl_down": "shfl_down", "__shfl_xor": "shfl_xor",
}  # fmt: skip
VOTES = {"__ballot_sync": "ballot", "__any_sync": "any", "__all_sync": "all", "__activemask": "active"}
WARP_REDUCTIONS = {
    "__reduce_add_sync": "add", "__reduce_max_sync": "max", "__reduce_min_sync": "min", "__reduce_and_sync": "and",
    "__reduce_or_sync": "or", "__reduce_xor_sync": "xor", "__reduce_mul_sync": "mul",
}  # fmt: skip
MATCHES = {"__match_any_sync": "match_any", "__match_all_sync": "match_all"}
COLLECTIVES = frozenset((*COUNTS, *SHUFFLES, *VOTES, *WARP_REDUCTIONS, *MATCHES))
UNSUPPORTED = {"this_grid": "a barrier across the grid"}


class Synchronising:
    """Knows which functions of a file synchronise or ask for their thread's place, directly or through others."""

    def __init__(self, file: t.CudaFile):
        self.functions: set[str] = set()
        grown = True
        while grown:
            fresh = {f.name for f in file.functions if f.kind == "device" and f.name not in self.functions and self.waits(f.body)}
            fresh |= {f.name for f in file.functions if f.kind == "device" and f.name not in self.functions and (is_volatile(f) or places(f))}
            self.functions |= fresh
            grown = bool(fresh)

    def waits(self, node: Any) -> bool:
        """Whether something in `node` waits for other threads."""
        return any(self.is_sync(n) for n in t.walk(node))

    def is_sync(self, n: Any) -> bool:
        if not isinstance(n, t.Call):
            return False
        name = t.called(n)
        return name in BARRIERS or name in COLLECTIVES or name in UNSUPPORTED or name in self.functions


def is_volatile(f: t.Function) -> bool:
    """Whether a function works on volatile memory: the old way to let the threads of a warp see one another's stores."""
    return any("volatile" in p.type.split() for p in f.params)


def places(f: t.Function) -> bool:
    """Whether a function asks where its thread is."""
    return not t.names(f.body).isdisjoint(("threadIdx", "blockIdx", "blockDim", "gridDim"))


def is_barrier(s: Any) -> bool:
    return isinstance(s, t.Evaluate) and isinstance(s.value, t.Call) and t.called(s.value) in BARRIERS
