"""The command's edges: what cannot be run, what is kept on the way, the live view and the page."""

import io
import json

import pytest
from evolve_fakes import Scripted
from rich.console import Console
from warploom.agents.evolve import command, files
from warploom.agents.evolve.command import Request, keep, run_evolve
from warploom.agents.evolve.files import run_files
from warploom.agents.evolve.show import page
from warploom.agents.evolve.state import State
from warploom.agents.evolve.view import LiveView, table
from warploom.agents.knowledge import base
from warploom.agents.proposers.llm import Llm
from warploom.evaluation.candidate import read_candidate
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.task import read_task


def failed(capsys, request):
    code = run_evolve(request, as_json=True)
    return code, json.loads(capsys.readouterr().out)["error"]["message"]


def test_what_cannot_be_run(capsys, tmp_path, problem_file):
    out = str(tmp_path / "out")
    assert failed(capsys, Request(str(tmp_path / "no.py"), out=out))[0] == 2
    code, message = failed(capsys, Request(str(problem_file), target="quantum", out=out))
    assert code == 2 and "no target 'quantum'" in message
    code, message = failed(capsys, Request(str(problem_file), budget="soon", out=out))
    assert code == 2 and "expected a time" in message
    code, message = failed(capsys, Request(str(problem_file), proposer="llm", out=out))
    assert code == 2 and "needs --model" in message
    code, message = failed(capsys, Request(str(problem_file), replay=str(tmp_path / "none"), out=str(tmp_path / "other")))
    assert code == 2 and "folder of an evolve run" in message


def test_what_is_accepted_is_kept_at_once(run, tmp_path):
    search, folder = run(seconds=60.0, evaluations=30), tmp_path / "run"
    request = Request("scaled_softmax.py")
    seen = []

    def accepted(best):
        keep(request, search, best, search.state, folder)
        seen.append(json.loads((folder / "best.json").read_text()))

    search.listener.accepted = accepted
    search.run()
    assert seen and seen[-1]["verdict"]["accepted"] and (folder / seen[-1]["source_file"]).exists()


def test_more_budget_goes_on(run):
    first = run("grow", evaluations=8)
    first.run()
    more = run("grow", evaluations=16)
    made = more.run()
    assert made.evaluations == 16 and len(more.arena.raced) < 16


def test_the_live_view_and_the_page(run, tmp_path, monkeypatch, capsys):
    console = Console(force_terminal=True, width=120, file=io.StringIO())
    search = run("seen", evaluations=20, listener=LiveView(console, 60.0))
    made = search.run()
    recorded = Console(width=140, record=True, file=io.StringIO())
    recorded.print(table(search.board, made, 12.0, 60.0, search.floor_s, ["a line"]))
    text = recorded.export_text()
    assert "best" in text and "roofline" in text and "refused" in text and "20 evaluations" in text
    html = page(tmp_path / "seen")
    assert html.count("<svg") == 3 and "this run has not ended" in html and "<circle" in html
    assert "http://" not in html and "https://" not in html and "<script" not in html
    assert run_files("show", str(tmp_path / "seen"), None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["page"].endswith("evolve.html")
    assert run_files("show", str(tmp_path / "nothing"), None, as_json=True) == 2


def test_the_command_that_repeats_a_run():
    assert Request("a/b.py", budget="5m", seed=3).command == "warploom evolve b.py --budget 5m --proposer builtin --seed 3"
    assert command.TARGETS == ("cpu", "cuda", "triton")


def test_strategies_go_out_and_come_in(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(base, "own_path", lambda: tmp_path / "own.txt")
    monkeypatch.setattr(files, "own_path", lambda: tmp_path / "own.txt")
    assert run_files("export", str(tmp_path / "all.txt"), None, as_json=True) == 0
    assert run_files("import", str(tmp_path / "all.txt"), None, as_json=True) == 0
    said = [json.loads(line)["strategies"] for line in capsys.readouterr().out.split("\n") if line.startswith("{")]
    assert said[0] == said[1] >= 8 and (tmp_path / "own.txt").exists()
    assert run_files("import", str(tmp_path / "none.txt"), None, as_json=True) == 2


def test_a_gpu_is_modelled_and_said_so(problem_file, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "write_back", lambda found: pytest.fail("what was not measured is no evidence"))
    code, best = command.evolve(Request(str(problem_file), target="cuda", budget="60s", evaluations=6, out=str(tmp_path / "run")))
    assert code == 0 and best["measured"] is False and best["speedup"] is None and best["times_ms"] == {}
    assert "not measured" in best["verdict"]["notes"][0] and best["modelled_over_default"] >= 1.0
    assert "__global__" in (tmp_path / "run" / "winner.cu").read_text()
    assert json.loads((tmp_path / "run" / "winner.json").read_text())["kernels"]


ROWS_CUDA = """// warploom-launch: grid=24,1,1;block=1,1,1;shared=0
__global__ void kernel(const float* x, float* out) {
  const float* row = x + 70 * blockIdx.x;
  float most = -1e30f, sum = 0;
  for (int i = 0; i < 70; ++i) most = fmaxf(most, FACTOR * row[i]);
  for (int i = 0; i < 70; ++i) sum += expf(FACTOR * row[i] - most);
  for (int i = 0; i < 70; ++i) out[70 * blockIdx.x + i] = expf(FACTOR * row[i] - most) / sum;
}"""
ROWS_TRITON = """import torch, triton
import triton.language as tl

@triton.jit
def rows(x, out, n: tl.constexpr, block: tl.constexpr):
    at = tl.arange(0, block)
    v = tl.load(x + tl.program_id(0) * n + at, mask=at < n, other=float("-inf")) * FACTOR
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + tl.program_id(0) * n + at, e / tl.sum(e, 0), mask=at < n)

class ModelNew(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        rows[(x.shape[0],)](x, out, x.shape[1], 128)
        return out"""


def told(name, language, code):
    """A strategy of free code as a model says it."""
    return "\n".join([f"strategy {name}", "  transformation: a block a row", f"  code {language}", *(f"    | {line}" for line in code.split("\n"))])


@pytest.mark.parametrize(("target", "language", "code", "suffix"), [("cuda", "cuda", ROWS_CUDA, ".cu"), ("triton", "python", ROWS_TRITON, ".py")])
def test_free_code_for_a_gpu_is_judged_and_kept_beside_the_winner(problem_file, tmp_path, monkeypatch, target, language, code, suffix):
    right, wrong = code.replace("FACTOR", "2.0" + "f" * (language == "cuda")), code.replace("FACTOR", "2.5" + "f" * (language == "cuda"))
    model = Scripted(["\n\n".join([told("right", language, right), told("wrong", language, wrong)]), told("elsewhere", "c++", "void kernel() {}"), "no more"])
    monkeypatch.setattr(command, "proposer", lambda name, m, state, text, *budgets: Llm(model, state, text))
    request = Request(str(problem_file), target=target, budget="90s", evaluations=6, out=str(tmp_path / "run"))
    code_, best = command.evolve(request)
    assert code_ == 0 and best["unranked_code"] == 1 and best["source_file"] == f"winner{suffix}"
    kept = tmp_path / "run" / f"code-1{suffix}"
    assert "strategy right" in kept.read_text() and "verdict: accepted" in kept.read_text()
    assert Judge(Settings(measure=False)).verdict(read_task(str(problem_file)), read_candidate(kept)).accepted
    refused = {v["strategy"].split("\n")[0]: v["reason"] for _, v, _ in State(tmp_path / "run").told("refused")}
    assert refused["strategy wrong"].startswith("judge: wrong-result") and f"for this target: {language}" in refused["strategy elsewhere"]
