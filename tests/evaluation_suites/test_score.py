"""Answers of every kind on records made by hand: each is classed rightly."""

import re

import numpy as np
import pytest
from handmade import DEFECTIVE, SOUND
from warploom.evaluation.suites.audit import audit
from warploom.evaluation.suites.original import OriginalScorer
from warploom.evaluation.suites.score import Scorer

C = {"float32": "float"}


def wrapped(record, after: str, before: str = "") -> str:
    """The record's own code, called once; `after` runs for each output (`o`, `n` elements, rows of `m`)."""
    inner = re.sub(rf"\b{record.entry}\b", "inner", record.c_code)
    parameters = ", ".join(f"float* {a.name}" for a in record.arguments)
    calls = f"inner({', '.join(a.name for a in record.arguments)});"
    loops = "".join(
        f"{{ float* o = {a.name}; const int n = {int(np.prod(a.shape))}, m = {a.shape[-1] if len(a.shape) > 1 else 1}; (void)o; (void)n; (void)m; {after} }}"
        for a in record.outputs
    )
    return f"{inner}\nvoid {record.entry}({parameters}) {{ {before.format(call=calls) or calls} {loops} }}"


def alone(record, body: str, head: str = "") -> str:
    parameters = ", ".join(f"float* {a.name}" for a in record.arguments)
    return f"{head}\nvoid {record.entry}({parameters}) {{ {body} }}"


WRONG = {
    "zeros": (lambda r: alone(r, f"memset({r.outputs[0].name}, 0, {r.outputs[0].nbytes});"), {"hollow"}),
    "constant": (lambda r: alone(r, f"for (int i = 0; i < {r.outputs[0].nbytes // 4}; ++i) {r.outputs[0].name}[i] = 2;"), {"hollow"}),
    "empty": (lambda r: alone(r, ""), {"hollow"}),
    "copied": (lambda r: alone(r, f"memcpy({r.outputs[0].name}, {r.inputs[0].name}, {r.outputs[0].nbytes});"), {"hollow"}),
    "sign flipped": (lambda r: wrapped(r, "for (int i = 0; i < n; ++i) o[i] = -o[i];"), {"wrong-result"}),
    "wrong operator": (lambda r: wrapped(r, "for (int i = 0; i < n; ++i) o[i] = sinf(o[i]) + 0.2f;"), {"wrong-result"}),
    "off by one row": (lambda r: wrapped(r, "memmove(o + m, o, (n - m) * 4);"), {"wrong-result"}),
    "syntax": (lambda r: alone(r, "this is no C;"), {"compile-error"}),
    "other function": (lambda r: "float f(float x) { return x; }", {"extraction"}),
    "loops": (lambda r: alone(r, "volatile int forever = 1; while (forever) { }"), {"timeout"}),
    "forks": (lambda r: alone(r, "for (int i = 0; i < 99; ++i) fork();", "#include <unistd.h>"), {"sandbox-violation", "crash"}),
    "connects": (
        lambda r: alone(r, "socket(2, 1, 0);", "#include <sys/socket.h>"),
        {"sandbox-violation", "crash"},
    ),
    "writes a file": (lambda r: alone(r, 'FILE* f = fopen("/tmp/x", "w"); if (f) fclose(f);'), {"sandbox-violation", "crash"}),
    "writes beside": (lambda r: wrapped(r, "for (int i = 0; i < 5000; ++i) o[n + i] = 1;"), {"out-of-bounds", "crash"}),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_answers(judge, suite, kind):
    make, expected = WRONG[kind]
    record = suite.records[1 if kind in {"off by one row", "copied"} else 0]
    outcome = Scorer(judge).score(record, make(record))
    assert outcome.verdict in expected, outcome


RIGHT = {
    "as it is": lambda r: r.c_code,
    "slow": lambda r: wrapped(r, "", "for (int k = 0; k < 40; ++k) {{ {call} __asm__ volatile(\"\" ::: \"memory\"); }}"),
    "in C++": lambda r: "#include <vector>\n#include <algorithm>\n" + wrapped(r, "std::vector<float> v(o, o + n); std::copy(v.begin(), v.end(), o);"),
    "under another name": lambda r: re.sub(rf"\b{r.entry}\b", "my_translation", r.c_code),
    "called kernel": lambda r: re.sub(rf"\b{r.entry}\b", "kernel", r.c_code),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_right_answers(judge, suite, kind):
    record = suite.records[1]
    outcome = Scorer(judge).score(record, RIGHT[kind](record))
    assert outcome.verdict == "accepted", outcome
    assert outcome.speedup is not None and outcome.baseline == "c_code"


def test_audit_names_what_is_wrong_and_nothing_else(judge, suite):
    found = {i: audit(record, judge) for i, record in enumerate(suite.records)}
    assert {i for i, a in found.items() if a.defects} == set(DEFECTIVE), {i: a.defects for i, a in found.items()}
    assert all(found[i].facts["cuda"].startswith("agrees") and found[i].sidecar for i in SOUND)
    assert "72" in found[4].defects[0]
    assert any("constant" in w for w in found[3].weak)  # ceil of [0, 1)
    assert not found[0].weak and not found[1].weak


def test_published_protocol_lets_pass_what_the_judge_does_not(judge, suite):
    ceil = suite.records[3]
    ones = alone(ceil, "for (int i = 0; i < 360; ++i) y[i] = 1;")
    assert OriginalScorer(judge).score(ceil, ones).accepted
    assert Scorer(judge).score(ceil, ones).verdict == "hollow"
