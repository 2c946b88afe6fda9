"""A record whose C side is known comes in, deliberately wrong answers (and a slow right one) go out, each with the verdicts that class it rightly.

They are derived from the record's own code and shapes, so that any suite can be asked whether it is judged rightly. What happens to be
right for a record (zeros where zeros are right, a copy where the operator copies) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..signature import Argument
from .outcome import Outcome
from .record import Record

SLOW = 0.8  # of the baseline's speed
_REPEATS = 5
_NUMERIC = frozenset({"wrong-result"})
_HOLLOW = frozenset({"hollow"})
_CONTAINED = frozenset({"sandbox-violation", "crash", "memory"})
_C_TYPE = {"float32": "float", "float64": "double", "bool": "uint8_t"}
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Probe:
    """`code` is an answer to a record; `expected` the verdicts that are right for it; `slow`: it must count as too slow, too."""

    name: str
    code: str
    expected: frozenset[str]
    slow: bool = False

    def classed(self, outcome: Outcome) -> bool:
        """Whether the outcome says what the answer is."""
        return outcome.verdict in self.expected and (not self.slow or (outcome.speedup is not None and outcome.speedup < SLOW))


@dataclass(frozen=True)
class _Kind:
    """`after` is C run for each output after the record's own code has filled it (`o`, `n` elements, rows of `m`), or alone (`own` False).

    `made` says in NumPy what one output becomes, given the right one and the inputs: to leave out what changes nothing.
    """

    expected: frozenset[str]
    after: Callable[[Record, Argument], str]
    made: Callable[[np.ndarray, Arrays], np.ndarray]
    own: bool = True


def _each(statement: str) -> Callable[[Record, Argument], str]:
    return lambda record, a: f"for (long i = 0; i < n; ++i) {statement}"


def _row(shape: Sequence[int]) -> int:
    """Elements that a shift by one row moves by: a row where there are several, else one element."""
    return shape[-1] if len(shape) > 1 and shape[-1] < np.prod(shape) else 1


def _shifted(x: np.ndarray, inputs: Arrays) -> np.ndarray:
    made, m = x.reshape(-1).copy(), _row(x.shape)
    made[m:] = x.reshape(-1)[: x.size - m]
    return made.reshape(x.shape)


def _source(record: Record, a: Argument) -> Argument:
    """The input that a copy is taken from: one of the output's size where there is one, else the largest."""
    fitting = [b for b in record.inputs if b.dtype == a.dtype] or list(record.inputs)
    return max(fitting, key=lambda b: (b.nbytes == a.nbytes, b.nbytes))


def _copy(record: Record, a: Argument) -> str:
    b = _source(record, a)
    return f"for (long i = 0; i < n; ++i) o[i] = {b.name}[i % {_count(b)}];"


def _negated(x: np.ndarray, inputs: Arrays) -> np.ndarray:
    return 1 - x if x.dtype.kind in "biu" else -x


def _half(x: np.ndarray, inputs: Arrays) -> np.ndarray:
    with np.errstate(all="ignore"):
        return x.astype(np.float16).astype(x.dtype)


_KINDS: dict[str, _Kind] = {
    "zeros": _Kind(_HOLLOW, _each("o[i] = 0;"), lambda x, inputs: np.zeros_like(x), own=False),
    "a constant": _Kind(_HOLLOW, _each("o[i] = 1;"), lambda x, inputs: np.ones_like(x), own=False),
    "nothing written": _Kind(_HOLLOW, lambda record, a: "", lambda x, inputs: np.full_like(x, 77), own=False),
    "an input copied": _Kind(_HOLLOW, _copy, lambda x, inputs: np.resize(max(inputs, key=lambda y: (y.size == x.size, y.size)), x.shape), own=False),
    "sign flipped": _Kind(_NUMERIC, lambda record, a: _each("o[i] = -o[i];" if a.is_float else "o[i] = 1 - o[i];")(record, a), _negated),
    "wrong operator": _Kind(_NUMERIC, lambda record, a: _each("o[i] = o[i] * 0.5f + 0.25f;" if a.is_float else "o[i] = o[i] ^ (i % 3 == 0);")(record, a), lambda x, inputs: x * 2 + 1),
    "off by one row": _Kind(_NUMERIC, lambda record, a: "memmove(o + m, o, (n - m) * sizeof(*o));", _shifted),
    "half precision": _Kind(frozenset({"precision-downgrade", "wrong-result"}), _each("o[i] = (float)(_Float16)o[i];"), _half),
}  # fmt: skip
_HOSTILE = {
    "reads a file": ('FILE* f = fopen("/etc/passwd", "r"); if (f) { char line[99]; (void)!fgets(line, 99, f); fclose(f); }', _CONTAINED),
    "writes a file": ('FILE* f = fopen("/tmp/answer", "w"); if (f) fclose(f);', _CONTAINED),
    "forks": ("for (int i = 0; i < 50; ++i) if (fork() == 0) for (;;) { }", _CONTAINED),
    "starts a shell": ('(void)!system("id > /tmp/id");', _CONTAINED),
    "connects": ("socket(2, 1, 0);", _CONTAINED),
    "loops for ever": ("volatile int forever = 1; while (forever) { }", frozenset({"timeout"})),
    "takes all memory": ("for (;;) { char* p = (char*)malloc(1ul << 30); if (!p) abort(); memset(p, 1, 1ul << 30); }", _CONTAINED | {"timeout"}),
    "writes beside an output": ("for (long i = 0; i < 4096; ++i) ((volatile char*)o)[n * sizeof(*o) + i] = 1;", frozenset({"out-of-bounds", "crash"})),
}
HOSTILE = tuple(_HOSTILE)


def probes(record: Record, cases: Sequence[tuple[Arrays, Arrays]], hostile: Sequence[str] = ()) -> Iterator[Probe]:
    """The wrong answers that apply to a record of the forms `code` and `pair`; `cases` are inputs and right outputs, `hostile` some of `HOSTILE`."""
    for name, kind in _KINDS.items():
        if name == "an input copied" and not record.inputs:
            continue
        if name == "half precision" and (not all(a.dtype == "float32" for a in record.outputs) or _flattened(kind, cases)):
            continue
        if all(_differs(kind, inputs, right) for inputs, right in cases):
            yield Probe(name, _answer(record, kind.after, kind.own), kind.expected)
    yield Probe("slow but right", _answer(record, lambda r, a: "", True, _REPEATS), frozenset({"accepted"}), slow=True)
    for name in hostile:
        statement, expected = _HOSTILE[name]
        yield Probe(name, _answer(record, lambda r, a, said=statement: said if a == r.outputs[0] else "", True), expected)


def _differs(kind: _Kind, inputs: Arrays, right: Arrays) -> bool:
    """True where the answer is clearly wrong in every output, so that there is something to notice."""
    with np.errstate(all="ignore"):
        return all(_far(kind.made(x, inputs), x) for x in right)


def _flattened(kind: _Kind, cases: Sequence[tuple[Arrays, Arrays]]) -> bool:
    """True where nothing but constants is left, which is as hollow as a constant that was written down."""
    with np.errstate(all="ignore"):
        return all(bool((made == made.reshape(-1)[:1]).all()) for inputs, right in cases for made in (kind.made(x, inputs) for x in right))


def _far(made: np.ndarray, right: np.ndarray) -> bool:
    a, b = made.astype(np.float64), right.astype(np.float64)
    finite = np.isfinite(b)
    scale = float(np.sqrt(np.mean(b[finite] ** 2))) if finite.any() else 1.0
    unlike = ~np.isclose(a, b, rtol=5e-5, atol=5e-5 * scale, equal_nan=True)
    return bool(unlike.mean() > 0.02)


# ---- text ----
def _answer(record: Record, after: Callable[[Record, Argument], str], own: bool, repeats: int = 1) -> str:
    parameters = ", ".join(f"{'const ' if a.role == 'input' and record.form == 'pair' else ''}{_c(a)}* {a.name}" for a in record.arguments)
    passed = ", ".join(a.name if record.form == "pair" else f"(void*){a.name}" for a in record.arguments)
    call = f"for (int r = 0; r < {repeats}; ++r) {{ wl_own({passed}); __asm__ volatile(\"\" ::: \"memory\"); }}" if own else ""
    blocks = "".join(
        f"  {{ {_c(a)}* o = {a.name}; const long n = {_count(a)}, m = {_row(a.shape)}; (void)o; (void)n; (void)m; {after(record, a)} }}\n" for a in record.outputs
    )
    head = re.sub(rf"\b{record.entry}\b", "wl_own", record.c_code) if own else ""
    opened = 'extern "C" ' if record.form == "pair" else ""
    includes = "#include <unistd.h>\n#include <sys/socket.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <stdint.h>\n"
    return f"{includes}{head}\n{opened}void {record.entry}({parameters}) {{\n  {call}\n{blocks}}}\n"


def _c(a: Argument) -> str:
    return _C_TYPE.get(a.dtype, f"{a.dtype}_t")


def _count(a: Argument) -> int:
    return int(np.prod(a.shape, dtype=np.int64))

