"""Every rule of the graph verifier lets a legal graph through and names itself, with the line underlined, on a broken one."""

import pytest
from warploom.ir.diagnostic import ParseError, WarploomError
from warploom.ir.graph_text import parse_graph, print_graph
from warploom.ir.verify_graph import RULES, verify_graph

LEGAL = """
def net(n: dim[1, 64], x: f32[n, 8], w: param.f32[4, 8], k: i64[n] @ within(0, 4), s: buffer.f32[4]):
    h: f32[n, 4] = contract('mk,nk->mn', x, w)
    y: f32[n, 4] = map(max(h[i0, i1], 0) * f32(n) + w[k[i0], 0])
    t: f32[n] = reduce(add, (y,), (1,))
    v, at = reduce(argmax, (y,), (1,)) @ (f32[n], i64[n])
    p: f32[n, 2] = window(max, (y,), (3,), (2,), (0,), (1,))
    q: f32[n, 1] = window(max, (y,), (3,), (2,), (0,), (1,))
    r: f32[n * 4] = reshape(y)
    c: f32[n, 4] = scan(add, (y,), 1)
    a, b = sort(y, 1, True) @ (f32[n, 4], i64[n, 4])
    m: f32[n, 4] = scatter(y, b, a, 1, add)
    z: f32[4] = map(s[i0] + 1.0)
    d: f32[n, 4] = random('aten.bernoulli_.float', number(0.5))
    e: f32[n, 4] = extern('aten.relu.default', d, reason_='a test')
    update(s, z)
    return y, t, at
"""

BROKEN = {
    "unique": ("c: f32[n, 4]", "h: f32[n, 4]"),
    "defined": ("random('aten.bernoulli_.float', number(0.5))", "map(later[i0, i1])"),
    "dims": ("c: f32[n, 4]", "c: f32[other, 4]"),
    "within": ("x: f32[n, 8]", "x: f32[n, 8] @ within(0, 4)"),
    "updates": ("update(s, z)", "update(s, at)"),
}
ILL_TYPED = {
    "a shape": ("h: f32[n, 4]", "h: f32[n, 5]"),
    "a dtype": ("t: f32[n] =", "t: f64[n] ="),
    "implicit promotion": ("* f32(n)", "* n"),
    "a load's rank": ("w[k[i0], 0]", "w[k[i0]]"),
    "a stray coordinate": ("w[k[i0], 0]", "w[k[i0], i7]"),
    "a float index": ("w[k[i0], 0]", "w[0.5, 0]"),
    "a lone letter": ("'mk,nk->mn'", "'mk,nk->m'"),
    "a repeated letter": ("'mk,nk->mn'", "'mm,nk->mn'"),
    "unequal extents": ("w: param.f32[4, 8]", "w: param.f32[4, 7]"),
    "an axis": ("reduce(add, (y,), (1,))", "reduce(add, (y,), (2,))"),
    "one slot for two": ("reduce(add, (y,), (1,))", "reduce(lse, (y,), (1,))"),
    "numbers in a logical monoid": ("reduce(add, (y,), (1,))", "reduce(any, (y,), (1,))"),
    "too many results": ("t: f32[n] = reduce(add, (y,), (1,))", "t, t2 = reduce(add, (y,), (1,)) @ (f32[n], f32[n])"),
    "a window that is all outside": ("p: f32[n, 2]", "p: f32[n, 3]"),
    "a reshape": ("r: f32[n * 4] = reshape(y)", "r: f32[9] = reshape(w)"),
    "a scatter of floats": ("scatter(y, b, a", "scatter(y, a, a"),
    "a scan's axis": ("scan(add, (y,), 1)", "scan(add, (y,), 5)"),
}


def test_a_legal_graph_passes_and_round_trips():
    g = parse_graph(LEGAL)
    assert verify_graph(g) is g
    assert parse_graph(print_graph(g)) == g


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_names_itself(rule):
    old, new = BROKEN[rule]
    assert rule in RULES and old in LEGAL
    with pytest.raises(WarploomError, match=f"{rule}: ") as e:
        verify_graph(parse_graph(LEGAL.replace(old, new, 1)))
    assert "^^^" in e.value.pretty()


@pytest.mark.parametrize("case", ILL_TYPED)
def test_ill_typed_nodes_are_underlined(case):
    old, new = ILL_TYPED[case]
    assert old in LEGAL
    text = LEGAL.replace(old, new, 1)
    with pytest.raises(WarploomError, match="types: ") as e:
        verify_graph(parse_graph(text))
    place = e.value.place
    assert place is not None and place.line > 0


@pytest.mark.parametrize(
    ("declared", "conv", "legal"),
    [
        ("f32[2, 6, 5, 4]", "conv(x, w, (2, 3), (1, 1), (1, 1), 2, False, ())", True),
        ("f32[2, 6, 6, 4]", "conv(x, w, (2, 3), (1, 1), (1, 1), 2, False, ())", False),
        ("f32[2, 6, 5, 4]", "conv(x, w, (2, 3), (1, 1), (1, 1), 1, False, ())", False),
        ("f32[2, 6, 21, 35]", "conv(x, t, (2, 3), (0, 0), (2, 1), 2, True, (0, 0))", False),
        ("f32[2, 6, 20, 33]", "conv(x, t, (2, 3), (1, 0), (2, 1), 2, True, (1, 0))", True),
    ],
)
def test_convolution_shapes(declared, conv, legal):
    text = f"def c(x: f32[2, 4, 9, 10], w: f32[6, 2, 3, 3], t: f32[4, 3, 3, 6]):\n    y: {declared} = {conv}\n    return y,\n"
    if legal:
        verify_graph(parse_graph(text))
    else:
        with pytest.raises(WarploomError):
            verify_graph(parse_graph(text))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("reduce(add, (y,), (1,))", "reduce(add, (y,), axs=(1,))"), ("reduce(add, (y,), (1,))", "reduce(add)"),
        ("reduce(add, (y,), (1,))", "reduce(add, (y,), (1,), axes=(1,))"), ("sort(y, 1, True)", "sort()"),
        ("map(s[i0] + 1.0)", "map()"), ("update(s, z)", "update(s)"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_an_error_of_the_text(right, wrong):
    with pytest.raises(ParseError):
        parse_graph(LEGAL.replace(right, wrong, 1))


def test_arguments_may_be_named():
    named = LEGAL.replace("reduce(add, (y,), (1,))", "reduce(add, (y,), axes=(1,))", 1)
    assert named != LEGAL and parse_graph(named) == parse_graph(LEGAL)
