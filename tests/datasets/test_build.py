"""A build end to end: columns, re-runs from the files alone, resumption after a kill, and one line for everything that can go wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warploom.datasets.build import Request, build
from warploom.datasets.check import check
from warploom.datasets.command import run_build, run_card, run_check
from warploom.datasets.export import read_rows, unpacked
from warploom.datasets.record import Pair
from warploom.datasets.state import Busy, OtherDataset, State

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


@pytest.mark.long
def test_a_killed_build_goes_on_and_does_nothing_twice(tmp_path):
    command = [sys.executable, "-m", "warploom.cli", "dataset", "build", "--out", str(tmp_path / "d"), "--count", "4", "--seed", "3", "--resume"]
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr is not None
        process.stderr.readline()
        time.sleep(1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True)
    rows = read_rows(tmp_path / "d")
    assert len(rows) == 4 and len({r["id"] for r in rows}) == 4
