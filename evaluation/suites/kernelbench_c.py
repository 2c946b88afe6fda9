"""The `.cu` files of KernelBench_c, or of any folder of that form, come in, records go out; the reference is held as a task.

A reference lies in `EvalEngine/torch_functionals/levelN/` of the same checkout, or beside the source under the same stem.
"""

from __future__ import annotations

from pathlib import Path

from ..task import Task, read_text
from .record import MOST_SOURCE, Record

SUITE = "KernelBench_c"
_REFERENCES = ("EvalEngine/torch_functionals", "torch_functionals")


def sources(root: Path) -> list[Path]:
    """The `.cu` files under a path that are records: in level folders, or with a reference beside them."""
    if root.is_file():
        return [root] if root.suffix == ".cu" else []
    found = sorted((p for deep in ("", "*/", "*/*/", "*/*/*/") for p in root.glob(deep + "*.cu") if p.is_file()), key=_order)
    return [p for p in found if p.parent.name.startswith("level") or p.with_suffix(".py").is_file()]


def read_file(path: Path, root: Path) -> Record:
    """One record. Raises `Unreadable` where the source is no text."""
    level = path.parent.name if path.parent.name.startswith("level") else ""
    id_ = f"{level}/{path.stem}" if level else path.stem
    source = read_text(path, "CUDA file", MOST_SOURCE)
    record = Record(id_, SUITE, level or path.parent.name, path.stem, cuda=source, entry="forward")
    reference = _reference(path)
    if reference is None:
        return record.defective("no reference for it in the folder")
    text = read_text(reference, "reference")
    return Record(**{**vars(record), "task": Task(path.stem, "python", text, str(reference.parent))})


def _reference(path: Path) -> Path | None:
    beside = path.with_suffix(".py")
    level = path.parent.name
    published = [p / place / level / f"{path.stem}.py" for p in path.resolve().parents[1:4] for place in _REFERENCES]
    return next((p for p in (beside, *published) if p.is_file()), None)


def _order(path: Path) -> tuple:
    head = path.stem.split("_")[0]
    return (str(path.parent), int(head) if head.isdigit() else 1 << 30, path.stem)
