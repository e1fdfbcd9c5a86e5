// Threads that go backward through what a device computed, one for each device, as torch has them.
#pragma once
#include <torch/csrc/autograd/engine.h>

#include <thread>

#include "memory.h"

namespace second {

// Torch starts them in a process's first backward pass, which may have been before there was such a device.
struct Backward : torch::autograd::Engine {
  static void add_threads() {
    auto& engine = Engine::get_default_engine();
    engine.initialize_device_threads_pool();
    auto& queues = engine.*(&Backward::device_ready_queues_);
    while (queues.size() < DEVICES) {
      const int index = static_cast<int>(queues.size());
      queues.push_back(std::make_shared<torch::autograd::ReadyQueue>());
      std::thread(&Engine::thread_init, &engine, index, queues.back(), true).detach();
    }
  }
};

}  // namespace second
