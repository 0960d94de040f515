// SPDX-License-Identifier: GPL-2.0-only
// doctor.cpp - hwvctl doctor: what this machine offers and lacks, one line each, with what to do.
#include <cpuid.h>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "hwv/error.hpp"
#include "hwv/kvm.hpp"
#include "hwv/system.hpp"
#include "hwvctl/command.hpp"
#include "hwvctl/doctor.hpp"
#include "hwvctl/terminal.hpp"

namespace hwvctl {
namespace {

struct Cpuid {
    unsigned a = 0, b = 0, c = 0, d = 0;
    explicit Cpuid(unsigned leaf, unsigned subleaf = 0) {
        if (leaf <= __get_cpuid_max(leaf & 0x80000000u, nullptr))
            __cpuid_count(leaf, subleaf, a, b, c, d);
    }
};

std::string vendor() {
    unsigned a = 0, words[3] = {};
    __cpuid(0, a, words[0], words[2], words[1]);
    return {reinterpret_cast<const char *>(words), 12};
}

void check_amd(Findings &out) {
    if (!(Cpuid{0x80000001}.c >> 2 & 1)) {
        out.push_back({Verdict::bad, "the CPU has no AMD-V: CPUID 0x80000001 ECX bit 2 (SVM) is 0",
                       "enable SVM in the firmware; in a virtual machine, ask its host for nested "
                       "virtualization"});
        return;
    }
    out.push_back({Verdict::ok, "AMD-V (SVM) is there", {}});
    const unsigned features = Cpuid{0x8000000a}.d;
    if (features & 1)
        out.push_back({Verdict::ok, "nested paging (NPT) is there", {}});
    else
        out.push_back({Verdict::bad, "no nested paging: CPUID 0x8000000A EDX bit 0 (NP) is 0",
                       "hwv needs it: use another CPU"});
    if (features >> 2 & 1)
        out.push_back({Verdict::warning,
                       "SVM may be locked (SVML, EDX bit 2): VM_CR.SVMDIS decides",
                       "if hwv reports it as locked, enable SVM in the firmware"});
    const struct {
        unsigned bit;
        const char *name;
        const char *without;
    } optional[] = {{3, "next-RIP save (NRIPS)", "exits cost an instruction fetch"},
                    {7, "decode assists", "memory-mapped I/O costs an instruction fetch"},
                    {6, "flush by ASID", "flushes hit all guests of a CPU"},
                    {5, "VMCB clean bits", "the CPU reloads the whole VMCB at each entry"},
                    {10, "pause filter", "spinning vCPUs are not noticed"}};
    for (const auto &o : optional)
        out.push_back({features >> o.bit & 1 ? Verdict::ok : Verdict::warning,
                       std::string{o.name} +
                           (features >> o.bit & 1 ? " is there" : " is missing: ") +
                           (features >> o.bit & 1 ? "" : o.without),
                       {}});
}

void check_intel(Findings &out) {
    if (Cpuid{1}.c >> 5 & 1)
        out.push_back({Verdict::ok, "VT-x (VMX) is there", {}});
    else
        out.push_back({Verdict::bad, "the CPU has no VT-x: CPUID 1 ECX bit 5 (VMX) is 0",
                       "enable VT-x in the firmware; in a virtual machine, ask its host for nested "
                       "virtualization"});
}

bool module_loaded(const std::string &name) {
    return ::access(("/sys/module/" + name).c_str(), F_OK) == 0;
}

// By trying: only the CPUs know who has them.
void check_tenure(const hwv::System &system, Findings &out) {
    const std::string kvm = hwv::kvm_module();
    try {
        const hwv::Vm vm = system.create_vm("doctor", 0);
        if (system.info().tenure == HWV_TENURE_RIDE)
            out.push_back({Verdict::ok,
                           "ride: KVM (" + kvm +
                               ") is loaded, and hwv's VMs run beside its, on the SVM/VMX that it "
                               "has on",
                           {}});
        else
            out.push_back(
                {Verdict::ok, "own: hwv switches SVM/VMX on itself, while a VM of its lives",
                 kvm.empty()
                     ? std::string{}
                     : "KVM (" + kvm +
                           ") gets EBUSY meanwhile: to have both, end hwv's "
                           "VMs and start them without --own, as one who may open /dev/kvm"});
    } catch (const hwv::Error &e) {
        out.push_back({Verdict::bad, std::string{"refused: "} + e.what(), {}});
    }
}

// What the CPU does itself of a guest's local APIC; on AMD nothing.
void check_apic(const hwv_info &info, Findings &out) {
    if (info.vendor != HWV_VENDOR_INTEL) return;
    char wanted = 0;
    std::ifstream{"/sys/module/hwv/parameters/apicv"} >> wanted;
    if (info.features & HWV_FEATURE_APICV)
        out.push_back({Verdict::ok,
                       info.features & HWV_FEATURE_POSTED_INTERRUPTS
                           ? "APIC virtualization (APICv) delivers guests' interrupts, posted ones "
                             "without an exit"
                           : "APIC virtualization (APICv) delivers guests' interrupts",
                       {}});
    else if (wanted == 'N')
        out.push_back(
            {Verdict::ok, "APIC virtualization (APICv) is off by the parameter apicv", {}});
    else
        out.push_back({Verdict::warning,
                       "APIC virtualization (APICv) is missing: interrupts cost guests more exits",
                       {}});
}

void check_device(Findings &out) {
    if (!module_loaded("hwv")) {
        out.push_back({Verdict::bad, "the module hwv is not loaded",
                       "insmod hwv.ko, or modprobe hwv after make install"});
        return;
    }
    try {
        const hwv::System system;
        const hwv_info info = system.info();
        if (info.abi_version != HWV_ABI_VERSION)
            out.push_back({Verdict::bad,
                           "the module speaks interface version " +
                               std::to_string(info.abi_version) + ", this hwvctl " +
                               std::to_string(HWV_ABI_VERSION),
                           "install both from the same build"});
        if (info.unusable)
            out.push_back(
                {Verdict::bad,
                 "the module refuses: " + hwv::explain(static_cast<hwv_unusable>(info.unusable)),
                 {}});
        else
            out.push_back({Verdict::ok,
                           "the module is ready: guests get " + std::to_string(info.phys_bits) +
                               "-bit physical addresses, TSC at " + std::to_string(info.tsc_khz) +
                               " kHz",
                           {}});
        if (info.unusable) return;
        check_apic(info, out);
        check_tenure(system, out);
    } catch (const hwv::Error &e) {
        out.push_back({Verdict::bad, e.what(), {}});
    }
}

// Against iTLB multihit the kernel's line tells what KVM does. hwv has its own choice.
void check_large_pages(Findings &out) {
    std::string kernel;
    std::getline(std::ifstream{"/sys/devices/system/cpu/vulnerabilities/itlb_multihit"}, kernel);
    char split = 0;
    std::ifstream{"/sys/module/hwv/parameters/nx_huge_pages"} >> split;
    const bool affected = kernel != "Not affected";
    if (split == 'Y')
        out.push_back({Verdict::ok, "hwv: guests' large pages are not executable", {}});
    else if (split == 'N' && affected)
        out.push_back({Verdict::warning,
                       "hwv: guests may execute from large pages, and halt the machine by it",
                       "load the module with nx_huge_pages=force"});
}

// What the kernel says of speculative execution: hwv takes the same measures at its entries and
// exits. Those against RSB, PBRSB and BHI are in the line of spectre_v2, as is IBPB.
void check_vulnerabilities(Findings &out) {
    std::string unaffected;
    for (const char *name :
         {"spectre_v2", "retbleed", "spec_rstack_overflow", "indirect_target_selection", "mds",
          "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "tsa", "l1tf", "vmscape",
          "itlb_multihit", "spec_store_bypass"}) {
        std::ifstream file{std::string{"/sys/devices/system/cpu/vulnerabilities/"} + name};
        std::string line;
        if (!std::getline(file, line)) line = "this kernel does not know of it";
        if (line == "Not affected") {
            unaffected += std::string{unaffected.empty() ? "" : ", "} + name;
            continue;
        }
        const bool open = line.rfind("Vulnerable", 0) == 0;
        out.push_back({open ? Verdict::warning : Verdict::ok, std::string{name} + ": " + line,
                       open ? "boot the host without mitigations=off" : ""});
    }
    check_large_pages(out);
    if (!unaffected.empty())
        out.push_back({Verdict::ok, "the CPU is not affected by " + unaffected, {}});
}

Findings examine() {
    Findings out;
    const std::string v = vendor();
    if (v == "AuthenticAMD" || v == "HygonGenuine")
        check_amd(out);
    else if (v == "GenuineIntel")
        check_intel(out);
    else
        out.push_back({Verdict::bad, "CPU vendor '" + v + "' is neither AMD nor Intel",
                       "hwv knows no other"});
    check_device(out);
    check_vulnerabilities(out);
    return out;
}

const char *word(Verdict v) {
    return v == Verdict::ok ? "ok" : v == Verdict::warning ? "warning" : "MISSING";
}

void print(const Findings &findings) {
    const bool colours = colours_wanted();
    for (const Finding &f : findings) {
        const char *colour = f.verdict == Verdict::ok        ? "\033[32m"
                             : f.verdict == Verdict::warning ? "\033[33m"
                                                             : "\033[31m";
        std::printf("%s%-8s%s %s\n", colours ? colour : "", word(f.verdict),
                    colours ? "\033[0m" : "", f.what.c_str());
        if (!f.advice.empty()) std::printf("         -> %s\n", f.advice.c_str());
    }
}

void print_json(const Findings &findings) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Finding &f : findings)
        rows.push_back({{"verdict", word(f.verdict)}, {"finding", f.what}, {"advice", f.advice}});
    std::printf("%s\n", rows.dump(2).c_str());
}

} // namespace

int doctor_command(const Arguments &arguments) {
    bool json = false;
    std::string guest;
    for (auto word = arguments.begin(); word != arguments.end(); ++word) {
        const std::string &a = *word;
        if (a == "--guest") {
            if (++word == arguments.end()) throw UsageError{"doctor: --guest wants a VM"};
            guest = *word;
            continue;
        }
        if (a == "--help" || a == "-h") {
            std::puts(
                "usage: hwvctl doctor [--guest VM] [--json]\n\nSays whether this machine can run "
                "guests "
                "under hwv: the CPU's features, other hypervisors,\n"
                "the module, mitigations. Exit status 0: it can; 1: something is missing "
                "(and what to do about it).\n\n--guest VM: what that guest uses of what it is "
                "offered (APIC and its timer, kvmclock, PV EOI,\nhuge pages ...), by its "
                "registers and the keys of its exits; it stands still for a moment.\nWhich "
                "exits to spare by that: hwvctl advise VM.");
            return 0;
        }
        if (a != "--json") throw UsageError{"doctor: unknown argument '" + a + "'"};
        json = true;
    }
    const Findings findings = guest.empty() ? examine() : judge_guest(look_at_guest(guest));
    json ? print_json(findings) : print(findings);
    for (const Finding &f : findings)
        if (f.verdict == Verdict::bad) return 1;
    return 0;
}

} // namespace hwvctl
