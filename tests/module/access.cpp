// SPDX-License-Identifier: GPL-2.0-only
// Who may open /dev/hwv, and that the module stays while anything of it is open.
#include <cerrno>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

constexpr uid_t nobody = 65534;

long open_as_nobody(bool own_namespace) {
    if (::setgroups(0, nullptr) || ::setgid(nobody) || ::setuid(nobody)) return -1;
    if (own_namespace && ::unshare(CLONE_NEWUSER)) return -1;
    return ::open("/dev/hwv", O_RDWR) < 0 ? -errno : 0;
}

void check_node() {
    struct stat node {};
    ::stat("/dev/hwv", &node);
    expect("node_mode", node.st_mode & 0777, 0660);
    expect("node_owner", node.st_uid, 0);
    expect("nobody_opens", raw::in_child([] { return open_as_nobody(false) == -EACCES ? 0 : 1; }),
           0);
    expect("nobody_in_own_namespace",
           raw::in_child([] { return open_as_nobody(true) == -EACCES ? 0 : 1; }), 0);
}

long unload() { return ::syscall(SYS_delete_module, "hwv", O_NONBLOCK) ? -errno : 0; }

// One descriptor of each kind, and a mapping, alone.
void check_unload() {
    int device = raw::open_device();
    expect("unload_with_device", unload(), -EWOULDBLOCK);
    ::close(device);
    int vm = raw::create_vm();
    expect("unload_with_vm", unload(), -EWOULDBLOCK);
    int vcpu = raw::create_vcpu(vm);
    ::close(vm);
    expect("unload_with_vcpu", unload(), -EWOULDBLOCK);
    hwv_run *run = raw::map_run(vcpu);
    ::close(vcpu);
    expect("unload_with_mapping", unload(), -EWOULDBLOCK);
    ::munmap(run, 4096);
}

} // namespace

int main() {
    check_node();
    check_unload();
    return verdict();
}
