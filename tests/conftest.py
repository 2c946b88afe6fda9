"""Options and fixtures that several folders use: golden texts (`--update-golden`), fuzz counts, the shared data folder."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden texts that differ")
    parser.addoption("--fuzz-count", type=int, default=0, help="cases per fuzz test (default: what fits into CI)")
    parser.addoption("--fuzz-seed", default="ci", help="seed of the fuzz tests")


@pytest.fixture
def golden(request):
    """`golden(name, text)` compares with tests/.../golden/NAME.txt beside the test file; `--update-golden` writes it."""
    folder = Path(request.node.path).parent / "golden"
    update = request.config.getoption("--update-golden")

    def check(name, text):
        path = folder / f"{name}.txt"
        if update:
            folder.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run pytest --update-golden and review the diff"
        assert text == path.read_text()

    return check


@pytest.fixture
def shared_data():
    """The folder with test material beside the checkout; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared test data at {SHARED}")
    return SHARED


@pytest.fixture
def fuzz(request):
    """`fuzz(default)` gives (seed, count)."""
    return lambda default: (request.config.getoption("--fuzz-seed"), request.config.getoption("--fuzz-count") or default)
