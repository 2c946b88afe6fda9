"""A record's C code comes in, a reference for the judge goes out: exact values, what honest float32 may be off, and a baseline to race.

The C text is built twice, both for the sandbox: as it is, for float32 values and times, and with a number class in the place of `float`
(`oracle.h`), which carries double and can add an error of float32's size after each operation. Where the class does not
take the text, float32 values are the truth; there, and where that error takes long to compute, inputs moved by one ulp say how far off is honest.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from .. import families, native
from ..build import Library, NotBuilt
from ..contained import Contained, Ended
from ..cost import Calls, Cost
from ..reference import WEAKER, CaseFiles, Description, Expected, tolerance_of
from ..signature import Argument, Signature
from ..timing import mean_seconds, net
from ..verdict import CannotJudge
from .answer import unit_of
from .builds import Builds
from .draws import OWN, integers
from .record import Record

UNIT = 2.0**-24
HEAVY_S = 0.02
NOISE_S = 0.1  # above this, errors of float32's size come from float32 itself on inputs moved by one ulp
_PUN = re.compile(r"\*\s*\(\s*float\s*\*\s*\)\s*(\(\s*&\s*\(?\s*(\w+)\s*\)?\s*\)|&\s*(\w+))")
_CONTROL = Argument("control", "input", "tensor", "int64", (4,))
_DOUBT = Argument("doubtful", "output", "tensor", "int64", (1,))
_C_TYPE = {"float32": "float", "float64": "double", "bool": "uint8_t"}


class CodeReference:
    """Answers what the judge asks of a reference (see `host.ReferenceProcess`) from a record's C code. `close` ends its processes."""

    def __init__(self, record: Record, builds: Builds, threads: int, folder: str):
        """Builds the C side. Raises `CannotJudge` where it does not compile, crashes or hangs, and `NoEntry`."""
        self.record, self.builds, self.sandbox = record, builds, builds.sandbox
        self.threads, self.folder = threads, folder
        self.signature = Signature(record.arguments)
        self.cases: dict[str, list[np.ndarray]] = {}
        self.notes: list[str] = []
        self._answers: deque = deque()
        self._racing: Contained | None = None
        self._raced_on = threads
        self.dear = False  # whether an error after each operation takes too long
        self.doubtful = False  # whether the last exact run compared a NaN with something
        unit = unit_of(record.c_code, record, "c")
        self.plain = self._built(unit.text, "c")
        self._single = self._start(self.plain, self.signature, 1)
        self.exact_library = self._oracle_library()
        self._oracle = self._start(self.exact_library, self._oracle_signature(), 1) if self.exact_library else None
        self.own = self._choose_own()

    # ---- building and running ----
    def _built(self, source: str, language: str) -> Library:
        try:
            return self.builds.own_library(source, language)
        except NotBuilt as error:
            raise CannotJudge(f"its C side does not compile: {error.finding.message}") from None

    def _oracle_library(self) -> Library | None:
        if "float" not in {_C_TYPE.get(a.dtype) for a in self.record.arguments}:
            return None
        try:
            return self.builds.own_library(_oracle_source(self.record), "c++", "-O1 -Wno-narrowing -ftls-model=initial-exec")
        except NotBuilt as error:
            self.notes.append(f"exact values are float32's own: {error.finding.message[:160]}")
            return None

    def _oracle_signature(self) -> Signature:
        wide = [
            Argument(a.name, "output", "tensor", "float64" if a.is_float else a.dtype, a.shape)
            for a in self.signature.of("output")
        ]
        return Signature((_CONTROL, *self.signature.of("input"), *wide, _DOUBT))

    def _start(self, library: Library, signature: Signature, slots: int, threads: int = 0) -> Contained:
        nothing = (None,) * len(signature.arguments)
        try:
            return native.start(library, "", signature, nothing, slots, threads or self.threads, self.sandbox)
        except Ended as end:
            raise CannotJudge(f"its C side does not load: {end.finding.message}") from None

    def _run(self, contained: Contained, signature: Signature, inputs: Sequence[np.ndarray], fill: float = 0.0) -> list[np.ndarray]:
        """One call on the slot 0; outputs hold `fill` before. Raises `CannotJudge`."""
        values, outputs = iter(inputs), []
        for buffer, argument in zip(contained.arena.layout.slots[0], signature.arguments):
            view = contained.arena.view(buffer, argument.storage, argument.shape)
            if argument.role == "output":
                view[...] = fill
                outputs.append(view)
            else:
                view[...] = next(values).reshape(argument.shape)
        try:
            contained.run(0, 1, 60.0)
        except Ended as end:
            raise CannotJudge(f"its C side fails: {end.finding.code}, {end.finding.message}") from None
        return [v.copy() for v in outputs]

    def single(self, inputs: Sequence[np.ndarray], fill: float = 0.0) -> list[np.ndarray]:
        """What the C code itself gives."""
        return self._run(self._single, self.signature, inputs, fill)

    def exact(self, inputs: Sequence[np.ndarray], noisy: int = 0) -> list[np.ndarray]:
        """The outputs in double; with `noisy` (a seed) an error of float32's size follows each operation."""
        if self._oracle is None or (noisy and self.dear):
            moved = [_jostled(x, noisy) if noisy else x for x in inputs]
            return [o.astype(np.float64) if o.dtype.kind == "f" else o for o in self.single(moved)]
        control = np.array([noisy != 0, noisy, 0, 0], np.int64)
        *outputs, doubt = self._run(self._oracle, self._oracle_signature(), [control, *inputs])
        self.doubtful = bool(doubt[0])
        return outputs

    def restart(self) -> None:
        """A new process for the C code as it is, after inputs that ended it."""
        self._single.close()
        self._single = self._start(self.plain, self.signature, 1)

    def mean_seconds(self, inputs: Sequence[np.ndarray], runs: int, most_s: float) -> float:
        """The mean of repeated runs on one set of inputs, after one that is not counted."""
        self.single(inputs)
        return mean_seconds(self._single, runs, most_s)

    def close(self) -> None:
        """Ends every process of the record's code."""
        for contained in (self._single, self._oracle, self._racing):
            if contained:
                contained.close()

    # ---- inputs ----
    def _choose_own(self) -> str:
        """The distribution that says most: fewest NaNs, fewest constant outputs, else the benchmark's own."""
        scored = []
        for number, name in enumerate(OWN):
            try:
                outputs = self.single(inputs := self._draw(OWN[name], 11))
                self.doubtful = False
                self.exact(inputs)
            except CannotJudge:
                self.restart()
                continue
            floats = [o for o in outputs if o.dtype.kind == "f"]
            lost = [float((~np.isfinite(o)).mean()) for o in floats if o.size]
            flat = [o.size > 1 and bool((o == o.reshape(-1)[0]).all() or not np.isfinite(o).any()) for o in outputs]
            zero = [o.size == 1 and float(o.reshape(-1)[0]) == 0 for o in floats]
            scored.append((round(sum(lost), 2) + sum(flat) + sum(zero) + 0.5 * self.doubtful, number, name))
            if scored[-1][0] == 0:
                break  # none can say more
        if not scored:
            raise CannotJudge("its C side fails on every kind of inputs tried")
        return min(scored)[2]

    def _draw(self, draw, seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [
            np.ascontiguousarray(np.array(draw(rng, a.shape)).astype(a.storage))
            if a.is_float
            else integers(rng, a, self.record.inputs)
            for a in self.signature.of("input")
        ]

    def inputs_of(self, name: str, seed: int) -> list[np.ndarray]:
        """Inputs of one kind of `draws.OWN`."""
        return self._draw(OWN[name], seed)

    def _values(self, family: str, seed: int) -> list[np.ndarray]:
        name = family.partition(":")[0]
        if name in {"touch", "few"}:
            return self._touched(family, seed)
        if name == "own":
            return self._draw(OWN[self.own], seed)
        return self._draw(OWN[name] if name in OWN else families.BY_NAME[name].draw, seed)

    def _touched(self, family: str, seed: int) -> list[np.ndarray]:
        kind, _, number = family.partition(":")
        own, rng, odd = self._draw(OWN[self.own], seed), np.random.default_rng([seed, int(number)]), int(number) % 2
        free = [i for i, a in enumerate(self.signature.of("input")) if a.is_float]
        for i in free:
            changed = (
                families.touched_inside(rng, own[i])
                if family == "touch:0"
                else families.touched(rng, own[i], 1 if odd else 12)
                if kind == "touch"
                else families.few(rng, own[i], 64 if odd else 6, True)
            )
            own[i] = np.ascontiguousarray(changed.astype(own[i].dtype))
        return own

    def _families(self) -> list[str]:
        if not any(a.is_float for a in self.signature.of("input")):
            return ["own"]
        return ["own", "own", *(n for n in OWN if n != self.own), *families.BY_NAME]

    # ---- what the judge asks ----
    def describe(self) -> Description:
        """What the judge needs to know before the first case; what an earlier verdict asked for is forgotten."""
        self.cases.clear()
        self._answers.clear()
        inputs = self._draw(OWN[self.own], 12)
        self.single(inputs)
        started = time.perf_counter()
        self.single(inputs)
        self.seconds = time.perf_counter() - started
        self.dear = self.seconds > NOISE_S
        if self._oracle is not None and not self.dear:
            started = time.perf_counter()
            self.exact(inputs, 13)
            self.dear = time.perf_counter() - started > NOISE_S
        least = sum(a.nbytes for a in self.signature.of("output"))  # of inputs it may need a part only
        return Description(
            self.signature, Cost(least, 0, 0), Calls((), ()), self.seconds, tuple(self._families()), (),
            (None,) * len(self.signature.arguments), tuple(self.notes),
        )  # fmt: skip

    def call(self, method: str, *args, timeout: float = 60.0):
        """The result of `self.METHOD(*args)`."""
        self._answers.clear()
        return getattr(self, method)(*args)

    def send(self, method: str, *args) -> None:
        """Notes a call; `receive` carries it out."""
        self._answers.append((method, args))

    def receive(self, method: str, timeout: float = 60.0):
        """The result of the call noted first."""
        name, args = self._answers.popleft()
        return getattr(self, name)(*args)

    def case(self, key: str, family: str, seed: int, draws: int) -> CaseFiles | str:
        """One case; a string says why the family does not apply."""
        started = time.perf_counter()
        inputs = self._values(family, seed)
        single, exact = self.single(inputs), self.exact(inputs)
        doubtful = self.doubtful
        if not family.startswith("own"):
            lost = [float((~np.isfinite(o)).mean()) for o in exact if o.dtype.kind == "f" and o.size]
            if doubtful or (lost and max(lost) > 0.2):
                return f"{family}: outside of the operator's domain"
        draws = draws if self.seconds < HEAVY_S else 1
        noisy = [self.exact(inputs, seed * 31 + n + 1) for n in range(draws)]
        self.cases[key] = inputs
        with _one_thread():
            expected = [self._expected(key, i, *e) for i, e in enumerate(zip(exact, single, zip(*noisy)))]
        arrays = tuple(self._save(f"{key}-in{i}", x) for i, x in enumerate(inputs))
        return CaseFiles(family, arrays, (None,) * len(arrays), tuple(expected), time.perf_counter() - started)

    def _expected(self, key: str, at: int, exact: np.ndarray, single: np.ndarray, noisy: tuple[np.ndarray, ...]) -> Expected:
        unsettled = np.isnan(exact.astype(np.float64)) != np.isnan(single.astype(np.float64))
        if exact.dtype.kind == "f":
            moved = np.zeros(exact.shape)
            with np.errstate(all="ignore"):
                for other in noisy:
                    shift = np.where(np.isfinite(exact), np.abs(other - exact), 0.0)
                    moved = np.maximum(moved, np.nan_to_num(shift, nan=np.inf, posinf=np.inf))
            value, eager, shift = (torch.from_numpy(np.ascontiguousarray(x)) for x in (exact, single, moved))
            tolerance = tolerance_of(value, eager, shift, UNIT).numpy()
        else:
            unsettled |= np.any([other != exact for other in noisy], axis=0) | (exact != single)
            tolerance = np.full(exact.shape, 1e-9)
        tolerance = np.where(unsettled, np.inf, tolerance)
        return Expected(
            self._save(f"{key}-v{at}", exact.astype(np.float64)),
            self._save(f"{key}-t{at}", tolerance.astype(np.float64)),
            self._save(f"{key}-e{at}", single),
            bool(np.isnan(exact.astype(np.float64)).any()),
        )

    def _save(self, name: str, array: np.ndarray) -> str:
        path = os.path.join(self.folder, f"{name}.npy")
        np.save(path, array)
        return path

    def moved_by(self, key: str, changes: list[tuple[int, int, float]]) -> list[tuple[str, ...]]:
        """For each single change (input, flat index, new value), as far as time allows: how far each output moves."""
        inputs, started, made = self.cases[key], time.perf_counter(), []
        before = self.exact(inputs)
        for n, (which, at, value) in enumerate(changes):
            if made and time.perf_counter() - started > 2.0:
                break
            changed = [x.copy() if i == which else x for i, x in enumerate(inputs)]
            changed[which].reshape(-1)[at] = value
            with np.errstate(all="ignore"):
                moves = [
                    np.abs(a.astype(np.float64) - b.astype(np.float64)) for a, b in zip(self.exact(changed), before)
                ]
            made.append(tuple(self._save(f"{key}-d{n}-{i}", m) for i, m in enumerate(moves)))
        return made

    def weaker(self, key: str) -> dict[str, tuple[str, ...]]:
        """The exact outputs of a case whose inputs are rounded to weaker types."""
        made = {}
        for number, (name, low) in enumerate(WEAKER.items()):
            rounded = [low(torch.from_numpy(x)).numpy() if x.dtype == np.float32 else x for x in self.cases[key]]
            made[name] = tuple(
                self._save(f"{key}-{number}-{i}", o.astype(np.float64)) for i, o in enumerate(self.exact(rounded))
            )
        return made

    def prepare_timing(self, key: str, threads: int) -> int:
        """The process that is timed has so many threads."""
        if self._racing and self._raced_on != threads:
            self._racing.close()
            self._racing = None
        self._raced_on = threads
        return 0

    def time(self, keys: list[str], repeats: int, wake: bool) -> float:
        """Seconds that the C code takes on these cases, one slot each and `repeats` times over, without the way there and back.

        `wake`: one call comes just before, after which its threads are awake, as the candidate's are.
        """
        if not keys:
            return 0.0
        if self._racing is None or len(self._racing.arena.layout.slots) < len(keys):
            if self._racing:
                self._racing.close()
            self._racing = self._start(self.plain, self.signature, len(keys), self._raced_on)
            self._empty = min(self._racing.run(0, 0, 10.0) for _ in range(5))
        for slot, key in zip(self._racing.arena.layout.slots, keys):
            values = iter(self.cases[key])
            for buffer, argument in zip(slot, self.signature.arguments):
                if argument.role == "input":
                    self._racing.arena.fill(buffer, next(values))
        if wake:
            self._racing.run_often(len(keys) - 1, len(keys), 1, 120.0)
        return net(self._racing.run_often(0, len(keys), repeats, 120.0), self._empty)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: its team costs more than arrays of this size are worth."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _jostled(x: np.ndarray, seed: int) -> np.ndarray:
    if x.dtype.kind != "f":
        return x
    rng = np.random.default_rng(seed)
    return (x.astype(np.float64) * (1 + UNIT * rng.uniform(-1, 1, x.shape))).astype(x.dtype)


def _oracle_source(record: Record) -> str:
    """The translation unit of the exact and the noisy build; its `kernel` takes control, inputs, wide outputs."""
    header = Path(__file__).with_name("oracle.h").read_text()
    code = re.sub(r"^\s*#\s*include[^\n]*", "", record.c_code, flags=re.M)
    code = _PUN.sub(lambda m: f"from_bits({m[2] or m[3]})", code).replace('extern "C"', "")
    parts = ["#include <cmath>", "#include <cstdint>", "#include <cstdlib>", "#include <cstring>", "#include <type_traits>", "#define restrict __restrict__"]
    for noisy, space in ((0, "warploom_exact"), (1, "warploom_noisy")):
        parts += [f"#undef WL_NOISY\n#undef WL_SPACE\n#define WL_NOISY {noisy}", header]
        parts += [f"namespace {space} {{\n#define float Real\n{code}\n#undef float", _call(record), "}"]
    kernel = ", ".join(_parameters(record))
    passed = ", ".join(["control", *(a.name for a in record.inputs), *(a.name for a in record.outputs), "wl_doubtful"])
    parts.append(
        f'extern "C" void kernel({kernel}) {{\n'
        f"  if (control[0]) {{ warploom_noisy::seed = uint64_t(control[1]) * 2 + 1; warploom_noisy::wl_call({passed}); }}\n"
        f"  else warploom_exact::wl_call({passed});\n}}"
    )
    return "\n".join(parts) + "\n"


def _parameters(record: Record) -> list[str]:
    made = ["const int64_t* control"]
    made += [f"const {_c_type(a)}* {a.name}" for a in record.inputs]
    made += [f"{'double' if a.is_float else _c_type(a)}* {a.name}" for a in record.outputs]
    return [*made, "int64_t* wl_doubtful"]


def _c_type(argument: Argument) -> str:
    return _C_TYPE.get(argument.dtype, f"{argument.dtype}_t")


def _call(record: Record) -> str:
    """`wl_call`: copies of the inputs and outputs in the inner type around one call of the record's function."""
    lines, passed, after = [], {}, []
    for a in record.arguments:
        n = max(1, int(np.prod(a.shape, dtype=np.int64)))
        inner = "Real" if a.dtype == "float32" else _c_type(a)
        lines.append(f"  {inner}* in_{a.name} = static_cast<{inner}*>(std::malloc({n} * sizeof({inner})));")
        passed[a.name] = f"in_{a.name}" if a.dtype != "bool" else f"reinterpret_cast<bool*>(in_{a.name})"
        lines.append(f"  for (int64_t i = 0; i < {n}; ++i) in_{a.name}[i] = {inner}({a.name}[i]);")
        if a.role == "output":
            value = f"in_{a.name}[i].v" if inner == "Real" else f"in_{a.name}[i]"
            after.append(f"  for (int64_t i = 0; i < {n}; ++i) {a.name}[i] = {value};")
    call = f"  {record.entry}({', '.join(passed[a.name] for a in record.arguments)});"
    freed = [f"  std::free(in_{a.name});" for a in record.arguments]
    head = f"static void wl_call({', '.join(_parameters(record))}) {{"
    return "\n".join([head, "  (void)control;", "  doubtful = 0;", *lines, call, "  *wl_doubtful = doubtful;", *after, *freed, "}"])
