// Mixed precision: what torch casts on CUDA is cast here, by torch's own lists of operators.
#pragma once
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "memory.h"

namespace second {

// "addmm", or "sum.dim_IntList" of two words.
#define SECOND_WORDS(_1, _2, chosen, ...) chosen
#define SECOND_ONE(name) #name,
#define SECOND_TWO(name, overload) #name "." #overload,
#define SECOND_NAME(...) SECOND_WORDS(__VA_ARGS__, SECOND_TWO, SECOND_ONE)(__VA_ARGS__)

inline const std::vector<const char*> LOWER{AT_FORALL_LOWER_PRECISION_FP(SECOND_NAME)};
inline const std::vector<const char*> FLOAT32{AT_FORALL_FP32(SECOND_NAME) "norm.Scalar", "norm.ScalarOpt_dim"};
inline const std::vector<const char*> FLOAT32_RESULT{AT_FORALL_FP32_SET_OPT_DTYPE(SECOND_NAME)};
inline const std::vector<const char*> WIDEST{AT_FORALL_PROMOTE(SECOND_NAME)};

inline void cast(c10::IValue& value, c10::ScalarType to) {
  if (value.isTensor()) {
    value = at::autocast::cached_cast(to, value.toTensor(), KIND);
  } else if (value.isTensorList()) {
    auto tensors = value.toTensorVector();
    for (auto& tensor : tensors) tensor = at::autocast::cached_cast(to, tensor, KIND);
    value = tensors;
  }
}

template <typename Choose>
void with_cast(const c10::OperatorHandle& op, torch::jit::Stack* stack, Choose choose) {
  c10::impl::ExcludeDispatchKeyGuard guard(c10::DispatchKey::AutocastPrivateUse1);
  const size_t count = op.schema().arguments().size(), first = stack->size() - count;
  const c10::ScalarType to = choose(torch::jit::last(*stack, count));
  for (size_t k = 0; k < count; ++k) cast((*stack)[first + k], to);
  op.callBoxed(stack);
}

inline void lower(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  with_cast(op, stack, [](auto) { return at::autocast::get_autocast_dtype(KIND); });
}

inline void to_float32(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  with_cast(op, stack, [](auto) { return c10::kFloat; });
}

inline void to_widest(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  with_cast(op, stack, [](auto values) {
    c10::ScalarType widest = at::autocast::get_autocast_dtype(KIND);
    for (const auto& value : values) {
      if (value.isTensor()) widest = at::autocast::prioritize(widest, value.toTensor(), KIND);
    }
    return widest;
  });
}

// Of a narrow input, unless the caller asked for a type.
inline void result_in_float32(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard guard(c10::DispatchKey::AutocastPrivateUse1);
  const auto index = op.schema().argumentIndexWithName("dtype");
  const size_t first = stack->size() - op.schema().arguments().size();
  auto& dtype = (*stack)[first + *index];
  const auto& input = (*stack)[first].toTensor();
  if (dtype.isNone() && (input.scalar_type() == c10::kHalf || input.scalar_type() == c10::kBFloat16)) dtype = c10::kFloat;
  op.callBoxed(stack);
}

inline void refuse(const c10::OperatorHandle&, torch::jit::Stack*) {
  TORCH_CHECK(false, "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.");
}

template <void kernel(const c10::OperatorHandle&, torch::jit::Stack*)>
void implement(torch::Library& m, const std::vector<const char*>& names) {
  for (const char* name : names) m.impl(name, torch::CppFunction::makeFromBoxedFunction<kernel>());
}

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  implement<&lower>(m, LOWER);
  implement<&to_float32>(m, FLOAT32);
  implement<&to_widest>(m, WIDEST);
  implement<&result_in_float32>(m, FLOAT32_RESULT);
  m.impl("binary_cross_entropy", torch::CppFunction::makeFromBoxedFunction<&refuse>());
}

}  // namespace second
