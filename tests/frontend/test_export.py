"""Whole small models: structure of results, updates, dynamic dims, dtypes, autocast, errors; always the interpreter against eager."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from agree import assert_same, check, eager, externs, run
from torch import nn
from warploom.frontend.torch_export import Literal, SizeLeaf, TensorLeaf, export_model
from warploom.frontend.zoo import MODELS, build
from warploom.ir.diagnostic import InputMismatch, UnsupportedModel
from warploom.ir.graph import Conv, Extern, Random


@pytest.mark.parametrize("name", [n for n in MODELS if n != "resnet18"])
def test_zoo_models_agree_with_eager(name):
    model, inputs = build(name)
    check(model, inputs, rtol=2e-4, atol=2e-5)


def test_dynamic_batch_serves_other_sizes():
    model, (x,) = build("resnet-tiny")
    e = check(
        model,
        (x,),
        dynamic={"x": {0: "batch"}},
        calls=[(torch.randn(5, 3, 32, 32),), (torch.randn(1, 3, 32, 32),)],
        rtol=2e-4,
        atol=2e-5,
    )
    assert [d.name for d in e.graph.dims] == ["batch"]


def test_two_dynamic_dims_with_a_range_and_a_shared_name():
    model, _ = build("gpt-block")
    x = torch.randn(2, 16, 256)
    e = check(
        model, (x,), dynamic={0: {0: "batch", 1: ("length", 4, 64)}}, calls=[(torch.randn(3, 9, 256),)], rtol=2e-4, atol=2e-5
    )
    assert [(d.name, d.hi) for d in e.graph.dims] == [("batch", None), ("length", 64)]

    def add(a, b):
        return a + b, a.shape[0] * 2

    shared = check(
        add,
        (torch.randn(1, 3), torch.randn(1, 3)),
        dynamic={0: {0: "n"}, 1: {0: "n"}},
        calls=[(torch.randn(4, 3), torch.randn(4, 3))],
    )
    assert len(shared.graph.dims) == 1 and isinstance(shared.outputs[1], SizeLeaf)


@pytest.mark.parametrize("dynamic", [{"y": {0: "n"}}, {3: {0: "n"}}, {"x": {5: "n"}}, {"x": {0: "not a name"}}])
def test_dynamic_that_does_not_fit_is_an_input_mismatch(dynamic):
    with pytest.raises(InputMismatch):
        export_model(nn.ReLU(), (torch.randn(2, 2),), dynamic={("input" if k == "x" else k): v for k, v in dynamic.items()})


class Pair(NamedTuple):
    first: torch.Tensor
    second: object


def test_results_keep_their_structure():
    def f(x, y):
        z = x + 1
        return {
            "same": (z, z),
            "input": x,
            "consts": [None, 3, "text", True],
            "copy": x.clone(),
            "pair": Pair(y.view(-1), x.max(1)),
        }

    e = check(f, (torch.randn(3, 4), torch.arange(6).view(2, 3)))
    names = [leaf.name for leaf in e.outputs if isinstance(leaf, TensorLeaf)]
    assert names[0] == names[1] and names[2] in e.input_names and names[3] not in e.input_names


def test_keyword_and_nested_arguments():
    def f(x, scale=None, more=None):
        return x * scale + more["a"] - more["b"][0]

    args, kwargs = (torch.randn(2, 3),), {"scale": 2.5, "more": {"a": torch.randn(3), "b": [torch.ones(2, 3)]}}
    e = check(f, args, kwargs)
    assert Literal(2.5) in e.inputs
    with pytest.raises(InputMismatch):
        e.flatten(args, {**kwargs, "scale": 3.0})
    with pytest.raises(InputMismatch):
        e.flatten((torch.randn(2, 3), torch.randn(2, 3)))


def test_numbers_and_dtypes():
    def f(x, n, mask):
        return x.sum(), n + 1, n / 2, mask & (n > 2), x * n, torch.tensor(5), (x > 0).sum(), n.float().mean()

    check(f, (torch.tensor(1.5), torch.arange(4), torch.tensor([True, False, True, True])))


def test_batch_norm_in_training_updates_its_statistics():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, momentum=0.3)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    e = check(model, (torch.randn(4, 3, 8, 8),), rtol=1e-4, atol=1e-5)
    assert len(e.graph.updates) == 6
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), "export must not run the model"


def test_an_input_that_the_model_writes_to():
    def f(x, y):
        y[:, 0] = 7
        x.add_(1)
        return x * y

    x, y = torch.randn(3, 2), torch.randn(3, 2)
    e = export_model(f, (x, y))
    got, updates = run(e, (x, y))
    wanted = (x.clone(), y.clone())
    result = f(*wanted)
    assert_same(got, result)
    assert_same([updates[n] for n in e.input_names], list(wanted))


def test_weights_are_the_models_own_tensors():
    model = nn.Linear(3, 2)
    weights = export_model(model, (torch.randn(1, 3),)).weights
    assert {id(w) for w in weights.values()} == {id(model.weight), id(model.bias)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_round_as_eager_does(dtype):
    def f(x, y):
        return (x + y, x * 0.1, x - 1.7, x / y, x % 1.7, 2.3 - x, x.abs() ** 1.7, F.gelu(x), torch.sigmoid(x), F.silu(x), x.sum(-1), x.mean(0),
                x > 0.1, x.softmax(-1), x.cumsum(0), x.clamp(-0.3, 0.5), F.layer_norm(x, (32,)), F.hardswish(x), x.amax(0))  # fmt: skip

    x, y = torch.randn(16, 32).to(dtype), torch.randn(16, 32).to(dtype)
    e = export_model(f, (x, y))
    got, _ = run(e, (x, y))
    for a, b in zip(got, f(x, y)):
        assert a.dtype == b.dtype
        # all but a stray last bit, where sums are ordered differently or exp differs by an ulp
        assert (a != b).float().mean() < 0.01
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_models(dtype):
    for name in ("mlp", "resnet-tiny", "gpt-block"):
        model, inputs = build(name)
        check(model.to(dtype), tuple(x.to(dtype) for x in inputs), rtol=4e-2, atol=4e-2)


def test_autocast_regions_are_inlined():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.conv = nn.Linear(8, 8), nn.Conv1d(8, 8, 3)

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = self.conv(self.linear(x).transpose(1, 2))
                z = torch.matmul(y, y.transpose(1, 2))
            return y.dtype == torch.bfloat16, y, z.float() + 1

    check(Model().eval(), (torch.randn(2, 5, 8),), rtol=2e-2, atol=2e-2)


def test_padding_same_groups_and_transposed_convolutions():
    model = nn.Sequential(
        nn.Conv2d(4, 8, (3, 2), padding="same", dilation=2, groups=2),
        nn.ConvTranspose2d(8, 6, 3, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2, dilation=(1, 2)),
        nn.Conv2d(6, 6, 3, groups=6, padding_mode="circular", padding=1),
    )
    e = check(model, (torch.randn(2, 4, 9, 7),), rtol=1e-4, atol=1e-5)
    assert sum(isinstance(n.op, Conv) for n in e.graph.nodes) == 3


def test_products_of_transposes_and_slices():
    def f(x, y):
        return x.T @ y, x[:3].T @ y[:3], torch.einsum("ab,cb->ac", x[:, :2], y[:3, :2]), (x @ y.T)[:2] @ x, x.T[:2] @ y

    check(f, (torch.randn(5, 4), torch.randn(5, 4)))


def test_pools_with_ceil_mode_and_indices():
    def f(x):
        y, index = F.max_pool2d(x, 3, 2, 1, ceil_mode=True, return_indices=True)
        average = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
        return (
            y,
            index,
            average,
            F.avg_pool2d(x, 3, 2, ceil_mode=True),
            F.adaptive_avg_pool2d(x, (4, 3)),
            F.adaptive_max_pool2d(x, (4, 3)),
        )

    check(f, (torch.randn(2, 3, 10, 8),))


def test_attention_of_every_kind():
    def f(q, k, v, mask, bias):
        grouped = F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True)
        causal = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
        return F.scaled_dot_product_attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, bias), causal, grouped

    mask = torch.rand(5, 7) > 0.3
    mask[0] = False
    check(f, (torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 8), mask, torch.randn(4, 5, 7)))


def test_recurrent_networks_stay_whole():
    model = nn.LSTM(8, 16, 2, batch_first=True, bidirectional=True).eval()
    e = check(model, (torch.randn(3, 6, 8),), owned=False)
    assert [t for t, _ in externs(e)] == ["aten.lstm.input"]
    e = check(nn.GRU(8, 16), (torch.randn(6, 3, 8), torch.randn(1, 3, 16)), owned=False, dynamic={0: {1: "b"}, 1: {1: "b"}})
    assert [t for t, _ in externs(e)] == ["aten.gru.input"]


def test_index_inputs_are_given_the_range_that_they_must_keep():
    def f(x, i, j):
        return x[i], F.embedding(j, x), x.gather(0, j), torch.zeros(9, 4).scatter_add(0, j, x[:3])

    i, j = torch.tensor([[0, -1], [-5, 4]]), torch.randint(0, 5, (3, 4))
    e = check(f, (torch.randn(5, 4), i, j))
    within = {x.name: tuple(b.value for b in x.within) for x in e.graph.inputs if x.within}
    assert within == {"i": (-5, 5), "j": (0, 5)}


def test_an_index_that_may_be_out_of_range_stays_with_aten():
    e = check(
        lambda x, i: (x[(i * 0.5).long()], x[i.argmax(1)], x[torch.arange(3)]),
        (torch.randn(5, 4), torch.rand(3, 2)),
        owned=False,
    )
    assert externs(e) == [("aten.index.Tensor", "an index that could be out of range, where ATen raises")]


def test_a_scalar_model_and_a_function():
    check(lambda x: x * 2 + 1, (torch.tensor(3.0),))


# ------------------------------------------------------------------------------------------------ random operators
RANDOM = {
    "dropout": lambda x: F.dropout(x, 0.3),
    "dropout of a transposed tensor": lambda x: F.dropout(x.t().relu(), 0.3),
    "dropout in half": lambda x: F.dropout(x.bfloat16(), 0.4),
    "channels": lambda x: F.dropout2d(x.view(2, 4, 8, 4), 0.5),
    "alpha": lambda x: F.alpha_dropout(x, 0.2, True),
    "rand": lambda x: (torch.rand(3, 5), torch.randn(17), torch.randint(3, 90, (4,)), torch.randperm(7)),
    "like": lambda x: (torch.rand_like(x), torch.randn_like(x.t()), torch.randint_like(x, 5), torch.bernoulli(x.sigmoid())),
    "in place": lambda x: (
        x.clone().uniform_(-1, 2),
        x.clone().normal_(1, 3),
        x.clone().exponential_(2.0),
        x.clone().bernoulli_(0.2),
    ),
    "order": lambda x: (
        torch.rand(2),
        F.dropout(x, 0.5),
        torch.randn(3),
        F.rrelu(x, training=True),
        torch.multinomial(x.abs(), 2),
    ),
    "attention": lambda x: F.scaled_dot_product_attention(x.view(2, 8, 16), x.view(2, 8, 16), x.view(2, 8, 16), dropout_p=0.4),
    "off": lambda x: (F.dropout(x, 0.3, False), F.dropout(x, 0.0), F.dropout(x, 1.0), torch.rand(2)),
}


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("seed", [0, 123])
def test_equal_seeds_give_equal_draws(name, seed):
    check(RANDOM[name], (torch.randn(16, 16),), seed=seed, owned=False)


def test_an_unused_draw_still_moves_the_generator():
    e = check(lambda x: (torch.rand(5) * 0, x + torch.rand(3))[1], (torch.randn(3),))
    assert sum(isinstance(n.op, Random) for n in e.graph.nodes) == 2


def test_a_training_transformer_layer_draws_in_eagers_order():
    check(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.2), (torch.randn(5, 3, 16),), owned=False, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------ what is refused
def test_gradients_are_refused():
    with pytest.raises(UnsupportedModel) as e:
        export_model(nn.ReLU(), (torch.randn(2, requires_grad=True),))
    assert e.value.code == "WL-E024"


def _branches(x):
    if x.sum() > 0:
        return x
    return -x


@pytest.mark.parametrize("f", [_branches, lambda x: x[x > 0], lambda x: torch.zeros(int(x.sum())), lambda x: x.nonzero()])
def test_models_that_depend_on_data_name_their_line(f):
    with pytest.raises(UnsupportedModel) as e:
        export_model(f, (torch.randn(4),))
    assert "test_export.py" in str(e.value) and "\n" not in str(e.value)


def test_a_model_that_raises_names_its_line():
    def f(x):
        raise ValueError("no such thing")

    with pytest.raises(UnsupportedModel, match=r"test_export\.py:\d+: ValueError: no such thing"):
        export_model(f, (torch.randn(2),))


def test_complex_tensors_are_refused():
    with pytest.raises(UnsupportedModel, match="complex64"):
        export_model(lambda x: torch.fft.fft(x).abs(), (torch.randn(4),))


def test_eager_is_left_as_it_was():
    model, (x,) = build("mlp")
    state = torch.get_rng_state()
    export_model(model, (x,))
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(eager(model, (x,))[0], torch.Tensor)
    assert not [n for n in export_model(model, (x,)).graph.nodes if isinstance(n.op, Extern)]
