"""Checked runs of PyTorch extensions. Sources, the reference's model and its inputs come in; outputs and findings go out.

The instrumented extension puts an allocator of the checker under all CPU tensors, so that each tensor lies between red zones. As with bare
kernels the screen (`screen.py`) comes first, where no kernel's threads wait.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ...ir.diagnostic import Unreadable
from .check import CHECK_DEFINES, CHECK_FLAGS, Finding, checker, collect
from .includes import expand_includes
from .rewrite import rewrite
from .screen import CAST_FLAGS, SCREEN_DEFINES, SCREEN_FLAGS
from .torch_extension import load_extension

_SCREEN_FLAGS = (*SCREEN_FLAGS, *CAST_FLAGS)


def check_extension(
    sources: Sequence[Path], model: Any, inputs: Sequence[Any], *, include: Sequence[Path], defines: Sequence[str]
) -> tuple[list[Any], list[Finding], str]:
    """Runs the model on the extension; gives its outputs, findings and what ended the run early ("" mostly)."""
    files = [p.resolve() for p in sources]
    given = {"include": include, "defines": defines}
    if _screenable(files, include):
        kept = copy.deepcopy(model.state_dict())
        extension = load_extension(files, **given, flags=_SCREEN_FLAGS, extra=SCREEN_DEFINES)
        outputs, failure = _called(extension, model, inputs)
        if not failure and ctypes.CDLL(str(extension.__file__)).wl_screen_tripped() == 0:
            return outputs, [], ""
        model.load_state_dict(kept)
    tool = checker()
    extension = load_extension(files, **given, flags=CHECK_FLAGS, extra=CHECK_DEFINES)
    outputs, failure = _called(extension, model, inputs)
    return outputs, collect(tool, Path(str(extension.__file__))), failure


def _screenable(files: Sequence[Path], include: Sequence[Path]) -> bool:
    """Whether no thread of any kernel waits for another."""
    parts = [rewrite(expand_includes(path.read_text(errors="replace"), str(path), include)) for path in files]
    return not any(part.volatile or any(k.waits for k in part.kernels) for part in parts)


def _called(extension: ModuleType, model: Any, inputs: Sequence[Any]) -> tuple[list[Any], str]:
    """The model's outputs, with all that it reads where the extension's allocator puts it, and what ended the run early."""
    import torch

    forward = getattr(extension, "forward", None)
    if forward is None:
        raise Unreadable("the extension has no `forward`")
    moved = [x.clone() if isinstance(x, torch.Tensor) else x for x in inputs]
    for parameter in (*model.parameters(), *model.buffers()):
        parameter.data = parameter.data.clone()
    try:
        result = model(*moved, fn=forward)
    except RuntimeError as error:
        return [], str(error).split("\n")[0]
    return [t.detach().contiguous() for t in (result if isinstance(result, (tuple, list)) else [result])], ""
