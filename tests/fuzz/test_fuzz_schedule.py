"""Random kernels under random legal scripts: the interpreter gives the same bits before and after, no race appears, and the C++ agrees."""

import random
from dataclasses import replace

import numpy as np
from compiled import Compiled, printable
from random_kernels import inputs, kernel
from random_scripts import random_script
from warploom.ir.interpret import run_program
from warploom.ir.text import parse_program, print_program
from warploom.ir.verify import verify


class Case:
    def __init__(self, seed, number):
        r = random.Random(f"{seed}/{number}")
        self.naive, self.sizes = kernel(r)
        verify(self.naive)
        program, self.steps = random_script(r, self.naive, r.randint(2, 10))
        verify(program)
        self.program = replace(program, name=f"k{number}")
        self.inputs = inputs(self.naive, self.sizes, number)

    def expected(self):
        return run_program(self.naive, self.sizes, self.inputs)

    def story(self):
        return f"{self.sizes}\n{'; '.join(self.steps)}\n{print_program(self.naive)}\n{print_program(self.program)}"


def differing(want, got):
    return [name for name in want if not np.array_equal(want[name], got[name], equal_nan=True)]


def test_schedules_keep_the_meaning(fuzz):
    seed, count = fuzz(300)
    cases = [Case(seed, k) for k in range(count)]
    for case in cases:
        assert parse_program(print_program(case.program)) == case.program
        got = run_program(case.program, case.sizes, case.inputs, check_races=True)
        assert not differing(case.expected(), got), case.story()
    printed = [c for c in cases if printable(c.program)]
    assert len(printed) >= 0.9 * count
    for part in (printed[k : k + 400] for k in range(0, len(printed), 400)):
        built = Compiled([c.program for c in part])
        for case in part:
            got = built.run(case.program, case.sizes, case.inputs)
            assert not differing(case.expected(), got), case.story()
