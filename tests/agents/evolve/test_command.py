"""The command's edges: what cannot be run, what is kept on the way, the live view and the page."""

import io
import json

from rich.console import Console
from warploom.agents.evolve import command
from warploom.agents.evolve.command import Request, keep, run_evolve
from warploom.agents.evolve.show import page, run_show
from warploom.agents.evolve.view import LiveView, table


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
    assert run_show(str(tmp_path / "seen"), None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["page"].endswith("evolve.html")
    assert run_show(str(tmp_path / "nothing"), None, as_json=True) == 2


def test_the_command_that_repeats_a_run():
    assert Request("a/b.py", budget="5m", seed=3).command == "warploom evolve b.py --budget 5m --proposer builtin --seed 3"
    assert command.TARGETS == ("cpu", "cuda", "triton")
