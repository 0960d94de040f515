// SPDX-License-Identifier: GPL-2.0-only
// host.hpp - door 1 as C++ types: locks, scopes and memory that cannot be forgotten.
#pragma once
#include <cstdint>
#include <new>
#include <optional>
#include <utility>
#include "core/result.hpp"
#include "host.h"
#include "npt/memory.hpp"

namespace hwv {

// Taken for the life of the object. Nothing in its scope sleeps.
class LockGuard {
  public:
    explicit LockGuard(hwv_host_lock &lock) : lock_{lock} { hwv_host_lock_take(&lock_); }
    ~LockGuard() { hwv_host_lock_release(&lock_); }
    LockGuard(const LockGuard &) = delete;
    LockGuard &operator=(const LockGuard &) = delete;

  private:
    hwv_host_lock &lock_;
};

// Preemption is off: the vCPU's state may sit in this CPU, and accessors of the backend are
// allowed.
class PreemptGuard {
  public:
    PreemptGuard() { hwv_host_preempt_disable(); }
    ~PreemptGuard() { hwv_host_preempt_enable(); }
    PreemptGuard(const PreemptGuard &) = delete;
    PreemptGuard &operator=(const PreemptGuard &) = delete;
};

// No interrupt comes to this CPU. Whatever was before holds again after the scope.
class IrqsOff {
  public:
    IrqsOff() : flags_{hwv_host_irq_save()} {}
    ~IrqsOff() { hwv_host_irq_restore(flags_); }
    IrqsOff(const IrqsOff &) = delete;
    IrqsOff &operator=(const IrqsOff &) = delete;

  private:
    std::uint64_t flags_;
};

// One object in the kernel's heap, charged to the caller. Null when there is no memory.
template <typename T, typename... Args>
T *host_new(Args &&...args) {
    void *memory = hwv_host_alloc(sizeof(T));
    return memory ? new (memory) T(std::forward<Args>(args)...) : nullptr;
}

template <typename T>
void host_delete(T *object) {
    if (!object) return;
    object->~T();
    hwv_host_free(object);
}

// How npt/ reaches table pages: by the host's direct map.
struct HostMemory : npt::AtomicAccess {
    std::uint64_t *at(std::uint64_t pa) const {
        return reinterpret_cast<std::uint64_t *>(hwv_host_facts()->direct_map + pa);
    }
};

inline void free_table_page(const npt::TablePage &page) {
    const hwv_host_page host{page.va, page.pa};
    hwv_host_pages_free(&host, 0);
}

} // namespace hwv
