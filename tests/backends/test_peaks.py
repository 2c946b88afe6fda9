"""The peaks of this machine are the best of several occasions: a busy neighbour must not stay in the roofline for good."""

from __future__ import annotations

import pytest
from warploom.backends.cpu import peaks
from warploom.backends.cpu.peaks import OCCASIONS, Peaks, measured, measured_again


@pytest.fixture
def bandwidths(monkeypatch, tmp_path):
    """What each measurement in turn sees."""
    monkeypatch.setenv("WARPLOOM_CACHE", str(tmp_path))
    left: list[float] = []
    monkeypatch.setattr(peaks, "_measure", lambda machine: Peaks(1e11, left.pop(0), 2e10, 9e10))
    measured.cache_clear()
    yield left
    measured.cache_clear()


def in_a_new_process() -> float:
    measured.cache_clear()
    return measured().bandwidth


def test_a_busy_first_measurement_is_forgotten(bandwidths):
    bandwidths += [3e9, 19e9, 12e9]
    assert [in_a_new_process() for _ in range(3)] == [3e9, 19e9, 19e9]


def test_a_process_measures_once(bandwidths):
    bandwidths += [18e9, 20e9]
    assert measured() is measured() and len(bandwidths) == 1


def test_measuring_ends(bandwidths):
    bandwidths += [float(n) for n in range(1, OCCASIONS + 2)]
    assert [in_a_new_process() for _ in range(OCCASIONS + 3)][-1] == OCCASIONS and len(bandwidths) == 1


def test_doctor_measures_whatever_was_measured(bandwidths):
    bandwidths += [float(n) for n in range(1, OCCASIONS + 2)]
    for _ in range(OCCASIONS):
        in_a_new_process()
    assert measured_again().bandwidth == OCCASIONS + 1
