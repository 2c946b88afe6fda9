"""The operator table: ATen operator -> the rule that writes it in the Graph. Adding an operator is one row in its family's file.

| family | file | what it becomes |
|---|---|---|
| pointwise | aten_pointwise | Map: formulas in IR text |
| shape | aten_shape | Map with index expressions, Reshape |
| reduce | aten_reduce | Reduce, Scan, Sort with Maps (softmax, variance, norms) |
| contract | aten_contract | Contract, Conv, attention |
| nn | aten_nn | normalisations, pools, resizing, losses |
| index | aten_index | Map with loads in the index, Scatter |
| random | aten_random | Random |

A rule is called with the builder and the operator's arguments by schema name and returns its tensors. What has no row is decomposed by
torch where torch knows how, and is an Extern otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch._decomp import decomposition_table
from torch.export.exported_program import default_decompositions

from .aten_contract import CONTRACT
from .aten_index import INDEX
from .aten_nn import NN
from .aten_pointwise import POINTWISE
from .aten_random import RANDOM
from .aten_reduce import REDUCE
from .aten_shape import SHAPE

TABLE: dict[str, Callable[..., object]] = {**POINTWISE, **SHAPE, **REDUCE, **CONTRACT, **NN, **INDEX, **RANDOM}

# Without effect on values: checks that tracing already made.
IGNORED = frozenset(
    {
        "aten._assert_tensor_metadata.default",
        "aten._assert_async.msg",
        "aten._assert_scalar.default",
        "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
    }
)

# Operators that ATen runs whole, with the reason that the report shows.
_RECURRENT = "a recurrent network: ATen's own loop over time steps"
WHOLE: dict[str, str] = {
    **{
        n: _RECURRENT
        for n in ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
    },
    "rrelu_with_noise_functional": "draws only where the input is negative",
    "_ctc_loss": "a dynamic program over label sequences",
    "grid_sampler_2d": "gathers at computed positions",
    "grid_sampler_3d": "gathers at computed positions",
}


@cache
def decompositions() -> dict[torch._ops.OperatorBase, Callable[..., object]]:
    """torch's decompositions of everything that neither the table owns nor ATen should run whole.

    torch's reference implementations (torch._refs) beyond its own default set are left out: they end in prims, which ATen does not run.
    """
    known = dict(default_decompositions().items())
    for target, rule in decomposition_table.items():
        if isinstance(target, torch._ops.OpOverload) and not target._schema.is_mutable and rule.__module__ != "torch._refs":
            known.setdefault(target, rule)
    return {t: rule for t, rule in known.items() if str(t) not in TABLE and str(t).split(".")[1] not in WHOLE}
