"""A GPU as torch describes it, as a Machine."""

from types import SimpleNamespace

import pytest
import torch
from warploom.backends.cuda import host

H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3", major=9, minor=0, multi_processor_count=132, L2_cache_size=50 << 20, shared_memory_per_block=48 << 10,
    clock_rate=1_980_000, memory_clock_rate=2_619_000, memory_bus_width=5120,
)  # fmt: skip
A100 = SimpleNamespace(
    name="NVIDIA A100-SXM4-40GB", major=8, minor=0, multi_processor_count=108, L2_cache_size=40 << 20, shared_memory_per_block=48 << 10,
    clock_rate=1_410_000, memory_clock_rate=1_215_000, memory_bus_width=5120,
)  # fmt: skip


@pytest.mark.parametrize(("properties", "flops", "bandwidth"), [(H100, 67e12, 3.35e12), (A100, 19.5e12, 1.555e12)])
def test_a_gpu_that_is_here_has_peaks(monkeypatch, properties, flops, bandwidth):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    m = host.machine()
    assert m.flops * m.cores == pytest.approx(flops, rel=0.01) and m.bandwidth_all == pytest.approx(bandwidth, rel=0.01)
    assert m.bandwidth * m.cores == pytest.approx(m.bandwidth_all)
