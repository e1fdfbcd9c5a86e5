// Which tensors an operator may mix, as CUDA has it, and the texts with which it refuses the others.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/DeviceType.h>

#include <atomic>
#include <string>
#include <unordered_set>

#include "waits.h"

namespace second {

inline std::atomic<bool> float64{true};

inline void refuse_float64(c10::ScalarType dtype) {
  const bool wide = dtype == c10::ScalarType::Double || dtype == c10::ScalarType::ComplexDouble;
  TORCH_CHECK_TYPE(
      float64 || !wide, "Cannot convert a second Tensor to float64 dtype as the second framework doesn't support float64. "
                        "Please use float32 instead.");
}

// Operators that torch's own table marks `device_check: NoCheck`. On CUDA they leave the check to TensorIterator, which
// takes CPU tensors without dimensions.
inline std::unordered_set<std::string> unchecked;

inline std::string full_name(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

inline std::string short_name(const c10::FunctionSchema& schema) { return schema.name().substr(6); }  // less "aten::"

inline bool takes_indices(const std::string& name) {
  return name == "index" || name == "_unsafe_index" || name == "_unsafe_index_put" || name == "index_put" ||
         name == "index_put_" || name == "_index_put_impl_";
}

// The check of one call: the first tensor of the device says where it runs.
class Check {
 public:
  explicit Check(const c10::OperatorHandle& op)
      : name(short_name(op.schema())),
        schema(op.schema()),
        tolerant(unchecked.count(full_name(op.operator_name()).substr(6)) != 0) {}

  c10::Device operator()(c10::ArrayRef<c10::IValue> values) {
    find(values);
    for (size_t k = 0; k < values.size(); ++k) {
      each_tensor(values[k], [&](const at::Tensor& tensor) { look(tensor, schema.arguments()[k]); });
    }
    return device;
  }

 private:
  void find(c10::ArrayRef<c10::IValue> values) {
    bool found = false;
    for (const auto& value : values) {
      each_tensor(value, [&](const at::Tensor& tensor) {
        if (!found && tensor.is_privateuseone()) device = tensor.device(), found = true;
      });
      if (!found && value.isDevice() && value.toDevice().type() == KIND) {
        device = {KIND, index_of(value.toDevice())}, found = true;
      }
    }
  }

  void look(const at::Tensor& tensor, const c10::Argument& argument) {
    if (tensor.device() == device) return;
    const bool written = argument.alias_info() && argument.alias_info()->isWrite();
    if (tensor.is_cpu() && !written && (tensor.dim() == 0 ? tolerant : argument.name() == "scalars")) return;
    if (takes_indices(name) && argument.name() == "indices") {
      TORCH_CHECK(
          tensor.is_cpu(), "indices should be either on cpu or on the same device as the indexed tensor (", device, ")");
      return;
    }
    TORCH_CHECK(
        !tolerant, "Expected all tensors to be on the same device, but found at least two devices, ", device, " and ",
        tensor.device(), "! (in ", name, ")");
    TORCH_CHECK(
        false, "Expected all tensors to be on the same device, but got ", argument.name(), " is on ", tensor.device(),
        ", different from other tensors on ", device, " (when checking argument in method wrapper_second_", name, ")");
  }

  std::string name;
  const c10::FunctionSchema& schema;
  bool tolerant;
  c10::Device device{KIND, 0};
};

}  // namespace second
