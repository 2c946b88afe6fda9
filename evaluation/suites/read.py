"""A path comes in, a `Suite` goes out: which benchmark lies there and its records, in the published folder structure as it is.

HPCTransEval: JSON lists. KernelBench_c: `levelN/*.cu` with references in `EvalEngine/torch_functionals/levelN`. Any other folder:
`.cu` files, each with a `.py` of the same stem in KernelBench form. warploom's own data sets: `pairs.parquet`, or the same pairs in
HPCTransEval's schema.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...ir.diagnostic import Unreadable, WarploomError
from . import hpctranseval, kernelbench_c, pairs
from .record import Record, Suite

SUITES = (hpctranseval.SUITE, kernelbench_c.SUITE, pairs.SUITE)
_READ: dict[str, Callable[[Path, Path], list[Record]]] = {
    hpctranseval.SUITE: lambda path, root: hpctranseval.read_file(path),
    kernelbench_c.SUITE: lambda path, root: [kernelbench_c.read_file(path, root)],
    pairs.SUITE: lambda path, root: pairs.read_parquet(path),
}


def read_suite(path: str | Path, name: str | None = None) -> Suite:
    """The suite under a path. Raises `Unreadable` where there is none, or several and no name says which."""
    root = Path(path)
    if not root.exists():
        raise Unreadable(f"{str(root)[-120:]!r} does not exist")
    if name is not None and name not in SUITES:
        raise Unreadable(f"unknown suite {name!r}", hint="one of " + ", ".join(SUITES))
    found = {n: files for n, files in _found(root).items() if files and name in (None, n)}
    if not found:
        raise Unreadable(
            f"no benchmark in {str(root)[-120:]!r}",
            hint="expected HPCTransEval's JSON lists, KernelBench_c's levelN/*.cu, a warploom dataset, or .cu files with references",
        )
    if len(found) > 1:
        raise Unreadable(f"{str(root)[-120:]!r} holds several suites: {', '.join(found)}", hint="choose one with --suite")
    suite = next(iter(found))
    return _read(root, suite, found[suite])


def _found(root: Path) -> dict[str, list[Path]]:
    """The files of each suite that lie under a path."""
    sets = pairs.files(root)
    own = {p.parent for p in sets}  # the list of records beside a data set is the same pairs once more
    lists = [root] if root.is_file() else sorted(p for p in _walk(root, "*.json") if p.is_file() and p.parent not in own)
    return {
        hpctranseval.SUITE: [p for p in lists if p.suffix == ".json" and hpctranseval.is_records(p)],
        kernelbench_c.SUITE: kernelbench_c.sources(root),
        pairs.SUITE: sets,
    }


def _walk(root: Path, pattern: str) -> list[Path]:
    return [p for deep in ("", "*/", "*/*/") for p in root.glob(deep + pattern)]


def _read(root: Path, suite: str, files: list[Path]) -> Suite:
    records: list[Record] = []
    unread: list[str] = []
    for path in files:
        try:
            records += _READ[suite](path, root)
        except WarploomError as error:
            unread.append(error.message)
    if not records:
        raise Unreadable(f"no record could be read: {unread[0]}")
    return Suite(suite, str(root), tuple(_distinct(records)), tuple(unread))


def _distinct(records: list[Record]) -> list[Record]:
    """The first record of each id."""
    return list({r.id: r for r in reversed(records)}.values())[::-1]
