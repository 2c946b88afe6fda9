"""Models become programs, benchmarks are kept out."""

import json

import numpy as np
import pytest
from warploom.datasets.dedup import keys_of
from warploom.datasets.sample import Coverage, propose
from warploom.datasets.sources import Sources, part, read_sources
from warploom.frontend.operators.operator import Pick
from warploom.ir.diagnostic import WarploomError
from warploom.ir.verify_graph import verify_graph

FILE = """import torch
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(32, 16)
    def forward(self, x):
        return torch.relu(self.line(x)).sum(1)
def get_inputs():
    return [torch.randn(8, 32)]
def get_init_inputs():
    return []
"""


def test_parts_of_models_are_legal_programs():
    sources = read_sources(["zoo:mlp", "zoo:gpt-block"], [])
    pick = Pick(np.random.Generator(np.random.PCG64(0)))
    parts = [p for _ in range(30) if (p := part(pick, pick.of(*sources.models)))]
    assert len(parts) > 20
    for p in parts:
        verify_graph(p.graph)
        assert [g.name for g in p.inputs] == [i.name for i in p.graph.inputs]


def test_a_benchmark_is_avoided(tmp_path):
    (tmp_path / "one.py").write_text(FILE)
    record = {"op_name": "relu", "c_code": "void f(float* x, float* y) { y[0] = x[0]; }", "cuda_code": "x", "ir_code": "", "input_shape": [[4, 5]], "output_shape": [[4, 5]]}
    (tmp_path / "list.json").write_text(json.dumps([record]))
    sources = read_sources([str(tmp_path / "one.py")], [str(tmp_path)])
    (model,) = sources.models
    assert sources.avoids(model, keys_of(model.graph)) and (("relu",), (4, 5)) in sources.named
    coverage = Coverage()
    for number in range(10):
        drawn = propose(1, number, coverage, Sources([model], sources.families)).drawn
        assert drawn.keys.family not in sources.families


def test_what_is_no_model_is_one_line(tmp_path):
    for call in (lambda: read_sources([str(tmp_path)], []), lambda: read_sources([], [str(tmp_path)]), lambda: read_sources(["no.py"], [])):
        with pytest.raises(WarploomError) as e:
            call()
        assert "\n" not in str(e.value)
    (tmp_path / "bad.py").write_text("raise ValueError('no')")
    assert read_sources([str(tmp_path / "bad.py")], []).left_out
