// SPDX-License-Identifier: GPL-2.0-only
// puppet.hpp - a guest that reads and writes one word of a page each time it is told to, so that a
// test sees its memory through the guest's eyes.
#pragma once
#include <cstdint>
#include "module/raw.hpp"

class Puppet {
  public:
    Puppet();
    ~Puppet();

    // Gives the guest `bytes` at `hva` from guest-physical 0 on; takes the former ones away. The
    // guest reaches 1 MiB.
    void set_memory(void *hva, std::size_t bytes, std::uint32_t flags = 0);

    // Any change of the slots: 0, or -errno. The memory that set_memory() gave is slot 1.
    long change(const hwv_memory &slot);

    // The first word of a page. A value says what the guest read, or -errno why its access could
    // not be served.
    long peek(unsigned page);
    long poke(unsigned page, std::uint16_t value); // value must not be 0
    // Executes the page from its third byte on. What is there ends with an OUT of AX to port DX: a
    // value says AX.
    long execute(unsigned page);
    long again(); // the access that was not served, once more

    std::uint64_t page_faults() const; // so far
    const hwv_exit &exit() const { return run_->exit; }

  private:
    long serve(const std::uint16_t *answers, unsigned count);
    long command(unsigned page, std::uint16_t value);
    int vm_, vcpu_;
    void *program_;
    hwv_run *run_;
    std::size_t bytes_ = 0;
    bool stuck_ = false; // the guest stands at an access that was not served
};
