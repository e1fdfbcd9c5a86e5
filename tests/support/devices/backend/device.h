// What torch asks of a kind of device: which one is current, its streams, events and random numbers.
#pragma once
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>
#include <chrono>

#include "memory.h"

namespace second {

inline std::atomic<bool> available{true};

// Everything is done when a call returns, so a stream is a number and an event is the time of its record.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  using Clock = std::chrono::steady_clock;

  c10::DeviceType type() const override { return KIND; }
  c10::Device getDevice() const override { return {KIND, current}; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const auto before = getDevice();
    setDevice(device);
    return before;
  }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(index_of(device) < DEVICES, "second error: invalid device ordinal ", int(device.index()));
    current = index_of(device);
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current = index_of(device); }
  c10::DeviceIndex deviceCount() const noexcept override { return available ? DEVICES : 0; }
  void synchronizeDevice(c10::DeviceIndex) const override {}

  c10::Stream getStream(c10::Device device) const override { return stream(device, streams()[index_of(device)]); }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream(device, 0); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getNewStream(device, 0); }
  c10::Stream getNewStream(c10::Device device, int) const override {
    static std::atomic<c10::StreamId> made{0};
    return stream(device, ++made);
  }
  c10::Stream exchangeStream(c10::Stream to) const override {
    const auto before = getStream(to.device());
    streams()[index_of(to.device())] = to.id();
    return before;
  }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}

  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (!*event) *event = new Clock::time_point;
    *static_cast<Clock::time_point*>(*event) = Clock::now();
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Clock::time_point*>(event);
  }
  double elapsedTime(void* from, void* to, const c10::DeviceIndex) const override {  // in milliseconds
    const auto span = *static_cast<Clock::time_point*>(to) - *static_cast<Clock::time_point*>(from);
    return std::chrono::duration<double, std::milli>(span).count();
  }

 private:
  static std::array<c10::StreamId, DEVICES>& streams() {
    static thread_local std::array<c10::StreamId, DEVICES> ids{};
    return ids;
  }
  static c10::Stream stream(c10::Device device, c10::StreamId id) {
    return c10::Stream(c10::Stream::UNSAFE, c10::Device(KIND, index_of(device)), id);
  }
};

// Makes a device the current one, for as long as this lives.
struct On {
  explicit On(std::optional<c10::Device> device) : before(current) {
    if (device) Guard().setDevice(*device);
  }
  ~On() { current = before; }
  On(const On&) = delete;
  On& operator=(const On&) = delete;

 private:
  c10::DeviceIndex before;
};

// Draws the numbers that the CPU draws of the same seed, from a state of its own.
struct Draws final : c10::GeneratorImpl {
  explicit Draws(c10::DeviceIndex index, at::Generator of = at::detail::createCPUGenerator())
      : GeneratorImpl({KIND, index}, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)), on_cpu(std::move(of)) {}

  void set_current_seed(uint64_t seed) override { on_cpu.set_current_seed(seed); }
  uint64_t current_seed() const override { return on_cpu.current_seed(); }
  uint64_t seed() override { return on_cpu.seed(); }
  void set_offset(uint64_t offset) override { on_cpu.set_offset(offset); }
  uint64_t get_offset() const override { return on_cpu.get_offset(); }
  void set_state(const c10::TensorImpl& state) override { on_cpu.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return on_cpu.unsafeGetGeneratorImpl()->get_state();
  }

  at::Generator on_cpu;

 private:
  Draws* clone_impl() const override { return new Draws(device_.index(), on_cpu.clone()); }
};

inline at::Generator& default_generator(c10::DeviceIndex index) {
  static std::array<at::Generator, DEVICES> made{at::make_generator<Draws>(0), at::make_generator<Draws>(1)};
  return made[index < 0 ? current : index];
}

struct Hooks final : at::PrivateUse1HooksInterface {
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return available; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return available ? DEVICES : 0; }
  c10::DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(c10::DeviceIndex index) const override { Guard().setDevice({KIND, index}); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    return Guard().exchangeDevice({KIND, index}).index();
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override { return exchangeDevice(index); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override { return default_generator(index); }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override {
    return at::make_generator<Draws>(index < 0 ? current : index);
  }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  bool isPinnedPtr(const void* data) const override { return PinnedMemory::holds(data); }
  at::Device getDeviceFromPtr(void*) const override { return {KIND, current}; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    On on(storage.device());
    auto fresh = memory.allocate(bytes);
    if (const size_t kept = std::min(bytes, storage.nbytes())) std::memcpy(fresh.get(), storage.data(), kept);
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(fresh));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
};

}  // namespace second
