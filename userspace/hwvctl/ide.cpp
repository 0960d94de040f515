// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/ide.hpp"
#include <stdexcept>
#include "hwvctl/command.hpp"
#include "machine/storage/ata_disk.hpp"
#include "machine/storage/atapi_cd.hpp"
#include "machine/storage/ide_controller.hpp"

namespace hwvctl {
namespace {

using namespace machine::storage;

std::vector<std::unique_ptr<IdeDrive>> open_drives(const Devices &devices) {
    std::vector<std::unique_ptr<IdeDrive>> drives;
    for (const DiskOptions &disk : devices.disks) {
        if (!disk.ide) continue;
        const std::string serial =
            disk.serial.empty() ? "HWV" + std::to_string(drives.size() + 1) : disk.serial;
        drives.push_back(std::make_unique<AtaDisk>(open_disk(disk), serial));
    }
    for (const std::string &path : devices.cds) {
        DiskOptions disc{.path = path, .access = DiskOptions::Access::read_only};
        drives.push_back(std::make_unique<AtapiCd>(open_disk(disc)));
    }
    return drives;
}

} // namespace

void add_ide(machine::Machine &machine, const Devices &devices) {
    auto drives = open_drives(devices);
    if (drives.empty()) return;
    if (drives.size() > IdeController::most_drives)
        throw UsageError{"IDE has room for four drives"};
    const std::lock_guard guard{machine.lock()};
    auto ide = std::make_unique<IdeController>(std::array{machine.irq_line(IdeController::irqs[0]),
                                                          machine.irq_line(IdeController::irqs[1])},
                                               machine.ram());
    if (!ide->attach(machine.ports())) throw std::logic_error("the ports of IDE are taken");
    for (unsigned position = 0; position < drives.size(); ++position)
        ide->plug(position, std::move(drives[position]));
    machine.pci_host()->add(std::move(ide), {.device = 0x1f, .function = 1});
}

} // namespace hwvctl
