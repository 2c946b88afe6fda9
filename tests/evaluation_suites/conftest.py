"""A judge that tests share, and records made by hand in the published schema."""

import sys
from pathlib import Path

import pytest
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.sandbox import unavailable

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def judge():
    if unavailable():
        pytest.skip(f"no sandbox here: {unavailable()[0]}")
    with Judge(Settings(timing_s=0.3)) as one:
        yield one


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    from handmade import write_records
    from warploom.evaluation.suites.read import read_suite

    return read_suite(write_records(tmp_path_factory.mktemp("suite")))
