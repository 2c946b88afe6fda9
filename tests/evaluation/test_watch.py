"""What a Python candidate calls is heard by whatever name and in whichever thread; what counts as the library doing the task."""

import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from warploom import evaluation
from warploom.evaluation.cost import Calls
from warploom.evaluation.library import reference_call

A, B = torch.rand(6, 40, 30), torch.rand(6, 30, 20)
SIZE = A.numel()


@pytest.fixture(scope="module")
def watch():
    path = Path(evaluation.__file__).parent / "worker" / "watch.py"
    spec = importlib.util.spec_from_file_location("watch", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_a_thread():
    worker = threading.Thread(target=lambda: torch.bmm(A, B))
    worker.start()
    worker.join()


def without_modes():
    with _disable_current_modes():
        torch.bmm(A, B)


HEARD = {
    "dispatched": (lambda: A @ B, "bmm"),
    "in a thread": (in_a_thread, "bmm"),
    "out of the modes' sight": (without_modes, "bmm"),
    "an array's operator": (lambda: torch.from_numpy(A.numpy() @ B.numpy()), "+numpy.matmul"),
    "a NumPy function": (lambda: np.matmul(np.asarray(A), np.asarray(B)), "+numpy.matmul"),
    "an array's method": (lambda: A.numpy().cumsum(1), "+numpy.cumsum"),
    "a ufunc that accumulates": (lambda: np.add.accumulate(A.numpy()), "+numpy.cumsum"),
    "an inner operator": (lambda: torch.softmax(A, -1), "+softmax"),
}


@pytest.mark.parametrize("name", HEARD)
def test_heard(watch, name):
    call, wanted = HEARD[name]
    told = watch.heard(watch.Notes(), call)
    assert told["operators"][wanted][0] >= SIZE


def test_arrays_that_report_hold_the_same_values(watch):
    made = []
    watch.heard(watch.Notes(), lambda: made.append(np.sqrt(A.numpy() * 2, out=np.empty(A.shape, np.float32)).sum(1)))
    assert np.array_equal(made[0], np.sqrt(A.numpy() * 2).sum(1))
    assert type(A.numpy()) is np.ndarray


def test_a_watcher_that_was_exchanged_is_put_back(watch):
    TorchDispatchMode.__enter__ = lambda self: self
    told = watch.heard(watch.Notes(), lambda: A @ B)
    assert told["operators"]["bmm"][1] == 1


def test_routines_of_libraries(watch):
    notes = watch.Notes()
    notes.hook("ctypes.dlsym", (None, "cblas_sgemm"))
    assert "+routine.cblas_sgemm" in notes.merged()


PRODUCT, AVERAGE, MEAN, LEAST = "bmm", "avg_pool2d", "mean", "argmin"


@pytest.mark.parametrize(
    "task, reached, called",
    [
        (PRODUCT, ["mul", "sum"], False),
        (PRODUCT, ["+numpy.matmul"], True),
        (PRODUCT, ["+numpy.multiply", "+numpy.sum"], False),
        (PRODUCT, ["+routine.scipy_cblas_sgemm64_"], True),
        (PRODUCT, ["+routine.my_kernel"], False),
        (AVERAGE, ["convolution"], True),
        (AVERAGE, ["add", "div"], False),
        (MEAN, ["avg_pool2d"], True),
        (MEAN, ["sum", "div"], False),
        (LEAST, ["neg", "argmax"], True),
        (LEAST, ["min"], True),
        (LEAST, ["where", "lt"], False),
    ],
)
def test_one_operator_by_other_names(task, reached, called):
    found = reference_call(Calls(((task, SIZE),), (task,)), [(name, SIZE) for name in reached], [])
    assert (found is not None) == called
