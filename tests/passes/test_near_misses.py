"""Each precondition of each step on a program that breaks it and little else; and steps that decide for themselves keep the numbers."""

import numpy as np
import pytest
from near_misses import MEANING, REFUSED, program
from warploom.ir.diagnostic import IllegalStep
from warploom.ir.interpret import run_program, shape_of
from warploom.ir.types import NUMPY
from warploom.ir.verify import verify
from warploom.passes.schedule.script import apply


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    body, script, message = REFUSED[number]
    p = program(body)
    verify(p)
    with pytest.raises(IllegalStep) as e:
        apply(p, script)
    assert message in str(e.value), f"{script}\n{body}"


@pytest.mark.parametrize("number", range(len(MEANING)))
def test_meaning(number):
    body, script = MEANING[number]
    p = program(body)
    verify(p)
    rng = np.random.default_rng(number)
    sizes = {"N": 5}
    args = {b.name: rng.integers(0 if b.name in "kA" else -3, 4, shape_of(b, sizes)).astype(NUMPY[b.dtype]) for b in p.params}
    want, got = run_program(p, sizes, args), run_program(apply(p, script), sizes, args, check_races=True)
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value)
