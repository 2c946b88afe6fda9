"""A build end to end: columns, re-runs from the files alone, resumption after a kill, and one line for everything that can go wrong."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warploom.datasets.build import Request, _Run, build
from warploom.datasets.check import check
from warploom.datasets.command import run_build, run_card, run_check
from warploom.datasets.dedup import Keys
from warploom.datasets.export import read_rows, unpacked
from warploom.datasets.record import Pair
from warploom.datasets.sources import Sources
from warploom.datasets.state import Busy, Drawn, OtherDataset, State

COLUMNS = [
    "id", "family", "split", "category", "graph", "cuda_source", "cuda_launches", "cuda_strategy", "buffers", "c_source",
    "c_entry", "c_args", "c_compile", "c_strategy", "inputs", "outputs", "verdicts", "times", "license", "provenance",
]  # fmt: skip


def test_rows_have_the_contract_and_parse_back(made):
    rows = read_rows(made)
    assert len(rows) == 3 and len({r["id"] for r in rows}) == 3
    assert set(COLUMNS) <= set(rows[0])
    for row in rows:
        pair = Pair.of_row(row)
        assert pair.row() == row and pair.identified().id == row["id"]
        assert pair.verdicts["cuda"]["accepted"] and pair.verdicts["c"]["accepted"]


def test_the_files_alone_are_enough(made):
    report = check(made, 0)
    assert report.checked == 3 and not report.faults


def test_the_check_sees_a_changed_source(made, tmp_path):
    rows = read_rows(made)
    changed = dict(rows[0], c_source=rows[0]["c_source"].replace('extern "C"', 'extern "C" __attribute__((weak))') + "\n#error no\n")
    loose = unpacked(rows[1])
    loose["cuda_launches"][0]["args"][0] = "nowhere"
    other = dict(rows[1], cuda_launches=json.dumps(loose["cuda_launches"]))
    torn = dict(rows[2], buffers="{")
    pq.write_table(pa.Table.from_pylist([changed, other, torn]), tmp_path / "pairs.parquet")
    faults = {f.id: f.what for f in check(tmp_path, 1).faults}
    assert "unknown buffer nowhere" in faults[rows[1]["id"]] and "corrupted" in faults[rows[2]["id"]]
    pq.write_table(pa.Table.from_pylist([changed]), tmp_path / "pairs.parquet")
    assert "does not compile" in check(tmp_path, 0).faults[0].what


@pytest.mark.parametrize(
    "changed",
    [
        {"cuda_launches": "null"}, {"cuda_launches": '[{"kernel": "k"}]'}, {"buffers": '[{"name": "x"}]'}, {"c_source": None}, {"inputs": "{}"}, {"outputs": "[3]"},
        {"c_args": '[{"name": 3}]'}, {"family": None}, {"inputs": '{"cases": [{}]}'}, {"c_compile": "{"}, {"c_compile": "rm -rf {source}"},
    ],
    ids=str,
)  # fmt: skip
def test_a_corrupted_row_is_a_fault_of_that_row(made, tmp_path, changed):
    rows = read_rows(made)
    pq.write_table(pa.Table.from_pylist([{**rows[0], **changed}, rows[1]]), tmp_path / "pairs.parquet")
    report = check(tmp_path, 0)
    assert {f.id for f in report.faults} == {rows[0]["id"]}
    assert all("\n" not in f.what for f in report.faults)


def test_a_card_of_a_corrupted_row_is_one_line(made, tmp_path, capsys):
    pq.write_table(pa.Table.from_pylist([{**read_rows(made)[0], "times": "{}"}]), tmp_path / "pairs.parquet")
    shutil.copy(made / "rejects.parquet", tmp_path)
    assert run_card(str(tmp_path), None, True) == 2
    assert "corrupted" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_other_forms_and_the_card(made):
    records = json.loads((made / "hpctranseval.json").read_text())
    assert {"op_name", "c_code", "cuda_code", "ir_code", "input_shape", "output_shape", "op_args"} <= set(records[0])
    chats = [json.loads(line) for path in made.glob("chat-*.jsonl") for line in path.read_text().splitlines()]
    assert len(chats) == 3 and [m["role"] for m in chats[0]["messages"]] == ["system", "user", "assistant"]
    card = (made / "README.md").read_text()
    assert card.startswith("---\nlicense:") and "3 pairs" in card and (made / "plots" / "speedups.svg").is_file()


def test_a_finished_build_is_not_done_again(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    with pytest.raises(OtherDataset):
        build(Request(folder, 3, seed=11), print)
    with pytest.raises(OtherDataset, match="seed=11, not 12"):
        build(Request(folder, 3, seed=12, resume=True), print)
    seen = []
    build(Request(folder, 3, seed=11, resume=True), seen.append).close()
    assert not seen


def test_an_interrupted_build_writes_what_there_is(made, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    for name in ("pairs.parquet", "README.md"):
        (folder / name).unlink()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("warploom.datasets.command.build", interrupted)
    assert run_build(str(folder), 9, 11, True, 1, False) == 130
    assert len(read_rows(folder)) == 3 and "3 pairs" in (folder / "README.md").read_text()
    assert run_build(str(tmp_path / "none"), 9, 11, False, 1, False) == 130  # before the first pair
    assert read_rows(tmp_path / "none") == [] and "--resume goes on" in capsys.readouterr().err


def test_one_build_at_a_time(tmp_path):
    state = State(tmp_path)
    with pytest.raises(Busy):
        State(tmp_path)
    state.close()
    State(tmp_path).close()


@pytest.mark.parametrize(
    "work, code",
    [
        (lambda d: run_build(str(d), 0, 0, False, 0, True), "WL-E"),
        (lambda d: run_build("/proc/no/such", 1, 0, False, 0, True), "WL-E114"),
        (lambda d: run_build(str(d), 1, 0, False, -1, True), "WL-E"),
        (lambda d: run_check(str(d / "nothing"), 5, 0, True), "WL-E"),
        (lambda d: run_card(str(d / "nothing"), None, True), "WL-E"),
    ],
)
def test_bad_requests_are_one_line_with_a_code(work, code, tmp_path, capsys):
    assert work(tmp_path) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["code"].startswith(code) and "\n" not in answer["error"]["message"]


def test_a_folder_of_another_version_is_refused(tmp_path, capsys):
    state = State(tmp_path)
    with state.db:
        state.db.execute("INSERT INTO setting VALUES ('schema', '0')")
    state.close()
    assert run_build(str(tmp_path), 1, 0, True, 1, True) == 2
    assert "schema 0" in json.loads(capsys.readouterr().out)["error"]["message"]
    pq.write_table(pa.Table.from_pylist([{"id": "a"}]), tmp_path / "pairs.parquet")
    assert run_check(str(tmp_path), 1, 0, True) == 2


def test_unknown_operators_and_corrupted_rows_are_one_line(made, tmp_path, capsys):
    assert run_build(str(tmp_path / "d"), 1, 0, False, 1, True, operators=["sofmax"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "WL-E110"
    assert not (tmp_path / "d").exists()
    for column, text in (("program", "{"), ("result", '{"id": 1}'), ("features", "nothing")):
        folder = tmp_path / column
        shutil.copytree(made, folder)
        with sqlite3.connect(folder / "state.sqlite") as db:
            db.execute(f"UPDATE drawn SET {column} = ? WHERE number = 0", (text,))
        assert run_build(str(folder), 3, 11, True, 1, True) == 2
        message = json.loads(capsys.readouterr().out)["error"]["message"]
        assert "corrupted" in message and "\n" not in message
        assert read_rows(folder) == read_rows(made)  # what was published stays
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "state.sqlite").write_bytes(b"no data base at all, but long enough for a header" * 40)
    assert run_build(str(tmp_path / "torn"), 1, 0, True, 1, True) == 2


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        assert run_build(str(disk / "d"), 2, 5, False, 1, True) == 2
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["code"] == "WL-E114" and "full" in error["message"] and "\n" not in error["message"]
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        state = State(disk / "d")
        assert state.count("reject") == 0  # a full disk is no reason to reject a program
        state.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_of_two_pairs_with_equal_sources_the_first_stays(made, tmp_path):
    state = State(tmp_path)
    result = _results(made)[0][2]
    run = _Run(Request(tmp_path, 2), state, print, Sources())
    drawn = [Drawn(n, _program(made), Keys(f"{n}", "f", (1,)), {}) for n in (4, 9)]
    for d in reversed(drawn):
        state.draw(d)
        state.finish(d.number, *run._distinct(d, result), 1.0)
    assert [n for n, _, _ in state.results("pair")] == [4]
    ((_, _, refused),) = state.results("reject")
    assert json.loads(refused)["code"] == "duplicate" and json.loads(refused)["number"] == 9
    state.close()


def _results(folder):
    state = State(folder)
    try:
        return state.results("pair")
    finally:
        state.close()


def _program(folder):
    state = State(folder)
    try:
        return state.all_drawn()[0].program
    finally:
        state.close()


@pytest.mark.long
def test_a_killed_build_goes_on_and_does_nothing_twice(tmp_path):
    out, count = tmp_path / "d", 8
    command = [sys.executable, "-m", "warploom.cli", "dataset", "build", "--out", str(out), "--count", str(count), "--seed", "3", "--resume"]
    done = {}
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr is not None
        process.stderr.readline()
        time.sleep(1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with sqlite3.connect(out / "state.sqlite") as db:
            found = dict(db.execute("SELECT number, result FROM drawn WHERE outcome IS NOT NULL").fetchall())
        assert done.items() <= found.items() and len(found) > len(done)  # each spell adds and takes nothing away
        done = found
    subprocess.run(command, check=True)
    rows = read_rows(out)
    assert len(rows) == count and len({r["id"] for r in rows}) == count and len({r["graph"] for r in rows}) == count
    with sqlite3.connect(out / "state.sqlite") as db:
        assert done.items() <= dict(db.execute("SELECT number, result FROM drawn WHERE outcome IS NOT NULL").fetchall()).items()
