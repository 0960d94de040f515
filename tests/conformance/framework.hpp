// SPDX-License-Identifier: GPL-2.0-only
// framework.hpp - one case: guest bytes in a mode, what the manual says they do, and whether
// /dev/kvm agrees.
//
// A case runs under hwv and then under KVM, each from the same registers and memory, until the
// guest halts or shuts down (the handler of every vector halts, too). What hwv gives is compared
// with `expect`; what is not named there must be as before. Then all registers, all memory below
// used_memory and all exits are compared with KVM's.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>
#include "conformance/guest.hpp"
#include "conformance/mode.hpp"
#include "oracle/test_vm.hpp"

namespace conformance {

using oracle::TestVm;

// An exit to user: an access, as neutral as both hypervisors tell it.
struct Access {
    enum Kind : std::uint8_t { io, mmio, other } kind;
    std::uint64_t address; // other: the reason
    unsigned size;
    bool write;
    std::uint64_t data = 0; // written, or what the user is to reply
    bool operator==(const Access &) const = default;
};

struct Frame {
    std::uint64_t rip = 0, cs = 0, rflags = 0, rsp = 0;
    std::uint32_t error = 0;
};

inline constexpr int no_vector = -1, shut_down = -2;

// How a run ended.
struct Result {
    hwv_regs start{}, end{};
    std::vector<std::uint8_t> before, after; // used_memory; kept while the case is judged
    std::vector<std::pair<std::uint16_t, std::uint8_t>> changes; // what of it changed, and to what
    std::vector<Access> accesses;
    int vector = no_vector; // in whose handler
    Frame frame;            // of that handler
    std::uint64_t word(std::uint64_t at, unsigned bytes = 4) const {
        return load(after, at, bytes);
    }
};

// The manual's answer. Offsets are from the begin of the code.
struct Expect {
    int vector = no_vector;                               // no_vector: at the end of the code
    std::optional<std::uint32_t> error;                   // pushed with it
    std::optional<std::uint64_t> rip;                     // pushed with it
    std::vector<std::pair<unsigned, std::uint64_t>> gprs; // that changed, and to what
    std::uint32_t any_gprs = 0;                           // bit mask: these may hold anything
    std::vector<Access> accesses;
    std::uint64_t writes_from = at_data,
                  writes_to = at_data + 0x100;       // memory that may change, besides the stacks
    std::function<std::string(const Result &)> more; // "" or what is wrong
};

struct Case {
    std::string name; // REASON/MODE/OUTCOME
    Mode mode;
    Bytes code;
    Expect expect;
    std::uint64_t at = at_code;                                       // where the code begins
    std::function<void(hwv_regs &, std::span<std::uint8_t>)> prepare; // changes to the start
    std::function<void(TestVm &)> before; // events that wait when the guest starts
    std::function<void(TestVm &, const Access &)> on_exit;
    oracle::Options options{.memory = 2u << 20};
    std::optional<std::uint16_t> stop_port; // written at the end, where HLT waits in the kernel
    bool fresh = false;                     // leaves something behind in its VM
    std::string
        kvm_differs;      // why the oracle's answer is not the manual's; empty: it must be the same
    std::string unjudged; // why QEMU 7.2 cannot judge it; run on others only
    std::string unjudged_bochs_svm; // the same for Bochs 3.0's SVM
    std::string unjudged_bochs_vmx; // and for its VMX
    std::uint32_t unequal_gprs = 0; // may differ between two runs
    unsigned attempts = 1;          // on QEMU 7.2, where a host's interrupt can spoil one
};

// Cases are collected first, then all run under hwv, then all under KVM: the two cannot have the
// CPU's SVM at once.
void add(Case c);
// A test of its own shape, under hwv alone: returns "" or what is wrong.
void add(std::string name, std::function<std::string()> test, std::string unjudged = {},
         std::string unjudged_bochs_svm = {}, std::string unjudged_bochs_vmx = {});

// Groups of cases: each topic's file has one of these; they run in the order of their names.
struct Topic {
    Topic(const char *name, void (*cases)());
};
// `only`: regular expression or null. trapped: with every exit that the CPU can make, judged by the
// manual alone. The exit status.
int run_topics(const char *only, bool trapped = false);

// Defects of Bochs 3.0 that several topics meet; of its SVM where nothing else is said.
//
// Whether a host's interrupt is taken, Bochs decides anew only when IF changes, and in VM entry it
// loads RFLAGS before it knows itself in a guest (vmx.cc, VMenterLoadCheckGuestState and VMLAUNCH;
// flag_ctrl_pro.cc, setEFlags): from CLI to a guest with IF clear nothing changes. AMD APM vol. 2
// "Virtualizing RFLAGS.IF", "#DB (Debug)"; Intel SDM "Event Blocking": with
// external-interrupt exiting RFLAGS.IF does not block them.
namespace bochs {
inline constexpr const char *no_host_interrupt = // VMX as well
    "Bochs lets no host interrupt end a guest that is entered with IF clear";
inline constexpr const char *no_dirty_bit = // VMX, of CPUs with CET
    "Bochs panics where a write with CR0.WP clear would set the dirty bit of a read-only page";
inline constexpr const char *no_dr6 = "Bochs's exit at #DB has the DR6 from before it";
inline constexpr const char *no_window = "Bochs loses V_IRQ at an entry with IF set";
inline constexpr const char *v86 = "Bochs ends at an exit from V86";
inline constexpr const char *step =
    "Bochs gives the host the trap of an instruction that is intercepted";
} // namespace bochs

bool on_qemu72();
bool on_bochs_svm();
bool on_bochs_vmx();
using oracle::on_intel;
std::string hex(std::uint64_t value);
Result run_once(TestVm &vm, const Case &c); // no judgement

} // namespace conformance
