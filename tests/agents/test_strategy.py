"""Strategies print and parse to equal values; what is no strategy is an error with its line; words are held against the program."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warploom.agents.strategy import Evidence, Strategy, parse_strategies, parse_strategy, print_strategy
from warploom.ir.diagnostic import ParseError

WORD = st.text(st.characters(whitelist_categories=("Ll", "Lu", "Nd")), min_size=1, max_size=12)
NAME = st.builds(lambda a, b: f"{a}/{b}", st.sampled_from(["softmax", "matmul#2", "@contract"]), st.sampled_from(["vectors", "tile_rows", "vectors s"]))
STRATEGIES = st.builds(
    Strategy,
    name=WORD, kind=st.sampled_from(["", "rows", "contract"]), bottleneck=WORD, transformation=st.just("") | WORD, expected=st.sampled_from([1.0, 1.2, 3.5]),
    needs=st.lists(WORD, max_size=2).map(tuple), choices=st.dictionaries(NAME, st.integers(-9, 999), max_size=4).map(lambda d: tuple(sorted(d.items()))),
    scripts=st.just(()) | st.just((("softmax", "split(i, 16); bind(i1, vector)"),)), language=st.just("c++"),
    code=st.just("") | st.text(st.characters(whitelist_categories=("Ll", "Zs", "Po"), blacklist_characters="\u2028\u2029\x85"), min_size=1, max_size=40),
    evidence=st.lists(st.builds(Evidence, problem=WORD, speedup=st.sampled_from([1.25, 0.9]), run=WORD, machine=WORD), max_size=2).map(tuple),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(STRATEGIES)
def test_text_form(s):
    s = s if s.code else Strategy(**{**s.__dict__, "language": ""})
    assert parse_strategy(print_strategy(s)) == s


def test_several_at_once():
    found = parse_strategies("strategy a\n  choose x = 1\n\n# a comment\nstrategy b\n  script k: bind(i, block)\n")
    assert [s.name for s in found] == ["a", "b"] and found[1].scripts == (("k", "bind(i, block)"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("choose a = 1", "expected `strategy NAME`"),
        ("strategy a\n  choose a = one", "no line of a strategy"),
        ("strategy a\n  code rust", "no language 'rust'"),
        ("strategy a\n  import os", "no line of a strategy"),
        ("", "expected one strategy, found 0"),
    ],
)
def test_what_is_no_strategy(text, message):
    with pytest.raises(ParseError, match=message):
        parse_strategy(text)
