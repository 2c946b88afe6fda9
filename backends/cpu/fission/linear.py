"""Kernels without barriers in which a thread is one element: a single loop over the elements instead of blocks and threads.

`i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) ...`  ->  `for (i = 0; i < n; ++i) ...`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....frontend.cuda import tree as t
from .places import Places


def linear_loop(kernel: t.Function, places: Places, geometry: Any, waits: Callable[[Any], bool]) -> list[Any] | None:
    """The statements, or None where the kernel is not of this form."""
    return None
