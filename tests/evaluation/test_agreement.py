"""What counts as right: honest rounding passes, everything else is named; fresh inputs keep the shape of the examples."""

import copy
import math

import pytest
import torch
from torch import nn
from warploom.evaluation.agreement import Subject, disagreements, fresh, state_of
from warploom.evaluation.bench.interleave import Samples, interleave
from warploom.evaluation.bench.race import Row, geomeans
from warploom.evaluation.bench.suite import Item, run_suite, run_worker
from warploom.ir.diagnostic import Unreadable


def wrong(model, compiled, *example, updated=()) -> list[str]:
    return [d.name for d in disagreements(Subject(model, compiled, updated), example) if not d.right]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        return self.b(self.a(x).tanh())


def test_another_order_of_summation_is_right():
    model, x = Net(), torch.randn(32, 64)

    def blockwise(x):
        h = sum(x[:, k : k + 8] @ model.a.weight[:, k : k + 8].T for k in range(0, 64, 8)) + model.a.bias
        return model.b(h.tanh())

    assert not wrong(model, blockwise, x)


def test_a_long_sum_in_a_simple_order_is_right():
    x = torch.rand(4, 100_000)
    assert not wrong(lambda x: x.sum(1), lambda x: x.view(4, 16, -1).sum(1).cumsum(1)[:, -1], x)


@pytest.mark.parametrize(
    "spoil",
    [lambda y: y * 1.0001, lambda y: y + 1e-3, lambda y: y.half().float(), lambda y: torch.where(y > y.median(), torch.nan, y),
     lambda y: y.index_fill(0, torch.tensor([3]), 0.0), lambda y: y.double(), lambda y: y[:-1], lambda y: (y, y)],
)  # fmt: skip
def test_wrong_numbers_are_found(spoil):
    model = Net()
    assert wrong(model, lambda x: spoil(model(x)), torch.randn(32, 64))


def test_ties_that_rounding_decides_are_right_and_others_are_not():
    w = torch.randn(64, 500)
    x = torch.randn(64, 64)
    assert not wrong(lambda x: (x @ w).argmax(1), lambda x: (x.double() @ w.double()).argmax(1), x)
    assert wrong(lambda x: (x @ w).argmax(1), lambda x: (x @ w).argmax(1) + 1, x)


def test_written_buffers_are_compared_and_put_back():
    model, x = nn.BatchNorm1d(8), torch.randn(32, 8)
    updated = ("running_mean", "running_var", "num_batches_tracked")
    before = copy.deepcopy(state_of(model))
    assert not wrong(model, model, x, updated=updated)
    assert all(torch.equal(before[k], v) for k, v in state_of(model).items())

    def forgets(x):
        return nn.functional.batch_norm(x, None, None, model.weight, model.bias, training=True)

    assert "running_mean" in wrong(model, forgets, x, updated=updated)


def test_dropout_with_the_same_seed_is_right():
    model, x = nn.Dropout(0.5), torch.randn(64, 64)
    assert not wrong(model, model, x)
    assert wrong(model, lambda x: model(x.roll(1)), x)


def test_fresh_inputs_are_like_the_examples():
    masked = torch.randn(50, 50).tril()
    masked[0, 1] = -math.inf
    example = (masked, torch.randint(3, 9, (40,)), torch.rand(7, 5).T, torch.rand(6) > 0.5, 3.5, {"k": torch.rand(4)})
    a, b = fresh(example, 1), fresh(example, 2)
    assert torch.equal(a[0] == 0, masked == 0) and torch.equal(a[0].isinf(), masked.isinf()) and not torch.equal(a[0], b[0])
    assert int(a[1].min()) >= 3 and int(a[1].max()) <= 8 and a[1].dtype == torch.int64
    assert a[2].stride() == example[2].stride() and a[3].dtype == torch.bool and a[4] == 3.5 and a[5]["k"].shape == (4,)


# ------------------------------------------------------------------------------------------------ bench
def test_interval_holds_the_ratio():
    samples = Samples({"slow": tuple(2.0 + 0.01 * n for n in range(50)), "fast": tuple(1.0 + 0.01 * n for n in range(50))})
    low, high = samples.interval("slow", "fast")
    assert 1.0 < low <= samples.ratio("slow", "fast") <= high < 2.2


def test_interleaving_runs_everyone_on_the_same_inputs():
    seen = {"a": [], "b": []}
    samples = interleave(
        {n: lambda values, n=n: seen[n].append(values[0]) for n in seen}, [(k,) for k in range(3)], 0.0, min_rounds=6
    )
    assert len(samples.seconds["a"]) == 6 and set(seen["a"]) == set(seen["b"]) == {0, 1, 2}


def test_small_and_failed_rows_stay_out_of_the_mean():
    rows = [Row("a", "l", 1, eager_ms=5.0, ratio=2.0, ok=True), Row("b", "l", 1, eager_ms=5.0, ratio=0.5, ok=True)]
    rows += [Row("c", "l", 1, eager_ms=0.1, ratio=9.0, ok=True), Row("d", "l", 1, error="failed")]
    assert geomeans(rows) == {"l": {"1": pytest.approx(1.0)}}


@pytest.mark.parametrize("script", ["exit 3", "sleep 60", "echo nothing", "kill -9 $$"])
def test_a_worker_that_fails_is_one_row(script):
    def measure(item):
        run_worker(["sh", "-c", script], 0.5, {"PATH": "/usr/bin:/bin"})
        raise AssertionError("it answered")

    rows = list(run_suite([Item("x.py", "x", "l")], measure, [1, 2]))
    assert [r.threads for r in rows] == [1, 2] and not any(r.ok for r in rows) and all(r.error for r in rows)


def test_a_worker_that_answers():
    assert run_worker(["sh", "-c", "echo noise; echo '[1]'"], 5, {"PATH": "/usr/bin:/bin"}) == [1]
    with pytest.raises(Unreadable):
        run_worker(["sh", "-c", "true"], 5, {"PATH": "/usr/bin:/bin"})


def test_a_python_float_may_be_off_by_rounding_and_no_more():
    def ours(x):
        return (float(x.double().sum()) * 2, x * 2)

    def eager(x):
        return (x.sum().item() * 2, x * 2)

    x = torch.rand(5000)
    assert not wrong(eager, ours, x)
    assert wrong(eager, lambda x: (ours(x)[0] * 1.001, x * 2), x)
    assert wrong(eager, lambda x: (7, x * 2), x)
