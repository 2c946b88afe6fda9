"""Input families keep what a task's own inputs promise; sparse ones reach every edge."""

import numpy as np
import pytest
from warploom.evaluation.families import FAMILIES, few, promise, sparse, touched, touched_inside


def draws(make):
    rng = np.random.default_rng(3)
    return make(rng), make(rng)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 1), (4, 6), (2, 3, 4, 5)])
def test_shapes(family, shape):
    assert np.shape(family.draw(np.random.default_rng(0), shape)) == shape


def test_triangular_stays_triangular():
    first, second = draws(lambda rng: np.triu(rng.standard_normal((16, 16))))
    held = promise(first, second).hold(np.ones((16, 16)))
    assert np.array_equal(held, np.triu(np.ones((16, 16))))


def test_symmetric_stays_symmetric():
    def make(rng):
        a = rng.standard_normal((9, 9))
        return a + a.T

    held = promise(*draws(make)).hold(np.arange(81.0).reshape(9, 9))
    assert np.array_equal(held, held.T)


def test_rows_that_sum_to_one_keep_doing_so():
    def make(rng):
        a = rng.random((8, 50))
        return a / a.sum(-1, keepdims=True)

    assert np.allclose(promise(*draws(make)).hold(-np.ones((8, 50))).sum(-1), 1)


def test_integers_and_labels_are_kept():
    assert promise(*draws(lambda rng: rng.integers(0, 9, 40))).keep
    assert promise(*draws(lambda rng: rng.choice([-1.0, 1.0], 64))).keep
    assert not promise(*draws(lambda rng: rng.random(64))).keep


def test_sparse_reaches_the_edges():
    array = sparse(np.random.default_rng(1), (64, 4096))
    assert 0 < (array != 0).mean() < 0.05
    for edge in (array[0], array[-1], array[:, 0], array[:, -1]):
        assert (edge != 0).any()


def test_touched_changes_at_most_so_many_and_few_is_few():
    rng, base = np.random.default_rng(5), np.random.default_rng(6).standard_normal((30, 40))
    assert 1 <= (touched(rng, base, 5) != base).sum() <= 5
    assert 30 <= (few(rng, base, 64, True) != 0).sum() <= 94
    assert any(few(np.random.default_rng(s), base, 6, False)[-1, -1] != 0 for s in range(4))


@pytest.mark.parametrize("shape", [(), (1,), (2,), (400,), (30, 40)])
def test_touched_inside_leaves_the_ends(shape):
    base = np.ones(shape, np.float32)
    changed = (touched_inside(np.random.default_rng(5), base) != base).reshape(-1)
    assert 1 <= changed.sum() <= 3
    assert changed.size < 4 or not (changed[: changed.size // 4].any() or changed[-(changed.size // 4) :].any())
