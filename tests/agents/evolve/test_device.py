"""Evolution on a GPU, played by the emulator with a clock that counts what the model says of each launch."""

import hashlib
import math
from dataclasses import replace

import pytest
import torch
from evolve_fakes import Clock
from warploom.agents.evolve import command
from warploom.agents.evolve.bottleneck import bottlenecks
from warploom.agents.evolve.candidate import Workshop
from warploom.agents.evolve.command import Request
from warploom.agents.evolve.device import Device, Measured
from warploom.agents.evolve.gpu import runs
from warploom.agents.evolve.measure import Arena
from warploom.agents.evolve.state import OtherRun
from warploom.agents.evolve.subject import read_subject
from warploom.agents.strategy import Strategy
from warploom.backends.cpu.host import host
from warploom.backends.cuda.counters import Counters, NoCounters
from warploom.backends.cuda.driver import LaunchFailed
from warploom.backends.cuda.host import H100
from warploom.backends.cuda.module import CUDA
from warploom.backends.cuda.runtime import cuda

PROBLEM = """
import torch
import torch.nn as nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(24, 40)

    def forward(self, x):
        return torch.softmax(self.linear(x), 1)

def get_inputs():
    return [torch.randn(16, 24)]

def get_init_inputs():
    return []
"""


def cost(text):
    """Seconds of a kernel, a function of its text."""
    return 1e-5 + int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) * 1e-9


class Played:
    """A kernel in the emulator, on a clock."""

    def __init__(self, program, dims, place, device):
        self.program, self.run, self.device = program, cuda(program, dims, place), device

    def on_tensors(self, tensors):
        if any(k.text in self.device.broken for k in self.program.kernels):
            raise LaunchFailed("the CUDA driver answers CUDA_ERROR_INVALID_VALUE")
        if any(k.text in self.device.huge for k in self.program.kernels):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90.00 GiB")
        self.run.on_tensors(tensors)
        if any(k.text in self.device.wrong for k in self.program.kernels):
            for b in self.program.buffers:
                if b.role != "in":
                    tensors[b.name].mul_(1.5)
        self.device.seen.append({b.name: tensors[b.name].data_ptr() for b in self.program.buffers if b.role == "in"})
        self.device.clock.now += sum(cost(k.text) for k in self.program.kernels)


class Stage:
    """What a test may break, and what it may look at."""

    def __init__(self):
        self.clock, self.broken, self.wrong, self.huge, self.seen, self.compiled = Clock(), set(), set(), set(), [], []

    def recorded(self, work):
        def seconds():
            begin = self.clock.now
            work()
            return self.clock.now - begin

        work()
        return seconds

    def device(self):
        build = lambda program, dims, place: Played(program, dims, place, self)  # noqa: E731
        return Device("A GPU", torch.device("cpu"), CUDA, build, self.recorded, lambda: None, lambda p: self.compiled.append(p.source))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("warploom.agents.evolve.device.LEAST_SECONDS", 1e-6)
    monkeypatch.setattr("warploom.agents.evolve.race.STAGE_SECONDS", 0.0)
    monkeypatch.setattr("warploom.evaluation.bench.gpu.ROTATED_BYTES", 1)
    monkeypatch.setattr(command, "INDUCTOR_S", math.inf)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gpu") / "linear_softmax.py"
    path.write_text(PROBLEM)
    return path


@pytest.fixture(scope="module")
def candidates(file):
    subject = read_subject(str(file), H100)
    shop = Workshop(subject)
    default = shop.make(Strategy("default schedule"))
    others: dict = {}
    for name, (own, worth) in sorted(default.space.items()):
        for value in worth:
            if value != own and "/" in name:
                c = shop.make(Strategy(f"{name} = {value}", choices=((name, value),)))
                others.setdefault(c.key, c)
    others.pop(default.key, None)
    assert len(others) >= 3
    return subject, default, list(others.values())[:3]


def seconds(candidate):
    return sum(cost(k.text) for p in _programs(candidate) for k in p.kernels)


def _programs(candidate):
    from warploom.agents.evolve.device import _Recorded

    made = _Recorded(candidate)
    made.print(CUDA)
    return made.programs


def test_times_are_those_of_the_launches_alone(candidates):
    subject, default, others = candidates
    stage = Stage()
    timings = Measured(subject, default, stage.device()).race(others, (3,))
    own = seconds(default)
    assert [t.ratio for t in timings] == pytest.approx([seconds(c) / own for c in others])
    assert [sum(t.kernels) for t in timings] == pytest.approx([t.seconds for t in timings])
    assert all(len(t.kernels) == len(c.kernels) and t.rounds >= 3 for t, c in zip(timings, others))
    assert set(stage.compiled) >= {p.source for c in others for p in _programs(c)}


def test_inputs_take_turns_and_the_state_is_there_once(candidates):
    subject, default, others = candidates
    stage = Stage()
    arena = Measured(subject, default, stage.device())
    names = [i.name for i in subject.graph.inputs]
    at = {name: {draw[name].data_ptr() for draw in arena.inputs} for name in names}
    given = subject.exported.inputs[0].name
    assert len(arena.inputs) >= 2 and len(at.pop(given)) == len(arena.inputs) and all(len(places) == 1 for places in at.values())
    arena.race(others[:1], (3,))
    used = [seen[given] for seen in stage.seen if given in seen]
    assert len(set(used)) == len(arena.inputs) and max(map(used.count, used)) <= 2 * min(map(used.count, used))


CONSTANT = """
import torch
import torch.nn as nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.randn(24, 40)

    def forward(self, x):
        return torch.relu(x @ (self.table * 2.0)) + self.table.sum(0)

def get_inputs():
    return [torch.randn(16, 24)]

def get_init_inputs():
    return []
"""


@pytest.mark.parametrize("machine", [H100, host()], ids=["gpu", "cpu"])
def test_what_depends_on_constants_alone_is_prepared_for_each_candidate(tmp_path, machine):
    path = tmp_path / "constant.py"
    path.write_text(CONSTANT)
    subject = read_subject(str(path), machine)
    shop = Workshop(subject)
    default = shop.make(Strategy("default schedule"))
    assert default.module.prepare
    names = [(n, v) for n, (own, worth) in default.space.items() for v in worth if v != own and "matmul" in n]
    others = list({c.key: c for c in (shop.make(Strategy("x", choices=(c,))) for c in names) if c.key != default.key}.values())
    arena = Measured(subject, default, Stage().device()) if machine is H100 else Arena(subject, default)
    timings = arena.race(others[:5], (1,))
    assert len(timings) >= 3 and not any(t.wrong for t in timings)
    run = runs(subject, default.module, "cuda", Stage().device()) if machine is H100 else None
    assert run is None or torch.allclose(run(subject.example)[0], subject.problem.model(*subject.example), atol=1e-4)


def test_one_that_fails_is_refused_with_its_reason_and_takes_no_other_with_it(candidates):
    subject, default, others = candidates
    stage = Stage()
    known = {k.text for p in _programs(default) for k in p.kernels}
    own = [next(k.text for p in _programs(c) for k in p.kernels if k.text not in known) for c in others]
    stage.broken.add(own[0])
    stage.wrong.add(own[1])
    broken, wrong, fine = Measured(subject, default, stage.device()).race(others, (3,))
    stage.broken, stage.huge = set(), {own[0]}
    assert "too little memory" in Measured(subject, default, stage.device()).race(others, (3,))[0].why
    assert broken.wrong and "CUDA_ERROR_INVALID_VALUE" in broken.why
    assert wrong.wrong and not wrong.why
    assert not fine.wrong and math.isfinite(fine.ratio)


def test_a_run_on_a_gpu_is_measured_judged_compared_and_replayed_without_it(file, tmp_path, monkeypatch):
    stage = Stage()
    monkeypatch.setattr(command, "here", lambda target: stage.device())
    monkeypatch.setattr(command, "write_back", lambda found: None)
    request = Request(str(file), target="cuda", budget="200s", evaluations=6, out=str(tmp_path / "run"))
    code, best = command.evolve(request)
    assert code == 0 and best["measured"] is True and {"winner", "default", "eager"} <= set(best["times_ms"])
    assert best["speedup"] is not None and best["speedup_over_default"] is not None and "ranked_by" not in best
    assert best["verdict"]["notes"] == ["checked on A GPU on 2 draws of inputs, and measured there"]
    assert "__global__" in (tmp_path / "run" / "winner.cu").read_text() and (tmp_path / "run" / "winner.json").exists()

    monkeypatch.setattr(command, "here", lambda target: None)
    _, again = command.evolve(Request(str(file), target="cuda", budget="200s", evaluations=6, out=str(tmp_path / "again"), replay=str(tmp_path / "run")))
    assert again["measured"] is True and again["strategy"] == best["strategy"] and again["times_ms"] == best["times_ms"]
    with pytest.raises(OtherRun, match="A GPU; here is none"):
        command.evolve(Request(str(file), target="cuda", budget="400s", out=str(tmp_path / "run"), resume=True))


def test_counters_say_what_holds_a_kernel_back(candidates):
    _, default, _ = candidates
    kernels, machine = list(default.kernels.items()), H100
    seconds = [1e-5] * len(kernels)

    def found(memory, compute):
        seen = {role: Counters(memory, compute, 0.5) for role, _ in kernels}
        return bottlenecks(kernels, seconds, machine, machine.cores // 100, seen)

    assert {b.what for b in found(0.9, 0.2)} == {"memory"} and {b.what for b in found(0.2, 0.7)} == {"compute"}
    assert {b.what for b in found(0.3, 0.3)} == {"latency"}
    assert "90% of the bandwidth" in found(0.9, 0.2)[0].words() and "counters" not in bottlenecks(kernels, seconds, machine, 1)[0].words()


def test_counters_are_asked_for_once_a_program_and_a_run_goes_on_without(file, tmp_path, monkeypatch):
    stage, asked = Stage(), []

    def count(programs):
        asked.append([p.source for p in programs])
        raise NoCounters("ERR_NVGPUCTRPERM")

    monkeypatch.setattr(command, "here", lambda target: replace(stage.device(), counted=count))
    monkeypatch.setattr(command, "write_back", lambda found: None)
    code, best = command.evolve(Request(str(file), target="cuda", budget="300s", evaluations=2, out=str(tmp_path / "run")))
    assert code == 0 and best["measured"] is True and asked and len(asked) == len({tuple(a) for a in asked})


@pytest.mark.gpu
@pytest.mark.parametrize("target", ["cuda", "triton"])
def test_on_a_gpu(file, tmp_path, target, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(command, "write_back", lambda found: None)
    code, best = command.evolve(Request(str(file), target=target, budget="60s", evaluations=10, out=str(tmp_path / "run")))
    assert code == 0 and best["measured"] is True and best["times_ms"]["winner"] > 0 and best["verdict"]["accepted"]
