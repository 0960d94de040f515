// SPDX-License-Identifier: GPL-2.0-only
// timeout: 90
// Who switches SVM/VMX off where nobody is asked. The kernel has one slot for that: KVM's modules
// have to find it free, or the kernel complains, which the bed hears. `crash boom` and `crash
// kexec` are for next_kernel.sh: another kernel follows under a guest, which is some lines of code.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

// What is booted: says so on the serial port, and powers a PIIX4 or an ICH9 off.
asm(R"(
    .pushsection .rodata
next_kernel:
    lea next_kernel_text(%rip), %rsi
1:  mov $0x3fd, %dx
2:  in %dx, %al
    test $0x40, %al
    jz 2b
    lodsb
    mov $0x3f8, %dx
    out %al, %dx
    test %al, %al
    jnz 1b
    mov $0x2000, %ax
    mov $0xb004, %dx
    out %ax, %dx
    mov $0x604, %dx
    out %ax, %dx
3:  hlt
    jmp 3b
next_kernel_text:
    .asciz "\r\nthe next kernel runs\r\n"
next_kernel_end:
    .popsection
)");
extern "C" const char next_kernel[], next_kernel_end[];

namespace {

bool shell(const std::string &command) { return std::system(command.c_str()) == 0; }

std::string vendor() {
    for (const char *name : {"kvm_amd", "kvm_intel"})
        if (!::access((std::string("/sys/module/") + name).c_str(), F_OK)) return name;
    return {};
}

// As the bed loaded them.
bool load_kvm() {
    return shell("while read -r n p; do case $n in kvm*) insmod /bed/modules/$n.ko $p || exit; "
                 "esac; done </bed/modules/order");
}

void check_slot() {
    const std::string kvm = vendor();
    if (kvm.empty()) return skip("slot", "no KVM here");
    const std::string unload = "rmmod " + kvm + " kvm";
    if (!shell(unload)) return skip("slot", "KVM does not go");
    const int vm = raw::create_vm(); // hwv takes the slot
    report("slot/kvm_comes", load_kvm(), "its module is refused");
    report("slot/kvm_goes", shell(unload), "its module stays");
    report("slot/kvm_comes_again", load_kvm(), "its module is refused");
    ::close(vm); // and does not give back what it has not
    report("slot/kvm_goes_after", shell(unload), "its module stays");
    ::close(raw::create_vm());
    report("slot/kvm_comes_last", load_kvm(), "its module is refused");
}

// Where crashkernel= has its memory; 0: nowhere.
unsigned long crash_memory() {
    std::ifstream lines("/proc/iomem");
    for (std::string line; std::getline(lines, line);)
        if (line.find("Crash kernel") != std::string::npos) return std::stoul(line, nullptr, 16);
    return 0;
}

bool load_next_kernel(bool for_crash) {
    const unsigned long where = for_crash ? crash_memory() : 16ul << 20;
    const std::size_t bytes = next_kernel_end - next_kernel;
    const kexec_segment segment{next_kernel, bytes, reinterpret_cast<void *>(where), 4096};
    const unsigned long flags = KEXEC_ARCH_X86_64 | (for_crash ? KEXEC_ON_CRASH : 0ul);
    if (where && !::syscall(SYS_kexec_load, where, 1ul, &segment, flags)) return true;
    report("next_kernel", false, std::strerror(errno));
    return false;
}

int leave_under_guest(bool by_crash) {
    if (!load_next_kernel(by_crash)) return verdict();
    const int vm = raw::create_vm();
    raw::map_reset_page(vm, raw::loop_for_ever);
    const int vcpu = raw::create_vcpu(vm);
    std::thread([vcpu] { raw::call(vcpu, HWV_RUN); }).detach();
    ::usleep(200'000);
    if (by_crash)
        std::ofstream("/proc/sysrq-trigger") << "c" << std::flush;
    else
        ::syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, 0);
    return 1;
}

} // namespace

int main(int argc, char **argv) {
    if (argc > 1) return leave_under_guest(!std::strcmp(argv[1], "boom"));
    check_slot();
    return verdict();
}
