"""torch's own sample inputs for every owned operator, gathered into models of many calls. Not a test itself."""

import itertools

import torch
from agree import assert_same
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

# name[.variant] of each OpInfo, in groups that share one export
FLOAT = {
    "unary": """abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor frac isfinite isinf isnan
        isneginf isposinf log log10 log1p log2 logit nan_to_num neg positive rad2deg reciprocal round round.decimals_3
        round.decimals_neg_3 rsqrt sgn sigmoid sign sin sinc sinh sqrt square tan tanh trunc logical_not special.entr special.ndtr""",
    "binary": """add atan2 div.no_rounding_mode div.floor_rounding div.trunc_rounding eq float_power floor_divide fmax fmin fmod ge gt
        heaviside isclose le ldexp lerp logaddexp logaddexp2 logical_and logical_or logical_xor lt maximum minimum mul ne pow remainder
        rsub sub true_divide xlogy special.xlog1py clamp clamp_max clamp_min addcdiv addcmul where masked_fill""",
    "activation": """nn.functional.celu nn.functional.elu nn.functional.gelu nn.functional.glu nn.functional.hardshrink
        nn.functional.hardsigmoid nn.functional.hardswish nn.functional.hardtanh nn.functional.leaky_relu nn.functional.logsigmoid
        nn.functional.mish nn.functional.prelu nn.functional.relu nn.functional.relu6 nn.functional.selu nn.functional.silu
        nn.functional.softplus nn.functional.softshrink nn.functional.softsign nn.functional.tanhshrink nn.functional.threshold""",
    "shape": """as_strided_copy block_diag broadcast_to chunk clone constant_pad_nd contiguous diag diag_embed diagonal
        diagonal_scatter expand flatten flip movedim narrow_copy permute repeat reshape roll rot90 select select_scatter slice
        slice_scatter split split_with_sizes squeeze stack t tile transpose tril triu unbind unflatten unfold unsqueeze view""",
    "make": "arange cat eye full full_like linspace meshgrid.list_of_tensors new_full new_ones new_zeros ones_like zeros_like",
    "reduce": """all amax amin any argmax argmin max.binary max.reduction_no_dim max.reduction_with_dim mean min.reduction_no_dim
        min.reduction_with_dim prod std std_mean sum var var_mean linalg.vector_norm norm nansum count_nonzero aminmax""",
    "softmax": "softmax log_softmax logsumexp nn.functional.softmin cumsum cumprod cummax cummin logcumsumexp sort argsort msort",
    "contract": """addbmm addmm addmv addr baddbmm bmm dot einsum inner matmul mm mv nn.functional.bilinear nn.functional.linear outer
        tensordot vdot cdist cross kron""",
    "conv": """nn.functional.conv1d nn.functional.conv2d nn.functional.conv3d nn.functional.conv_transpose1d
        nn.functional.conv_transpose2d nn.functional.conv_transpose3d""",
    "pool": """nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d nn.functional.adaptive_avg_pool3d
        nn.functional.avg_pool1d nn.functional.avg_pool2d nn.functional.avg_pool3d nn.functional.max_pool1d nn.functional.max_pool2d
        nn.functional.max_pool3d""",
    "resize": """nn.functional.interpolate.nearest nn.functional.interpolate.linear nn.functional.interpolate.bilinear
        nn.functional.interpolate.trilinear nn.functional.interpolate.area nn.functional.pixel_shuffle nn.functional.pixel_unshuffle
        nn.functional.pad.constant nn.functional.pad.reflect nn.functional.pad.replicate nn.functional.pad.circular
        nn.functional.unfold""",
    "norm": """nn.functional.batch_norm nn.functional.group_norm nn.functional.instance_norm nn.functional.layer_norm
        nn.functional.local_response_norm nn.functional.normalize nn.functional.rms_norm renorm""",
    "loss": """nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits nn.functional.cosine_embedding_loss
        nn.functional.cosine_similarity nn.functional.cross_entropy nn.functional.hinge_embedding_loss nn.functional.huber_loss
        nn.functional.kl_div nn.functional.l1_loss nn.functional.margin_ranking_loss nn.functional.mse_loss nn.functional.nll_loss
        nn.functional.poisson_nll_loss nn.functional.smooth_l1_loss nn.functional.soft_margin_loss
        nn.functional.triplet_margin_loss""",
    "index": """gather index_select index_add index_copy index_fill index_put nn.functional.embedding scatter
        scatter_add scatter_reduce.sum scatter_reduce.prod scatter_reduce.amax take take_along_dim""",
}
INTEGER = {
    "unary": "abs neg sgn sign square logical_not bitwise_not positive",
    "binary": """add sub mul eq ne lt le gt ge maximum minimum bitwise_and bitwise_or bitwise_xor bitwise_left_shift
        bitwise_right_shift clamp rsub true_divide where masked_fill""",
    "reduce": "all amax amin any argmax argmin sum prod max.reduction_with_dim cumsum cumprod cummax sort",
    "shape": "cat flip roll repeat stack tril constant_pad_nd gather index_select unfold",
    "contract": "mm bmm matmul dot",
}
BOOLEAN = {
    "all": "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not add mul eq ne lt any all "
    "sum cat flip where masked_fill argmax amax cumsum tril",
}
CASES = [(d, g, n) for d, t in ((torch.float32, FLOAT), (torch.int64, INTEGER), (torch.bool, BOOLEAN)) for g, n in t.items()]
IDS = [f"{str(d)[6:]}-{g}" for d, g, _ in CASES]
KNOWN = {f"{o.name}.{o.variant_test_name}" if o.variant_test_name else o.name: o for o in op_db}
MANY = {torch.float32: 6, torch.int64: 4, torch.bool: 4}
# What ATen keeps: the renormalisation of an embedding's weight in place, positions from a sort that is not stable.
TIES = "ATen's choice among equal values"
SORTS = ("sort.default", "sort.stable", "argsort.default", "argsort.stable")
KEPT = {("aten.embedding_renorm.default", "not in the operator table"), *((f"aten.{name}", TIES) for name in SORTS)}


class Marker:
    """Stands for a tensor among the leaves of a sample."""


class Calls(torch.nn.Module):
    """All samples of a group of operators in one forward."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def forward(self, *tensors):
        given = iter(tensors)
        out = []
        for op, spec, leaves in self.calls:
            values = [next(given) if leaf is Marker else leaf for leaf in leaves]
            x, args, kwargs = pytree.tree_unflatten(values, spec)
            out.append(op(x, *args, **kwargs))
        return out


def samples(op, dtype, count):
    """Up to `count` samples spread over torch's own, that eager accepts and that stay small."""
    found = []
    for s in itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=False), 60):
        leaves, spec = pytree.tree_flatten((s.input, tuple(s.args), dict(s.kwargs)))
        tensors = [t for t in leaves if isinstance(t, torch.Tensor)]
        if all(0 < t.numel() < 20000 for t in tensors):
            found.append((spec, leaves))
    return found[:: max(1, len(found) // count)][:count]


def gathered(names, dtype, count):
    """A model that calls every operator on up to `count` samples, its inputs and a label for each call."""
    calls, tensors, labels = [], [], []
    for name in names.split():
        if name not in KNOWN or dtype not in KNOWN[name].dtypes:
            continue
        for spec, leaves in samples(KNOWN[name], dtype, count):
            calls.append((KNOWN[name], spec, [Marker if isinstance(v, torch.Tensor) else v for v in leaves]))
            tensors += [v.detach().clone() for v in leaves if isinstance(v, torch.Tensor)]
            labels.append(f"{name}{[tuple(v.shape) if isinstance(v, torch.Tensor) else v for v in leaves]}")
    return Calls(calls), tuple(tensors), labels


def assert_all_same(labels, got, wanted, dtype):
    for label, a, b in zip(labels, got, wanted, strict=True):
        try:
            assert_same(a, b, **({"rtol": 2e-5, "atol": 2e-5} if dtype is torch.float32 else {}))
        except AssertionError as e:
            raise AssertionError(f"{label}: {e}") from None
