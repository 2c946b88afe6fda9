"""The JSON lists of HPCTransEval come in, records go out.

A record's arguments are read from its C side; their shapes from the types in its IR text, else from the shapes it declares. The
published keys are `op_name, c_code, cuda_code, ir_code, input_shape, output_shape, op_args` and sometimes `input_name, output_name`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...ir.diagnostic import Unreadable
from ..signature import STORAGE, Argument
from ..task import read_text
from .c_source import CFunction, entry_of, stored
from .pairs import of_pair
from .record import MOST_SOURCE, Record

SUITE = "HPCTransEval"
_MOST_FILE = 512 << 20
_MOST_ELEMENTS = 1 << 28
_BUFFER = re.compile(r'(\w+)\s*:\s*T\.Buffer\(\(([\d,\s]*)\)\s*(?:,\s*"(\w+)")?')
_NEEDED = ("c_code", "cuda_code")
Shapes = tuple[tuple[int, ...], ...]


def is_records(path: Path) -> bool:
    """True for a JSON file whose first record has the published keys (only its beginning is read)."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(1 << 20)
    except OSError:
        return False
    return head.lstrip().startswith("[") and all(f'"{key}"' in head for key in _NEEDED)


def read_file(path: Path) -> list[Record]:
    """The records of one list. Raises `Unreadable` where the file is no JSON list."""
    text = read_text(path, "benchmark file", _MOST_FILE)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path.name}: not JSON ({error})") from None
    if not isinstance(values, list):
        raise Unreadable(f"{path.name}: not a list of records")
    return [_record(path.stem, at, value) for at, value in enumerate(values)]


def _record(stem: str, at: int, value: Any) -> Record:
    record = Record(f"{stem}/{at}", SUITE, stem, "")
    if not isinstance(value, dict):
        return record.defective(f"no record: a {type(value).__name__}")
    texts = {key: value.get(key) for key in ("op_name", "c_code", "cuda_code", "ir_code")}
    wrong = [k for k, v in texts.items() if not isinstance(v, str) and not (k == "ir_code" and v is None)]
    if wrong:
        return record.defective(f"{', '.join(wrong)}: a text is missing")
    long = [k for k, v in texts.items() if v and len(v) > MOST_SOURCE]
    if isinstance(value.get("launches"), list) and isinstance(value.get("buffers"), list):
        return _exported(record, value, str(texts["ir_code"]))
    inputs, outputs = _shapes(value.get("input_shape")), _shapes(value.get("output_shape"))
    attributes = json.dumps(value.get("op_args"))[:2000]
    record = Record(
        record.id, SUITE, stem, str(texts["op_name"])[:200], cuda=str(texts["cuda_code"])[:MOST_SOURCE],
        c_code=str(texts["c_code"])[:MOST_SOURCE],
        attributes=attributes, topology=_topology(value.get("op_args")), declared=(inputs or (), outputs or ()),
    )  # fmt: skip
    if long:
        return record.defective(f"{', '.join(long)}: longer than {MOST_SOURCE} characters")
    if inputs is None or outputs is None:
        return record.defective("its input_shape or output_shape is no list of shapes")
    return _with_arguments(record, texts["ir_code"] or "", inputs, outputs)


def _exported(record: Record, value: dict, graph: str) -> Record:
    """A pair of a data set of ours, which states its launches and buffers beside the published keys."""
    inputs, outputs = value.get("input_name"), value.get("output_name")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        return record.defective("its input_name or output_name is no list")
    named = replace(record, operator=str(value["op_name"])[:200])
    return of_pair(named, graph, value["cuda_code"], value["c_code"], [*inputs, *outputs], value["launches"], value["buffers"])


def _shapes(value: Any) -> Shapes | None:
    if not isinstance(value, list):
        return None
    for shape in value:
        if not isinstance(shape, list) or not all(type(n) is int and 0 < n <= _MOST_ELEMENTS for n in shape):
            return None
        if math.prod(shape) > _MOST_ELEMENTS:
            return None
    return tuple(tuple(shape) for shape in value)


def _topology(value: Any) -> tuple[str, ...]:
    names = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) else []
    return tuple(str(n)[:60] for n in names) if all(isinstance(n, str) for n in names) else ()


def _with_arguments(record: Record, ir: str, inputs: Shapes, outputs: Shapes) -> Record:
    function = entry_of(record.c_code)
    if function is None:
        return record.defective("its C side defines no function")
    if any(not p.pointer or p.dtype not in STORAGE for p in function.parameters):
        return record.defective("its C side takes an argument that is no array of numbers")
    typed = {name: (shape, dtype) for name, shape, dtype in _buffers(ir)}
    written = stored(record.c_code, function)
    shapes = _shapes_of(function, written, typed, inputs, outputs)
    if shapes is None:
        return record.defective("the shapes of its arguments cannot be told")
    arguments = tuple(
        Argument(p.name, "output" if p.name in written else "input", "tensor", p.dtype, shape)
        for p, shape in zip(function.parameters, shapes)
    )
    if not written:
        return record.defective("its C side writes no output")
    order = [n for n in typed] if typed else [p.name for p in function.parameters]
    return Record(
        **{
            **vars(record),
            "entry": function.name,
            "arguments": arguments,
            "published_inputs": _published(arguments, order, inputs),
        }
    )


def _buffers(ir: str) -> list[tuple[str, tuple[int, ...], str]]:
    """(name, shape, dtype) of the parameters of the IR's function, in its order."""
    head = re.search(r"def\s+main\s*\((.*?)\)\s*(?:->[^:]*)?:\s*\n", ir, re.S)
    found = _BUFFER.findall(head[1]) if head else []
    return [(name, tuple(int(n) for n in shape.split(",") if n.strip()), dtype or "float32") for name, shape, dtype in found]


def _shapes_of(function: CFunction, written: set[str], typed: dict, inputs: Shapes, outputs: Shapes) -> list[tuple[int, ...]] | None:
    """Each parameter's shape: by its name in the IR, else by position among what the record declares."""
    left = {False: list(inputs), True: list(outputs)}
    made: list[tuple[int, ...]] = []
    for p in function.parameters:
        known = typed.get(p.name)
        if known is not None:
            made.append(known[0])
            continue
        side = left[p.name in written]
        named = {n for n, _ in ((q.name, 0) for q in function.parameters) if n in typed}
        if not side or named:
            return None
        made.append(side.pop(0))
    return made if all(math.prod(s) <= _MOST_ELEMENTS for s in made) else None


def _published(arguments: Sequence[Argument], order: Sequence[str], inputs: Shapes) -> tuple[int, ...]:
    """For each declared input the argument that receives it, -1 where the C side takes none such."""
    positions = [i for name in order for i, a in enumerate(arguments) if a.name == name and a.role == "input"]
    found = []
    for shape in inputs:
        match = next((i for i in positions if arguments[i].shape == shape), None)
        found.append(-1 if match is None else match)
        if match is not None:
            positions.remove(match)
    return tuple(found)
