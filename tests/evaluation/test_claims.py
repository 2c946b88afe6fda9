"""Claims just under and over a device's limits are told apart, and so are those that a cache could serve."""

import pytest
from warploom.evaluation.claims import hold, judge_claims
from warploom.evaluation.cost import Cost
from warploom.evaluation.devices import ALIASES, DEVICES, find_device
from warploom.ir.diagnostic import WarploomError

A100 = find_device("A100")
GIB = 1 << 30


def test_names_and_aliases():
    assert find_device("NVIDIA A100-SXM4-80GB").bandwidth == 2039
    assert find_device("h100").name == "h100-sxm"
    assert find_device("H200 SXM").bandwidth == 4800
    assert all(target in DEVICES for target in ALIASES.values())
    assert all(d.source.startswith("https://") for d in DEVICES.values())
    with pytest.raises(WarploomError):
        find_device("abacus")


def test_bandwidth_limit():
    needs = Cost(4 * GIB, 0, 0)
    at_limit = 4 * GIB / 2039e9 * 1e3
    assert hold("p", at_limit * 0.97, needs, A100).impossible
    assert not hold("p", at_limit * 1.01, needs, A100).impossible


def test_what_fits_in_the_cache_is_not_counted():
    assert not hold("p", 1e-4, Cost(39 << 20, 0, 0), A100).impossible
    assert hold("p", 1e-4, Cost(200 << 20, 0, 0), A100).impossible


@pytest.mark.parametrize(
    ("rate", "precision"), [(10, None), (19, None), (30, "tf32"), (150, "tf32"), (200, "fp16"), (311, "fp16")]
)
def test_implied_precision(rate, precision):
    claim = hold("p", 1.0, Cost(1000, int(rate * 1e9), 0), A100)
    assert claim.implies_precision == precision
    assert not claim.impossible


def test_faster_than_any_arithmetic():
    assert hold("p", 1.0, Cost(1000, int(320e9), 0), A100).impossible


def test_bad_rows_are_reported_and_skipped(tmp_path):
    (tmp_path / "p.py").write_text(
        "import torch\nclass Model(torch.nn.Module):\n    def forward(self, a):\n        return torch.relu(a)\ndef get_inputs(): return [torch.rand(1 << 14, 1 << 14)]\n"
    )
    (tmp_path / "t.csv").write_text("problem,time_ms\np.py,0.5\np.py,2\nmissing.py,1\np.py,quick\np.py,-1\np.py,nan\n")
    rows = judge_claims(tmp_path / "t.csv", "a100-sxm-80gb")
    assert [r.impossible for r in rows] == [True, False, None, None, None, None]
    assert rows[0].floor_ms == pytest.approx((2 * GIB - (20 << 20)) / 2039e9 * 1e3)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "\n"])
def test_no_claims(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(WarploomError):
        judge_claims(tmp_path / "t.csv", "A100")
