"""The arena: temporaries that are alive at the same time never overlap, and the arena is no larger than their sum."""

import random

import pytest
from warploom.passes.plan_memory import ALIGN, Lifetime, place


@pytest.mark.parametrize("seed", range(200))
def test_living_temporaries_never_overlap(seed):
    rng = random.Random(seed)
    lives, nbytes = {}, {}
    for n in range(rng.randrange(1, 30)):
        first = rng.randrange(20)
        lives[f"t{n}"] = Lifetime(first, first + rng.randrange(6))
        nbytes[f"t{n}"] = rng.choice([0, 1, 64, 100, 4096, rng.randrange(1, 10_000)])
    offsets, total = place(lives, nbytes)
    for a in lives:
        assert offsets[a] % ALIGN == 0 and offsets[a] + nbytes[a] <= total
        for b in lives:
            if a != b and lives[a].overlaps(lives[b]):
                assert offsets[a] + nbytes[a] <= offsets[b] or offsets[b] + nbytes[b] <= offsets[a]
    assert total <= sum(-(-max(n, 1) // ALIGN) * ALIGN for n in nbytes.values())


def test_a_chain_needs_two_places():
    lives = {f"t{n}": Lifetime(n, n + 1) for n in range(10)}
    assert place(lives, dict.fromkeys(lives, 1000))[1] == 2 * 1024
