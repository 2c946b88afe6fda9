"""A rejected answer and its record's reference come in; whether it computes nothing at all, or does read its inputs, goes out.

Hollow: nothing written, constants, an input copied, or outputs that do not depend on any input although the right ones do.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ..contained import Ended
from ..correctness import poison
from ..workers import NativeMaker
from .code_reference import CodeReference

_CHANGES, _TRIES, _TRIES_S, _OFTEN = 16, 400, 2.0, 0.25
_POISON = ("nan", "finite", "finite", "finite")
Arrays = list[np.ndarray]
Run = Callable[[Arrays], Arrays]


def hollow(reference: CodeReference, maker: NativeMaker, threads: int) -> str:
    """One line that says in which way the built answer is hollow, "" where it is not."""
    cases = [reference.inputs_of(name, seed) for name, seed in ((reference.own, 21), (reference.own, 22), ("normal", 23))]
    cases.append([x * np.float32(12) if x.dtype == np.float32 else x for x in reference.inputs_of("normal", 26)])  # past what the operator clips
    try:
        contained = maker.start((None,) * len(reference.signature.arguments), 2, threads)
    except Ended:
        return ""
    try:
        seen = [_call(contained, reference, inputs, kind) for inputs, kind in zip(cases, _POISON)]
        right = [reference.exact(inputs) for inputs in cases]
    except Ended:
        return ""
    finally:
        contained.close()
    ways = [_way(reference, cases, [s[i] for s in seen], [r[i] for r in right], i) for i in range(len(right[0]))]
    return "; ".join(dict.fromkeys(ways)) if ways and all(ways) else ""


def reads_inputs(reference: CodeReference, maker: NativeMaker, threads: int) -> bool:
    """True where of each input single changes that move the right outputs often move some element of the answer's, be it the wrong one."""
    inputs = reference.inputs_of(reference.own, 24)
    free = [i for i, x in enumerate(inputs) if x.dtype.kind == "f" and x.size]
    try:
        contained = maker.start((None,) * len(reference.signature.arguments), 2, threads)
    except Ended:
        return False
    try:
        before, right = _call(contained, reference, inputs, "finite"), reference.exact(inputs)
        counts = [_felt(lambda x: _call(contained, reference, x, "finite"), before, reference.exact, right, inputs, i) for i in free]
        told = [(felt, moved) for felt, moved in counts if felt]
        return bool(told) and all(moved >= _OFTEN * felt for felt, moved in told)
    except Ended:
        return False
    finally:
        contained.close()


def _felt(answer: Run, before: Arrays, exact: Run, right: Arrays, inputs: Arrays, which: int) -> tuple[int, int]:
    """How many single changes of one input move the right outputs, and how many of these the answer's. Most elements may not matter at all:
    it tries many, as far as time allows."""
    rng, started, felt, moved = np.random.default_rng(25), time.perf_counter(), 0, 0
    for n in range(_TRIES):
        if felt >= _CHANGES or (n >= _CHANGES and time.perf_counter() - started > _TRIES_S):
            break
        changed = [x.copy() if i == which else x for i, x in enumerate(inputs)]
        changed[which].reshape(-1)[rng.integers(0, changed[which].size)] *= np.float32(-1.5 if n % 2 else 1.5)  # a sign is felt where a size is not
        if not _all_same(right, exact(changed)):
            felt += 1
            moved += not _all_same(before, answer(changed))
    return felt, moved


def _all_same(a: Arrays, b: Arrays) -> bool:
    return all(_same(x, y) for x, y in zip(a, b))


def _call(contained, reference: CodeReference, inputs: list[np.ndarray], kind: str) -> list[np.ndarray]:
    values, outputs = iter(inputs), []
    for buffer, argument in zip(contained.arena.layout.slots[0], reference.signature.arguments):
        contained.arena.fill(buffer, poison(argument, kind) if argument.role == "output" else next(values))
        if argument.role == "output":
            outputs.append((buffer, argument))
    contained.run(0, 1, 20.0)
    return [contained.arena.view(b, a.storage, a.shape).copy() for b, a in outputs]


def _way(reference: CodeReference, cases: list, seen: list[np.ndarray], right: list[np.ndarray], at: int) -> str:
    """How one output is hollow over all cases, "" where it is not."""
    argument = reference.signature.of("output")[at]
    empty = [poison(argument, kind).reshape(-1).view(np.uint8) for kind in _POISON]
    if all(np.array_equal(s.reshape(-1).view(np.uint8), e) for s, e in zip(seen, empty)):
        return "nothing is written"
    if all((s == 0).all() for s in seen) and not all((r == 0).all() for r in right):
        return "zeros"
    depends = any(not _same(right[0], r) for r in right[1:])
    if all(_constant(s) for s in seen) and not all(_constant(r) for r in right):
        return "every element is the same"
    if depends and all(_same(seen[0], s) for s in seen[1:]):
        return "the same output for all inputs"
    for number, argument in enumerate(reference.signature.of("input")):
        if all(_copied(s, case[number]) for s, case in zip(seen, cases)):
            return f"a copy of {argument.name}"
    return ""


def _constant(x: np.ndarray) -> bool:
    return x.size > 1 and _same(x, np.broadcast_to(x.reshape(-1)[:1].reshape((1,) * x.ndim), x.shape))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _copied(output: np.ndarray, source: np.ndarray) -> bool:
    """True where the output is the input's beginning, element by element in memory."""
    n = min(output.size, source.size)
    return n > 0 and source.size > 1 and output.dtype == source.dtype and _same(output.reshape(-1)[:n], source.reshape(-1)[:n])


