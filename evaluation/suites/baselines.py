"""A record and its C side as a reference come in, how fast other baselines are beside it goes out: times as fast as the record's C code.

`naive`: that code on one thread. `eager`: torch's operator, where the table knows it and it agrees. `inductor`: the same through torch.compile.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np
import torch

from .. import native
from ..timing import net, repeats_for
from .code_reference import CodeReference
from .record import Record
from .torch_operators import OPERATORS

_ROUNDS = 7
_MOST_S = 1.0
Timed = Callable[[int], float]  # seconds of so many calls in one go


def other_speeds(record: Record, reference: CodeReference, known: bool, inductor: bool) -> dict[str, float]:
    """The least times of interleaved rounds. `known`: torch's operator of the record's name computes what its C side does."""
    inputs = reference.inputs_of(reference.own, 61)
    reference.cases["other"] = inputs
    with contextlib.ExitStack() as stack:
        timed: dict[str, Timed] = {"naive": _serial(stack, reference, inputs)}
        if known:
            timed |= _by_torch(record, inputs, reference.threads, inductor)
        own: Timed = lambda repeats: reference.time(["other"], repeats, True)  # noqa: E731
        batches, rounds = [own, *timed.values()], []
        repeats, started = [repeats_for(batch) for batch in batches], time.perf_counter()
        while len(rounds) < _ROUNDS and (not rounds or time.perf_counter() - started < _MOST_S):
            rounds.append([batch(n) / n for batch, n in zip(batches, repeats)])
        least = [min(seconds) for seconds in zip(*rounds)]
    return {name: least[0] / seconds for name, seconds in zip(timed, least[1:])}


def _serial(stack: contextlib.ExitStack, reference: CodeReference, inputs: list[np.ndarray]) -> Timed:
    """The C code in a process that has one thread."""
    nothing = (None,) * len(reference.signature.arguments)
    contained = stack.enter_context(contextlib.closing(native.start(reference.plain, "", reference.signature, nothing, 1, 1, reference.sandbox)))
    values = iter(inputs)
    for buffer, argument in zip(contained.arena.layout.slots[0], reference.signature.arguments):
        if argument.role == "input":
            contained.arena.fill(buffer, next(values))
    empty = min(contained.run(0, 0, 10.0) for _ in range(5))
    return lambda repeats: net(contained.run_often(0, 1, repeats, 120.0), empty)


def _by_torch(record: Record, inputs: list[np.ndarray], threads: int, inductor: bool) -> dict[str, Timed]:
    operator, tensors = OPERATORS[record.operator], [torch.from_numpy(x) for x in inputs]

    def timer(call: Callable) -> Timed:
        def run(repeats: int) -> float:
            torch.set_num_threads(threads)
            call(*tensors)
            started = time.perf_counter()
            for _ in range(repeats):
                call(*tensors)
            return max(1e-7, time.perf_counter() - started)

        return run

    made = {"eager": timer(operator)}
    if inductor:
        with contextlib.suppress(Exception):  # what Inductor cannot compile has no such baseline
            made["inductor"] = timer(torch.compile(operator, dynamic=False))
    return made
