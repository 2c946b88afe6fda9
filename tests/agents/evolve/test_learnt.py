"""What is learnt from measurements: the roofline model is trusted as far as it comes true, and has the last word among equals."""

import math
import random

import pytest
from warploom.agents.evolve.board import Individual
from warploom.agents.evolve.learnt import FORECAST, MODEL, Learnt, promising
from warploom.agents.strategy import Strategy


def forecast(c):
    """Any number that differs from program to program."""
    return random.Random(c.key).uniform(-0.4, 0.4)


@pytest.fixture
def board(run):
    return run().board


def measured(board, count, seconds):
    rng = random.Random(1)
    for _ in range(count):
        c = board.workshop.make(Strategy("s").with_choices({n: rng.choice(v) for n, (_, v) in board.default.candidate.space.items()}))
        board.individuals[c.key] = Individual(c, math.exp(seconds(c)))


@pytest.mark.parametrize(("true", "least", "most"), [(1.0, FORECAST, 1.1), (0.0, -0.2, FORECAST - 0.1)])
def test_the_model_is_trusted_as_far_as_it_comes_true(board, true, least, most):
    measured(board, 30, lambda c: true * forecast(c))
    learnt = Learnt(board, lambda name: 0.0, forecast)
    assert least < FORECAST + learnt.mean[learnt.places[MODEL]] < most


def test_the_model_has_the_last_word(board):
    with_model, without = [], []
    for found, model in ((with_model, forecast), (without, None)):
        board.rng, board.seen = random.Random(0), set()
        for s, _ in promising(board, 20, lambda name: 0.1, 6, True, model):
            found.append(forecast(board.workshop.make(s)))
    assert len(with_model) == len(without) == 20
    assert sum(with_model) / 20 < sum(without) / 20 - 0.1
