"""A small data set, built once for the tests of this folder in a build cache of its own."""

import pytest
from warploom.datasets.build import Request, build
from warploom.datasets.card import write_card
from warploom.datasets.export import publish, write_forms


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder of a data set of three pairs."""
    out = tmp_path_factory.mktemp("dataset") / "three"
    state = build(Request(out, 3, seed=11, workers=2), lambda progress: None)
    publish(state, 3)
    state.close()
    write_forms(out)
    write_card(out)
    return out
