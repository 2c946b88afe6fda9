"""Rows in HPCTransEval's schema: a row comes in, a record with exactly the published keys goes out, and what the schema has no place for.

As published, the C side is plain C `void default_function_kernel(outputs .., inputs ..)`, and kernels are `default_function_kernel[_N]`, N in launch
order, whose parameters have the names of the arrays that they are bound to. Launches (grid, block, shared bytes, arguments) go to a
file beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .c_side import ENTRY

NAME = "default_function_kernel"
_HEAD = re.compile(r"__global__[^;{]*?\b(\w+)\s*\(([^{;]*?)\)\s*\{", re.DOTALL)


@dataclass(frozen=True)
class KernelText:
    """A `__global__` function: its name, the names of its parameters, its text from the line where it begins."""

    name: str
    params: tuple[str, ...]
    text: str


def published(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of an unpacked row; None where plain C cannot hold it (half, double)."""
    if not row["c_plain"]:
        return None
    inputs, outputs = ([b for b in _arrays(row) if b["role"] == role] for role in ("input", "output"))
    operators = row["operators"]
    record = {
        "op_name": operators[0] if len(operators) == 1 else "topology_expansion", "c_code": _c_code(row), "cuda_code": _cuda_code(row), "ir_code": row["graph"],
        "op_args": "None" if len(operators) == 1 else [list(operators)],
        "input_shape": [b["shape"] for b in inputs], "output_shape": [b["shape"] for b in outputs],
    }  # fmt: skip
    if len(operators) == 1:
        names = _names(row)
        record |= {"input_name": [names[b["name"]] for b in inputs], "output_name": [names[b["name"]] for b in outputs]}
    return record


def beside(row: Mapping[str, Any], position: int) -> dict[str, Any]:
    """What the schema has no place for: launches and buffers of the record at `position`, under the names that it uses."""
    names = _names(row)
    launches = [
        {**x, "kernel": _kernel(n), "args": list(dict.fromkeys(names[a] for a in x["args"]))} for n, x in enumerate(row["cuda_launches"])
    ]
    return {"position": position, "id": row["id"], "launches": launches, "buffers": [{**b, "name": names[b["name"]]} for b in row["buffers"]]}


def _arrays(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Inputs and outputs in the order of the C entry."""
    known = {b["name"]: b for b in row["buffers"]}
    return [known[a["name"]] for a in row["c_args"]]


def _names(row: Mapping[str, Any]) -> dict[str, str]:
    """Buffer -> its published name: compute, compute_1 .., ph, ph_1 .., temp, temp_1 ..."""
    made: dict[str, str] = {}
    order = [*_arrays(row), *(b for b in row["buffers"] if b["role"] == "temporary")]
    for role, word in (("output", "compute"), ("input", "ph"), ("temporary", "temp")):
        for n, b in enumerate(b for b in order if b["role"] == role):
            made[b["name"]] = f"{word}_{n}" if n else word
    return made


def _kernel(number: int) -> str:
    return f"{NAME}_{number}" if number else NAME


def _c_code(row: Mapping[str, Any]) -> str:
    names = _names(row)
    start = row["c_plain"].index(f"void {ENTRY}(")
    prelude, function = row["c_plain"][:start], row["c_plain"][start:]
    head, body = function.split("{", 1)
    params = {re.findall(r"\w+", p)[-1]: p.strip() for p in head[head.index("(") + 1 : head.rindex(")")].split(",")}
    ordered = [params[b["name"]] for role in ("output", "input") for b in _arrays(row) if b["role"] == role]
    return prelude + renamed(f"void {NAME}({', '.join(ordered)}) {{{body}", names)


def _cuda_code(row: Mapping[str, Any]) -> str:
    names = _names(row)
    head, kernels = split_kernels(row["cuda_source"])
    texts = [head.rstrip()] if head.strip() else []
    for n, x in enumerate(row["cuda_launches"]):
        k = kernels[x["kernel"]]
        text = renamed(k.text, {k.name: _kernel(n), **dict(zip(k.params, (names[a] for a in x["args"])))})
        texts.append(_once(text, [names[a] for a in x["args"]]).rstrip())
    return "\n\n".join(texts) + "\n"


def _once(text: str, args: list[str]) -> str:
    """A buffer that is bound to two parameters is one."""
    if len(set(args)) == len(args):
        return text
    start = text.index("(", text.index(NAME))
    stop = text.index(")", start)
    params = dict(zip(reversed(args), reversed(text[start + 1 : stop].split(","))))
    return text[: start + 1] + ",".join(params[a] for a in dict.fromkeys(args)) + text[stop:]


def split_kernels(source: str) -> tuple[str, dict[str, KernelText]]:
    """What stands before the first kernel, and the kernels by name."""
    blank = re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), source, flags=re.DOTALL)
    found = list(_HEAD.finditer(re.sub(r"__launch_bounds__\([\w, ]+\)", lambda m: " " * len(m[0]), blank)))
    starts = [blank.rfind("\n", 0, m.start()) + 1 for m in found]
    kernels = {}
    for m, start, stop in zip(found, starts, [*starts[1:], len(source)]):
        params = tuple(re.findall(r"\w+", p)[-1] for p in m[2].split(",") if p.strip())
        kernels[m[1]] = KernelText(m[1], params, source[start:stop])
    return source[: starts[0]] if starts else source, kernels


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Whole words replaced, all at once; a name of the text that stands in the way moves aside."""
    changed = {a: b for a, b in names.items() if a != b}
    taken = set(re.findall(r"\w+", text))
    for word in sorted(set(changed.values()) & taken - set(names)):
        changed[word] = next(w for k in range(2, 1000) if (w := f"{word}_of_{k}") not in taken)
    if not changed:
        return text
    return re.sub(r"(?<![.\w])(" + "|".join(map(re.escape, changed)) + r")\b", lambda m: changed[m[1]], text)

