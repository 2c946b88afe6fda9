"""`warploom evolve show | record | export | import`: a run's folder or a file of strategies comes in, a file goes out (or strategies into the
knowledge of this machine).
"""

from __future__ import annotations

from pathlib import Path

from ...evaluation.bench.command import write_text
from ...evaluation.report.outcome import outcome
from ...ir.diagnostic import WarploomError
from ..knowledge.base import everything, own_path, read, write_back
from .show import PAGE, page
from .state import write_record

RECORD_FILE = "run.json"


def run_files(what: str, path: str, out: str | None, as_json: bool) -> int:
    """0: done; 2: what is named is not there or cannot be read."""

    def work() -> tuple[int, object]:
        value = _WORK[what](Path(path), Path(out) if out else None)
        if not as_json:
            print(*value.values())
        return 0, value

    return outcome(work, as_json)


def _show(folder: Path, out: Path | None) -> dict[str, object]:
    target = out or folder / PAGE
    write_text(target, page(folder))
    return {"page": str(target)}


def _record(folder: Path, out: Path | None) -> dict[str, object]:
    target = out or folder / RECORD_FILE
    try:
        write_record(folder, target)
    except OSError as error:
        raise WarploomError(f"cannot write {target}: {error.strerror}") from None
    return {"record": str(target)}


def _export(path: Path, out: Path | None) -> dict[str, object]:
    known = everything()
    write_text(path, known.text())
    return {"file": str(path), "strategies": len(known.strategies)}


def _import(path: Path, out: Path | None) -> dict[str, object]:
    known = read(path)
    write_back(known.strategies)
    return {"file": str(own_path()), "strategies": len(known.strategies)}


_WORK = {"show": _show, "record": _record, "export": _export, "import": _import}
