// SPDX-License-Identifier: GPL-2.0-only
// kvm_vm.cpp - TestVm on /dev/kvm: the second opinion.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/kvm.h>
#include <optional>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "hwv/fd.hpp"
#include "oracle/test_vm.hpp"

namespace oracle {
namespace {

// In C++ the empty struct in front of <linux/kvm.h>'s flexible arrays has a size, which spoils
// these structures' sizes and the requests that are made of them: here as the kernel, which is C,
// knows them.
struct ListHead {
    __u32 count, padding;
};
constexpr unsigned long get_supported_cpuid = _IOWR(KVMIO, 0x05, ListHead),
                        get_msrs = _IOWR(KVMIO, 0x88, ListHead),
                        set_msrs = _IOW(KVMIO, 0x89, ListHead),
                        set_cpuid2 = _IOW(KVMIO, 0x90, ListHead);
constexpr std::uint32_t cpuid_vmx = 1u << 5, cpuid_svm = 1u << 2; // in ECX

int call(int fd, unsigned long request, const void *argument, const char *what) {
    const int result = ::ioctl(fd, request, argument);
    if (result < 0) throw Failure{errno, std::string{what} + ": " + std::strerror(errno)};
    return result;
}

hwv_segment from_kvm(const kvm_segment &s) {
    const unsigned attributes = s.type | s.s << 4 | s.dpl << 5 | s.present << 7 | s.avl << 8 |
                                s.l << 9 | s.db << 10 | s.g << 11 | s.unusable << 12;
    return {s.base, s.limit, s.selector, static_cast<__u16>(attributes)};
}

kvm_segment to_kvm(const hwv_segment &s) {
    const unsigned a = s.attributes;
    kvm_segment k{};
    k.base = s.base;
    k.limit = s.limit;
    k.selector = s.selector;
    k.type = a & 15;
    k.s = a >> 4 & 1;
    k.dpl = a >> 5 & 3;
    k.present = a >> 7 & 1;
    k.avl = a >> 8 & 1;
    k.l = a >> 9 & 1;
    k.db = a >> 10 & 1;
    k.g = a >> 11 & 1;
    k.unusable = a >> 12 & 1;
    return k;
}

class KvmVm final : public TestVm {
  public:
    explicit KvmVm(const Options &o);
    hwv_regs regs() override;
    void set_regs(const hwv_regs &regs, std::uint32_t groups) override;
    hwv_exit run() override;
    void reply(std::uint64_t data) override;
    std::uint64_t run_to_halt() override;
    bool inject(std::uint8_t vector) override;
    void nmi() override { call(vcpu_.get(), KVM_NMI, nullptr, "KVM_NMI"); }
    void msi(std::uint64_t address, std::uint32_t data) override;
    std::uint64_t msr(std::uint32_t index) override { return access_msr(get_msrs, index, 0); }
    void set_msr(std::uint32_t index, std::uint64_t value) override {
        access_msr(set_msrs, index, value);
    }
    void add_slot(std::uint32_t slot, std::uint64_t gpa, std::span<std::uint8_t> host,
                  bool read_only) override;
    void remove_slot(std::uint32_t slot) override { add_slot(slot, 0, {}, false); }
    void xsave(std::span<std::uint8_t> area, bool set) override;

  private:
    std::uint64_t access_msr(unsigned long request, std::uint32_t index, std::uint64_t value);
    void set_event(const hwv_event_state &state);
    void complete();
    hwv_exit run_once();
    kvm_run &page() { return *static_cast<kvm_run *>(page_.data()); }

    hwv::Fd system_, vm_, vcpu_;
    hwv::Mapping page_;
    std::optional<std::uint8_t> pended_;
    bool incomplete_ = false; // an access that KVM finishes at the next entry
};

KvmVm::KvmVm(const Options &o) : system_{::open("/dev/kvm", O_RDWR | O_CLOEXEC)} {
    if (!system_) throw Failure{errno, "open /dev/kvm"};
    allocate(o);
    vm_ = hwv::Fd{call(system_.get(), KVM_CREATE_VM, nullptr, "KVM_CREATE_VM")};
    if (o.apic) {
        kvm_enable_cap split{};
        split.cap = KVM_CAP_SPLIT_IRQCHIP;
        split.args[0] = 24;
        call(vm_.get(), KVM_ENABLE_CAP, &split, "split irqchip");
    }
    add_slot(0, 0, memory_, false);
    vcpu_ = hwv::Fd{call(vm_.get(), KVM_CREATE_VCPU, nullptr, "KVM_CREATE_VCPU")};
    const int bytes =
        call(system_.get(), KVM_GET_VCPU_MMAP_SIZE, nullptr, "KVM_GET_VCPU_MMAP_SIZE");
    void *page = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                        MAP_SHARED, vcpu_.get(), 0);
    if (page == MAP_FAILED) throw Failure{errno, "map kvm_run"};
    page_ = hwv::Mapping{page, static_cast<std::size_t>(bytes)};
    give_kvm_cpuid(system_.get(), vcpu_.get());
}

// KVM completes an OUT or an MMIO access when it is entered again: until then RIP and registers are
// from before.
void KvmVm::complete() {
    if (!incomplete_) return;
    incomplete_ = false;
    page().immediate_exit = 1;
    (void)::ioctl(vcpu_.get(), KVM_RUN, 0);
    page().immediate_exit = 0;
}

hwv_regs KvmVm::regs() {
    complete();
    hwv_regs r{};
    kvm_regs k{};
    kvm_sregs s{};
    kvm_debugregs d{};
    kvm_vcpu_events e{};
    call(vcpu_.get(), KVM_GET_REGS, &k, "KVM_GET_REGS");
    call(vcpu_.get(), KVM_GET_SREGS, &s, "KVM_GET_SREGS");
    call(vcpu_.get(), KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
    call(vcpu_.get(), KVM_GET_VCPU_EVENTS, &e, "KVM_GET_VCPU_EVENTS");
    const __u64 gpr[HWV_GPRS] = {k.rax, k.rcx, k.rdx, k.rbx, k.rsp, k.rbp, k.rsi, k.rdi,
                                 k.r8,  k.r9,  k.r10, k.r11, k.r12, k.r13, k.r14, k.r15};
    std::copy(gpr, gpr + HWV_GPRS, r.gpr);
    r.rip = k.rip;
    r.rflags = k.rflags;
    const kvm_segment *segments[HWV_SEGMENTS] = {&s.es, &s.cs, &s.ss,  &s.ds,
                                                 &s.fs, &s.gs, &s.ldt, &s.tr};
    for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
        r.segment[i] = from_kvm(*segments[i]);
    r.gdtr = {s.gdt.base, s.gdt.limit, 0};
    r.idtr = {s.idt.base, s.idt.limit, 0};
    r.cr0 = s.cr0;
    r.cr2 = s.cr2;
    r.cr3 = s.cr3;
    r.cr4 = s.cr4;
    r.cr8 = s.cr8;
    r.efer = s.efer;
    r.apic_base = s.apic_base;
    kvm_xcrs x{};
    if (::ioctl(vcpu_.get(), KVM_GET_XCRS, &x) == 0 && x.nr_xcrs) r.xcr0 = x.xcrs[0].value;
    std::copy(d.db, d.db + 4, r.dr);
    r.dr6 = d.dr6;
    r.dr7 = d.dr7;
    r.event.nmi_pending = e.nmi.pending;
    r.event.nmi_blocked = e.nmi.masked;
    r.event.shadow = e.interrupt.shadow;
    r.valid = HWV_REGS_ALL;
    return r;
}

void KvmVm::set_regs(const hwv_regs &r, std::uint32_t groups) {
    if (groups & (HWV_REGS_SEGMENT | HWV_REGS_CONTROL)) {
        kvm_sregs s{};
        call(vcpu_.get(), KVM_GET_SREGS, &s, "KVM_GET_SREGS");
        kvm_segment *segments[HWV_SEGMENTS] = {&s.es, &s.cs, &s.ss,  &s.ds,
                                               &s.fs, &s.gs, &s.ldt, &s.tr};
        if (groups & HWV_REGS_SEGMENT) {
            for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
                *segments[i] = to_kvm(r.segment[i]);
            s.gdt.base = r.gdtr.base;
            s.gdt.limit = static_cast<__u16>(r.gdtr.limit);
            s.idt.base = r.idtr.base;
            s.idt.limit = static_cast<__u16>(r.idtr.limit);
        }
        if (groups & HWV_REGS_CONTROL) {
            s.cr0 = r.cr0;
            s.cr2 = r.cr2;
            s.cr3 = r.cr3;
            s.cr4 = r.cr4;
            s.cr8 = page().cr8 = r.cr8; // the page's counts where there is no APIC
            s.efer = r.efer;
        }
        call(vcpu_.get(), KVM_SET_SREGS, &s, "KVM_SET_SREGS");
    }
    if (groups & HWV_REGS_CONTROL) {
        kvm_xcrs x{};
        x.nr_xcrs = 1;
        x.xcrs[0].value = r.xcr0;
        call(vcpu_.get(), KVM_SET_XCRS, &x, "KVM_SET_XCRS");
    }
    if (groups & HWV_REGS_GPR) {
        const __u64 *g = r.gpr;
        const kvm_regs k{g[HWV_RAX], g[HWV_RBX], g[HWV_RCX], g[HWV_RDX], g[HWV_RSI], g[HWV_RDI],
                         g[HWV_RSP], g[HWV_RBP], g[8],       g[9],       g[10],      g[11],
                         g[12],      g[13],      g[14],      g[15],      r.rip,      r.rflags};
        call(vcpu_.get(), KVM_SET_REGS, &k, "KVM_SET_REGS");
    }
    if (groups & HWV_REGS_DEBUG) {
        kvm_debugregs d{};
        std::copy(r.dr, r.dr + 4, d.db);
        d.dr6 = r.dr6;
        d.dr7 = r.dr7;
        call(vcpu_.get(), KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
    }
    if (groups & HWV_REGS_EVENT) set_event(r.event);
}

void KvmVm::set_event(const hwv_event_state &state) {
    kvm_vcpu_events e{};
    e.flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING;
    e.interrupt.shadow = state.shadow;
    e.nmi.pending = state.nmi_pending;
    e.nmi.masked = state.nmi_blocked;
    if (state.type == HWV_EVENT_EXCEPTION) {
        e.exception.injected = 1;
        e.exception.nr = state.vector;
        e.exception.has_error_code = state.has_error_code;
        e.exception.error_code = state.error_code;
    } else if (state.type == HWV_EVENT_INTERRUPT || state.type == HWV_EVENT_SOFTWARE) {
        e.interrupt.injected = 1;
        e.interrupt.nr = state.vector;
        e.interrupt.soft = state.type == HWV_EVENT_SOFTWARE;
    } else if (state.type == HWV_EVENT_NMI) {
        e.nmi.injected = 1;
    }
    call(vcpu_.get(), KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
    pended_.reset();
}

// What hwv keeps for the guest until it can take it, KVM's user has to keep.
hwv_exit KvmVm::run() {
    for (;;) {
        kvm_run &k = page();
        if (pended_ && k.ready_for_interrupt_injection) {
            kvm_interrupt request{*pended_};
            call(vcpu_.get(), KVM_INTERRUPT, &request, "KVM_INTERRUPT");
            pended_.reset();
        }
        k.request_interrupt_window = pended_.has_value();
        const hwv_exit exit = run_once();
        if (exit.reason != HWV_EXIT_INTERRUPT_WINDOW) return exit;
    }
}

hwv_exit KvmVm::run_once() {
    hwv_exit out{};
    incomplete_ = false;
    if (::ioctl(vcpu_.get(), KVM_RUN, 0) < 0) {
        if (errno != EINTR) throw Failure{errno, "KVM_RUN"};
        out.reason = HWV_EXIT_KICKED;
        return out;
    }
    const kvm_run &k = page();
    switch (k.exit_reason) {
    case KVM_EXIT_HLT: out.reason = HWV_EXIT_HLT; break;
    case KVM_EXIT_SHUTDOWN: out.reason = HWV_EXIT_SHUTDOWN; break;
    case KVM_EXIT_IRQ_WINDOW_OPEN: out.reason = HWV_EXIT_INTERRUPT_WINDOW; break;
    case KVM_EXIT_IO:
        incomplete_ = true;
        out.reason = HWV_EXIT_IO;
        out.io.port = k.io.port;
        out.io.size = k.io.size;
        out.io.write = k.io.direction == KVM_EXIT_IO_OUT;
        if (out.io.write)
            std::memcpy(&out.io.data, reinterpret_cast<const char *>(&k) + k.io.data_offset,
                        k.io.size);
        break;
    case KVM_EXIT_MMIO:
        incomplete_ = true;
        out.reason = HWV_EXIT_MMIO;
        out.mmio.gpa = k.mmio.phys_addr;
        out.mmio.decoded = 1;
        out.mmio.write = k.mmio.is_write;
        out.mmio.size = static_cast<__u8>(k.mmio.len);
        if (k.mmio.is_write) std::memcpy(&out.mmio.data, k.mmio.data, k.mmio.len);
        break;
    case KVM_EXIT_INTR: out.reason = HWV_EXIT_KICKED; break;
    default:
        out.reason = HWV_EXIT_ERROR;
        out.raw_reason = k.exit_reason;
        break;
    }
    return out;
}

void KvmVm::reply(std::uint64_t data) {
    kvm_run &k = page();
    if (k.exit_reason == KVM_EXIT_IO)
        std::memcpy(reinterpret_cast<char *>(&k) + k.io.data_offset, &data, k.io.size);
    else if (k.exit_reason == KVM_EXIT_MMIO)
        std::memcpy(k.mmio.data, &data, std::min<std::size_t>(k.mmio.len, 8));
}

std::uint64_t KvmVm::run_to_halt() {
    const int fd = vcpu_.get();
    const kvm_run &k = page();
    for (std::uint64_t exits = 1;; ++exits) {
        if (::ioctl(fd, KVM_RUN, 0) < 0 && errno != EINTR) throw Failure{errno, "KVM_RUN"};
        if (k.exit_reason == KVM_EXIT_HLT) return exits;
        if (k.exit_reason != KVM_EXIT_IO && k.exit_reason != KVM_EXIT_MMIO)
            throw Failure{0, "unexpected KVM exit " + std::to_string(k.exit_reason)};
    }
}

bool KvmVm::inject(std::uint8_t vector) {
    if (pended_) return false;
    pended_ = vector;
    page().ready_for_interrupt_injection =
        0; // as it was at the last exit; registers may have been set since
    return true;
}

void KvmVm::msi(std::uint64_t address, std::uint32_t data) {
    kvm_msi request{};
    request.address_lo = static_cast<__u32>(address);
    request.address_hi = static_cast<__u32>(address >> 32);
    request.data = data;
    call(vm_.get(), KVM_SIGNAL_MSI, &request, "KVM_SIGNAL_MSI");
}

std::uint64_t KvmVm::access_msr(unsigned long request, std::uint32_t index, std::uint64_t value) {
    struct {
        ListHead head{1, 0};
        kvm_msr_entry entry{};
    } list;
    list.entry.index = index;
    list.entry.data = value;
    if (call(vcpu_.get(), request, &list, "KVM MSR access") != 1)
        throw Failure{EINVAL, "KVM refused an MSR"};
    return list.entry.data;
}

void KvmVm::add_slot(std::uint32_t slot, std::uint64_t gpa, std::span<std::uint8_t> host,
                     bool read_only) {
    kvm_userspace_memory_region region{};
    region.slot = slot;
    region.flags = read_only ? KVM_MEM_READONLY : 0;
    region.guest_phys_addr = gpa;
    region.memory_size = host.size();
    region.userspace_addr = reinterpret_cast<std::uintptr_t>(host.data());
    call(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
}

void KvmVm::xsave(std::span<std::uint8_t> area, bool set) {
    kvm_xsave state{};
    const std::size_t bytes = std::min(area.size(), sizeof state.region);
    if (set) std::memcpy(state.region, area.data(), bytes);
    call(vcpu_.get(), set ? KVM_SET_XSAVE : KVM_GET_XSAVE, &state, "KVM XSAVE");
    if (!set) std::memcpy(area.data(), state.region, bytes);
}

} // namespace

void give_kvm_cpuid(int system, int vcpu) {
    struct {
        ListHead head{200, 0};
        kvm_cpuid_entry2 entries[200]{};
    } table;
    call(system, get_supported_cpuid, &table, "KVM_GET_SUPPORTED_CPUID");
    for (kvm_cpuid_entry2 &e : std::span{table.entries, table.head.count}) {
        if (e.function == 1) e.ecx &= ~cpuid_vmx;
        if (e.function == 0x80000001) e.ecx &= ~cpuid_svm;
    }
    call(vcpu, set_cpuid2, &table, "KVM_SET_CPUID2");
}

std::unique_ptr<TestVm> make_kvm(const Options &options) {
    return std::make_unique<KvmVm>(options);
}

} // namespace oracle
