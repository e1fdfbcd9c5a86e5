// Operators that the CPU has no kernel of, or that are about memory and not about arithmetic.
#pragma once
#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>

#include "fallback.h"

namespace second {

constexpr c10::DispatchKeySet KEYS(c10::DispatchKey::PrivateUse1);

inline at::Tensor empty(
    c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device> device, std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  refuse_float64(c10::dtype_or_default(dtype));
  On on(device);
  return at::detail::empty_generic(size, &memory, KEYS, c10::dtype_or_default(dtype), format);
}

inline at::Tensor empty_strided(
    c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device> device, std::optional<bool>) {
  refuse_float64(c10::dtype_or_default(dtype));
  On on(device);
  return at::detail::empty_strided_generic(size, stride, &memory, KEYS, c10::dtype_or_default(dtype));
}

// Zeros without memory, of which forward derivatives are made.
inline at::Tensor efficient_zeros(
    c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device> device, std::optional<bool>) {
  refuse_float64(c10::dtype_or_default(dtype));
  at::native::ZeroTensorAllocator nothing(c10::Device(KIND, device ? index_of(*device) : current));
  return at::detail::empty_generic(
      size, &nothing, KEYS | c10::DispatchKeySet(c10::DispatchKey::ZeroTensor), c10::dtype_or_default(dtype), std::nullopt);
}

inline at::Tensor scalar_tensor(
    const at::Scalar& number, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout> layout,
    std::optional<c10::Device> device, std::optional<bool> pinned) {
  auto made = empty({}, dtype, layout, device, pinned, std::nullopt).fill_(number);
  made.storage().data_ptr().cast_context<Held>(&Held::drop)->of_number = true;
  return made;
}

inline void count_copy(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  if (from.numel() == 0) return;
  const at::Tensor& ours = from.is_cpu() ? from : to;
  const bool alone = non_blocking && ours.is_cpu() && PinnedMemory::holds(ours.storage().data());
  if (alone || !ours.is_cpu()) launched("copy_");
  else if (to.is_cpu()) synchronised("copy to the CPU");
  else uploaded("copy");
}

inline at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  count_copy(from, to, non_blocking);
  if (!from.is_cpu()) refuse_float64(to.scalar_type());  // Apple's device converts before it copies
  Views views(from.is_cpu() ? to.device() : from.device());
  views.lend(to).copy_(views.lend(from));
  return to;
}

inline at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  at::native::resize_(to, from.sizes());
  return copy_from(from, to, false);
}

inline at::Scalar local_scalar_dense(const at::Tensor& tensor) {
  synchronised("item");
  return Views(tensor.device()).lend(tensor).item();
}

inline at::Tensor& set_storage(
    at::Tensor& self, at::Storage storage, int64_t offset, c10::IntArrayRef size, c10::IntArrayRef stride) {
  TORCH_CHECK(
      self.device() == storage.device(), "Attempted to set the storage of a tensor on device \"", self.device(),
      "\" to a storage on different device \"", storage.device(), "\".");
  On on(self.device());
  return at::native::set_storage_cpu_(self, storage, offset, size, stride);
}

inline at::Tensor& set_whole_storage(at::Tensor& self, at::Storage storage) {
  const auto count = static_cast<int64_t>(storage.nbytes() / self.dtype().itemsize());
  return set_storage(self, std::move(storage), 0, {count}, {});
}

inline const at::Tensor& resize(
    const at::Tensor& self, c10::IntArrayRef size, std::optional<c10::MemoryFormat> format) {
  On on(self.device());
  return at::native::resize_(self, size, format);
}

// The arguments are those of `convolution`, which torch shares out among the backends.
inline c10::OperatorHandle aten(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

inline void convolution(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  static const auto kernel = aten("aten::convolution");
  const auto device = Check(op)(torch::jit::last(*stack, op.schema().arguments().size()));
  launched("convolution");
  compute(kernel, device, stack);
}

// As `convolution_backward`, less the sizes of the bias: a bias of every output channel.
inline void convolution_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  static const auto kernel = aten("aten::convolution_backward");
  const size_t count = op.schema().arguments().size();
  const auto device = Check(op)(torch::jit::last(*stack, count));
  launched("convolution_backward");
  const int64_t channels = torch::jit::peek(*stack, 0, count).toTensor().size(1);
  stack->insert(stack->end() - count + 3, c10::IValue(std::vector<int64_t>{channels}));
  compute(kernel, device, stack);
}

inline int64_t fused_sdp_choice(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, double, bool,
    std::optional<double>, bool) {
  return 0;  // the form in plain operators
}

}  // namespace second
