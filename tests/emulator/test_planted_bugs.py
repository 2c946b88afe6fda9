"""The checker against planted bugs: every wrong kernel is found as what it is, no right kernel raises an alarm."""

import numpy as np
import pytest
from warploom.backends.emulator.check import Argument, check_unit
from warploom.backends.emulator.isolate import in_child
from warploom.backends.emulator.numpy_text import evaluate
from warploom.backends.emulator.sidecar import poisoned
from warploom.backends.emulator.unit import Call, Parameter, build_unit

from .planted import CASES


def argument(number, spec):
    kind, dtype, size, *init = spec
    name = f"a{number}"
    if kind == "scalar":
        return Argument(Parameter(name, dtype, pointer=False), np.dtype(dtype).type(size), "in")
    if kind == "null":
        return Argument(Parameter(name, dtype), None, "in")
    if kind in ("out", "temp"):
        return Argument(Parameter(name, dtype), poisoned((size,), np.dtype(dtype)), kind)
    value = np.broadcast_to(evaluate(init[0]), (size,)) if init else np.random.default_rng(number).random(size)
    return Argument(Parameter(name, dtype), value.astype(dtype), kind)


def findings_of(case):
    arguments = [argument(i, spec) for i, spec in enumerate(case.args)]
    unit = build_unit(case.source, (Call("k", case.launch, tuple(range(len(arguments)))),), [a.parameter for a in arguments])
    return in_child(lambda: check_unit(unit, arguments)[1])


def _planted(case):
    """A wait for ever is found and its block and thread are named; its line is not known yet."""
    marks = [pytest.mark.xfail(strict=True, reason="the line of a spin is not known")] if case.name == "spin-wrong0" else []
    return pytest.param(case, marks=marks, id=case.name)


@pytest.mark.parametrize("case", [_planted(c) for c in CASES if c.expected])
def test_planted_bug_is_found(case):
    found = findings_of(case)
    match = [f for f in found if f.kind == case.expected]
    assert match, [str(f) for f in found]
    if case.expected != "partial-write":
        assert all(0 < f.here.line <= case.source.count("\n") + 1 for f in match)
    if case.both:
        assert any(f.other for f in match)


@pytest.mark.parametrize("case", [c for c in CASES if not c.expected], ids=lambda c: c.name)
def test_right_kernel_raises_no_alarm(case):
    assert [str(f) for f in findings_of(case)] == []


def test_corpus_is_large_and_half_wrong():
    wrong = sum(1 for c in CASES if c.expected)
    assert len(CASES) >= 60 and abs(2 * wrong - len(CASES)) <= len(CASES) // 3
