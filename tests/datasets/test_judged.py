"""The judge in the loop: right sides are accepted, wrong ones named; nothing is left open; a rejected program says why."""

import os
import subprocess

import numpy as np
import pytest
from warploom.datasets import plans
from warploom.datasets.cuda_side import cuda_side
from warploom.datasets.judged import Judging, has_steps
from warploom.datasets.make import Refusal, make_pair
from warploom.datasets.plain_c import COMPILE, plain_c
from warploom.datasets.program import Program, inputs_of, outputs_of
from warploom.datasets.record import Pair
from warploom.datasets.reference import checksum, differs, useless
from warploom.datasets.run_sides import cuda_library
from warploom.frontend.operators.operator import Given
from warploom.ir.graph_text import parse_graph

GRAPH = """def f(x: f32[12, 40], w: f32[40]):
    s: f32[12] = reduce(add, (x,), (1,))
    y: f32[12, 40] = map(tanh(x[i0, i1]) * w[i1] + s[i0])
    return y,
"""
PROGRAM = Program(parse_graph(GRAPH), (Given("x", (12, 40)), Given("w", (40,))), "grown", ("sum", "gate"))


@pytest.fixture(scope="module")
def judging():
    with Judging(PROGRAM, 7) as judging:
        yield judging


def _built(text, folder):
    (folder / "s.c").write_text(text)
    subprocess.run(COMPILE.format(source="s.c", library="s.so").split(), cwd=folder, check=True)
    return (folder / "s.so").read_bytes()


def _plain():
    return plain_c(PROGRAM.graph, plans.naive_c(PROGRAM.graph))


def test_both_sides_meet_the_record_s_cases_and_the_judge_s(judging, tmp_path):
    side = cuda_side(PROGRAM.graph, plans.default_cuda(PROGRAM.graph))
    cuda = judging.answer(cuda_library(side, [*inputs_of(PROGRAM.graph), *outputs_of(PROGRAM.graph)]), twice=False)
    c = judging.answer(_built(_plain(), tmp_path), twice=True)
    assert cuda.accepted and c.accepted
    assert c.stages == ("first process", "second process") and cuda.stages == ("first process",)
    assert cuda.families == c.families
    assert {"recorded own", "recorded large", "recorded spikes", "few", "touch"} <= set(c.families) and len(c.families) > 8


@pytest.mark.parametrize(
    "old, new, code",
    [("tanhf(", "sinf(", "wrong-result"), ("v_t < end_t", "v_t < end_t - 1", "partial-write"), ("v_i = 0, end_i = 12", "v_i = 0, end_i = 13", "out-of-bounds")],
)
def test_a_wrong_side_is_named(judging, tmp_path, old, new, code):
    text = _plain()
    assert old in text
    answer = judging.answer(_built(text.replace(old, new), tmp_path), twice=True)
    assert not answer.accepted and code in {f.code for f in answer.findings}


def test_nothing_stays_open(tmp_path):
    library = _built(_plain(), tmp_path)

    def once():
        with Judging(PROGRAM, 3) as judging:
            assert judging.answer(library, twice=False).accepted
        return len(os.listdir("/proc/self/fd"))

    assert once() == once()


def test_checksums_hold_what_is_right_and_see_what_is_not(judging):
    outputs, case = outputs_of(PROGRAM.graph), judging.cases.kept["own0"]
    assert not useless(outputs, case)
    stated = checksum(0, outputs[0], case.outputs[0])
    right = np.asarray(case.outputs[0].value, np.float32)
    assert not differs(stated, right)
    assert differs(stated, right * np.float32(1.001))


def test_a_program_that_shows_nothing_is_refused():
    graph = parse_graph("def f(x: f32[64]):\n    y: f32[64] = map(x[i0] * 0.0)\n    return y,\n")
    made = make_pair(Program(graph, (Given("x", (64,)),), "grown", ("zero",)), 1)
    assert isinstance(made, Refusal) and made.code == "weak-test"


def test_what_is_no_number_on_both_sides_is_right(tmp_path):
    """Single elements are made larger than all others: out of the domain of asin."""
    graph = parse_graph("def f(x: f32[16, 24]):\n    y: f32[16, 24] = map(asin(x[i0, i1]))\n    return y,\n")
    program = Program(graph, (Given("x", (16, 24), "float32", "unit"),), "elementwise", ("asin",))
    with Judging(program, 7) as judging:
        assert any(c.family.startswith("touch") for c in judging.cases.drawn)
        answer = judging.answer(_built(plain_c(graph, plans.naive_c(graph)), tmp_path), twice=False)
    assert answer.accepted, answer.findings


def test_a_step_that_rounding_decides_is_no_fault():
    """Half way between two integers float32 may go either way: the pair stays, with what float32 gives."""
    graph = parse_graph("def f(x: i32[8, 40]):\n    y: i8[8, 40] = map(i8(round(f32(x[i0, i1]) * 0.1)))\n    return y,\n")
    made = make_pair(Program(graph, (Given("x", (8, 40), "int32", "count", 1000),), "quantised", ("requantize",)), 1)
    assert isinstance(made, Pair), made
    assert has_steps(graph) and not has_steps(PROGRAM.graph)
