// The device's memory: the CPU's, counted for each device and limited on demand.
#pragma once
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Storage.h>

#include <array>
#include <cstring>
#include <mutex>
#include <unordered_set>

namespace second {

constexpr auto KIND = c10::DeviceType::PrivateUse1;
constexpr c10::DeviceIndex DEVICES = 2;
constexpr int64_t CAPACITY = int64_t{16} << 30;  // bytes of each device, unless a test allows fewer

// The device that the calling thread allocates on.
inline thread_local c10::DeviceIndex current = 0;

inline c10::DeviceIndex index_of(c10::Device device) { return device.has_index() ? device.index() : current; }

// Bytes of one device.
struct Ledger {
  int64_t now = 0, peak = 0, taken = 0, freed = 0, blocks = 0;
  int64_t limit = CAPACITY;
};

inline std::array<Ledger, DEVICES> ledgers;
inline std::mutex ledger_mutex;

inline void take(c10::DeviceIndex device, int64_t bytes) {
  std::lock_guard<std::mutex> lock(ledger_mutex);
  Ledger& book = ledgers[device];
  TORCH_CHECK_WITH(
      OutOfMemoryError, book.now + bytes <= book.limit, "second:", int(device), " out of memory. Tried to allocate ", bytes,
      " bytes. It has a total capacity of ", book.limit, " bytes of which ", book.limit - book.now, " bytes are free.");
  book.now += bytes;
  book.taken += bytes;
  book.blocks += 1;
  book.peak = std::max(book.peak, book.now);
}

inline void give_back(c10::DeviceIndex device, int64_t bytes) {
  std::lock_guard<std::mutex> lock(ledger_mutex);
  ledgers[device].now -= bytes;
  ledgers[device].freed += bytes;
  ledgers[device].blocks -= 1;
}

// Memory of the CPU that the device has: counted as long as it lives.
struct Held {
  Held(c10::DeviceIndex on, int64_t n, c10::DataPtr of) : device(on), bytes(n), memory(std::move(of)) { take(device, bytes); }
  Held(c10::DeviceIndex on, int64_t n, const c10::Storage& of) : device(on), bytes(n), storage(of) { take(device, bytes); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() { give_back(device, bytes); }
  static void drop(void* held) { delete static_cast<Held*>(held); }

  c10::DeviceIndex device;
  int64_t bytes;
  c10::DataPtr memory;
  c10::Storage storage;
  bool of_number = false;  // made of a number of Python's
};

inline c10::DataPtr hold(void* data, Held* held) { return {data, held, &Held::drop, c10::Device(KIND, held->device)}; }

struct Memory final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t n) override {
    auto held = std::make_unique<Held>(current, n, c10::DataPtr());  // refused before memory is taken
    held->memory = c10::GetCPUAllocator()->allocate(n);
    void* data = held->memory.get();
    return hold(data, held.release());
  }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(ledger_mutex);
    ledgers[device].peak = ledgers[device].now;
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(ledger_mutex);
    return {ledgers[device].limit - ledgers[device].now, ledgers[device].limit};
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(ledger_mutex);
    const Ledger& book = ledgers[device];
    c10::CachingDeviceAllocator::DeviceStats stats;
    for (auto* bytes : {&stats.allocated_bytes, &stats.reserved_bytes, &stats.active_bytes, &stats.requested_bytes}) {
      auto& all = (*bytes)[0];  // of every pool
      all.current = book.now, all.peak = book.peak, all.allocated = book.taken, all.freed = book.freed;
    }
    stats.allocation[0].current = stats.active[0].current = book.blocks;
    return stats;
  }
};

inline Memory memory;
REGISTER_ALLOCATOR(KIND, &memory);

// Memory of the CPU that a device could read by itself, so that the host need not wait for a copy.
struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t n) override {
    auto held = std::make_unique<c10::DataPtr>(c10::GetCPUAllocator()->allocate(n));
    void* data = held->get();
    std::lock_guard<std::mutex> lock(mutex);
    if (data) blocks.insert(data);
    return {data, held.release(), &PinnedMemory::drop, c10::Device(c10::kCPU)};
  }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
  static bool holds(const void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    return blocks.count(data) != 0;
  }

 private:
  static void drop(void* kept) {
    auto* held = static_cast<c10::DataPtr*>(kept);
    {
      std::lock_guard<std::mutex> lock(mutex);
      blocks.erase(held->get());
    }
    delete held;
  }
  static inline std::mutex mutex;
  static inline std::unordered_set<const void*> blocks;
};

inline PinnedMemory pinned_memory;

}  // namespace second
