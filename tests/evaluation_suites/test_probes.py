"""Wrong answers that are derived from a record: what is right for it is left out, the rest is classed rightly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from handmade import RECORDS
from warploom.evaluation.suites.probes import HOSTILE, probes
from warploom.evaluation.suites.probing import probe
from warploom.evaluation.suites.read import read_suite
from warploom.evaluation.suites.score import Scorer


def named(record, inputs, right) -> list[str]:
    return [p.name for p in probes(record, [(inputs, right)])]


def test_what_is_right_for_a_record_is_left_out(suite):
    record, x = suite.records[0], np.random.default_rng(0).uniform(-1, 1, (12, 30)).astype(np.float32)
    every = ["zeros", "a constant", "nothing written", "an input copied", "sign flipped", "wrong operator", "off by one row", "half precision", "slow but right"]
    assert named(record, [x], [3 * x + 1]) == every
    assert named(record, [x], [x]) == [n for n in every if n != "an input copied"]
    rows = np.broadcast_to(x[:1], x.shape)
    near = (1 + 1e-4 * x).astype(np.float32)
    assert "half precision" not in named(record, [x], [near]) and "half precision" in named(record, [x], [near * x])
    assert "off by one row" not in named(record, [x], [rows]) and "zeros" not in named(record, [x], [np.zeros_like(x)])


@pytest.mark.parametrize("turn", range(len(HOSTILE) // 2))
@pytest.mark.long
def test_every_wrong_answer_is_classed_rightly(judge, suite, turn):
    rows = probe(suite.records[1 + turn % 2], judge, turn)
    assert len(rows) >= 9 and all(r["rightly"] for r in rows), [r for r in rows if not r["rightly"]]


def test_rows_moved_of_a_small_part_of_the_input(judge, tmp_path):
    """Most elements do not matter: that few of them move the answer does not say that it reads too little."""
    c = "void work(float* x, float* y) {\n  for (int32_t i = 0; i < 20; ++i) y[i] = x[(i / 10) * 400 + i % 10 + 17] * 2.0f;\n}\n"
    record = {**RECORDS[0], "c_code": c, "ir_code": "", "input_shape": [[60, 60]], "output_shape": [[2, 10]]}
    (tmp_path / "One.json").write_text(json.dumps([record]))
    one = read_suite(tmp_path).records[0]
    moved = c.replace("work", "own") + "void work(float* x, float* y) { own(x, y); memmove(y + 10, y, 40); }"
    assert Scorer(judge).score(one, moved).verdict == "wrong-result"
    unread = c.replace("(i / 10) * 400 + i % 10", "0")
    assert Scorer(judge).score(one, unread).verdict in {"hollow", "partial-read"}


def test_bits_made_of_an_exact_sum_are_no_excuse(judge, tmp_path):
    """A sum of integers has no rounding error: an exponent made of it does not allow an answer to be off by half."""
    c = (
        "void work(float* x, float* y) {\n  for (int32_t i = 0; i < 360; ++i) {\n    int32_t v_ = ((int32_t)(floorf(max(x[i], 3.000000e+00f)) + 1.270000e+02f)) << 23;\n"
        "    y[i] = (*(float *)(&(v_)));\n  }\n}\n"
    )
    (tmp_path / "One.json").write_text(json.dumps([{**RECORDS[0], "c_code": c}]))
    one = read_suite(tmp_path).records[0]
    ones = "void work(float* x, float* y) { for (int i = 0; i < 360; ++i) y[i] = 1; }"
    assert Scorer(judge).score(one, ones).verdict == "hollow"


def test_records_whose_output_is_one_value(judge, tmp_path):
    """Zeros are hollow there, too; another constant is a wrong result, for the right one is a constant itself. One of them takes no input."""
    ones = "void work(float* x, float* y) {\n  for (int32_t i = 0; i < 360; ++i) y[i] = x[i] / x[i];\n}\n"
    none = {**RECORDS[0], "c_code": "void work(float* y) {\n  for (int32_t i = 0; i < 360; ++i) y[i] = 12.0f;\n}\n", "ir_code": "", "input_shape": [], "output_shape": [[360]]}
    (tmp_path / "Two.json").write_text(json.dumps([{**RECORDS[0], "c_code": ones}, none]))
    first, second = read_suite(tmp_path).records
    assert Scorer(judge).score(first, ones.replace("x[i] / x[i]", "0")).verdict == "hollow"
    assert Scorer(judge).score(first, ones.replace("x[i] / x[i]", "-1")).verdict == "wrong-result"
    right = [np.full(360, 12, np.float32)]
    assert "an input copied" not in [p.name for p in probes(second, [([], right)])]


def test_the_command(tmp_path, capsys):
    from warploom.agents.evaluate.command import EvalRequest, run_eval

    (tmp_path / "One.json").write_text(json.dumps([RECORDS[4]]))
    assert read_suite(tmp_path).records[0].id == "One/0"
    assert run_eval(EvalRequest((str(tmp_path),), probe=True), as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"suite": "HPCTransEval", "records": 0, "answers": 0, "rightly": 0, "rows": []}
