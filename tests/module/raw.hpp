// SPDX-License-Identifier: GPL-2.0-only
// raw.hpp - the ioctl boundary as it is, without the client library between: what these tests are
// about. A result is what the kernel said: >= 0, or -errno.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include "hwv.h"

namespace raw {

long call(int fd, unsigned long request, const void *argument = nullptr);

// The request with another size in it.
unsigned long with_size(unsigned long request, std::size_t bytes);

// Fresh descriptors; each ends the program with a failed result if the kernel refuses.
int open_device();
int create_vm(std::uint64_t flags = 0);
int create_vcpu(int vm, std::uint32_t id = 0);
hwv_run *map_run(int vcpu);
// -errno, and otherwise *stats is as it is now.
long read_stats(int vcpu, hwv_vcpu_stats *stats);

// One page of guest code at the reset vector: the bytes of `code` at 0xfffffff0.
void *map_reset_page(int vm, const std::string &code);
// sti; jmp $: Bochs lets no host interrupt end a guest that is entered with IF clear
// (conformance/framework.hpp); conformance/control has guests that never set it.
inline const std::string loop_for_ever = "\xfb\xeb\xfe";

// The same with a program at 0xfffff000 (F000:F000), to which the reset vector jumps. 0xff0 bytes
// at most.
void *map_program(int vm, const std::string &program);

// Runs `body` in a child process; its result is the child's exit status, 128 + signal where one
// ended it.
int in_child(const std::function<int()> &body);

// True where this machine can run guests; HWV_GET_INFO's word for it.
bool can_run();

} // namespace raw
