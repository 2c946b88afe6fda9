"""Every decision keeps numbers right; small programs show what is wrong before a build; the winner's file and the pack are what they say."""

from dataclasses import replace

import pytest
import torch
import warploom
from warploom.agents.evolve import tiny
from warploom.agents.evolve.candidate import Candidate, NothingNew, Workshop
from warploom.agents.evolve.crossover import repaired, spliced
from warploom.agents.evolve.features import aligned, claims_hold, features
from warploom.agents.evolve.measure import union
from warploom.agents.evolve.result import write_winner
from warploom.agents.evolve.subject import read_subject
from warploom.agents.strategy import Strategy
from warploom.backends.chosen import read_chosen
from warploom.backends.cpu.build import build
from warploom.backends.cpu.host import host
from warploom.backends.cpu.runtime import load
from warploom.evaluation.verdict import Verdict
from warploom.ir.diagnostic import IllegalStep, Unreadable
from warploom.ir.kernel import For, Store

FORWARDS = {
    "pool": ("F.max_pool2d(x, 4, 1, 1)", "torch.randn(2, 3, 9, 37)"),
    "sums": ("F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)", "torch.randn(2, 3, 11, 18)"),
    "matmul": ("torch.relu(x @ x.transpose(1, 2))", "torch.randn(2, 50, 35)"),
    "chain": ("F.layer_norm(torch.sigmoid(x) * x + 1.0, (70,))", "torch.randn(5, 70)"),
    "conv": ("F.conv2d(x, x[:4, :, :3, :3].contiguous(), padding=1)", "torch.randn(4, 3, 7, 33)"),
    "scan": ("x.cumsum(1)", "torch.randn(11, 50)"),
    "lines": ("torch.amax(x, 1)", "torch.randn(2, 21, 2100)"),
    "products": ("x @ x[:23].t()", "torch.randn(30, 70)"),
    "broadcast": ("torch.tanh(x) * x[:1]", "torch.randn(5, 150)"),
    "loss": ("F.cross_entropy(x, x.argmax(1))", "torch.randn(9, 40)"),
    "map": ("torch.tanh(x)", "torch.randn(1 << 16)"),
}


BASE = {"products": {"pack_columns @": 0, "pack_rows @": 0}}


def subject_of(tmp_path, forward, inputs):
    path = tmp_path / "problem.py"
    path.write_text(
        f"import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\nclass Model(nn.Module):\n    def forward(self, x):\n        return {forward}\n\n"
        f"def get_inputs():\n    return [{inputs}]\n\ndef get_init_inputs():\n    return []\n"
    )
    return read_subject(str(path), host())


@pytest.mark.parametrize("name", FORWARDS)
def test_every_decision_keeps_numbers_right(name, tmp_path):
    subject = subject_of(tmp_path, *FORWARDS[name])
    workshop = Workshop(subject)
    default = workshop.make(Strategy("default").with_choices(BASE.get(name, {})))
    found: dict[str, Candidate] = {}
    for decision, (own, worth) in default.space.items():
        for value in worth:
            if value != own:
                c = workshop.make(Strategy(f"{decision} = {value}").with_choices({**BASE.get(name, {}), decision: value}))
                found.setdefault(c.key, c)
    assert len(found) > 2 and not any(tiny.first_difference(c.kernels.values()) for c in found.values())
    whole, _ = union([c.module for c in found.values()])
    code = subject.printed(whole)
    runtime = load(code.layout, build(code, subject.machine), subject.slots, 1)
    with torch.no_grad():
        wanted = subject.problem.model(*[t.double() for t in subject.example]).float()
        for c, got in zip(found.values(), runtime(subject.tensors(subject.example))):
            assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-4), c.strategy.name


def test_a_wrong_program_is_seen_on_small_data(subject):
    launch = Workshop(subject).make(Strategy("default")).kernels["softmax"]
    assert tiny.differs(launch) is None
    small = tiny.shrunk(launch)
    assert small is not None
    naive, scheduled = small

    def broken(body):
        """The last store of a body with one more."""
        *first, last = body
        if isinstance(last, For):
            return (*first, replace(last, body=broken(last.body)))
        assert isinstance(last, Store)
        from warploom.ir.expr import Const, Op

        return (*first, replace(last, value=Op("+", (last.value, Const(1.0)))))

    bad = replace(launch, naive=replace(launch.naive, body=broken(launch.naive.body)))
    real, tiny.shrunk = tiny.shrunk, lambda _: (replace(tiny_naive(bad), params=naive.params), scheduled)
    try:
        assert "differs from the naive program" in (tiny.differs(bad) or "")
    finally:
        tiny.shrunk = real
    assert naive.name == scheduled.name


def tiny_naive(launch):
    return replace(launch.naive, body=tiny._cut(launch.naive.body, tiny._tiles(launch.script), 1))


def test_scripts_of_two_parents_are_repaired(subject):
    workshop = Workshop(subject)
    a, b = workshop.make(Strategy("a")), workshop.make(Strategy("b").with_choices({"softmax/vectors": 1}))
    import random

    naive = a.kernels["softmax"].naive
    for seed in range(6):
        script = spliced(naive, a.kernels["softmax"].script, b.kernels["softmax"].script, random.Random(seed))
        made = workshop.make(Strategy("child", scripts=(("softmax", script),)))
        assert tiny.first_difference(made.kernels.values()) is None
    assert repaired(naive, ["split(nowhere, 4)", "split(i, 4)", "bind(i1, sideways)"]) == "split(i, 4)"


def test_words_are_held_against_the_program(subject):
    workshop = Workshop(subject)
    default = workshop.make(Strategy("default"))
    claimed = Strategy("liar", transformation="vectors of 999 and tiles of 40 rows").with_choices({"softmax/vectors": 1})
    said = aligned(workshop.make(claimed), default, subject.machine).transformation
    assert "999" not in said and f"vectors of {subject.machine.lanes}" in said
    honest = replace(claimed, transformation=f"vectors of {subject.machine.lanes}")
    assert aligned(workshop.make(honest), default, subject.machine).transformation == honest.transformation
    now = {"softmax": features(default.kernels["softmax"], subject.machine)}
    assert claims_hold("nothing is streamed, no streaming", now) and not claims_hold("the output is streamed", now)


def test_what_does_not_fit_is_refused(subject):
    workshop = Workshop(subject)
    with pytest.raises(NothingNew, match="no decision 'matmul/tiles'"):
        workshop.make(Strategy("s").with_choices({"matmul/tiles": 3}))
    with pytest.raises(IllegalStep, match="no kernel 'conv'"):
        workshop.make(Strategy("s", scripts=(("conv", "split(i, 4)"),)))


def test_the_pack_makes_the_same_kernels(subject, tmp_path):
    candidate = Workshop(subject).make(Strategy("s").with_choices({"softmax/vectors": 1, "softmax/tail": 2}))
    write_winner(tmp_path, subject, candidate, candidate.strategy, Verdict(True, ()), "warploom evolve")
    model, inputs = subject.problem.model, subject.example
    plain = warploom.compile(model, inputs)
    chosen = warploom.compile(model, inputs, kernels=tmp_path)
    assert [s.script for s in chosen.module.steps] == [k.script for k in candidate.kernels.values()] != [s.script for s in plain.module.steps]
    assert chosen.report.notes[0].startswith("kernels evolved for scaled_softmax: k0_")
    other = warploom.compile(torch.nn.ReLU(), (torch.randn(4, 4),), kernels=tmp_path)
    assert "no kernel of this pack" in other.report.notes[0]


def test_a_folder_without_a_pack(tmp_path):
    with pytest.raises(Unreadable, match="give the folder of an evolve run"):
        read_chosen(tmp_path)
    (tmp_path / "kernels.json").write_text('{"scripts": 3}')
    with pytest.raises(Unreadable, match="no pack of kernels"):
        warploom.compile(torch.nn.ReLU(), (torch.randn(4, 4),), kernels=tmp_path)

