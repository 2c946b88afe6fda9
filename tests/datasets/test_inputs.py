"""Input expressions: what a record says can be evaluated by anybody, with nothing but `np` in scope."""

import subprocess
import sys

import pytest
from warploom.datasets.inputs import _DRAWS, FAMILIES, drawn, expression
from warploom.frontend.operators.operator import Given


def _texts():
    kinds = [Given("x", (3, 5), draw=draw, below=4) for draw in _DRAWS]
    kinds += [Given("x", (3, 5), dtype=dtype) for dtype in ("bfloat16", "float16", "float64")]
    return [expression(g, family, 7, 1) for g in kinds for family in FAMILIES]


def test_an_expression_needs_nothing_but_np():
    """Each in a fresh process: NumPy imports parts of itself when a method is first called, which wants `__import__`."""
    script = "import os, sys, numpy as np\nfor text in sys.argv[1:]:\n    pid = os.fork()\n    if not pid:\n        eval(text, {'__builtins__': {}, 'np': np}); os._exit(0)\n    if os.waitpid(pid, 0)[1]: print(text)\n"
    done = subprocess.run([sys.executable, "-c", script, *sorted(set(_texts()))], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""


@pytest.mark.parametrize("text", sorted(set(_texts())))
def test_our_own_reader_takes_it(text):
    assert drawn(text).shape == (3, 5)
