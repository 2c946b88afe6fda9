"""Checked runs of PyTorch extensions. Sources, the reference's model and its inputs come in; outputs and findings go out.

The instrumented extension puts an allocator of the checker under all CPU tensors, so that each tensor lies between red zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...ir.diagnostic import Unreadable
from .check import CHECK_DEFINES, CHECK_FLAGS, Finding, checker, collect
from .torch_extension import load_extension


def check_extension(
    sources: Sequence[Path], model: Any, inputs: Sequence[Any], *, include: Sequence[Path], defines: Sequence[str]
) -> tuple[list[Any], list[Finding], str]:
    """Runs the model on the extension; gives its outputs, findings and what ended the run early ("" mostly)."""
    import torch

    tool = checker()
    files = [p.resolve() for p in sources]
    extension = load_extension(files, include=include, defines=defines, flags=CHECK_FLAGS, extra=CHECK_DEFINES)
    forward = getattr(extension, "forward", None)
    if forward is None:
        raise Unreadable("the extension has no `forward`")
    moved = [x.clone() if isinstance(x, torch.Tensor) else x for x in inputs]
    for parameter in (*model.parameters(), *model.buffers()):
        parameter.data = parameter.data.clone()
    failure, outputs = "", []
    try:
        result = model(*moved, fn=forward)
        outputs = [t.detach().contiguous() for t in (result if isinstance(result, (tuple, list)) else [result])]
    except RuntimeError as error:
        failure = str(error).split("\n")[0]
    return outputs, collect(tool, Path(str(extension.__file__))), failure
