"""The files of a data set: a State comes in, `pairs.parquet` and `rejects.parquet` go out; other forms are written from the parquet file alone.

Other forms: HPCTransEval's JSON schema with the launches beside it, and chats for fine-tuning as JSON lines, a file a split.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from ..ir.diagnostic import Unreadable
from .dedup import families, split_of
from .hpctranseval import beside, published
from .record import NESTED, Pair, Reject
from .state import State, writing

PAIRS, REJECTS = "pairs.parquet", "rejects.parquet"


def publish(state: State, count: int) -> tuple[int, int]:
    """Writes both files anew: the first `count` pairs by number. Returns (pairs, rejects)."""
    found = state.results("pair")[:count]
    labels = families([(keys.family, keys.signature) for _, keys, _ in found])
    pairs = [
        _parsed(Pair, text, number).model_copy(update={"family": label, "split": split_of(label)}) for (number, _, text), label in zip(found, labels)
    ]
    rejects = [_parsed(Reject, text, number) for number, _, text in state.results("reject")]
    _write(state.folder / PAIRS, [p.row() for p in pairs], _schema(Pair))
    _write(state.folder / REJECTS, [r.row() for r in rejects], _schema(Reject))
    return len(pairs), len(rejects)


Model = TypeVar("Model", Pair, Reject)


def _parsed(model: type[Model], text: str, number: int) -> Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise Unreadable(f"the result of program {number} is corrupted: {error.errors()[0]['msg']}") from None


def _schema(model: type[Pair] | type[Reject]) -> pa.Schema:
    return pa.schema([(name, pa.int64() if field.annotation is int else pa.string()) for name, field in model.model_fields.items()])


def _write(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    with writing(path.parent):
        partial = path.with_suffix(".new")
        pq.write_table(pa.Table.from_pylist(list(rows), schema), partial, compression="zstd")
        partial.replace(path)


# ------------------------------------------------------------------------------------------------ reading
def read_rows(folder: Path, name: str = PAIRS) -> list[dict[str, Any]]:
    """Rows of a file, nested columns still text. Raises Unreadable."""
    path = folder / name
    if not path.is_file():
        raise Unreadable(f"{path} is not a file", hint="give the folder of a data set that `warploom dataset build` has finished")
    try:
        return pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise Unreadable(f"{path} is not a parquet file: {str(error).splitlines()[0]}") from None


def unpacked(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its nested columns parsed. Raises Unreadable for a corrupted one."""
    try:
        return {k: json.loads(v) if k in NESTED else v for k, v in row.items()}
    except (TypeError, ValueError) as error:
        raise Unreadable(f"the pair {str(row.get('id'))[:40]!r} is corrupted: {error}") from None


# ------------------------------------------------------------------------------------------------ other forms
def write_forms(folder: Path) -> list[Path]:
    """Writes the other forms beside the parquet file. Returns their paths."""
    rows = [unpacked(r) for r in read_rows(folder)]
    held = [(r, record) for r in rows if (record := published(r))]
    made = [folder / "hpctranseval.json", folder / "hpctranseval-launches.json"]
    with writing(folder):
        made[0].write_text(json.dumps([record for _, record in held], indent=1))
        made[1].write_text(json.dumps([beside(r, n) for n, (r, _) in enumerate(held)], indent=1))
        for split in sorted({r["split"] for r in rows}):
            made.append(folder / f"chat-{split}.jsonl")
            made[-1].write_text("".join(json.dumps(chat(r)) + "\n" for r in rows if r["split"] == split))
    return made


SYSTEM = "You translate CUDA programs to fast C++ for a CPU. Answer with one C++ file."


def chat(row: dict[str, Any]) -> dict[str, Any]:
    """One conversation: the CUDA program with its launches and buffers, and the C++ file as the answer."""
    prototype = ", ".join(f"{'const ' * (a['role'] == 'in')}{a['type']}* {a['name']}" for a in row["c_args"])
    user = "\n".join([
        "Translate this CUDA program to C++. It is launched as follows, buffers are dense and row-major:", "",
        *_launch_lines(row["cuda_launches"]), *_buffer_lines(row["buffers"]), "", "```cuda", row["cuda_source"].rstrip(), "```", "",
        f'Write `extern "C" void {row["c_entry"]}({prototype})`.',
    ])  # fmt: skip
    answer = f"```cpp\n{row['c_source'].rstrip()}\n```"
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return {"id": row["id"], "messages": messages}


def _launch_lines(launches: Iterable[dict[str, Any]]) -> Iterator[str]:
    for x in launches:
        grid, block = (", ".join(map(str, x[k])) for k in ("grid", "block"))
        yield f"{x['kernel']}<<<dim3({grid}), dim3({block}), {x['shared_bytes']}>>>({', '.join(x['args'])})"


def _buffer_lines(buffers: Iterable[dict[str, Any]]) -> Iterator[str]:
    for b in buffers:
        yield f"{b['name']}: {b['role']}, {b['dtype']}{b['shape']}"
