"""A script that knows nothing of warploom takes a data set at its word: sources, commands, launches, checksums, splits, other forms."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warploom.datasets.export import read_rows
from warploom.evaluation.suites.read import read_suite

SCRIPT = Path(__file__).with_name("stranger.py")


def _said(folder, most=1000):
    return subprocess.run([sys.executable, SCRIPT, folder, str(most)], capture_output=True, text=True, cwd="/")


def test_a_stranger_finds_all_as_stated(made):
    done = _said(made)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stranger_sees_what_is_wrong(made, tmp_path):
    rows = read_rows(made)
    buffers = [{**b, "dtype": "int32"} for b in json.loads(rows[0]["buffers"])]
    launches = [{**x, "args": x["args"][:-1]} for x in json.loads(rows[1]["cuda_launches"])]
    other = "train" if rows[2]["split"] != "train" else "test"
    changed = [
        {**rows[0], "buffers": json.dumps(buffers)}, {**rows[1], "cuda_launches": json.dumps(launches)}, rows[2],
        {**rows[2], "id": "twin", "split": other},
    ]  # fmt: skip
    for path in made.glob("*.json*"):
        (tmp_path / path.name).write_text(path.read_text())
    pq.write_table(pa.Table.from_pylist(changed), tmp_path / "pairs.parquet")
    said = _said(tmp_path, 0).stdout
    for words in ("holds int32", "arguments, ", "up to renaming", "the family stands in"):
        assert words in said


def test_the_list_in_the_published_schema_is_read_as_one(made, tmp_path):
    (tmp_path / "hpctranseval.json").write_text((made / "hpctranseval.json").read_text())
    suite = read_suite(tmp_path, "HPCTransEval")
    assert suite.records and not suite.unread and not [r.defects for r in suite.records if r.defects]


@pytest.mark.long
def test_a_stranger_finds_forty_pairs_as_stated(tmp_path):
    command = [sys.executable, "-m", "warploom.cli", "dataset", "build", "--out", str(tmp_path / "d"), "--count", "40", "--seed", "41"]
    subprocess.run(command, check=True)
    done = _said(tmp_path / "d")
    assert done.returncode == 0, done.stdout + done.stderr
