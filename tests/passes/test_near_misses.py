"""Each precondition of each step on a program that breaks it and little else; and steps that decide for themselves keep the numbers."""

import numpy as np
import pytest
from near_misses import MEANING, REFUSED, program
from warploom.ir.diagnostic import IllegalStep
from warploom.ir.interpret import run_program, shape_of
from warploom.ir.intrinsic import INTRINSICS
from warploom.ir.kernel import For, Reduce, reads
from warploom.ir.types import NUMPY
from warploom.ir.verify import verify
from warploom.passes.schedule.script import apply
from warploom.passes.schedule.step import chain


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


@pytest.mark.parametrize("name", INTRINSICS)
def test_an_intrinsic_is_one_nest_around_one_reduce(name):
    """`tensorize` looks for nothing else."""
    meaning = INTRINSICS[name].meaning
    heads, body = chain(meaning.body[0])
    assert len(meaning.body) == len(body) == 1 and all(isinstance(h, For) for h in heads) and isinstance(body[0], Reduce)
    assert {x.buffer for x in reads(body[0])} == {b.name for b in meaning.params}
