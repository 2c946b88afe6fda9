"""compile(): results like the model's, whatever the shape of its arguments and results; bad input is one line; saved, loaded, exported."""

import copy
import subprocess
from dataclasses import replace

import pytest
import torch
import warploom
from torch import nn
from warploom import compiler
from warploom.backends.cpu import saved
from warploom.backends.cpu.export import NotStandalone
from warploom.ir.diagnostic import InputMismatch, Unreadable, UnsupportedModel, WrongNumbers
from warploom.ir.expr import Const, Op
from warploom.ir.graph import Map


def close(a, b) -> bool:
    return torch.allclose(a, b, rtol=1e-5, atol=1e-6)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(24, 40), nn.BatchNorm1d(40), nn.Linear(40, 8)

    def forward(self, x):
        return self.b(self.norm(self.a(x)).relu()).softmax(-1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model, x = Net(), torch.randn(16, 24)
    return model, x, warploom.compile(model, (x,))


def test_answers_like_the_model_and_updates_its_buffers(net):
    model, x, fast = net
    twin = copy.deepcopy(model)
    for _ in range(3):
        with torch.no_grad():
            assert close(fast(x), twin(x))
    assert (
        close(model.norm.running_var, twin.norm.running_var) and model.norm.num_batches_tracked == twin.norm.num_batches_tracked
    )


def test_compiling_leaves_the_model_as_it_was():
    model = Net()
    before = copy.deepcopy(model.state_dict())
    warploom.compile(model, (torch.randn(16, 24),))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("change", ["in place", "data", "replaced", "loaded"])
def test_changed_parameters_are_seen(net, change):
    model, x, fast = net
    fast(x)
    with torch.no_grad():
        if change == "in place":
            model.a.weight.mul_(1.5)
        elif change == "data":
            model.a.weight.data.mul_(0.5)
        elif change == "replaced":
            model.a.weight = nn.Parameter(torch.randn(40, 24))
        else:
            model.load_state_dict(Net().state_dict())
        assert close(fast(x), copy.deepcopy(model)(x))


class Structured(nn.Module):
    def forward(self, pair, *, scale, flag=True):
        x, y = pair["x"], pair["y"]
        return {"sum": (x + y) * scale, "parts": [x - y, (x > y)], "n": x.shape[0], "same": x, "none": None}


def test_structured_arguments_and_results():
    pair = {"x": torch.randn(5, 3), "y": torch.randn(5, 3)}

    def model(pair, scale):
        return Structured()(pair, scale=scale)

    fast = warploom.compile(model, (pair, 2.0))
    ours, theirs = fast(pair, 2.0), model(pair, 2.0)
    assert list(ours) == list(theirs) and ours["n"] == 5 and ours["none"] is None and ours["same"] is pair["x"]
    assert torch.equal(ours["sum"], theirs["sum"]) and torch.equal(ours["parts"][1], theirs["parts"][1])
    with pytest.raises(InputMismatch):
        fast(pair, 3.0)
    with pytest.raises(InputMismatch):
        fast([pair["x"], pair["y"]], 2.0)


def test_dynamic_batch():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    fast = warploom.compile(model, (torch.randn(4, 6),), dynamic={0: {0: ("batch", 1, 64)}})
    for n in (1, 3, 64):
        x = torch.randn(n, 6)
        with torch.no_grad():
            assert close(fast(x), model(x))
    with pytest.raises(InputMismatch, match=r"1\.\.64"):
        fast(torch.randn(65, 6))


@pytest.mark.parametrize(
    "bad",
    [
        (torch.randn(15, 24),),
        (torch.randn(16, 24).double(),),
        (torch.randn(16),),
        (),
        (1, 2),
        (torch.randn(16, 24, requires_grad=True),),
    ],
)
def test_a_bad_call_is_one_line(net, bad):
    with pytest.raises(InputMismatch) as caught:
        net[2](*bad)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_random_draws_follow_eager():
    model = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.2))
    x = torch.randn(8, 16)
    fast = warploom.compile(model, (x,))
    for seed in range(3):
        torch.manual_seed(seed)
        ours = fast(x)
        torch.manual_seed(seed)
        with torch.no_grad():
            assert close(ours, model(x))


def test_saved_and_loaded(net, tmp_path):
    model, x, fast = net
    model.eval()
    fast = warploom.compile(model, (x,))
    fast.save(tmp_path / "net.wl")
    again = warploom.load(tmp_path / "net.wl")
    assert torch.equal(again(x), fast(x)) and again.sources == fast.sources
    model.train()


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[: len(d) // 2], lambda d: b"PK" + d[2:900] + bytes(900)])
def test_a_damaged_file_is_one_line(net, tmp_path, damage):
    path = tmp_path / "net.wl"
    net[2].save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Unreadable) as caught:
        warploom.load(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_version_or_machine(net, tmp_path, monkeypatch):
    path = tmp_path / "net.wl"
    net[2].save(path)
    with pytest.raises(saved.OtherVersion):
        saved.read(path, "0.0.0")
    monkeypatch.setattr(saved, "cpu_flags", lambda: frozenset({"sse2"}))
    with pytest.raises(saved.OtherMachine):
        warploom.load(path)


def test_a_hostile_file_runs_nothing(net, tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return print, ("it ran",)

    path = tmp_path / "net.wl"
    monkeypatch.setattr(saved.pickle, "dumps", lambda program, dumps=saved.pickle.dumps: dumps((program, Evil())))
    net[2].save(path)
    with pytest.raises(Unreadable, match=r"builtins\.print"):
        warploom.load(path)


def test_exported_project_builds_with_a_compiler_alone(net, tmp_path):
    fast = net[2]
    fast.export(tmp_path / "project")
    readme = (tmp_path / "project" / "README.md").read_text()
    command = next(line.strip() for line in readme.splitlines() if line.strip().startswith("g++"))
    built = subprocess.run(command, shell=True, cwd=tmp_path / "project", capture_output=True, text=True)
    assert built.returncode == 0 and "right" in built.stdout, built.stdout + built.stderr
    assert " 0 differ" in built.stdout


def test_export_names_the_node_in_the_way(tmp_path):
    fast = warploom.compile(nn.Dropout(0.5), (torch.randn(4, 4),))
    with pytest.raises(NotStandalone, match=r"aten\.\w+"):
        fast.export(tmp_path)


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

    def forward(self, x):
        y = self.norm(self.a(x))
        return y * 2 if y.sum().item() > 1e6 else y.relu()


class Cached(nn.Module):
    """One step of attention over a cache that grows by a row a call."""

    def __init__(self, width=32, rows=24):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.register_buffer("keys", torch.zeros(rows, width))
        self.register_buffer("values", torch.zeros(rows, width))

    def forward(self, x, at):
        self.keys.index_copy_(0, at, self.k(x))
        self.values[at] = self.v(x)
        seen = torch.arange(self.keys.shape[0]) <= at
        score = (self.q(x) @ self.keys.T).masked_fill(~seen, float("-inf"))
        return score.softmax(-1) @ self.values


def test_a_cache_of_keys_and_values_lives_across_calls(tmp_path):
    model = Cached()
    fast = warploom.compile(model, (torch.randn(1, 32), torch.tensor([3])))
    assert not model.keys.any() and not model.values.any()  # compile, its check and its timing leave the state alone
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for step in range(4):
            if step == 2:
                fast.save(tmp_path / "cached.warploom")
                loaded, rest = warploom.load(tmp_path / "cached.warploom"), copy.deepcopy(twin)
            x, at = torch.randn(1, 32), torch.tensor([step])
            assert close(fast(x, at), twin(x, at))
            assert close(model.keys, twin.keys) and close(model.values, twin.values)
        x, at = torch.randn(1, 32), torch.tensor([2])
        assert close(loaded(x, at), rest(x, at))  # with the rows that were there when it was saved
    assert len(fast.runtime.layout.in_place) == 2 and not fast.runtime.layout.copies


class OldValues(nn.Module):
    """State whose old value is wanted after it was written, or which is an output."""

    def __init__(self, returned):
        super().__init__()
        self.returned = returned
        self.register_buffer("a", torch.arange(12.0).reshape(4, 3))

    def forward(self, x, at):
        before = self.a.clone()
        self.a.index_copy_(0, at, x)
        return self.a if self.returned else before * 2 + self.a.sum()


@pytest.mark.parametrize("returned", [True, False])
def test_old_values_of_state_are_kept_where_they_are_wanted(returned):
    model = OldValues(returned)
    x, at = torch.randn(1, 3), torch.tensor([2])
    fast, twin = warploom.compile(model, (x, at)), copy.deepcopy(model)
    for _ in range(2):
        assert close(fast(x, at), twin(x, at)) and close(model.a, twin.a)
        x = x + 1
    assert not fast.runtime.layout.in_place


def test_a_cache_that_is_an_argument_is_written_where_it_lives():
    class Step(nn.Module):
        def forward(self, x, at, cache):
            cache.index_copy_(0, at, x * 2)
            return cache.sum(0)

    x, at, cache = torch.randn(2, 8), torch.tensor([1, 5]), torch.zeros(8, 8)
    fast = warploom.compile(Step(), (x, at, cache))
    assert not cache.any() and len(fast.runtime.layout.in_place) == 1
    for given in (cache, torch.zeros(8, 16)[:, ::2]):  # the second is not dense: it is written back
        want = given.clone().index_copy(0, at, x * 2)
        assert close(fast(x, at, given), want.sum(0)) and close(given, want)


def test_graph_breaks_go_through_dynamo(tmp_path):
    model, x = Breaks(), torch.randn(16, 8)
    before = copy.deepcopy(model.state_dict())
    fast = warploom.compile(model, (x,))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        assert close(fast(x), twin(x)) and close(model.norm.running_mean, twin.norm.running_mean)
    assert any("torch.export" in note for note in fast.report.notes) and len(fast.report.notes) > 1
    with pytest.raises(UnsupportedModel):
        fast.export(tmp_path)


def test_torch_compile_backend():
    torch._dynamo.reset()
    model, x = Net().eval(), torch.randn(16, 24)
    fast = torch.compile(model, backend="warploom")
    with torch.no_grad():
        assert close(fast(x), model(x))


def test_wrong_numbers_name_the_operator(monkeypatch):
    plan = compiler.plan

    def sabotage(graph, machine, options):
        nodes = [replace(n, op=Map(Op("*", (n.op.expr, Const(1.01))))) if "tanh" in n.origin else n for n in graph.nodes]
        return plan(replace(graph, nodes=tuple(nodes)), machine, options)

    monkeypatch.setattr(compiler, "plan", sabotage)
    with pytest.raises(WrongNumbers, match="tanh") as caught:
        warploom.compile(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Softmax(-1)), (torch.randn(4, 8),))
    assert caught.value.exit_code == 1


def test_report_covers_the_run(net):
    report = net[2].report
    assert report.ok and abs(sum(k.share for k in report.kernels) + sum(e.share for e in report.externs) - 1) < 1e-6
    assert "Kernels" in str(report) and report.kernels[0].name in str(report)
    html = report.to_html()
    assert "http://" not in html and "https://" not in html and all(k.name in html for k in report.kernels)
    assert {"ok", "max_error", "compile_s", "kernels", "extern", "time_ms", "threads"} <= set(report.data())


def test_what_depends_on_nothing_is_prepared_in_a_model_without_weights():
    """The weights of a bicubic resize are kernels of their own that read no input."""

    class Resize(nn.Module):
        def forward(self, x):
            return torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic")

    x = torch.randn(2, 3, 8, 8)
    fast = warploom.compile(Resize(), (x,), library=False)
    assert fast.module.prepare and not fast.weights()
    torch.testing.assert_close(fast(x), Resize()(x), rtol=1e-5, atol=1e-5)


def test_positions_held_in_tensors():
    """Gathers, embeddings and scatters are kernels of ours; an index out of range is refused before a launch."""

    class Pick(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(40, 8)

        def forward(self, x, i, j):
            rows = self.table(i)
            return rows.sum(-2) + x.gather(1, j), x.scatter_add(1, j, rows[:, 0]), x.index_select(0, i[0])

    model = Pick()
    inputs = torch.randn(6, 8), torch.randint(0, 6, (6, 3)), torch.randint(0, 8, (6, 8))
    fast = warploom.compile(model, inputs, library=False)
    assert not fast.report.externs
    for a, b in zip(fast(*inputs), model(*inputs)):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputMismatch, match="index 8 is out of range"):
        fast(inputs[0], inputs[1], torch.full((6, 8), 8))
