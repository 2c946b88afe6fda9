"""Checksums tell a right run from a wrong one: what is allowed follows what runs were off, not the widest element alone."""

import numpy as np
import pytest
from warploom.datasets.program import Array
from warploom.datasets.reference import checksum, differs
from warploom.evaluation.correctness import Output


def _bfloat(values):
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_a_wide_allowance_of_bfloat16_hides_no_wrong_values():
    value = np.random.default_rng(0).standard_normal(500)
    rounded = _bfloat(value)
    stated = checksum(0, Array("y", "bfloat16", (500,)), Output(value, np.full(500, 1.5), (rounded.astype(np.uint32) << 16).view(np.float32)), [rounded])
    assert differs(stated, rounded) == ""
    assert stated["tolerance"] < 0.1
    assert differs(stated, _bfloat(np.zeros(500))) and differs(stated, _bfloat(np.ones(500)))


def test_elements_beside_a_step_are_not_sampled():
    value = np.arange(500.0)
    tolerance = np.where(np.arange(500) % 10 == 0, 8.0, 1e-4)
    off = value + np.where(np.arange(500) % 10 == 0, 1.0, 0.0)
    stated = checksum(0, Array("y", "float32", (500,)), Output(value, tolerance, value.astype(np.float32)), [off.astype(np.float32)])
    assert stated["tolerance"] <= 4e-3 and all(k % 10 for k in stated["indices"]) and len(stated["indices"]) == 64
    assert differs(stated, off.astype(np.float32)) == ""


@pytest.mark.parametrize("size", [0, 1, 64, 65])
def test_every_size_has_its_samples(size):
    value = np.linspace(-1, 1, size)
    stated = checksum(0, Array("y", "float32", (size,)), Output(value, np.full(size, 1e-6), value.astype(np.float32)))
    assert len(stated["indices"]) == min(size, 64) and stated["tolerance"] <= 4e-6
    assert differs(stated, value.astype(np.float32)) == ""
