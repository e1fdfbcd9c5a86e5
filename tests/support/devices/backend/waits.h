// How often CUDA's kernel of an operator makes the host wait, beside the reads that operators of their own make.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>

#include <functional>
#include <string>
#include <unordered_map>

#include "memory.h"

namespace second {

using Values = c10::ArrayRef<c10::IValue>;

template <typename Function>
void each_tensor(const c10::IValue& value, Function&& use) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) use(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) use(tensor);
  } else if (value.isOptionalTensorList()) {
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      if (tensor && tensor->defined()) use(*tensor);
    }
  }
}

inline bool is_mask(const at::Tensor& index) {
  return index.scalar_type() == c10::ScalarType::Bool || index.scalar_type() == c10::ScalarType::Byte;
}

// A mask becomes positions, whose number the host must know.
inline int masks(const c10::IValue& indices) {
  int found = 0;
  each_tensor(indices, [&](const at::Tensor& index) { found += index.is_privateuseone() && is_mask(index); });
  return found;
}

// A number that Python gave; torch keeps it on the CPU for CUDA, and makes a tensor of it for other devices.
inline bool is_number(const at::Tensor& value) {
  if (value.is_cpu()) return value.numel() == 1;
  const auto* held = value.storage().data_ptr().cast_context<Held>(&Held::drop);
  return value.dim() == 0 && held && held->of_number;
}

// One mask and one number are filled in without positions (canDispatchToMaskedFill).
inline int masks_to_put(Values values) {
  int indices = 0;
  each_tensor(values[1], [&](const at::Tensor&) { ++indices; });
  const bool filled = indices == 1 && !values[3].toBool() && is_number(values[2].toTensor());
  return filled ? 0 : masks(values[1]);
}

inline int once(Values) { return 1; }
inline int twice(Values) { return 2; }
inline int once_unless_empty(Values values) { return values[0].toTensor().numel() != 0; }

// The files are those of aten/src/ATen/native.
inline const std::unordered_map<std::string, std::function<int(Values)>> WAITS{
    {"nonzero", once},                                                            // cuda/Nonzero.cu
    {"masked_select", once},                                                      // cuda/IndexKernel.cpp: by nonzero
    {"index", [](Values values) { return masks(values[1]); }},                    // IndexingUtils.h: by nonzero
    {"index_put", masks_to_put},                                                  // TensorAdvancedIndexing.cpp
    {"index_put_", masks_to_put},
    {"_index_put_impl_", masks_to_put},
    {"masked_fill_", [](Values values) { return int(values[2].isTensor() && !values[2].toTensor().is_cpu()); }},
    {"_unique2", once_unless_empty},                                              // cuda/UniqueCub.cu
    {"unique_consecutive", once_unless_empty},
    {"unique_dim", once_unless_empty},                                            // cuda/Unique.cu
    {"repeat_interleave", [](Values values) { return values[1].isNone() ? 2 : 0; }},  // Repeat.h: size, then signs
    {"bincount", twice},                                                          // cuda/SummaryOps.cu: least, largest
    {"histc", [](Values values) { return values[2].toScalar().toDouble() == values[3].toScalar().toDouble() ? 2 : 0; }},
    {"multinomial",                                                               // Distributions.cpp: two checks
     [](Values values) { return values[2].toBool() && values[1].toInt() > 1 ? 0 : 2; }},
    {"equal", once},                                                              // cuda/Equal.cpp
    {"_linalg_eigh", once_unless_empty},                                          // BatchLinearAlgebra.cpp: status
    {"_linalg_svd",                                            // cuda/linalg/BatchLinearAlgebraLib.cpp: convergence, too
     [](Values values) { return once_unless_empty(values) * (values[3].isNone() ? 2 : values[3].toStringRef() == "gesvd" ? 1 : 2); }},
    {"linalg_eig", once},                                                         // cuda/linalg/BatchLinearAlgebra.cpp
    {"_linalg_eigvals", once},
    {"linalg_lstsq", once},
};

inline int waits(const std::string& name, Values values) {
  const auto found = WAITS.find(name);
  return found == WAITS.end() ? 0 : found->second(values);
}

}  // namespace second
