// SPDX-License-Identifier: GPL-2.0-only
// firmware.hpp - a guest that starts as a machine does that is switched on: its BIOS, and what the
// BIOS asks of the launcher.
#pragma once
#include <optional>
#include "boot/entry.hpp"
#include "hwvctl/run_options.hpp"
#include "machine/firmware/flash.hpp"
#include "machine/firmware/fw_cfg.hpp"
#include "machine/firmware/rom.hpp"
#include "machine/machine.hpp"

namespace hwvctl {

class Firmware {
  public:
    // Puts the image into its place and the channel for its questions onto the bus. Throws
    // boot::Error if there is no such image.
    Firmware(const RunOptions &options, machine::Machine &machine);

    // For files of others, before the guest runs.
    machine::firmware::FwCfg &config() { return config_; }
    // What the processor holds after RESET.
    static boot::Entry entry();

  private:
    void describe(const RunOptions &options, machine::Machine &machine);

    machine::firmware::FwCfg config_;
    std::optional<machine::firmware::Rom> rom_;
    std::optional<machine::firmware::Flash> flash_;
};

} // namespace hwvctl
