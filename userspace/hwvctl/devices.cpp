// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/devices.hpp"
#include <stdexcept>
#include "hwvctl/command.hpp"
#include "machine/virtio/block.hpp"
#include "machine/virtio/transport.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;
using Texts = std::vector<std::string>;

Texts texts(const po::variables_map &values, const char *name) {
    return values.count(name) ? values[name].as<Texts>() : Texts{};
}

void add_virtio(machine::Machine &machine, std::unique_ptr<machine::virtio::Model> model) {
    machine.pci_host()->add(
        std::make_unique<machine::virtio::Transport>(std::move(model), machine.ram()));
}

} // namespace

void describe_devices(po::options_description &options) {
    options.add_options()(
        "disk",
        po::value<Texts>()
            ->value_name("FILE[,ro|cow][,format=raw][,serial=TEXT][,queues=N][,aio=uring|threads]")
            ->composing(),
        "a virtio disk with the bytes of FILE, which is locked meanwhile; ro: the guest cannot "
        "write; cow: what it writes is thrown away at the end; may be repeated");
}

Devices parse_devices(const po::variables_map &values) {
    Devices devices;
    for (const std::string &text : texts(values, "disk"))
        try {
            devices.disks.push_back(machine::storage::parse_disk(text));
        } catch (const std::invalid_argument &e) {
            throw UsageError{"--disk " + text + ": " + e.what()};
        }
    return devices;
}

void add_devices(machine::Machine &machine, const Devices &devices) {
    const std::lock_guard lock{machine.lock()};
    for (const auto &disk : devices.disks)
        add_virtio(machine, std::make_unique<machine::virtio::Block>(
                                machine::storage::open_disk(disk), disk));
}

} // namespace hwvctl
