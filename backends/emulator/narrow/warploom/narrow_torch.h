// What most extensions use of PyTorch's C++ side, as torch/extension.h offers it: tensors and operators, and a module with `def`.
// A tenth of the compile time of torch/extension.h, because neither torch::nn nor pybind11 is in it.
#pragma once
#include <Python.h>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/TensorIndexing.h>
#include <c10/util/Optional.h>

namespace torch {
using namespace at;
using std::nullopt;
using std::optional;
using Dtype = at::ScalarType;
constexpr auto kUInt8 = at::kByte, kU8 = at::kByte, kInt8 = at::kChar, kI8 = at::kChar;
constexpr auto kInt16 = at::kShort, kI16 = at::kShort, kInt32 = at::kInt, kI32 = at::kInt, kInt64 = at::kLong, kI64 = at::kLong;
constexpr auto kFloat16 = at::kHalf, kF16 = at::kHalf, kFloat32 = at::kFloat, kF32 = at::kFloat;
constexpr auto kFloat64 = at::kDouble, kF64 = at::kDouble;
}  // namespace torch

#include "narrow_module.h"
