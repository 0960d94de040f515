// SPDX-License-Identifier: GPL-2.0-only
// timeout: 60
// beds: svm
// bed: --mem 4096 --append "hugepagesz=1G hugepages=1"
// A page of 1 GiB: one fault serves all of it. Where large pages must not be executable, each 2 MiB
// that the guest executes from costs one more. The vmx bed has not the memory for it.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/mman.h>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

constexpr std::uint64_t gib = 1ull << 30, huge = 2 << 20, page = 4096, at = gib; // guest-physical
constexpr int huge_1g = 30 << MAP_HUGE_SHIFT;

// again: mov  ax, [0]
//        out  dx, ax
//        jmp  again
const std::string program{"\xa1\x00\x00\xef\xeb\xfa", 6};

// Sees memory wherever its owner lets a segment begin.
class Seer {
  public:
    explicit Seer(void *memory) {
        raw::map_program(vm_, program);
        hwv_memory slot{
            .slot = 1, .gpa = at, .size = gib, .hva = reinterpret_cast<std::uint64_t>(memory)};
        expect("1g_slot", raw::call(vm_, HWV_SET_MEMORY, &slot), 0);
    }
    ~Seer() {
        ::munmap(run_, HWV_RUN_PAGE_SIZE);
        ::close(vcpu_);
        ::close(vm_);
    }

    long read(std::uint64_t offset) {
        sync();
        run_->regs.segment[HWV_DS].base = at + offset;
        run_->reply = {.dirty = HWV_REGS_SEGMENT};
        return report_of_guest();
    }
    // What is there tells AX by an OUT.
    long execute(std::uint64_t offset) {
        constexpr std::uint32_t groups = HWV_REGS_GPR | HWV_REGS_SEGMENT;
        sync();
        const hwv_regs stays = run_->regs;
        run_->regs.segment[HWV_CS].base = at + offset;
        run_->regs.rip = 0;
        run_->reply = {.dirty = groups};
        const long value = report_of_guest();
        run_->regs = stays;
        run_->reply = {.dirty = groups};
        raw::call(vcpu_, HWV_SYNC_REGS);
        return value;
    }
    long faults() const {
        hwv_vcpu_stats stats{};
        raw::read_stats(vcpu_, &stats);
        return static_cast<long>(stats.exit[HWV_EXIT_PAGE_FAULT].count);
    }

  private:
    void sync() {
        run_->reply = {.wanted = HWV_REGS_GPR | HWV_REGS_SEGMENT};
        raw::call(vcpu_, HWV_SYNC_REGS);
    }
    long report_of_guest() {
        const long result = raw::call(vcpu_, HWV_RUN);
        run_->reply = {};
        if (result < 0) return result;
        return run_->exit.reason == HWV_EXIT_IO ? long{run_->exit.io.data & 0xffff} : -EPROTO;
    }

    int vm_ = raw::create_vm();
    int vcpu_ = raw::create_vcpu(vm_);
    hwv_run *run_ = raw::map_run(vcpu_);
};

void look(char *memory) {
    char nx = 0;
    std::ifstream("/sys/module/hwv/parameters/nx_huge_pages") >> nx;
    constexpr std::uint64_t places[] = {0, huge - page, 5 * huge, 100 * huge + page, gib - page};
    for (const std::uint64_t offset : places) { // mov ax, what is next; out dx, ax
        const unsigned char code[] = {0xb8, static_cast<unsigned char>(offset >> 21), 0x55, 0xef};
        std::memcpy(memory + offset, code, sizeof code);
    }
    Seer guest{memory};
    guest.read(0); // with the program's own page
    const long before = guest.faults();
    bool same = true;
    for (const std::uint64_t offset : places)
        same &= guest.read(offset) == (0xb8 | static_cast<long>(offset >> 21 & 0xff) << 8);
    report("1g_content", same, "the guest reads something else");
    expect("1g_in_one_fault", guest.faults() - before, 0);
    same = true;
    for (const std::uint64_t offset : places)
        same &= guest.execute(offset) == (0x5500 | static_cast<long>(offset >> 21 & 0xff));
    report("1g_executes", same, "the guest executes something else");
    expect("1g_execution_faults", guest.faults() - before, nx == 'Y' ? 4 : 0);
    expect("1g_given_back", ::madvise(memory, gib, MADV_DONTNEED), 0);
    expect("1g_new_page", guest.read(5 * huge), 0);
}

} // namespace

int main() {
    void *memory = ::mmap(nullptr, gib, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | huge_1g, -1, 0);
    if (!raw::can_run() || memory == MAP_FAILED) {
        skip("1g", "this machine cannot run guests, or has no page of 1 GiB");
        return 0;
    }
    look(static_cast<char *>(memory));
    ::munmap(memory, gib);
    return verdict();
}
