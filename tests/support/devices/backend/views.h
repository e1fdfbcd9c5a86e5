// One memory seen from both sides: a tensor of the device as a tensor of the CPU, and results back, without a copy.
#pragma once
#include <ATen/core/Tensor.h>

#include <unordered_map>
#include <vector>

#include "memory.h"

namespace second {

inline at::Tensor seen_as(const at::Tensor& tensor, c10::Storage storage, c10::DispatchKey key) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), tensor.dtype());
  auto* impl = made.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.is_conj()) impl->_set_conj(true);
  if (tensor.is_neg()) impl->_set_neg(true);
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return made;
}

inline c10::Storage storage_of(c10::DataPtr data, size_t bytes, c10::Allocator* allocator) {
  return c10::Storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), bytes, std::move(data), allocator, /*resizable=*/true));
}

// The device's memory that the CPU's kernels take when they resize what was lent to them.
struct LentMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t n) override {
    auto data = memory.allocate(n);
    data.unsafe_set_device(c10::Device(c10::kCPU));
    return data;
  }
  void copy_data(void* to, const void* from, size_t n) const override { memory.copy_data(to, from, n); }
};

inline LentMemory lent_memory;

inline void refuse_float64(c10::ScalarType);  // see kernels.h

// The CPU's side of the tensors of one call.
class Views {
 public:
  explicit Views(c10::Device of) : device(of) {}

  at::Tensor lend(const at::Tensor& tensor) {
    if (!tensor.defined() || !tensor.is_privateuseone()) return tensor;
    auto& pair = tensors[tensor.unsafeGetTensorImpl()];
    if (!pair.theirs.defined()) {
      pair = {tensor, seen_as(tensor, lend(tensor.storage()), c10::DispatchKey::CPU)};
    }
    return pair.theirs;
  }

  // What the call resized has another shape, or other memory.
  void settle() {
    for (auto& [mine, lent] : storages) take_memory(mine, lent.unsafeGetStorageImpl());
    for (auto& [impl, pair] : tensors) {
      const auto& [ours, theirs] = pair;
      const auto storage = owner_of(theirs.storage());
      if (!ours.storage().is_alias_of(storage)) impl->set_storage_keep_dtype(storage);
      if (ours.sizes() != theirs.sizes() || ours.strides() != theirs.strides() ||
          ours.storage_offset() != theirs.storage_offset()) {
        impl->set_sizes_and_strides(theirs.sizes(), theirs.strides(), theirs.storage_offset());
      }
    }
  }

  at::Tensor take_back(const at::Tensor& theirs) {
    if (!theirs.defined() || !theirs.is_cpu()) return theirs;
    for (const auto& [impl, pair] : tensors) {
      if (pair.theirs.is_same(theirs)) return pair.ours;
    }
    TORCH_CHECK(theirs.layout() == c10::kStrided && theirs.has_storage(), "the second device has dense tensors only");
    refuse_float64(theirs.scalar_type());
    return seen_as(theirs, owner_of(theirs.storage()), c10::DispatchKey::PrivateUse1);
  }

 private:
  struct Pair {
    at::Tensor ours, theirs;
  };

  c10::Storage lend(const c10::Storage& storage) {
    auto* mine = storage.unsafeGetStorageImpl();
    const auto found = storages.find(mine);
    if (found != storages.end()) return found->second;
    auto drop = [](void* kept) { delete static_cast<c10::Storage*>(kept); };
    c10::DataPtr data(const_cast<void*>(mine->data()), new c10::Storage(storage), drop, c10::Device(c10::kCPU));
    auto lent = storage_of(std::move(data), mine->nbytes(), &lent_memory);
    storages.emplace(mine, lent);
    owners.emplace(lent.unsafeGetStorageImpl(), storage);
    return lent;
  }

  void take_memory(c10::StorageImpl* mine, c10::StorageImpl* lent) {
    if (lent->data() == mine->data()) return;
    const size_t bytes = lent->nbytes();
    auto data = lent->set_data_ptr(c10::DataPtr());
    data.unsafe_set_device(device);
    mine->set_data_ptr_noswap(std::move(data));
    mine->set_nbytes(bytes);
  }

  // The device's storage that was lent, or one round the CPU's.
  c10::Storage owner_of(const c10::Storage& theirs) {
    auto* impl = theirs.unsafeGetStorageImpl();
    const auto found = owners.find(impl);
    if (found != owners.end()) return found->second;
    auto held = std::make_unique<Held>(device.index(), impl->nbytes(), theirs);
    auto made = storage_of(hold(const_cast<void*>(impl->data()), held.release()), impl->nbytes(), &memory);
    owners.emplace(impl, made);
    return made;
  }

  c10::Device device;
  std::unordered_map<c10::TensorImpl*, Pair> tensors;
  std::unordered_map<c10::StorageImpl*, c10::Storage> storages;
  std::unordered_map<c10::StorageImpl*, c10::Storage> owners;
};

}  // namespace second
