"""What the verifier accepts never races, leaves its buffers or reads what was not written, on sizes and data of any kind."""

import collections

import numpy as np
import pytest
from random_programs import Texts
from warploom.ir.diagnostic import IllegalProgram, InputMismatch
from warploom.ir.interpret import Fault, run_program, shape_of
from warploom.ir.text import parse_program, print_program
from warploom.ir.verify import verify


def refusal(program):
    """The rule that refuses the program, None when it is accepted."""
    try:
        verify(program)
    except IllegalProgram as e:
        return e.message.split(":")[0]
    return None


def fault(program, seed):
    """What goes wrong on some small size, None when nothing does."""
    rng = np.random.default_rng(seed)
    for n in (1, 2, 3, 4, 5, 8):
        sizes = {"N": n}
        args = {
            b.name: rng.integers(0, 8, 8) if b.name == "p" else rng.random(shape_of(b, sizes), np.float32)
            for b in program.params
        }
        try:
            run_program(program, sizes, args, check_races=True)
        except Fault as e:
            return str(e)
        except InputMismatch:
            continue
    return None


@pytest.mark.parametrize("roomy", [False, True])
def test_accepted_programs_are_safe(fuzz, roomy):
    seed, count = fuzz(700)
    seen = collections.Counter()
    for k in range(count):
        text = Texts(f"{seed}/{k}", roomy).program()
        program = parse_program(text)
        assert parse_program(print_program(program)) == program
        rule, bad = refusal(program), fault(program, k)
        assert rule or not bad, f"accepted, but {bad}\n{text}"
        seen["accepted" if not rule else "refused" if bad else f"refused though safe: {rule}"] += 1
    print(dict(seen))
    assert seen["accepted"] > count // 12 and seen["refused"] > count // 12
