"""Data sets of warploom come in (`pairs.parquet`, or the same pairs in HPCTransEval's schema), records go out.

A pair states its launches and buffers, and its graph says in torch what both sides compute. `pair_score.py` judges.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...ir.diagnostic import Unreadable, WarploomError
from ...ir.graph_text import parse_graph
from ..signature import STORAGE, Argument
from ..task import Task
from .record import MOST_SOURCE, Record

SUITE = "warploom"
ENTRY = "kernel"
_COLUMNS = ("category", "graph", "cuda_source", "cuda_launches", "buffers", "c_source", "c_args", "operators")
_MOST_BYTES = 1 << 30
_KIND = {"input": "in", "output": "out", "temporary": "temp"}


def files(root: Path) -> list[Path]:
    """The `pairs.parquet` files under a path."""
    if root.is_file():
        return [root] if root.suffix == ".parquet" else []
    return sorted(p for deep in ("", "*/") for p in root.glob(f"{deep}pairs.parquet"))


def read_parquet(path: Path) -> list[Record]:
    """The records of one file. Raises `Unreadable` where it is no data set."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, columns=list(_COLUMNS)).to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Unreadable(f"{path.name}: not a data set of pairs: {str(error).splitlines()[0][:200]}") from None
    return [_of_row(f"{path.stem}/{at}", row) for at, row in enumerate(rows)]


def _of_row(id_: str, row: dict[str, Any]) -> Record:
    try:
        args = [a["name"] for a in json.loads(row["c_args"])]
        operator = "_".join(map(str, json.loads(row["operators"])))
        launches, buffers = json.loads(row["cuda_launches"]), json.loads(row["buffers"])
    except (TypeError, ValueError, KeyError, AttributeError):
        return Record(id_, SUITE, "", "").defective("a nested column is not what the schema says")
    blank = Record(id_, SUITE, str(row["category"])[:60], operator[:200])
    return of_pair(blank, str(row["graph"]), str(row["cuda_source"]), str(row["c_source"]), args, launches, buffers)


def of_pair(blank: Record, graph: str, cuda: str, c: str, args: Sequence[str], launches: Any, buffers: Any) -> Record:
    """A record of what a pair states; `args` are the names of its C side's arguments in order. What does not fit together is a defect."""
    if max(map(len, (graph, cuda, c))) > MOST_SOURCE:
        return blank.defective(f"a text is longer than {MOST_SOURCE} characters")
    record = replace(blank, cuda=cuda, c_code=c, entry=ENTRY)
    try:
        known = {b["name"]: b for b in buffers}
        temporaries = [n for n, b in known.items() if b["role"] == "temporary"]
        if any(known[n]["dtype"] not in STORAGE or math.prod(known[n]["shape"]) * 8 > _MOST_BYTES for n in [*args, *temporaries]):
            return record.defective("a buffer has an unknown type or is too large")
        sidecar = {"args": [_stated(known[n]) for n in [*args, *temporaries]], "kernels": [_launch(x, known) for x in launches]}
        arguments = tuple(Argument(n, known[n]["role"], "tensor", known[n]["dtype"], tuple(known[n]["shape"])) for n in args)
    except (KeyError, TypeError, ValueError):
        return record.defective("its launches and buffers do not fit together")
    try:
        parse_graph(graph)
    except (WarploomError, RecursionError) as error:
        return record.defective(f"its graph cannot be read: {str(error).splitlines()[0][:200]}")
    return replace(record, arguments=arguments, kernels=json.dumps(sidecar), task=Task(blank.id, "graph", graph))


def _stated(buffer: dict[str, Any]) -> dict[str, Any]:
    return {"name": buffer["name"], "kind": _KIND[buffer["role"]], "dtype": buffer["dtype"], "shape": [int(n) for n in buffer["shape"]]}


def _launch(launch: dict[str, Any], known: dict) -> dict[str, Any]:
    place = {"grid": list(map(int, launch["grid"])), "block": list(map(int, launch["block"])), "shared_bytes": int(launch["shared_bytes"])}
    return {"name": str(launch["kernel"]), "launch": place, "args": [known[n]["name"] for n in launch["args"]]}
