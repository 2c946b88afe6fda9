"""torch dtypes and the IR's names for them, both ways."""

import torch

DTYPE: dict[torch.dtype, str] = {
    torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64", torch.int32: "i32",
    torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.bool: "b1",
}  # fmt: skip
TORCH_DTYPE: dict[str, torch.dtype] = {v: k for k, v in DTYPE.items()}
