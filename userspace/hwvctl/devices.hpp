// SPDX-License-Identifier: GPL-2.0-only
// devices.hpp - the options of `hwvctl run` that add virtio devices, and those devices.
#pragma once
#include <optional>
#include <string>
#include <vector>
#include <boost/program_options.hpp>
#include "machine/machine.hpp"
#include "machine/net/link.hpp"
#include "machine/storage/disk.hpp"
#include "machine/virtio/vsock_options.hpp"

namespace machine::virtio {
class Balloon;
}

namespace hwvctl {

struct Devices {
    std::vector<machine::storage::DiskOptions> disks;
    std::vector<machine::net::NetOptions> nets;
    std::string console; // where virtio-console goes; empty: none
    bool rng = false;
    bool balloon = false;
    std::optional<machine::virtio::VsockOptions> vsock;
    std::vector<std::string> cds;
    bool empty() const {
        return disks.empty() && cds.empty() && nets.empty() && console.empty() && !rng &&
               !balloon && !vsock;
    }
};

// Those that somebody talks to later; the machine's.
struct AddedDevices {
    machine::virtio::Balloon *balloon = nullptr; // null: there is none
};

void describe_devices(boost::program_options::options_description &options);
// Throws UsageError.
Devices parse_devices(const boost::program_options::variables_map &values);
// Before the machine starts. Throws std::exception of what cannot be opened.
AddedDevices add_devices(machine::Machine &machine, const Devices &devices,
                         const machine::SerialHost &host);

} // namespace hwvctl
