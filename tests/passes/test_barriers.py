"""Where barriers stand: shown as the order of stores, loops and barriers of a block's body."""

from warploom.ir.kernel import Alloc, For, If, Reduce, Store
from warploom.ir.text import parse_program
from warploom.passes.barriers import Barrier, with_barriers
from warploom.passes.regions import nest_at


def shown(text):
    """The regions of the first block as words: names of what they write, `|` for a barrier, loops in brackets."""
    program = parse_program(text)
    (block,) = program.body
    return _words(with_barriers(block.body, {b.name: b for b in program.params}))


def _words(body):
    out = []
    for s in body:
        if isinstance(s, Barrier):
            out.append("|")
        elif isinstance(s, (Store, Reduce)) or nest_at(s):
            out.append(_written(s))
        elif isinstance(s, (For, If)):
            out.append(f"[{_words(s.body)}]")
        elif not isinstance(s, Alloc):
            out.append("?")
    return " ".join(out)


def _written(s):
    while isinstance(s, (For, If)):
        s = s.body[-1]
    return s.buffer if isinstance(s, Store) else s.targets[0].buffer


HEAD = "def f(x: f32[64, 64], y: f32[64, 64]):\n    for i in block(64):\n"


def body(text):
    return HEAD + "".join(f"        {line}\n" for line in text.strip().splitlines())


def test_elements_of_one_thread_need_none():
    assert shown(body("""
s: shared.f32[64]
for j in lanes(64):
    s[j] = x[i, j]
for k in lanes(64):
    y[i, k] = s[k] * 2.0
""")) == "s y"


def test_another_threads_element_does():
    assert shown(body("""
s: shared.f32[64]
for j in lanes(64):
    s[j] = x[i, j]
for k in lanes(64):
    y[i, k] = s[63 - k]
""")) == "s | y"


def test_nests_of_other_shapes_do():
    assert shown(body("""
s: shared.f32[64]
for j in lanes(64):
    s[j] = x[i, j]
for k in lanes(32):
    y[i, k] = s[k]
""")) == "s | y"


def test_a_loop_waits_at_its_tail():
    assert shown(body("""
for r in serial(4):
    s: shared.f32[64]
    for j in lanes(64):
        s[j] = x[r, j]
    for k in lanes(64):
        y[i, k] = s[63 - k] + x[r, k]
""")) == "[s | y |]"


def test_what_one_thread_writes_the_others_wait_for():
    assert shown(body("""
s: shared.f32[1]
s[0] = 1.0
for k in lanes(64):
    y[i, k] = s[0]
""")) == "s | y"


def test_a_fold_waits_by_itself():
    assert shown(body("""
s: shared.f32[64]
m: local.f32[1]
m[0] = 0.0
for j in lanes(64):
    s[j] = x[i, j]
    m[0] += x[i, j]
for k in lanes(64):
    y[i, k] = s[63 - k] / m[0]
""")) == "m m y"


def test_writers_of_other_shapes_wait():
    assert shown(body("""
for j in lanes(64):
    y[i, j] = x[63 - i, j]
for k in lanes(32):
    y[i, k] = x[i, 63 - k]
""")) == "y | y"


def test_one_before_a_loop_rather_than_one_in_every_iteration():
    assert shown(body("""
s: shared.f32[64]
for j in lanes(64):
    s[j] = x[i, j]
for r in serial(4):
    for k in lanes(64):
        y[i, k] = s[63 - k] * f32(r)
""")) == "s | [y]"


def test_the_barriers_of_a_tile_loop_stand_in_it():
    assert shown(body("""
s: shared.f32[64]
for t in serial(4):
    for j in lanes(64):
        s[j] = x[t, j]
    for r in serial(4):
        for k in lanes(64):
            y[i, k] = s[63 - k] * f32(r)
""")) == "[s | [y] |]"
