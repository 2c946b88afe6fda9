"""Times work on a GPU: a function that enqueues launches on torch's current stream comes in, one that gives the seconds of them goes out.

The launches are recorded once as a CUDA graph and replayed between two events, so that neither Python nor the way of a launch through the driver
is in the time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


def recorded(work: Callable[[], None]) -> Callable[[], float]:
    """Each call of what goes out replays `work` and waits for its end. `work` must allocate by torch alone and never wait for the GPU itself;
    RuntimeError where it does."""
    warm = torch.cuda.Stream()
    warm.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm):
        work()  # what is loaded or compiled at a first launch cannot be recorded
    torch.cuda.current_stream().wait_stream(warm)
    torch.cuda.synchronize()
    graph, usual = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            work()
    finally:
        torch.cuda.set_stream(usual)  # a recording that fails would leave its own stream as the current one
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def seconds() -> float:
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return 1e-3 * begin.elapsed_time(end)

    return seconds
