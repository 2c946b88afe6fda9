"""Whole runs on records made by hand: the report's fields, resuming after kill -9, budgets, and what must not leak."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_server import FakeServer
from warploom.agents.evaluate.command import EvalRequest, run_eval
from warploom.evaluation.sandbox import unavailable

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation_suites"))
from handmade import CHAIN, HTML, RECORDS

pytestmark = pytest.mark.skipif(bool(unavailable()), reason="no sandbox here")
needs_litellm = pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="needs litellm: pip install 'warploom[llm]'")
KEY = "sk-planted-fedcba9876543210"
NAME = "openai/gpt-4o-mini"


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "Handmade.json").write_text(json.dumps([RECORDS[0], CHAIN, RECORDS[4], RECORDS[5]]))
    return folder


def echo_file(folder: Path, answers: dict[tuple[str, int], str]) -> str:
    path = folder / "echo.jsonl"
    path.write_text("\n".join(json.dumps({"id": i, "sample": s, "answer": a}) for (i, s), a in answers.items()))
    return f"echo:{path}"


def answered(messages: list) -> str:
    """The record's own C code, recognised by its CUDA."""
    text = " ".join(m["content"] for m in messages)
    for r in (RECORDS[0], CHAIN, RECORDS[5]):
        if r["cuda_code"][60:400] in text:
            return f"Sure.\n```c\n{r['c_code']}\n```\n"
    return "I do not know."


def run(capsys, records: Path, out: Path, model: str, **given) -> tuple[int, dict]:
    code = run_eval(EvalRequest((str(records),), model=model, out=str(out), **given), as_json=True)
    return code, json.loads(capsys.readouterr().out)


def files_of(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_echo_run(records, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", KEY)
    ids = [f"Handmade/{i}" for i in range(4)]
    model = echo_file(
        tmp_path,
        {
            (ids[0], 0): f"```c\n{RECORDS[0]['c_code']}```",
            (ids[0], 1): f"My key is {KEY}.",
            (ids[1], 0): "```c\nvoid work(float* x, float* y) { for (int i = 0; i < 256; ++i) y[i] = 0; }\n```",
            (ids[3], 0): f"```c\n{RECORDS[5]['c_code']}```",
        },
    )
    code, value = run(capsys, records, tmp_path / "run", model, samples=2)
    assert code == 0
    assert (value["suite"], value["protocol"], value["records"], value["sound"]) == ("HPCTransEval", "strict", 4, 3)
    assert [d["id"] for d in value["defective"]] == [ids[2]]
    figures = value["models"][model]
    verdicts = {(s["id"], s["sample"]): s["verdict"] for s in figures["samples"]}
    assert verdicts == {
        (ids[0], 0): "accepted", (ids[0], 1): "extraction", (ids[1], 0): "hollow", (ids[1], 1): "no-answer", (ids[3], 0): "accepted",
        (ids[3], 1): "no-answer",
    }  # fmt: skip
    assert figures["pass@1"] == pytest.approx(1 / 3) and figures["pass@2"] == pytest.approx(2 / 3)
    assert figures["speedups"].keys() >= {"c_code", "naive"} and figures["speedups"]["c_code"]["answers"] == 2
    assert figures["compile_rate"] == 0.5 and figures["tokens"] == 0 and figures["cost_usd"] == 0
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == value
    assert KEY.encode() not in files_of(tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    if page.exists():
        assert HTML not in page.read_text() and "alert(" not in page.read_text().split('id="data"')[0].split('id="specifications"')[0]
    again, same = run(capsys, records, tmp_path / "run", model, samples=2, resume=True)
    assert again == 0 and same == value
    assert run_eval(EvalRequest((str(records),), model=model, out=str(tmp_path / "run"), samples=2), as_json=True) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "WL-E091"


def test_runs_are_compared(records, tmp_path, capsys):
    """Two runs of one suite, by either protocol, in one report: models are told apart and paired on the samples that both have."""
    model = echo_file(tmp_path, {(f"Handmade/{i}", 0): f"```c\n{r['c_code']}```" for i, r in ((0, RECORDS[0]), (1, CHAIN))})
    for protocol in ("strict", "original"):
        run(capsys, records, tmp_path / protocol, model, protocol=protocol)
    request = EvalRequest(("report", str(tmp_path / "strict"), str(tmp_path / "original")), out=str(tmp_path / "both"))
    assert run_eval(request, as_json=True) == 0
    value = json.loads(capsys.readouterr().out)
    assert list(value["models"]) == [f"{model} (strict)", f"{model} (original)"] and value["protocol"] == "strict, original"
    (pair,) = value["paired"]
    assert (pair["samples"], pair["both"], pair["neither"]) == (3, 2, 1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "Handmade.json").write_text(json.dumps([RECORDS[0]]))
    run(capsys, other, tmp_path / "small", model)
    assert run_eval(EvalRequest(("report", str(tmp_path / "strict"), str(tmp_path / "small")), out=str(tmp_path / "both")), as_json=True) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "WL-E097"


def test_a_list_does_without_torch(records):
    """It answers at once: neither torch nor litellm is loaded for it."""
    code = f"import sys; from warploom.agents.evaluate.command import EvalRequest, run_eval; run_eval(EvalRequest(({str(records)!r},), list_only=True), True); print(sorted({{'torch', 'litellm'}} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert json.loads(said[0])["records"] == 4 and said[1] == "[]"


@needs_litellm
def test_budget_stops_a_run_that_can_be_resumed(records, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeServer(answered, failures=0.2, kinds=("429", "500"), seed=5) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, value = run(capsys, records, tmp_path / "run", NAME, samples=3, max_tokens=4500, answer_tokens=300, workers=2)
        figures = value["models"][NAME]
        assert code == 0 and figures["unasked"] > 0 and 0 < figures["tokens"] == server.tokens <= 4500
        assert NAME in value["stopped"]
        _, value = run(capsys, records, tmp_path / "run", NAME, samples=3, answer_tokens=300, workers=2, resume=True)
        figures = value["models"][NAME]
        assert figures["unasked"] == 0 and figures["tokens"] == server.tokens and figures["pass@1"] == 1
        assert len(server.served) == 9
    assert KEY.encode() not in files_of(tmp_path / "run")


@needs_litellm
def test_rounds_show_what_was_wrong_and_how_fast_it_is(records, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def second_time(messages: list) -> str:
        good = answered(messages)
        return good if any("rejected" in m["content"] for m in messages) else good.replace("y[i] =", "y[i] = 1 +")

    with FakeServer(second_time) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        _, value = run(capsys, records, tmp_path / "run", NAME, repair=1, profile_guided=1)
        assert value["models"][NAME]["pass@1"] == 1 and all(s["rounds"] == 3 for s in value["models"][NAME]["samples"])
        assert any("First wrong element" in asked and "is right" in asked for asked in server.asked)
        assert sum("Your code is right. It takes" in asked for asked in server.asked) == 3


@pytest.mark.long
def test_kill_nine_loses_and_repeats_nothing(records, tmp_path):
    samples, workers, kills = 4, 2, 5
    with FakeServer(answered, slow_s=0.5) as server:
        stub = str(Path(__file__).with_name("stub"))
        paths = os.pathsep.join(filter(None, [stub, os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_API_BASE": server.url, "PYTHONPATH": paths}
        out, log, rng = tmp_path / "run", tmp_path / "log", random.Random(1)

        def started(folder: Path) -> subprocess.Popen:
            command = [sys.executable, "-m", "warploom.cli", "eval", str(records), "--model", NAME, "--samples", str(samples), "--out", str(folder)]
            with log.open("ab") as file:
                return subprocess.Popen([*command, "--workers", str(workers), "--json", "--resume"], env=environment, stdout=file, stderr=file)

        for _ in range(kills):
            process, wanted = started(out), len(server.asked) + rng.randint(1, 3)
            while process.poll() is None and len(server.asked) < wanted:
                time.sleep(0.02)
            time.sleep(rng.random() * 0.6)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert started(out).wait() == 0
        asked = len(server.asked)
        assert asked <= 3 * samples + kills * workers
        assert started(tmp_path / "whole").wait() == 0 and len(server.asked) == asked + 3 * samples
    interrupted, whole = (json.loads((folder / "report.json").read_text()) for folder in (out, tmp_path / "whole"))
    assert interrupted["models"][NAME]["unasked"] == 0 and interrupted["models"][NAME]["pass@1"] == 1
    assert timeless(interrupted) == timeless(whole)
    assert KEY.encode() not in files_of(out) + log.read_bytes()


def timeless(value):
    """A report without what depends on times, and without what failed on the way."""
    timed = {"speedup", "interval", "time_ms", "baseline_ms", "class", "classes", "answer_s", "judge_s", "failed_requests", "fast_p", "detail", "notes"}
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in timed and not k.startswith(("geomean", "speedup", "ratio"))}
    return [timeless(v) for v in value] if isinstance(value, list) else value
