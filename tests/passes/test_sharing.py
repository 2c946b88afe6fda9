"""Memory sharing: two operands of one kernel never end up in the same memory."""

from warploom.ir.graph_text import parse_graph
from warploom.ir.machine import Machine
from warploom.passes.pipeline import plan
from warploom.passes.plan_memory import share

MACHINE = Machine("test", "avx512", 2, 48 << 10, 1 << 20, 32 << 20)


def test_only_one_operand_continues_in_the_output() -> None:
    graph = parse_graph("""
def loss(x: f32[64], y: f32[64]):
    a: f32[()] = reduce(add, (x,), (0,))
    b: f32[()] = reduce(add, (y,), (0,))
    c: f32[()] = map(a[()] / b[()])
    return c,
""")
    sharing = share(plan(graph, MACHINE))
    assert sharing.home["a"] != sharing.home["b"]
