// Any operator of torch on the device: checked, counted, then computed by the CPU's kernel in the same memory.
#pragma once
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include "counters.h"
#include "device.h"
#include "refusals.h"
#include "views.h"

namespace second {

inline void count(const std::string& name, Values values) {
  launched(name);
  if (const int times = waits(name, values)) synchronised(name, times);
  if (!takes_indices(name)) return;
  each_tensor(values[1], [&](const at::Tensor& index) {
    if (index.is_cpu()) uploaded(name);
  });
}

inline at::Generator cpu_generator(const at::Generator& generator) {
  TORCH_CHECK(
      generator.device().type() == KIND, "Expected a 'second' device type for generator but found '",
      generator.device().type(), "'");
  return static_cast<Draws*>(generator.unsafeGetGeneratorImpl())->on_cpu;
}

inline c10::IValue lend(const c10::IValue& value, Views& views) {
  if (value.isTensor()) return views.lend(value.toTensor());
  if (value.isTensorList()) {
    auto tensors = value.toTensorVector();
    for (auto& tensor : tensors) tensor = views.lend(tensor);
    return tensors;
  }
  if (value.isOptionalTensorList()) {
    auto tensors = value.toOptionalTensorVector();
    for (auto& tensor : tensors) {
      if (tensor) tensor = views.lend(*tensor);
    }
    return tensors;
  }
  if (value.isDevice()) return c10::Device(c10::kCPU);
  if (value.isGenerator()) return cpu_generator(value.toGenerator());
  return value;
}

inline c10::IValue take_back(const c10::IValue& value, Views& views) {
  if (value.isTensor()) return views.take_back(value.toTensor());
  if (!value.isTensorList()) return value;
  auto tensors = value.toTensorVector();
  for (auto& tensor : tensors) tensor = views.take_back(tensor);
  return tensors;
}

inline bool is_generator(const c10::Argument& argument) {
  const auto* optional = argument.type()->castRaw<c10::OptionalType>();
  return optional && optional->getElementType()->kind() == c10::TypeKind::GeneratorType;
}

// Calls `kernel`, an operator with the arguments of `op`, on the CPU.
inline void compute(const c10::OperatorHandle& kernel, c10::Device device, torch::jit::Stack* stack) {
  const auto& arguments = kernel.schema().arguments();
  On on(device);
  Views views(device);
  auto& generator = default_generator(device.index());
  const size_t first = stack->size() - arguments.size();
  for (size_t k = 0; k < arguments.size(); ++k) {
    auto& value = (*stack)[first + k];
    value = value.isNone() && is_generator(arguments[k]) ? c10::IValue(cpu_generator(generator)) : lend(value, views);
  }
  {
    at::AutoDispatchBelowADInplaceOrView below;
    kernel.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  views.settle();
  const size_t results = stack->size() - kernel.schema().returns().size();
  for (size_t k = results; k < stack->size(); ++k) (*stack)[k] = take_back((*stack)[k], views);
}

inline void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto values = torch::jit::last(*stack, op.schema().arguments().size());
  const auto device = Check(op)(values);
  count(short_name(op.schema()), values);
  compute(op, device, stack);
}

}  // namespace second
