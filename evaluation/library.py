"""The operators that a reference and a candidate reach come in; whether the candidate calls the library it should replace goes out.

An operator belongs to a kind (matmul, convolution, softmax ...). The heaviest kinds of the reference are the task. A candidate that
calls operators of these kinds on as much data is a reference call, unless it needs fewer operators than the reference (it fuses),
or leaves a part of a larger task to the library while replacing the rest. Where one operator is the task, operators of every kind
do it by another name: a convolution with ones is an average. NumPy's functions and routines looked up in shared libraries count too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .cost import Calls
from .rounding import VIEWS
from .verdict import Finding

_KINDS = {
    "matmul": "mm bmm addmm baddbmm addbmm mv addmv dot vdot linear matmul einsum tensordot inner _addmm_activation mkldnn_linear chain_matmul linalg_multi_dot",
    "convolution": "convolution _convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d mkldnn_convolution "
    "thnn_conv2d _slow_conv2d_forward slow_conv3d slow_conv_transpose2d slow_conv_transpose3d convolution_overrideable",
    "attention": "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_attention_math",
    "recurrence": "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer",
    "softmax": "_softmax softmax _log_softmax log_softmax logsumexp",
    "normalisation": "native_layer_norm layer_norm native_group_norm group_norm native_batch_norm batch_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training instance_norm rms_norm _fused_rms_norm linalg_vector_norm norm linalg_norm renorm",
    "pooling": "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices mkldnn_max_pool2d mkldnn_max_pool3d avg_pool1d "
    "avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d",
    "loss": "nll_loss nll_loss_forward nll_loss2d_forward cross_entropy_loss mse_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy "
    "binary_cross_entropy_with_logits l1_loss hinge_embedding_loss cosine_embedding_loss triplet_margin_loss soft_margin_loss multi_margin_loss",
    "scan": "cumsum cumprod cummax cummin logcumsumexp _cummax_helper _cummin_helper",
    "sort": "sort topk argsort kthvalue median mode msort",
}
KIND = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_EXTREMES = dict.fromkeys(
    ["argmax", "argmin", "max", "min", "amax", "amin", "aminmax"], "extreme"
)  # where nothing heavier is the task
_ROUTINES = re.compile(r"(?:^|_)[sdh]?(?:gemm|gemv|gemmt|dot|ger|symm|symv|trmm)|dnnl|mkldnn|cublas|cudnn", re.I)
_WEIGHT = {"matmul": 3, "convolution": 3, "attention": 3, "recurrence": 3}
_TRIVIAL = VIEWS | {
    "empty", "empty_like", "zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "fill", "fill_", "zero_", "copy", "copy_", "_to_copy", "clone",
    "contiguous", "detach", "alias", "to", "lift_fresh", "empty_strided", "resize_", "set_", "as_strided_", "new_empty", "new_zeros", "item",
    "_local_scalar_dense", "is_nonzero", "arange", "scalar_tensor", "result_type", "resolve_conj", "resolve_neg", "expand_as", "data_ptr",
}  # fmt: skip

# Spoken, but no step of a computation.
_SILENT = {
    "__get__", "__set__", "as_tensor", "__getitem__", "size", "dim", "numel", "shape", "stride", "is_contiguous", "dtype", "device", "float", "T", "mT", "H",
    "__len__", "type", "requires_grad_", "is_floating_point", "cpu", "__iter__", "ndimension", "swapaxes", "moveaxis", "expand", "unsqueeze", "is_cuda",
}  # fmt: skip


def reference_call(reference: Calls, operators: list[tuple[str, int]], spoken: list[str]) -> Finding | None:
    """A finding where the candidate (its operators, and the functions spoken in its source) reaches what does the task."""
    most = max((n for _, n in reference.operators), default=0)
    wanted, reached = _working(list(reference.operators), most), _working(operators, most)
    task = _task_of(wanted)
    used = [name for name, _ in reached if _kind(name) in task or (len(wanted) == 1 and _bare(name) in KIND)]
    if not used or _fuses(wanted, reference.spoken, reached, spoken):
        return None
    return Finding("reference-call", f"it calls {', '.join(sorted({_in_words(name) for name in used}))}")


def _fuses(
    wanted: list[tuple[str, int]], wanted_spoken: Sequence[str], reached: list[tuple[str, int]], spoken: Sequence[str]
) -> bool:
    """Fewer steps than the reference: by the functions spoken, or by the operators where both speak of as many."""
    ours, theirs = _steps(spoken), _steps(wanted_spoken)
    if theirs > 1 and 0 < ours < theirs:
        return True
    return len(wanted) > 1 and sum(not name.startswith("+") for name, _ in reached) < len(wanted)


def _steps(spoken: Sequence[str]) -> int:
    return sum(name not in _TRIVIAL and name not in _SILENT for name in spoken)


def _working(calls: list[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    """Operators that compute on a fair part of the data."""
    return [(name, n) for name, n in calls if name.removeprefix("+") not in _TRIVIAL and n * 16 >= most]


def _task_of(wanted: list[tuple[str, int]]) -> set[str]:
    """The kinds (or, for simple operators, the names) that do the task."""
    kinds = {KIND[name] for name, _ in wanted if name in KIND}
    heavy = {kind for kind in kinds if kind in _WEIGHT}
    return heavy or kinds or {_kind(name) for name, _ in wanted}


def _kind(name: str) -> str:
    bare = _bare(name)
    return KIND.get(bare) or _EXTREMES.get(bare, bare)


def _bare(name: str) -> str:
    """An operator's name in torch: without `+` (an inner one) and without whose it is."""
    owner, _, bare = name.removeprefix("+").rpartition(".")
    return ("matmul" if _ROUTINES.search(bare) else "") if owner == "routine" else bare


def _in_words(name: str) -> str:
    """`torch's mm`, `numpy's dot`, `the routine cblas_sgemm`."""
    owner, _, bare = name.removeprefix("+").rpartition(".")
    return f"the routine {bare}" if owner == "routine" else f"{owner or 'torch'}'s {bare}"
