"""The tutorial's own code runs as it stands, its eight kernels are right at any shape, and its figures are those of the stored run."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("measure_docs", DOCS / "measure.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def page(measure, tmp_path_factory):
    return measure.module(tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 53, 19)])
def test_the_eight_kernels_are_right(measure, page, shape):
    m, n, k = shape
    a, b = torch.randn(m, k), torch.randn(k, n)
    assert len(measure.WHAT) == 8
    for name in measure.WHAT:
        torch.testing.assert_close(getattr(page, name)(a, b), a @ b, rtol=1e-4, atol=1e-4)


def test_the_figures_are_those_of_the_stored_run():
    text, stored = (DOCS / "kernels.md").read_text(), json.loads((DOCS / "kernels.json").read_text())
    for m in stored["steps"].values():
        assert f"| {m['seconds'] * 1e3:.2f} | {m['flops'] / m['seconds'] / 1e9:.1f} | {m['peak']:.1%} | {m['ratio']:.2f} |" in text
    shares = [m["peak"] for m in stored["steps"].values()]
    assert shares[-1] == max(shares) and shares[-1] >= 0.85 and shares[-1] > 2 * shares[-3]
