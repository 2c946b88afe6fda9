"""Folders in the published structure are read as they are; what is broken in them is named, and harms nothing."""

import json

import pytest
from handmade import DEFECTIVE, RECORDS, SOUND
from warploom.evaluation.suites.c_source import entry_of, functions, stored
from warploom.evaluation.suites.read import read_suite
from warploom.ir.diagnostic import Unreadable


def test_every_record_is_listed_with_its_defects(suite):
    assert [r.id for r in suite.records] == [f"Handmade/{i}" for i in range(len(RECORDS))]
    unread = {int(r.id.split("/")[1]) for r in suite.records if r.defects}
    assert unread == set(DEFECTIVE) - {4}  # that one is found by running it
    affine = suite.records[0]
    assert [(a.name, a.role, a.shape) for a in affine.arguments] == [("x", "input", (12, 30)), ("y", "output", (12, 30))]
    assert affine.prototype == "void work(float* x, float* y)"


def test_shapes_without_ir_follow_what_is_declared(tmp_path):
    bare = {**RECORDS[1], "ir_code": ""}
    (tmp_path / "one.json").write_text(json.dumps([bare]))
    record = read_suite(tmp_path).records[0]
    assert [a.shape for a in record.arguments] == [(40,), (40, 33)] and not record.defects


@pytest.mark.parametrize(
    "text", ["[", "[1, 2", '[{"c_code": "x", "cuda_code": ', '{"c_code": "", "cuda_code": ""}', '["c_code", "cuda_code"]', "[" * 5000]
)
def test_broken_lists(tmp_path, text):
    (tmp_path / "broken.json").write_text(text)
    try:
        suite = read_suite(tmp_path)
        assert all(r.defects for r in suite.records)
    except Unreadable as error:
        assert "\n" not in error.message


def test_shapes_of_a_hostile_record(tmp_path):
    shapes = [[[-1]], [["a"]], [[1 << 40]], "none", [[True]], [[1.5]], None]
    (tmp_path / "odd.json").write_text(json.dumps([{**RECORDS[0], "input_shape": s} for s in shapes]))
    suite = read_suite(tmp_path)
    assert len(suite.records) == len(shapes) and all(r.defects for r in suite.records)


def test_published_slice(shared_data):
    suite = read_suite(shared_data / "HPCTransEval")
    assert (suite.name, len(suite.records)) == ("HPCTransEval", 53) and not any(r.defects for r in suite.records)
    extensions = read_suite(shared_data, "KernelBench_c")
    assert len(extensions.records) == 92 and all(r.task for r in extensions.records)
    with pytest.raises(Unreadable, match="several suites"):
        read_suite(shared_data)


@pytest.mark.parametrize("path", ["/no/such/folder", "/proc/self/mem"])
def test_what_is_no_benchmark(path):
    with pytest.raises(Unreadable):
        read_suite(path)


def test_c_reader():
    text = (
        "// void no(float* a) {\nstatic float twice(float v) { return v * 2; }\n"
        'extern "C" void go(float* __restrict__ a, const int32_t* n, float b[4]) {\n  a[n[0]] = b[0] == 1 ? twice(b[1]) : 0; if (a[1] == 2) { }\n}\n'
    )
    assert [f.name for f in functions(text)] == ["twice", "go"]
    entry = entry_of(text)
    assert entry is not None and entry.name == "go" and entry.pointers == 3
    assert [p.dtype for p in entry.parameters] == ["float32", "int32", "float32"]
    assert stored(text, entry) == {"a"}
    assert SOUND
