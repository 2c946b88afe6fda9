"""Tuning keeps numbers right, is stored per machine, and is found again by the next compile."""

import pytest
import torch
import warploom
from torch import nn
from warploom.backends.cpu import tune
from warploom.backends.cpu.host import host


@pytest.mark.parametrize("text, seconds", [("30s", 30), ("2m", 120), ("1.5", 1.5), ("1h", 3600)])
def test_budget(text, seconds):
    assert tune.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-3s", "soon", "3d"])
def test_bad_budget_is_one_line(text):
    with pytest.raises(tune.BadBudget):
        tune.seconds_of(text)


def test_store_gives_back_what_it_keeps(tmp_path, monkeypatch):
    monkeypatch.setenv("WARPLOOM_CACHE", str(tmp_path))
    tune.StoredScripts(host(), 1).keep("key", "bind(i, block)")
    assert tune.StoredScripts(host(), 1).get("key") == "bind(i, block)"
    assert tune.StoredScripts(host(), 2).get("key") is None and tune.StoredScripts(host(), 1).get("other") is None


def test_tuned_model_is_right_and_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("WARPLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(tune, "_side_by_side", lambda launches, *_: [1.0 / (1 + n) for n in range(len(launches))])
    model, x = nn.Sequential(nn.Linear(64, 64), nn.GELU()), torch.randn(32, 64)
    plain = warploom.compile(model, (x,), library=False)
    tuned = warploom.compile(model, (x,), library=False, tune="3s")
    again = warploom.compile(model, (x,), library=False)
    scripts = [[s.script for s in f.runtime.layout.launches] for f in (plain, tuned, again)]
    assert scripts[0] != scripts[1] == scripts[2]
    with torch.no_grad():
        assert torch.allclose(tuned(x), model(x), atol=1e-5)
