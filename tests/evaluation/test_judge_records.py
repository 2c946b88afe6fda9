"""Records of the judge print and parse back; files that are no tasks or candidates are refused in one line."""

import pytest
from warploom.evaluation.candidate import Candidate, read_candidate, scalar_types
from warploom.evaluation.task import Task, read_task
from warploom.evaluation.verdict import MEANING, Finding, Measured, Verdict
from warploom.ir.diagnostic import WarploomError


def test_verdict_round_trip():
    measured = Measured(1.0, 2.0, 0.9, 2.0, (1.9, 2.1), 9, 0.1)
    verdict = Verdict(
        False, ("wrong-result",), 0.1, 0.01, 1e-6, 2.0, 1.0, 0.5, 17, (Finding("wrong-result", "x", "y"),), measured
    )
    assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"accepted": true}', "null", '{"reasons": 3}'])
def test_no_verdict(text):
    with pytest.raises(WarploomError):
        Verdict.from_json(text)


def test_task_and_candidate_round_trip():
    task = Task("t", "python", "class Model: ...", "/x", "bf16")
    candidate = Candidate("k.cu", "cuda", "__global__ void k() {}", "grid=1;block=32")
    assert Task.from_json(task.to_json()) == task
    assert Candidate.from_json(candidate.to_json()) == candidate


def test_codes_are_the_contract_s():
    assert len(MEANING) == 17
    with pytest.raises(ValueError, match="unknown"):
        Finding("wrong", "x")


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"  \n\n"),
        lambda p: p.write_bytes(bytes(range(256)) * 9),
        lambda p: p.write_bytes(b"int x;\0"),
        lambda p: p.write_bytes(b"a" * (5 << 20)),
        lambda p: p.mkdir(),
        lambda p: p.symlink_to("nowhere"),
        lambda p: None,
    ],
)
def test_unreadable_candidates_and_tasks(tmp_path, make):
    for name, read in (("k.cpp", read_candidate), ("t.py", read_task)):
        make(tmp_path / name)
        with pytest.raises(WarploomError) as caught:
            read(tmp_path / name)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)


def test_unknown_suffix_and_missing_launch(tmp_path):
    (tmp_path / "k.rs").write_text("fn main() {}")
    (tmp_path / "k.cu").write_text("__global__ void k() {}")
    for name in ("k.rs", "k.cu"):
        with pytest.raises(WarploomError):
            read_candidate(tmp_path / name)


def test_launch_from_comment_or_sidecar(tmp_path):
    (tmp_path / "a.cu").write_text("// warploom-launch: grid=4;block=32\n__global__ void k() {}")
    (tmp_path / "b.cu").write_text("__global__ void k() {}")
    (tmp_path / "b.json").write_text('{"launch": {}}')
    assert read_candidate(tmp_path / "a.cu").launch == "grid=4;block=32"
    assert read_candidate(tmp_path / "b.cu").launch == '{"launch": {}}'


def test_scalar_types_of_a_kernel():
    source = 'extern "C" void kernel(const float* x, // a comment, with commas\n float alpha, int64_t n, float* y) {\n}'
    assert [t.split()[0] for t in scalar_types(source, 4)] == ["const", "float", "int64_t", "float*"]
    assert scalar_types("void other(int a) {}", 2) == ["", ""]
