"""What a model wrote comes in, the code to judge goes out, with a note of what was done to find it.

Accepted: fences of any kind and language, unclosed ones, tags (<cpu>), several blocks, prose around, code without any fence, code in a
JSON string, thoughts before the answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ...evaluation.suites.c_source import CFunction, functions
from ...evaluation.suites.record import Record

MOST_ANSWER = 4 << 20
MOST_CODE = 512 << 10
_THOUGHT = re.compile(r"<(think|thinking|reasoning|scratchpad)>", re.I)
_FENCE = re.compile(r"^[ \t>]*(?P<mark>`{3,60}|~{3,60})[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n(?P<code>.*?)(?:^[ \t>]*(?P=mark)[ \t]*$|\Z)", re.S | re.M)
_TAG = re.compile(r"<(cpu|cpp|c|c\+\+|code|answer)>", re.I)
_CODE_LINE = re.compile(r"^[ \t]*(#[ \t]*(include|define|pragma)\b|extern[ \t]+\"C\"|((static|inline)\s{1,9}){0,3}(void|float|double|int|auto|template)\b[\w\s*<>,&]{0,300}\()", re.M)
_FOREIGN = re.compile(r"__global__|<<<")


@dataclass(frozen=True)
class Extracted:
    """`code` is "" where none was found; `notes` say what was done."""

    code: str
    notes: tuple[str, ...] = ()


def extract(text: str, record: Record) -> Extracted:
    """The code of an answer to a record."""
    notes: list[str] = []
    text = text[:MOST_ANSWER].replace("\r\n", "\n")
    thoughts = _between(_THOUGHT, text)
    if thoughts:
        ends = [0, *(end for _, end, _ in thoughts)]
        text = "".join(text[a:b] for a, b in zip(ends, [*(start for start, _, _ in thoughts), len(text)]))
        notes.append("thoughts left out")
    blocks = _blocks(text, notes)
    if not blocks:
        return Extracted("", (*notes, "no code in the answer"))
    code = _chosen(blocks, record, notes)
    if len(code) > MOST_CODE:
        return Extracted("", (*notes, f"{len(code)} characters of code, at most {MOST_CODE} are compiled"))
    return Extracted(code, tuple(notes))


def _blocks(text: str, notes: list[str]) -> list[str]:
    fenced = [m["code"] for m in _FENCE.finditer(text) if m["code"].strip()]
    if fenced:
        if not re.search(r"^[ \t>]*(`{3,}|~{3,})[ \t]*\Z", text.rstrip(), re.M) and text.count("```") % 2:
            notes.append("the last fence is not closed")
        return fenced
    tagged = [inside for _, _, inside in _between(_TAG, text) if inside.strip()]
    if tagged:
        notes.append("taken from tags")
        return tagged
    packed = _from_json(text)
    if packed:
        notes.append("taken from JSON")
        return _blocks(packed, notes) if "```" in packed else [packed]
    bare = _without_prose(text)
    if bare:
        notes.append("no fence: from the first line of code on")
        return [bare]
    return []


def _between(opening: re.Pattern, text: str) -> list[tuple[int, int, str]]:
    """(start, end, what is inside) of each element that is opened and closed, in one pass over the text."""
    found, at, low, unclosed = [], 0, text.lower(), set()
    while match := opening.search(text, at):
        at, closing = match.end(), f"</{match[1].lower()}>"
        end = -1 if closing in unclosed else low.find(closing, at)
        if end < 0:
            unclosed.add(closing)
            continue
        found.append((match.start(), end + len(closing), text[at:end]))
        at = end + len(closing)
    return found


def _from_json(text: str) -> str:
    stripped = text.strip()
    if not stripped.startswith("{"):
        return ""
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return ""
    named = [v for k, v in value.items() if isinstance(v, str) and k.lower() in {"code", "answer", "c_code", "cpp", "cpu_code", "solution"}]
    return named[0] if named else ""


def _without_prose(text: str) -> str:
    """From the first line that is code to the last closing brace."""
    first = _CODE_LINE.search(text)
    last = text.rfind("}")
    return text[first.start() : last + 1].lstrip("\n") + "\n" if first and last > first.start() else ""


def _chosen(blocks: list[str], record: Record, notes: list[str]) -> str:
    """The last block that defines the entry, else the last that defines a function; with what else it needs from other blocks."""
    defined = [functions(b) for b in blocks]
    fits = [i for i, f in enumerate(defined) if _is_answer(blocks[i], f, record)]
    some = [i for i, f in enumerate(defined) if f]
    at = (fits or some or [len(blocks) - 1])[-1]
    if len(blocks) > 1:
        notes.append(f"block {at + 1} of {len(blocks)}")
    mine = {f.name for f in defined[at]}
    needed = [
        i
        for i, found in enumerate(defined)
        if i < at and i not in fits and not _FOREIGN.search(blocks[i]) and any(_calls(blocks[at], f, mine) for f in found)
    ]
    if needed:
        notes.append("with the functions it calls from other blocks")
    return "\n".join([*(blocks[i] for i in needed), blocks[at]])


def _is_answer(block: str, found: list[CFunction], record: Record) -> bool:
    if _FOREIGN.search(block):
        return False
    if record.form == "extension" and ("PYBIND11_MODULE" in block or "TORCH_LIBRARY" in block):
        return True
    wanted = len(record.arguments)
    return any(f.name == record.entry or (wanted and f.pointers == wanted) for f in found)


def _calls(block: str, function: CFunction, mine: set[str]) -> bool:
    return function.name not in mine and bool(re.search(rf"\b{re.escape(function.name)}\s*\(", block))
