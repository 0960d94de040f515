// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/devices.hpp"
#include <stdexcept>
#include <sys/random.h>
#include "hwvctl/command.hpp"
#include "machine/virtio/balloon.hpp"
#include "machine/virtio/block.hpp"
#include "machine/virtio/console.hpp"
#include "machine/virtio/net.hpp"
#include "machine/virtio/rng.hpp"
#include "machine/virtio/transport.hpp"
#include "machine/virtio/vhost_net.hpp"
#include "machine/virtio/vsock.hpp"

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

// Of those that everybody may choose ("locally administered").
machine::net::Mac random_mac() {
    machine::net::Mac mac{0x52, 0x48, 0x56};
    if (getrandom(&mac[3], 3, 0) != 3) throw std::runtime_error("no random numbers");
    return mac;
}

std::unique_ptr<machine::virtio::Model> network_card(machine::Machine &machine,
                                                     const machine::net::NetOptions &net,
                                                     const machine::SerialHost &host) {
    const machine::net::Mac mac = net.mac ? *net.mac : random_mac();
    if (auto vhost = machine::net::open_vhost(net, machine.ram()))
        return std::make_unique<machine::virtio::VhostNet>(machine.loop(), std::move(vhost), mac,
                                                           host.notice);
    return std::make_unique<machine::virtio::Net>(
        machine.loop(), machine::net::open_link(net, machine.loop(), machine.lock()), mac);
}

} // namespace

void describe_devices(po::options_description &options) {
    options.add_options()(
        "disk",
        po::value<Texts>()
            ->value_name(
                "FILE[,ro|cow][,format=KIND][,serial=TEXT][,queues=N][,aio=uring|threads][,"
                "bus=virtio|ide]")
            ->composing(),
        "a virtio disk with the bytes of FILE, which is locked meanwhile, or of an NBD server "
        "(nbd://HOST/NAME, nbd+unix:///NAME?socket=PATH); KIND is raw, or one that qemu-nbd reads: "
        "qcow2, qed, vdi, vhdx, vmdk, vpc; ro: the guest cannot "
        "write; cow: what it writes is thrown away at the end; may be repeated");
    options.add_options()(
        "net", po::value<Texts>()->value_name("KIND[,OPTIONS][,mac=MAC]")->composing(),
        "a virtio network card; KIND is user[,hostfwd=tcp:ADDR:PORT-:PORT][,restrict=on]: a "
        "network "
        "of the guest's own, by DHCP, where the host is 10.0.2.2 and all its local services can be "
        "reached, unless restricted; tap,ifname=NAME[,vhost=on|off], whose frames the host's "
        "kernel "
        "moves itself where there is /dev/vhost-net; or unix:PATH, a cable between two guests; may "
        "be repeated");
    options.add_options()("console", po::value<std::string>()->value_name("WHERE"),
                          "a virtio console (hvc0): as for --serial");
    options.add_options()("rng", "a virtio source of random numbers");
    options.add_options()("balloon",
                          "a virtio balloon: the guest tells of free memory, which goes back to "
                          "the host, and gives more when hwvctl balloon asks for it");
    options.add_options()(
        "vsock", po::value<std::string>()->value_name("path=PATH[,cid=N]"),
        "a virtio vsock of address N, 3 if nothing is said: a program reaches the "
        "guest's port P by the Unix socket PATH, to which it says \"CONNECT P\"; "
        "the guest reaches, as the host's port P, the Unix socket PATH_P");
    options.add_options()("cd", po::value<Texts>()->value_name("FILE")->composing(),
                          "a CD-ROM in an IDE drive; may be repeated");
}

Devices parse_devices(const po::variables_map &values) {
    Devices devices;
    for (const std::string &text : texts(values, "disk"))
        try {
            devices.disks.push_back(machine::storage::parse_disk(text));
        } catch (const std::invalid_argument &e) {
            throw UsageError{"--disk " + text + ": " + e.what()};
        }
    for (const std::string &text : texts(values, "net"))
        try {
            devices.nets.push_back(machine::net::parse_net(text));
        } catch (const std::invalid_argument &e) {
            throw UsageError{"--net " + text + ": " + e.what()};
        }
    if (values.count("console")) devices.console = values["console"].as<std::string>();
    devices.rng = values.count("rng");
    devices.balloon = values.count("balloon");
    if (values.count("vsock")) {
        const auto &text = values["vsock"].as<std::string>();
        try {
            devices.vsock = machine::virtio::parse_vsock(text);
        } catch (const std::invalid_argument &e) {
            throw UsageError{"--vsock " + text + ": " + e.what()};
        }
    }
    devices.cds = texts(values, "cd");
    return devices;
}

AddedDevices add_devices(machine::Machine &machine, const Devices &devices,
                         const machine::SerialHost &host) {
    const std::lock_guard lock{machine.lock()};
    for (const auto &disk : devices.disks) {
        if (disk.ide) continue;
        add_virtio(machine, std::make_unique<machine::virtio::Block>(
                                machine::storage::open_disk(disk), disk));
    }
    for (const auto &net : devices.nets)
        add_virtio(machine, network_card(machine, net, host));
    if (!devices.console.empty()) {
        const machine::SerialFactory plug = machine::serial_factory(devices.console);
        if (!plug) throw UsageError{"--console: '" + devices.console + "' is not known"};
        add_virtio(machine, std::make_unique<machine::virtio::Console>(machine.loop(), plug(host)));
    }
    if (devices.rng) add_virtio(machine, std::make_unique<machine::virtio::Rng>(machine.loop()));
    if (devices.vsock)
        add_virtio(machine,
                   std::make_unique<machine::virtio::Vsock>(machine.loop(), *devices.vsock));
    AddedDevices added;
    if (devices.balloon) {
        auto balloon = std::make_unique<machine::virtio::Balloon>(machine.loop(), machine.ram());
        added.balloon = balloon.get();
        add_virtio(machine, std::move(balloon));
    }
    return added;
}

} // namespace hwvctl
