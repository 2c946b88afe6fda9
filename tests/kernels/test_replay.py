"""Dumped programs run again, and failures become small: bugs are planted in the printer and in a step."""

import json
import os
from dataclasses import replace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner
from warploom.backends.cpu import build, printer
from warploom.cli import app
from warploom.frontend.torch_export import export_model
from warploom.ir.kernel import For, statements
from warploom.ir.text import parse_program, print_program
from warploom.kernels import failure, launch
from warploom.kernels.reduce import Reducer, smaller_programs
from warploom.kernels.replay import GraphCase, KernelCase, Outcome, isolated, parse_case
from warploom.passes.pipeline import Options
from warploom.passes.schedule import loops

ROWS = """
def rows(M: dim, N: dim, x: f32[M, N], b: f32[N], y: f32[M, N]):
    for i in serial(M):
        s: local.f32[1]
        s[0] = 0
        for j in serial(N):
            s[0] += max(x[i, j], 0)
        for k in serial(N):
            y[i, k] = x[i, k] * b[k] - s[0]
"""
SCRIPT = "split(j, 8, tail=cut); split(k, 16, tail=cut); bind(k1, vector); rfactor(j0, j1)"


@pytest.fixture
def plant(monkeypatch):
    """`plant(change)`: every function that is printed goes through `change(program, text)`."""

    def plant(change):
        real = printer.print_function

        def print_function(program, *args, **kwargs):
            return change(program, real(program, *args, **kwargs))

        monkeypatch.setattr(printer, "print_function", print_function)
        monkeypatch.setattr(build, "print_function", print_function)
        launch.native.cache_clear()

    yield plant
    launch.native.cache_clear()


def case(script=SCRIPT, **dims):
    return KernelCase(parse_program(ROWS), script, {"M": 3, "N": 19, **dims})


def test_a_case_is_its_text():
    for c in (case(), replace(case(), seed=3), KernelCase(parse_program(ROWS))):
        assert parse_case(c.text()) == c


def test_good_programs_agree():
    assert case().check().kind == "agrees"
    assert case(M=1000, N=900).check().kind == "agrees"  # too long for the interpreter: against a serial build


def test_outcomes_of_the_child():
    assert isolated(lambda: Outcome("wrong", "x")) == Outcome("wrong", "x")
    assert isolated(lambda: 1 / 0).message.startswith("ZeroDivisionError")  # type: ignore[arg-type]
    assert "SIGKILL" in isolated(lambda: os.kill(os.getpid(), 9)).message  # type: ignore[arg-type,return-value]
    assert isolated(lambda: __import__("time").sleep(60), seconds=0.2).kind == "crash"


@pytest.mark.long
def test_wrong_numbers_of_the_printer_are_reduced(plant):
    plant(lambda p, text: text.replace(" - ", " + "))
    found = case().check()
    assert found.kind == "wrong" and "expected" in found.message
    small = Reducer(found, 400).reduce(case())
    assert isinstance(small, KernelCase) and small.check().kind == "wrong"
    lines = print_program(small.program).splitlines()
    assert len(lines) <= 3 and "-" in lines[-1] and not small.script


def test_wrong_numbers_of_a_step_are_reduced(monkeypatch):
    real = loops._Parts.cut
    monkeypatch.setattr(loops._Parts, "cut", lambda self: tuple(replace(s, lo=loops.add(s.lo, 1)) for s in real(self)))
    found = case().check()
    assert found.kind == "step"
    small = Reducer(found, 400).reduce(case())
    assert isinstance(small, KernelCase) and small.script.count("split") == 1 and "tail=cut" in small.script and ";" not in small.script
    assert len(print_program(small.program).splitlines()) <= 6


@pytest.mark.long
def test_refused_code_and_crashes_are_reduced(plant):
    plant(lambda p, text: text.replace("max", "no_such_function") if "max(" in print_program(p) else text)
    found = case(script="").check()
    assert found.kind == "build" and "no_such_function" in found.message
    small = Reducer(found, 400).reduce(case(script=""))
    assert len(print_program(small.program).splitlines()) <= 3 and "max" in print_program(small.program)


def test_crashes_are_outcomes(plant):
    plant(lambda p, text: text.replace("{\n", "{ __builtin_trap();\n", 1))
    assert case().check().kind == "crash"


def test_smaller_programs_are_smaller():
    def size(p):
        return len(print_program(p)) + 10 * sum(isinstance(s, For) and s.kind != "serial" for s in statements(p.body))

    p = parse_program(ROWS)
    found = list(smaller_programs(p))
    assert len(found) > 10 and all(size(q) <= size(p) for q in found)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(24, 20)

    def forward(self, x):
        return torch.tanh(self.a(x)).softmax(-1)


def exported():
    return export_model(Model().eval(), (torch.randn(4, 24),), None, None).graph


def test_graphs_replay():
    c = GraphCase(exported())
    assert c.check().kind == "agrees"
    again = parse_case(c.text())
    assert isinstance(again, GraphCase) and again.graph == c.graph and again.check().kind == "agrees"


@pytest.mark.long
def test_a_failing_model_becomes_a_small_file(plant, tmp_path):
    plant(lambda p, text: text.replace("exp(", "exp2(") if "exp(" in print_program(p) else text)
    found = failure.reduced(exported(), Options(), 400)
    assert found is not None and found.outcome.kind == "wrong"
    command = found.write(tmp_path / "failure.txt")
    text = (tmp_path / "failure.txt").read_text()
    assert command == f"warploom replay {tmp_path / 'failure.txt'}" and f"# reproduce: {command}" in text
    assert len(text.splitlines()) <= 9 and "exp(" in text
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "failure.txt"), "--json"])
    assert result.exit_code == 1


def test_a_failing_pass_becomes_a_small_graph(monkeypatch):
    def broken(graph, *rest):
        if any("tanh" in n.origin for n in graph.nodes):
            raise KeyError("tanh")
        return real(graph, *rest)

    from warploom.passes import pipeline

    real = pipeline.pack_operands
    monkeypatch.setattr(pipeline, "pack_operands", broken)
    found = failure.reduced(exported(), Options(), 30)
    assert found is not None and found.outcome.message.startswith("KeyError") and isinstance(found.case, GraphCase)
    assert len(found.case.graph.nodes) == 1


def test_the_replay_command(tmp_path):
    path = tmp_path / "k.txt"
    path.write_text(case().text())
    run = CliRunner()
    result = run.invoke(app, ["replay", str(path), "--json", "--dims", "M=2"])
    assert result.exit_code == 0 and json.loads(result.stdout)["ok"] is True
    assert run.invoke(app, ["replay", str(path), "--dims", "Q=2"]).exit_code == 2
    assert run.invoke(app, ["replay", str(tmp_path / "absent"), "--json"]).exit_code == 2
    path.write_text("def f(:\n")
    assert run.invoke(app, ["replay", str(path)]).exit_code == 2
