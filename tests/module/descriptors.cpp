// SPDX-License-Identifier: GPL-2.0-only
// The three kinds of fd: flags, every order of closing, the run page, and what other address spaces
// may do with them.
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

void check_flags(const char *name, int fd) {
    expect(std::string(name) + "_cloexec", ::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    expect(std::string(name) + "_rdwr", ::fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
}

// A vCPU fd keeps the VM, a mapping keeps the page and the fd's file: whoever is left works.
void check_close_orders() {
    std::array<int, 3> order{0, 1, 2};
    do {
        std::array<int, 3> fds{};
        fds[0] = raw::open_device();
        fds[1] = raw::create_vm();
        fds[2] = raw::create_vcpu(fds[1]);
        hwv_run *run = raw::map_run(fds[2]);
        hwv_clock clock{};
        bool works = true;
        for (int i = 0; i < 3; ++i) {
            ::close(fds[order[i]]);
            bool vcpu_open = std::find(&order[i] + 1, order.end(), 2) != order.end();
            bool vm_open = std::find(&order[i] + 1, order.end(), 1) != order.end();
            works &= !vcpu_open || raw::call(fds[2], HWV_SYNC_REGS) == 0;
            works &= !vm_open || raw::call(fds[1], HWV_CLOCK, &clock) == 0;
        }
        run->reply.data = 1; // the mapping outlives them all
        works &= run->reply.data == 1;
        ::munmap(run, HWV_RUN_PAGE_SIZE);
        std::string name = "close_order_";
        for (int i : order)
            name += static_cast<char>('0' + i);
        report(name, works, "a descriptor that was still open did not work");
    } while (std::next_permutation(order.begin(), order.end()));
}

void check_run_page(int vcpu) {
    auto map = [&](std::size_t bytes, int prot, int flags, off_t offset) -> long {
        void *page = ::mmap(nullptr, bytes, prot, flags, vcpu, offset);
        if (page == MAP_FAILED) return -errno;
        ::munmap(page, bytes);
        return 0;
    };
    constexpr int rw = PROT_READ | PROT_WRITE;
    expect("map_page", map(4096, rw, MAP_SHARED, 0), 0);
    expect("map_read_only", map(4096, PROT_READ, MAP_SHARED, 0), 0);
    expect("map_two_pages", map(8192, rw, MAP_SHARED, 0), -EINVAL);
    expect("map_offset", map(4096, rw, MAP_SHARED, 4096), -EINVAL);
    expect("map_private", map(4096, rw, MAP_PRIVATE, 0), -EINVAL);
    const long executable = map(4096, rw | PROT_EXEC, MAP_SHARED, 0);
    report("map_executable",
           executable == -EINVAL || executable == -EPERM, // EPERM: the kernel's own, from 6.17 on
           std::to_string(executable));
    hwv_run *one = raw::map_run(vcpu), *two = raw::map_run(vcpu);
    one->reply.data = 0x1234;
    expect("map_same_page", static_cast<long>(two->reply.data), 0x1234);
    expect("map_grow", ::mremap(one, 4096, 8192, MREMAP_MAYMOVE) == MAP_FAILED ? -errno : 0,
           -EFAULT);
    ::munmap(one, 4096);
    ::munmap(two, 4096);
}

void check_fork(int vm, int vcpu) {
    hwv_run *run = raw::map_run(vcpu);
    auto in_child = [&](const char *name, const std::function<long()> &body, long wanted) {
        expect(name, raw::in_child([&] { return body() == wanted ? 0 : 1; }), 0);
    };
    hwv_memory memory{.slot = 1, .size = 4096, .hva = 0x10000};
    hwv_create_vcpu create{.id = 5};
    in_child(
        "child_run", [&] { return raw::call(vcpu, HWV_RUN); }, -EIO);
    in_child(
        "child_sync", [&] { return raw::call(vcpu, HWV_SYNC_REGS); }, -EIO);
    in_child(
        "child_memory", [&] { return raw::call(vm, HWV_SET_MEMORY, &memory); }, -EIO);
    in_child(
        "child_create_vcpu", [&] { return raw::call(vm, HWV_CREATE_VCPU, &create); }, -EIO);
    in_child(
        "child_kick", [&] { return raw::call(vcpu, HWV_KICK); }, 0);
    auto map = [&] {
        return ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, vcpu, 0) == MAP_FAILED ? -errno : 0;
    };
    in_child("child_map", map, -EIO);
    int status = raw::in_child([&] {
        ::signal(SIGSEGV, SIG_DFL);
        return static_cast<int>(*reinterpret_cast<volatile std::uint32_t *>(run)) & 0;
    });
    expect("child_has_no_run_page", status, 128 + SIGSEGV);
    ::munmap(run, 4096);
}

// The same process, another address space.
void check_exec() {
    int status = raw::in_child([&] {
        int fd = raw::create_vcpu(raw::create_vm());
        ::fcntl(fd, F_SETFD, 0);
        ::execl("/proc/self/exe", "descriptors", "after-exec", std::to_string(fd).c_str(), nullptr);
        return 2;
    });
    expect("run_after_exec", status, 0);
}

int after_exec(int vcpu) {
    return raw::call(vcpu, HWV_RUN) == -EIO && raw::call(vcpu, HWV_KICK) == 0 ? 0 : 1;
}

void send_fd(int socket, int fd) {
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{.msg_iov = &data,
                   .msg_iovlen = 1,
                   .msg_control = control,
                   .msg_controllen = sizeof control};
    cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = {
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ::sendmsg(socket, &message, 0);
}

int receive_fd(int socket) {
    char byte;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{.msg_iov = &data,
                   .msg_iovlen = 1,
                   .msg_control = control,
                   .msg_controllen = sizeof control};
    int fd = -1;
    if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message))
        std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

// The owner made a VM, gave its fds away and ended: what is left answers, and lets go.
void check_owner_gone() {
    int pair[2];
    ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    int status = raw::in_child([&] {
        int vm = raw::create_vm();
        raw::map_reset_page(vm, raw::loop_for_ever);
        send_fd(pair[1], vm);
        send_fd(pair[1], raw::create_vcpu(vm));
        return 0;
    });
    int vm = receive_fd(pair[0]), vcpu = receive_fd(pair[0]);
    hwv_vcpu_stats stats{};
    hwv_memory memory{.slot = 0};
    expect("owner_gone_setup", status, 0);
    expect("owner_gone_run", raw::call(vcpu, HWV_RUN), -EIO);
    expect("owner_gone_memory", raw::call(vm, HWV_SET_MEMORY, &memory), -EIO);
    expect("owner_gone_stats", raw::read_stats(vcpu, &stats), 0);
    ::close(vcpu);
    ::close(vm);
    ::close(pair[0]);
    ::close(pair[1]);
}

void check_ids(int vm) {
    hwv_create_vcpu request{.id = 9};
    int fd = raw::create_vcpu(vm, 9);
    expect("id_twice", raw::call(vm, HWV_CREATE_VCPU, &request), -EEXIST);
    ::close(fd);
    expect("id_of_closed_vcpu", raw::call(vm, HWV_CREATE_VCPU, &request), -EEXIST);
}

} // namespace

int main(int argc, char **argv) {
    if (argc == 3) return after_exec(std::stoi(argv[2]));
    int device = raw::open_device(), vm = raw::create_vm(), vcpu = raw::create_vcpu(vm);
    check_flags("vm", vm);
    check_flags("vcpu", vcpu);
    check_close_orders();
    check_run_page(vcpu);
    check_fork(vm, vcpu);
    check_exec();
    check_owner_gone();
    check_ids(vm);
    ::close(device);
    return verdict();
}
