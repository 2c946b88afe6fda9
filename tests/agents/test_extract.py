"""Answers as models write them, and the code that is found in them."""

import pytest
from warploom.agents.evaluate.extract import MOST_CODE, extract
from warploom.evaluation.signature import Argument
from warploom.evaluation.suites.c_source import functions
from warploom.evaluation.suites.record import Record

RECORD = Record(
    "Some/0", "HPCTransEval", "Some", "add", entry="add", arguments=(Argument("x", "input", "tensor", "float32", (4,)), Argument("y", "output", "tensor", "float32", (4,)))
)  # fmt: skip
CODE = "void add(float* x, float* y) {\n  for (int i = 0; i < 4; ++i) y[i] = x[i] + 1;\n}\n"

FORMS = {
    "cpu fence": f"Here:\n```cpu\n{CODE}```\nDone.",
    "no language": f"```\n{CODE}```",
    "tildes": f"~~~c\n{CODE}~~~",
    "indented fence": "1. Code\n   ```c\n" + CODE + "   ```\n",
    "unclosed": f"```cpp\n{CODE}",
    "crlf": f"```c\n{CODE}```".replace("\n", "\r\n"),
    "tag": f"<cpu>\n{CODE}</cpu>",
    "bare with prose": f"Sure, I can help.\n\n{CODE}\nHope this helps!",
    "json": '{"code": "' + CODE.replace("\n", "\\n").replace('"', '\\"') + '"}',
    "thoughts first": f"<think>```c\nint wrong;\n```</think>\n```c\n{CODE}```",
    "usage after": f"```c\n{CODE}```\nUse it:\n```c\nadd(a, b);\n```",
    "the CUDA again": "```cuda\n__global__ void add(float* x, float* y) { y[0] = x[0]; }\n```\n" + f"```c\n{CODE}```",
    "arrays of rows": "```c\n" + CODE.replace("float* x, float* y", "float (*x)[4], float (*y)[4]") + "```",
    "another name": "```c\n" + CODE.replace("add", "my_add") + "```",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    found = extract(FORMS[form], RECORD)
    rows = CODE.replace("float* x, float* y", "float (*x)[4], float (*y)[4]")
    wanted = rows if form == "arrays of rows" else CODE.replace("add", "my_add" if form == "another name" else "add")
    assert found.code.strip() == wanted.strip() and functions(found.code)[-1].pointers == 2, found


def test_blocks_that_belong_together():
    helper = "static float one(float v) {\n  return v + 1;\n}\n"
    main = "void add(float* x, float* y) { for (int i = 0; i < 4; ++i) y[i] = one(x[i]); }\n"
    found = extract(f"First a helper\n```c\n{helper}```\nthen\n```c\n{main}```", RECORD)
    assert helper.strip() in found.code and main.strip() in found.code and "other blocks" in " ".join(found.notes)


@pytest.mark.parametrize("text", ["", "I cannot do that.", "```\n```", "<think>" * 1000, "{" * 50_000, "`" * 100_000])
def test_no_code(text):
    assert not extract(text, RECORD).code.strip()


ENDLESS = {
    "lines": "\n" * 400_000, "words": "void\n" * 80_000, "openings": "void f(\n" * 50_000, "thoughts": "<think>" * 60_000 + "</reasoning>", "tags": "<cpu>\n" * 66_000 + "</cpp>",
    "comments": "/*" * 200_000, "indices": "void add(float* x, float* y) {" + "y[" * 200_000, "fences": "```\n````\n" * 44_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", ENDLESS)
def test_long_answers_that_never_close_what_they_open(kind):
    """Time grows with the length of an answer, not with its square: these would take minutes to hours."""
    for text in (ENDLESS[kind], f"```c\n{ENDLESS[kind]}\n```"):
        assert len(extract(text, RECORD).code) <= len(text)


def test_a_megabyte():
    assert extract("```c\n" + CODE + "x" * (1 << 20) + "\n```", RECORD).code == ""
    assert extract("word " * 250_000 + f"\n```c\n{CODE}```", RECORD).code.strip() == CODE.strip()
    assert MOST_CODE < 1 << 20
