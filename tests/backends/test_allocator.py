"""The caching allocator: memory comes back only when nothing aliases it, the pool stays bounded, threads do not share blocks."""

import threading

import pytest
import torch
from warploom.backends.cpu.allocator import Pool, block_size


def tensor(pool: Pool, n: int = 1000) -> torch.Tensor:
    return torch.empty(0).set_(pool.storage(4 * n), 0, (n,), (1,))


def test_free_memory_is_used_again():
    pool = Pool(1 << 30)
    address = tensor(pool).data_ptr()
    assert tensor(pool).data_ptr() == address
    assert address % 64 == 0


HOLDERS = {
    "tensor": lambda t: t,
    "view": lambda t: t[3:],
    "numpy": lambda t: t.numpy(),
    "storage": lambda t: t.untyped_storage(),
    "dlpack": lambda t: t.__dlpack__(),
    "detached": lambda t: t.detach(),
    "memoryview": lambda t: memoryview(t.numpy()),
    "autograd": lambda t: torch.ones(1000, requires_grad=True) * t,
    "lazy clone": lambda t: t._lazy_clone(),
    "typed storage": lambda t: t.storage(),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_held_memory_is_not_used_again(holder):
    pool = Pool(1 << 30)
    t = tensor(pool).fill_(7)
    address = t.data_ptr()
    held = HOLDERS[holder](t)
    del t
    other = tensor(pool).fill_(1)
    if holder == "lazy clone":
        assert float(held[0]) == 7.0
    else:
        assert other.data_ptr() != address
    del held, other
    tensor(pool)


def test_memory_that_moved_is_dropped():
    pool = Pool(1 << 30)
    t = tensor(pool)
    t.share_memory_()
    del t
    assert not tensor(pool).is_shared()


def test_pool_is_bounded():
    pool = Pool(1 << 20)
    held = [tensor(pool, 50_000) for _ in range(20)]
    assert pool.held <= 1 << 20
    assert len({t.data_ptr() for t in held}) == 20
    del held
    for n in range(1, 20):
        tensor(pool, n * 10_000)
        assert pool.held <= 1 << 20


def test_off_gives_plain_memory():
    pool = Pool(1 << 30, enabled=False)
    tensor(pool)
    assert pool.held == 0


def test_rounding_wastes_at_most_an_eighth():
    for n in (1, 64, 65, 1 << 16, (1 << 16) + 1, (1 << 20) + 1, 33_500_000):
        assert n <= block_size(n) <= max(64, n + 63, n * 1.126)


def test_threads_get_memory_of_their_own():
    pool, clashes = Pool(1 << 30), []

    def work(mark: int) -> None:
        for _ in range(300):
            t = tensor(pool, 64).fill_(mark)
            if not bool((t == mark).all()):
                clashes.append(mark)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not clashes
