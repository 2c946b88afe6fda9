"""The dispatch table is tuned from what tiles cost: a height that measures slow serves fewer sizes, and the result is kept."""

from __future__ import annotations

import pytest
import torch
import warploom
from warploom.agents.dispatch import heights, tune_dispatch
from warploom.agents.records import Records, StoredScripts
from warploom.ir.variants import variants
from warploom.passes.pad import dynamic_rows
from warploom.passes.pipeline import kernel_key
from warploom.passes.schedule.script import apply


class Watch:
    """Seconds by height: a tile costs as many units as it has rows, but for some heights."""

    def __init__(self, module, slow):
        self.module, self.slow = module, slow

    def steps(self, runtime, tensors, budget_s):
        step = self.module.steps[0]
        rows = dynamic_rows(step.naive)
        count = tensors[0].shape[0]
        height = next(h for v, h in zip(variants(step.program), heights(step.script, rows)) if v.covers(count))
        return [1e-6 * -(-count // height) * height * self.slow.get(height, 1.0)]


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    monkeypatch.setenv("WARPLOOM_CACHE", str(tmp_path))
    return warploom.compile(torch.nn.Linear(16, 16).eval(), (torch.randn(3, 16),), dynamic={0: {0: ("rows", 1, 64)}}, library=False, verify=False)


def served(program, script, naive):
    sizes = heights(script, dynamic_rows(naive))
    return {m: h for v, h in zip(variants(program), sizes) for m in range(1, 65) if v.covers(m)}


def test_a_slow_height_serves_only_its_own_size(compiled):
    step, records = compiled.module.steps[0], Records(compiled.machine, 1)
    tall = max(served(step.program, step.script, step.naive).values())
    x = [torch.randn(3, 16)]
    found = tune_dispatch(compiled.runtime, x, compiled.machine, records, Watch(compiled.module, {tall: 3.0}))
    assert len(found) == 1 and found[0].moved > 0
    script = StoredScripts(records)[kernel_key(step.naive)]
    now = served(apply(step.naive, script, check=False), script, step.naive)
    assert all(h != tall for m, h in now.items() if m > tall)


def test_what_was_expected_changes_nothing(compiled):
    step, records = compiled.module.steps[0], Records(compiled.machine, 1)
    assert tune_dispatch(compiled.runtime, [torch.randn(3, 16)], compiled.machine, records, Watch(compiled.module, {})) == []
    assert kernel_key(step.naive) not in {k for k in [kernel_key(step.naive)] if StoredScripts(records).get(k)}
