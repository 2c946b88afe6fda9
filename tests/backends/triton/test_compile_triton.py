"""Models compiled for Triton agree with eager in Triton's interpreter, class by class, and compile ahead for sm_90."""

import pytest
import warploom
from problems import CASES, case
from warploom.backends.triton.run import Worker, available, compile_ahead, worker

pytestmark = pytest.mark.skipif(not available(), reason="Triton is not installed")

QUICK = ("wide_pointwise", "nan", "softmax", "cumsum", "fold_beside_scan", "matmul", "linear_leaky_relu", "max_pool", "windows_of_kept_rows", "integers")


def _check(name, ahead):
    model, inputs = case(name)
    compiled = warploom.compile(model, inputs, target="triton")  # raises WrongNumbers
    assert compiled.differences and not compiled.code.module.prepare
    for program in compiled.code.programs if ahead else ():
        assert all(size > 1000 for size in compile_ahead(program).values())
    return compiled


@pytest.mark.parametrize("name", QUICK)
def test_agrees_with_eager(name):
    _check(name, ahead=name in ("softmax", "matmul", "fold_beside_scan", "windows_of_kept_rows"))


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in CASES if n not in QUICK])
def test_agrees_with_eager_rest(name):
    _check(name, ahead=True)


def test_contractions_are_products_of_tiles(golden):
    model, inputs = case("matmul")
    compiled = warploom.compile(model, inputs, target="triton", verify=False)
    (source,) = compiled.sources.values()
    assert "tl.dot" in source and 'input_precision="ieee"' in source
    golden("matmul", source)


def test_indices_that_loops_do_not_change_are_computed_before_them(golden):
    model, inputs = case("conv_transpose")
    (source,) = warploom.compile(model, inputs, target="triton", verify=False).sources.values()
    golden("conv_transpose", source)


def test_rows_are_tiles(golden):
    model, inputs = case("softmax")
    (source,) = warploom.compile(model, inputs, target="triton", verify=False).sources.values()
    golden("softmax", source)


def test_an_interrupted_question_is_not_answered_later(monkeypatch):
    class Interrupted:
        def readline(self):
            raise KeyboardInterrupt

    asked = worker(True)
    monkeypatch.setattr(asked.process, "stdout", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        asked.ask({"do": "run"})
    assert isinstance(worker(True), Worker) and worker(True) is not asked
    assert asked.process.wait(10) != 0


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_eager_on_a_gpu(name):
    model, inputs = case(name)
    warploom.compile(model.cuda(), [x.cuda() for x in inputs], target="triton")
