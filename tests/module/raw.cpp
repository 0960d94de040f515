// SPDX-License-Identifier: GPL-2.0-only
#include "module/raw.hpp"
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "module/report.hpp"

namespace raw {

long call(int fd, unsigned long request, const void *argument) {
    long result = ::ioctl(fd, request, argument);
    return result < 0 ? -errno : result;
}

unsigned long with_size(unsigned long request, std::size_t bytes) {
    return (request & ~(static_cast<unsigned long>(_IOC_SIZEMASK) << _IOC_SIZESHIFT)) |
           (bytes << _IOC_SIZESHIFT);
}

namespace {
int need(long fd, const char *what) {
    if (fd < 0) {
        report("setup", false, std::string(what) + ": " + std::strerror(static_cast<int>(-fd)));
        std::_Exit(1);
    }
    return static_cast<int>(fd);
}
} // namespace

int open_device() {
    int fd = ::open("/dev/hwv", O_RDWR | O_CLOEXEC);
    return need(fd < 0 ? -errno : fd, "open /dev/hwv");
}

int create_vm(std::uint64_t flags) {
    int device = open_device();
    hwv_create_vm request{.flags = flags, .name = "test"};
    long vm = call(device, HWV_CREATE_VM, &request);
    ::close(device);
    return need(vm, "HWV_CREATE_VM");
}

int create_vcpu(int vm, std::uint32_t id) {
    hwv_create_vcpu request{.id = id};
    return need(call(vm, HWV_CREATE_VCPU, &request), "HWV_CREATE_VCPU");
}

hwv_run *map_run(int vcpu) {
    void *page = ::mmap(nullptr, HWV_RUN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (page == MAP_FAILED) need(-errno, "mmap of the run page");
    return static_cast<hwv_run *>(page);
}

long read_stats(int vcpu, hwv_vcpu_stats *stats) {
    void *page = ::mmap(nullptr, HWV_STATS_BYTES, PROT_READ, MAP_SHARED, vcpu,
                        static_cast<off_t>(HWV_MAP(HWV_MAP_STATS, 0)));
    if (page == MAP_FAILED) return -errno;
    std::memcpy(stats, page, sizeof *stats);
    ::munmap(page, HWV_STATS_BYTES);
    return 0;
}

void *map_reset_page(int vm, const std::string &code) {
    void *page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) need(-errno, "mmap of guest memory");
    std::memcpy(static_cast<char *>(page) + 0xff0, code.data(), code.size());
    hwv_memory slot{
        .slot = 0, .gpa = 0xfffff000, .size = 4096, .hva = reinterpret_cast<std::uint64_t>(page)};
    need(call(vm, HWV_SET_MEMORY, &slot), "HWV_SET_MEMORY");
    return page;
}

void *map_program(int vm, const std::string &program) {
    auto *page = static_cast<char *>(map_reset_page(vm, {"\xe9\x0d\xf0", 3})); // jmp 0xf000
    std::memcpy(page, program.data(), program.size());
    return page;
}

int in_child(const std::function<int()> &body) {
    std::fflush(nullptr);
    pid_t pid = ::fork();
    if (pid == 0) std::_Exit(body());
    int status = 0;
    if (pid < 0 || ::waitpid(pid, &status, 0) != pid) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool can_run() {
    int device = open_device();
    hwv_info info{};
    need(call(device, HWV_GET_INFO, &info), "HWV_GET_INFO");
    ::close(device);
    if (info.unusable == HWV_USABLE) return true;
    // The beds' CPUs can, so that there it is hwv that is wrong; init.sh tells who runs in one.
    if (info.unusable != HWV_UNUSABLE_BUSY && std::getenv("HWV_MODULE"))
        report("this_machine_can_run_guests", false, "unusable: " + std::to_string(info.unusable));
    return false;
}

} // namespace raw
