"""Sampling: repeatable, legal, new each time; keys know renaming from change; families never straddle splits."""

from dataclasses import replace

from warploom.datasets.dedup import families, keys_of, similarity, split_of
from warploom.datasets.program import Program
from warploom.datasets.sample import Coverage, propose
from warploom.frontend.operators.trace import renamed
from warploom.ir.graph_text import parse_graph
from warploom.ir.verify_graph import verify_graph


def _many(seed, count):
    coverage, out = Coverage(), []
    for number in range(count):
        out.append(propose(seed, number, coverage).drawn)
        coverage.add(out[-1])
    return out


def test_draws_are_repeatable_legal_and_differ():
    first, second = _many(4, 40), _many(4, 40)
    assert [d.program for d in first] == [d.program for d in second]
    assert len({d.keys.same for d in first}) == 40
    for d in first:
        verify_graph(d.program.graph)
        assert Program.from_json(d.program.to_json()) == d.program
        assert [i.name for i in d.program.inputs] == [i.name for i in d.program.graph.inputs]
        assert [tuple(int(x.value) for x in i.type.shape) for i in d.program.graph.inputs] == [i.shape for i in d.program.inputs]
    assert {"grown", "mutated"} < {d.program.category for d in first}


GRAPH = "def f(x: f32[4, 8], y: f32[4, 8]):\n    a: f32[4, 8] = map(max(x[i0, i1], y[i0, i1]))\n    s: f32[4] = reduce(add, (a,), (1,))\n    return s,\n"


def test_keys_know_renaming_shapes_and_change():
    graph = parse_graph(GRAPH)
    keys = keys_of(graph)
    assert keys_of(renamed(graph, {"x": "left", "a": "h", "s": "out"})) == keys
    wider = keys_of(parse_graph(GRAPH.replace("8", "16")))
    assert wider.same != keys.same and wider.family == keys.family
    other = keys_of(parse_graph(GRAPH.replace("max", "min")))
    assert other.family != keys.family and 0 < similarity(other.signature, keys.signature) < 1


def test_near_duplicates_are_one_family():
    drawn = _many(2, 30)
    rows = [(d.keys.family, d.keys.signature) for d in drawn]
    twin = ("another", drawn[5].keys.signature)
    labels = families([*rows, twin])
    assert labels[-1] == labels[5]
    assert {split_of(label) for label in families([(f"{n}", (n,) * 64) for n in range(200)])} == {"train", "validation", "test"}


def test_a_program_keeps_its_meaning_when_arrays_are_renamed():
    drawn = _many(1, 5)[0].program
    again = replace(drawn, graph=renamed(drawn.graph, {drawn.graph.inputs[0].name: "ph"}))
    assert keys_of(again.graph).same == keys_of(drawn.graph).same
