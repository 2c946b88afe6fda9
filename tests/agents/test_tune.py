"""Measured choices keep numbers right, are kept per machine, survive damage, and are found again by the next compile."""

import threading
from dataclasses import replace

import pytest
import torch
import warploom
from torch import nn
from warploom.agents import library, tune
from warploom.agents.records import Records, StoredScripts
from warploom.backends.cpu.aten import contraction
from warploom.backends.cpu.host import host
from warploom.backends.manifest import backend
from warploom.frontend.torch_export import export_model
from warploom.ir.kernel import rename_buffers
from warploom.ir.module import Launch, Library
from warploom.passes.canonical import canonicalize
from warploom.passes.pipeline import kernel_key, plan
from warploom.passes.sketch import sketch, sketch_space


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(folder, monkeypatch):
    """A cache with built code in it, but no records."""
    for path in (*folder.glob("library-*"), *folder.glob("tuned-*")):
        path.unlink()
    monkeypatch.setenv("WARPLOOM_CACHE", str(folder))
    monkeypatch.setattr(library, "LEAST_SECONDS", 0.0)
    return folder


class Fake(library.Stopwatch):
    """A kernel with a contraction or convolution takes 2 s, another one 0.5 s, a library call `call_s`."""

    def __init__(self, call_s: float):
        self.call_s = call_s

    def steps(self, runtime, tensors, budget_s):
        return [self._seconds(s) for s in runtime.layout.module.steps]

    def call(self, run, threads):
        return self.call_s

    def _seconds(self, step):
        return self.call_s if not isinstance(step, Launch) else 2.0 if step.kind in ("contract", "conv") else 0.5


def small() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 25, 24), nn.GELU()
    ).eval(), torch.randn(4, 3, 9, 10)


def compiled(monkeypatch, call_s: float, **options):
    monkeypatch.setattr("warploom.compiler.Stopwatch", lambda: Fake(call_s))
    model, x = small()
    fast = warploom.compile(model, (x,), **options)
    with torch.no_grad():
        assert torch.allclose(fast(x), model(x), atol=1e-5)
    return fast


def given_away(fast) -> int:
    return sum(isinstance(step, Library) for step in fast.module.steps)


# ------------------------------------------------------------------------------------------------ the library
def test_the_faster_way_is_taken(monkeypatch):
    assert given_away(compiled(monkeypatch, 5.0)) == 0


def test_the_library_runs_what_it_is_faster_at(monkeypatch):
    fast = compiled(monkeypatch, 1e-3)
    rows = [e for e in fast.report.externs if e.library]
    assert given_away(fast) == len(rows) == 2 and all("faster than our kernel" in row.reason for row in rows)
    assert sum(e["library"] for e in fast.report.data()["extern"]) == 2


def test_without_library_nothing_is_given_away(monkeypatch):
    compiled(monkeypatch, 1e-3)
    assert given_away(compiled(monkeypatch, 1e-3, library=False)) == 0


def test_answers_are_kept(monkeypatch):
    assert given_away(compiled(monkeypatch, 1e-3)) == 2
    monkeypatch.setattr("warploom.compiler.answer", lambda *_: pytest.fail("measured again"))
    assert given_away(compiled(monkeypatch, 5.0)) == 2


def test_damaged_answers_are_asked_again(monkeypatch, own_cache):
    compiled(monkeypatch, 1e-3)
    for number, path in enumerate(own_cache.glob("library-*")):
        path.write_bytes(path.read_bytes()[:5] if number else b"")
    assert given_away(compiled(monkeypatch, 5.0)) == 0


def test_equal_operators_are_one_question():
    model = nn.Sequential(*[nn.Linear(32, 32, bias=False) for _ in range(3)], nn.Linear(32, 8))
    graph = canonicalize(export_model(model, (torch.randn(16, 32),), None, None).graph)
    assert sorted(len(q.values) for q in library.questions(graph, backend("cpu").machine())) == [1, 3]


def test_an_epilogue_belongs_to_the_question():
    model = nn.Sequential(nn.Linear(32, 32, bias=False), nn.ReLU())
    graph = canonicalize(export_model(model, (torch.randn(16, 32),), None, None).graph)
    (question,) = library.questions(graph, backend("cpu").machine())
    assert "contract" in question.text and "max(" in question.text


@pytest.mark.parametrize(
    "spec",
    [
        "mk,kn->mn",
        "mk,nk->mn",
        "km,kn->mn",
        "oc,ncp->nop",
        "bmk,bnk->bmn",
        "bhmk,bhnk->bmhn",
        "ab,cb->ca",
        "mk,k->m",
        "abc,cd->abd",
        "m,n->mn",
        "abk,bk->ab",
    ],
)
def test_library_contractions_equal_einsum(spec):
    size = dict(zip("mknocpbhad", [3, 4, 5, 6, 2, 7, 8, 2, 3, 6]))
    a, b = (torch.randn([size[c] for c in letters]) for letters in spec.split("->")[0].split(","))
    made = contraction(spec, a, b)
    torch.testing.assert_close(made, torch.einsum(spec, a, b))


# ------------------------------------------------------------------------------------------------ records
def test_records_are_of_one_machine_and_thread_count():
    Records(host(), 1).keep("tuned", "key", {"script": "bind(i, block)"})
    assert StoredScripts(Records(host(), 1)).get("key") == "bind(i, block)"
    assert StoredScripts(Records(host(), 2)).get("key") is None and Records(host(), 1).recall("library", "key") is None


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-1], lambda data: b"x" + data[1:], lambda data: data * 2]
)
def test_a_damaged_record_is_no_record(own_cache, damage):
    Records(host(), 1).keep("tuned", "key", {"script": "bind(i, block)"})
    (path,) = own_cache.glob("tuned-*")
    path.write_bytes(damage(path.read_bytes()))
    assert Records(host(), 1).recall("tuned", "key") is None


def test_records_that_are_no_objects_are_ignored(own_cache):
    records = Records(host(), 1)
    records.keep("tuned", "key", ["no", "object"])  # type: ignore[arg-type]
    assert records.recall("tuned", "key") is None


def test_records_are_written_and_read_at_once():
    records, seen = Records(host(), 1), []

    def work(number: int) -> None:
        for turn in range(20):
            records.keep("tuned", "key", {"script": f"{number} {turn}" * 50})
            seen.append(records.recall("tuned", "key"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(seen) == 80 and all(r is not None and len(str(r["script"])) >= 150 for r in seen)


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, own_cache):
    blocked = own_cache / "file"
    blocked.write_text("")
    monkeypatch.setenv("WARPLOOM_CACHE", str(blocked / "cache"))
    Records(host(), 1).keep("tuned", "key", {"script": "s"})
    assert Records(host(), 1).recall("tuned", "key") == {"script": "s"}


# ------------------------------------------------------------------------------------------------ tuning
@pytest.mark.parametrize("text, seconds", [("30s", 30), ("2m", 120), ("1.5", 1.5), ("1h", 3600)])
def test_budget(text, seconds):
    assert tune.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-3s", "soon", "3d"])
def test_bad_budget_is_one_line(text):
    with pytest.raises(tune.BadBudget):
        tune.seconds_of(text)


def test_no_choices_is_the_default_sketch():
    model, x = small()
    machine = backend("cpu").machine()
    module = plan(export_model(model, (x,), None, None).graph, machine)
    for launch in (s for s in (*module.prepare, *module.steps) if isinstance(s, Launch)):
        assert sketch(launch.naive, launch.kind, machine, {}).script == launch.script
        space = sketch_space(launch.naive, launch.kind, machine)
        assert [c for c in space if len(c) == 1] and all(1 <= len(c) <= 2 for c in space)


def test_tuned_model_is_right_and_remembered(monkeypatch):
    monkeypatch.setattr(tune, "_side_by_side", lambda launches, *_: [1.0 / (1 + n) for n in range(len(launches))])
    fasts = [compiled(monkeypatch, 5.0, library=False, tune=budget) for budget in (None, "3s", None)]
    scripts = [[s.script for s in f.runtime.layout.launches] for f in fasts]
    assert scripts[0] != scripts[1] == scripts[2]
    notes = [" ".join(f.report.notes) for f in fasts]
    assert "tuned" not in notes[0] and "ms before" in notes[1] and "tuned on this machine" in notes[2]


def conv_kernel(activation: nn.Module) -> Launch:
    """A convolution and its activation, the result named `made`."""
    model, x = small()
    module = plan(export_model(nn.Sequential(model[0], activation), (x,), None, None).graph, backend("cpu").machine())
    launch = next(s for s in module.steps if isinstance(s, Launch) and s.kind == "conv")
    new = {name: "made" for name in launch.program.written()}
    params = tuple(replace(b, name=new.get(b.name, b.name)) for b in launch.program.params)
    return replace(launch, program=replace(launch.program, params=params, body=rename_buffers(launch.program.body, new)))


def test_variants_with_other_numbers_are_never_taken():
    kernels = [conv_kernel(nn.ReLU()), conv_kernel(nn.Hardswish()), conv_kernel(nn.ReLU())]
    times = tune._side_by_side(kernels, backend("cpu").machine(), 1, Fake(5.0))
    assert times == [2.0, float("inf"), 2.0]


@pytest.mark.parametrize("script", ["split(nothing, 8)", "no step", "bind(i, vector"])
def test_a_stale_script_is_replaced_by_the_sketch(monkeypatch, script):
    plain = compiled(monkeypatch, 5.0, library=False)
    records = Records(host(), torch.get_num_threads())
    for launch in plain.runtime.layout.launches:
        records.keep("tuned", kernel_key(launch.naive), {"script": script})
    again = compiled(monkeypatch, 5.0, library=False)
    assert [s.script for s in again.runtime.layout.launches] == [s.script for s in plain.runtime.layout.launches]
