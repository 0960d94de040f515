// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/observer.hpp"
#include <charconv>
#include <cstring>
#include <poll.h>
#include <sys/ioctl.h>
#include "hwv/error.hpp"
#include "hwv/system.hpp"

namespace hwv {
namespace {

constexpr const char *vm_is_gone = "the VM has ended";

[[noreturn]] void refused(const std::string &attempt, std::uint32_t vcpu) {
    const std::string what = attempt + " of vCPU " + std::to_string(vcpu);
    if (errno == ESRCH) throw Error{ESRCH, "cannot " + what + ": " + vm_is_gone};
    if (errno == ENOENT) throw Error{ENOENT, "cannot " + what + ": the VM has no such vCPU"};
    if (errno == EBUSY)
        throw Error{EBUSY, "cannot " + what + ": it runs, or is in the midst of an instruction"};
    fail(what);
}

[[noreturn]] void refused(const std::string &attempt) {
    if (errno == ESRCH) throw Error{ESRCH, "cannot " + attempt + ": " + vm_is_gone};
    fail(attempt);
}

std::string describe(const hwv_vm_entry &vm) {
    return "id " + std::to_string(vm.id) + (*vm.name ? " '" + shown_name(vm) + "'" : "") +
           " (pid " + std::to_string(vm.pid) + ")";
}

std::string list(std::span<const hwv_vm_entry> vms) {
    std::string out;
    for (const hwv_vm_entry &vm : vms)
        out += (out.empty() ? "" : ", ") + describe(vm);
    return out;
}

bool number_is(const std::string &text, std::uint64_t number) {
    std::uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && rest == end && value == number;
}

bool is_meant(const hwv_vm_entry &vm, const std::string &text) {
    if (text.starts_with("id:")) return number_is(text.substr(3), vm.id);
    if (text.starts_with("pid:")) return vm.pid && number_is(text.substr(4), vm.pid);
    if (text.starts_with("name:")) return text.substr(5) == vm.name;
    return number_is(text, vm.id) || (vm.pid && number_is(text, vm.pid)) ||
           (*vm.name && text == vm.name);
}

} // namespace

hwv_vm_entry Observer::info() const {
    hwv_vm_entry entry{};
    if (::ioctl(fd(), HWV_OBSERVE_INFO, &entry) < 0) fail("ask about the VM");
    return entry;
}

std::vector<std::uint32_t> Observer::vcpus() const {
    std::vector<std::uint32_t> out;
    const std::uint64_t ids = info().vcpus;
    for (std::uint32_t id = 0; id < HWV_MAX_VCPUS; ++id)
        if (ids >> id & 1) out.push_back(id);
    return out;
}

StatsPage Observer::stats(std::uint32_t vcpu) const { return StatsPage{fd(), vcpu}; }

void Observer::pause() {
    if (::ioctl(fd(), HWV_PAUSE, 0) < 0) refused("pause the VM");
}

void Observer::resume() {
    if (::ioctl(fd(), HWV_RESUME, 0) < 0) refused("resume the VM");
}

void Observer::kill() {
    if (::ioctl(fd(), HWV_KILL, 0) < 0) refused("kill the VM");
}

hwv_regs Observer::registers(std::uint32_t vcpu, std::uint32_t groups) const {
    hwv_regs regs{};
    hwv_observe_regs request{vcpu, groups, 0, sizeof regs, reinterpret_cast<std::uintptr_t>(&regs)};
    if (::ioctl(fd(), HWV_OBSERVE_REGS, &request) < 0) refused("read the registers", vcpu);
    return regs;
}

void Observer::set_registers(std::uint32_t vcpu, std::uint32_t groups, const hwv_regs &regs) {
    hwv_observe_regs request{vcpu, groups, HWV_OBSERVE_SET, sizeof regs,
                             reinterpret_cast<std::uintptr_t>(&regs)};
    if (::ioctl(fd(), HWV_OBSERVE_REGS, &request) == 0) return;
    if (errno == EINVAL)
        throw Error{EINVAL, "cannot set the registers: the CPU would refuse these values"};
    refused("set the registers", vcpu);
}

std::size_t Observer::read_memory(std::uint64_t gpa, std::span<std::byte> to) const {
    hwv_observe_memory request{gpa, to.size(), reinterpret_cast<std::uintptr_t>(to.data())};
    if (::ioctl(fd(), HWV_OBSERVE_MEMORY, &request) == 0) return request.done;
    if (errno == EFAULT) return 0;
    refused("read the VM's memory");
}

std::size_t Observer::write_memory(std::uint64_t gpa, std::span<const std::byte> from) {
    hwv_observe_memory request{gpa, from.size(), reinterpret_cast<std::uintptr_t>(from.data()),
                               HWV_OBSERVE_SET};
    if (::ioctl(fd(), HWV_OBSERVE_MEMORY, &request) == 0) return request.done;
    if (errno == EFAULT) return 0;
    refused("write the VM's memory");
}

Ring Observer::open_ring(const RingOptions &options) {
    hwv_ring_open request{};
    request.vcpu = options.vcpu;
    request.flags =
        (options.block ? HWV_RING_BLOCK : 0) | (options.ruled_only ? HWV_RING_RULED_ONLY : 0);
    request.capacity = options.capacity;
    request.reasons = options.reasons;
    request.every = options.every;
    if (::ioctl(fd(), HWV_RING_OPEN, &request) < 0) refused("open the ring", options.vcpu);
    const std::size_t bytes = HWV_RING_HEADER + options.capacity * sizeof(hwv_record);
    void *at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd(),
                      static_cast<off_t>(HWV_MAP(HWV_MAP_RING, options.vcpu)));
    if (at == MAP_FAILED) refused("map the ring", options.vcpu);
    Mapping pages{at, bytes};
    const auto *ring = static_cast<const hwv_ring *>(at);
    if (ring->version != HWV_RING_VERSION || ring->record_bytes != sizeof(hwv_record))
        throw Error{0, "the module's rings are of version " + std::to_string(ring->version) +
                           ", and this hwvctl knows " + std::to_string(HWV_RING_VERSION)};
    return Ring{options.vcpu, std::move(pages)};
}

void Observer::close_ring(std::uint32_t vcpu) {
    __u32 id = vcpu;
    if (::ioctl(fd(), HWV_RING_CLOSE, &id) < 0) refused("close the ring", vcpu);
}

Events Observer::wait(int timeout_ms) const {
    pollfd poll{.fd = fd(), .events = POLLIN | POLLPRI, .revents = 0};
    if (::poll(&poll, 1, timeout_ms) < 0 && errno != EINTR) fail("wait for the VM");
    return {(poll.revents & POLLIN) != 0, (poll.revents & POLLPRI) != 0,
            (poll.revents & POLLHUP) != 0};
}

std::vector<hwv_vm_entry> list_vms() {
    const System system;
    std::vector<hwv_vm_entry> entries(64);
    hwv_vm_list request{};
    do {
        if (request.count > entries.size()) entries.resize(request.count + 16);
        request.count = static_cast<__u32>(entries.size());
        request.entries = reinterpret_cast<std::uintptr_t>(entries.data());
        if (::ioctl(system.fd(), HWV_LIST_VMS, &request) == 0) {
            entries.resize(request.count);
            return entries;
        }
    } while (errno == E2BIG && request.count <= HWV_LIST_ROOM);
    fail("list the VMs");
}

std::string shown_name(const hwv_vm_entry &vm) {
    std::string out{vm.name, ::strnlen(vm.name, sizeof vm.name)};
    for (char &c : out)
        if (c < ' ' || c > '~') c = '?';
    return out;
}

const hwv_vm_entry &find_vm(std::span<const hwv_vm_entry> vms, const std::string &text) {
    if (vms.empty())
        throw Error{ENOENT, "there is no VM '" + text + "': no VM runs that you may observe"};
    const hwv_vm_entry *found = nullptr;
    std::vector<hwv_vm_entry> meant;
    for (const hwv_vm_entry &vm : vms) {
        if (!is_meant(vm, text)) continue;
        meant.push_back(vm);
        found = &vm;
    }
    if (meant.size() > 1)
        throw Error{EEXIST, "'" + text + "' names several VMs: " + list(meant) + "; say id:N"};
    if (!found) throw Error{ENOENT, "there is no VM '" + text + "'; there is " + list(vms)};
    return *found;
}

Observer attach(std::uint64_t id) {
    const System system;
    hwv_attach request{id, 0};
    Fd fd{::ioctl(system.fd(), HWV_ATTACH, &request)};
    if (fd) return Observer{std::move(fd)};
    if (errno == ENOENT) throw Error{ENOENT, "VM " + std::to_string(id) + " has ended"};
    if (errno == EPERM)
        throw Error{EPERM, "VM " + std::to_string(id) + " is another user's: become him, or root"};
    if (errno == ENOSPC)
        throw Error{ENOSPC, "VM " + std::to_string(id) + " has " +
                                std::to_string(HWV_MAX_OBSERVERS) +
                                " observers, and no more may be: end one of them"};
    fail("attach to VM " + std::to_string(id));
}

Observer attach(const std::string &vm) {
    const std::vector<hwv_vm_entry> vms = list_vms();
    return attach(find_vm(vms, vm).id);
}

} // namespace hwv
