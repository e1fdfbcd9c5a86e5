// What a program asks of the device: launches, reads by the host that wait for it, and uploads, each by operator.
#pragma once
#include <torch/library.h>

#include <map>
#include <mutex>
#include <string>

namespace second {

struct Counters {
  void add(const char* kind, const std::string& name, int64_t times = 1) {
    std::lock_guard<std::mutex> lock(mutex);
    counts[std::string(kind) + " " + name] += times;
  }

  // Copies, so that a test may read while another thread computes.
  std::map<std::string, int64_t> read() {
    std::lock_guard<std::mutex> lock(mutex);
    return counts;
  }

 private:
  std::mutex mutex;
  std::map<std::string, int64_t> counts;
};

inline Counters counters;

inline void launched(const std::string& name) { counters.add("launch", name); }
inline void synchronised(const std::string& name, int64_t times = 1) { counters.add("synchronisation", name, times); }
inline void uploaded(const std::string& name) { counters.add("upload", name); }

}  // namespace second
