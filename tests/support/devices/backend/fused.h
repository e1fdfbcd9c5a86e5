// What CUDA has as one kernel and the CPU as several: a step of an LSTM, and dropout by the device's own numbers.
#pragma once
#include <ATen/ATen.h>

#include "fallback.h"

namespace second {

// Calls `kernel` with the CPU's side of the arguments of `op`, and gives the device its tensors back.
template <typename Kernel>
void compute_by(const c10::OperatorHandle& op, torch::jit::Stack* stack, Kernel kernel) {
  const auto values = torch::jit::pop(*stack, op.schema().arguments().size());
  const auto device = Check(op)(values);
  count(short_name(op.schema()), values);
  On on(device);
  Views views(device);
  std::vector<at::Tensor> lent;
  for (const auto& value : values) lent.push_back(value.isTensor() ? views.lend(value.toTensor()) : at::Tensor());
  at::AutoDispatchBelowADInplaceOrView below;
  for (const at::Tensor& result : kernel(lent)) stack->emplace_back(views.take_back(result));
}

// Arguments: values, the probability of leaving one out, and whether any is (yes, if nothing is said).
// Results: those that stay, scaled, and which ones.
inline void dropout(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const double kept = 1 - torch::jit::peek(*stack, 1, 3).toDouble();
  const auto& train = torch::jit::peek(*stack, 2, 3);
  const bool active = train.isNone() || train.toBool();
  compute_by(op, stack, [&](const std::vector<at::Tensor>& of) -> std::vector<at::Tensor> {
    auto mask = at::ones_like(of[0], at::kBool);
    if (!active) return {of[0].clone(), mask};
    mask.bernoulli_(kept, cpu_generator(default_generator(current)));
    return {of[0] * mask * (kept == 0 ? 0 : 1 / kept), mask};
  });
}

// Arguments: gates of the input, gates of the hidden state, cell, and their biases or none.
// Results: hidden state, cell, and the four gates after their activations.
inline void lstm_cell(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  compute_by(op, stack, [](const std::vector<at::Tensor>& of) -> std::vector<at::Tensor> {
    at::Tensor sum = of[0] + of[1];
    if (of[3].defined()) sum = sum + of[3] + of[4];
    const auto gates = sum.chunk(4, 1);
    const auto in = gates[0].sigmoid(), forget = gates[1].sigmoid(), made = gates[2].tanh(), out = gates[3].sigmoid();
    const auto cell = forget * of[2] + in * made;
    return {out * cell.tanh(), cell, at::cat({in, forget, made, out}, 1)};
  });
}

// Arguments: gradients of the hidden state and of the cell, each or none, the old cell, the new one, and the gates.
// Results: gradients of the gates, of the old cell, and of the biases, if there are any.
inline void lstm_cell_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const bool biased = torch::jit::peek(*stack, 5, 6).toBool();
  compute_by(op, stack, [biased](const std::vector<at::Tensor>& of) -> std::vector<at::Tensor> {
    const auto gates = of[4].chunk(4, 1);
    const auto &in = gates[0], &forget = gates[1], &made = gates[2], &out = gates[3];
    const auto squashed = of[3].tanh();
    const auto hidden = of[0].defined() ? of[0] : at::zeros_like(of[3]);
    auto cell = hidden * out * (1 - squashed * squashed);
    if (of[1].defined()) cell = cell + of[1];
    const auto gradient = at::cat(
        {cell * made * in * (1 - in), cell * of[2] * forget * (1 - forget), cell * in * (1 - made * made),
         hidden * squashed * out * (1 - out)}, 1);
    return {gradient, cell * forget, biased ? gradient.sum(0) : at::Tensor()};
  });
}

}  // namespace second
