// A second device on a machine that has none: memory and arithmetic are the CPU's, and mixing devices is refused.
#include "backend/autocast.h"
#include "backend/backward.h"
#include "backend/fused.h"
#include "backend/kernels.h"

namespace second {
namespace {

// Registers the device. `checks_nothing` and `kernels` are names of operators of torch's own table: those that leave
// the check of devices to their kernel, and those that CUDA has a kernel of beside a form in plain operators.
void start(const std::vector<std::string>& checks_nothing, const std::vector<std::string>& kernels) {
  Backward::add_threads();
  static Hooks hooks;
  static c10::impl::DeviceGuardImplRegistrar guard(KIND, new Guard);
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("second");
  unchecked.insert(checks_nothing.begin(), checks_nothing.end());
  static torch::Library aten(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  for (const auto& name : kernels) aten.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

c10::Dict<std::string, int64_t> counts() {
  c10::Dict<std::string, int64_t> found;
  for (const auto& [name, times] : counters.read()) found.insert(name, times);
  return found;
}

void set_limit(int64_t device, std::optional<int64_t> bytes) {
  std::lock_guard<std::mutex> lock(ledger_mutex);
  ledgers.at(device).limit = bytes.value_or(CAPACITY);
}

at::Tensor random_state(int64_t device) { return default_generator(device).get_state(); }
void set_random_state(int64_t device, const at::Tensor& state) { default_generator(device).set_state(state); }
void seed(int64_t device, int64_t number) { default_generator(device).set_current_seed(number); }
void set_available(bool wanted) { available = wanted; }
bool is_available() { return available; }
void set_float64(bool wanted) { float64 = wanted; }

TORCH_LIBRARY(second, m) {
  m.def("start", start);
  m.def("counts", counts);
  m.def("set_limit", set_limit);
  m.def("random_state", random_state);
  m.def("set_random_state", set_random_state);
  m.def("seed", seed);
  m.def("set_available", set_available);
  m.def("is_available", is_available);
  m.def("set_float64", set_float64);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_efficientzerotensor", efficient_zeros);
  m.impl("scalar_tensor", scalar_tensor);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar_dense);
  m.impl("set_.source_Storage", set_whole_storage);
  m.impl("set_.source_Storage_storage_offset", set_storage);
  m.impl("resize_", resize);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("view_as_real", at::native::view_as_real);
  m.impl("view_as_complex", at::native::view_as_complex);
  m.impl("_fused_sdp_choice", fused_sdp_choice);
  m.impl("native_dropout", torch::CppFunction::makeFromBoxedFunction<&dropout>());
  m.impl("_thnn_fused_lstm_cell", torch::CppFunction::makeFromBoxedFunction<&lstm_cell>());
  m.impl("_thnn_fused_lstm_cell_backward_impl", torch::CppFunction::makeFromBoxedFunction<&lstm_cell_backward>());
  m.impl("convolution_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution>());
  m.impl("convolution_backward_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution_backward>());
}

// A copy reads conjugated and negated values by itself, as `copy_` does.
void copies(torch::Library& m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
  m.impl("_copy_from_and_resize", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, Conjugate, m) { copies(m); }
TORCH_LIBRARY_IMPL(aten, Negative, m) { copies(m); }

}  // namespace
}  // namespace second
