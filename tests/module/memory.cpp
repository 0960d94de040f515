// SPDX-License-Identifier: GPL-2.0-only
// timeout: 60
// Guest memory is the owner's memory: whatever the owner does to its mappings, the guest sees at
// its next access. Contents are compared from both sides.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>
#include "module/puppet.hpp"
#include "module/report.hpp"

namespace {

constexpr std::size_t page = 4096, huge = 2 << 20;
constexpr unsigned pages = 64;

// Ours, page by page.
class Area {
  public:
    explicit Area(std::size_t bytes = pages * page, int flags = MAP_PRIVATE | MAP_ANONYMOUS,
                  int fd = -1, int prot = PROT_READ | PROT_WRITE)
        : bytes_{bytes}, base_{static_cast<char *>(::mmap(nullptr, bytes, prot, flags, fd, 0))} {}
    Area(const Area &) = delete;
    ~Area() {
        if (valid()) ::munmap(base_, bytes_);
    }
    bool valid() const { return base_ != MAP_FAILED; }
    char *at(unsigned n) const { return base_ + n * page; }
    volatile std::uint16_t &word(unsigned n) const {
        return *reinterpret_cast<volatile std::uint16_t *>(at(n));
    }
    std::size_t size() const { return bytes_; }

  private:
    std::size_t bytes_;
    char *base_;
};

void give(Puppet &guest, const Area &area) { guest.set_memory(area.at(0), area.size()); }

void check_plain(Puppet &guest) {
    Area area;
    give(guest, area);
    expect("untouched_reads_zero", guest.peek(0), 0);
    area.word(0) = 0x1111; // the zero page gives way to one of its own
    expect("write_of_owner_is_seen", guest.peek(0), 0x1111);
    guest.poke(1, 0x2222);
    expect("write_of_guest_is_seen", area.word(1), 0x2222);
    ::madvise(area.at(1), page, MADV_DONTNEED);
    expect("dontneed_reads_zero", guest.peek(1), 0);
    guest.poke(1, 0x3333);
    expect("dontneed_then_write", area.word(1), 0x3333);
}

void check_unmap(Puppet &guest) {
    Area area;
    give(guest, area);
    guest.poke(2, 0x4444);
    ::munmap(area.at(2), page);
    expect("unmapped", guest.peek(2), -EFAULT);
    ::mmap(area.at(2), page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
           0);
    expect("mapped_again", guest.again(), 0);
    Area other;
    other.word(0) = 0x5555;
    guest.poke(3, 1);
    ::mremap(other.at(0), page, page, MREMAP_MAYMOVE | MREMAP_FIXED, area.at(3));
    expect("moved_over_it", guest.peek(3), 0x5555);
}

void check_protection(Puppet &guest) {
    Area area;
    give(guest, area);
    guest.poke(0, 0x6666);
    ::mprotect(area.at(0), page, PROT_READ);
    expect("protected_reads", guest.peek(0), 0x6666);
    expect("protected_refuses_write", guest.poke(0, 0x7777), -EFAULT);
    expect("protected_keeps_content", area.word(0), 0x6666);
    ::mprotect(area.at(0), page, PROT_READ | PROT_WRITE);
    expect("unprotected_writes", guest.again(), 0x7777);
    expect("unprotected_content", area.word(0), 0x7777);
    guest.set_memory(area.at(0), area.size(), HWV_MEMORY_READONLY);
    expect("read_only_slot_reads", guest.peek(0), 0x7777);
    expect("read_only_slot_leaves", guest.poke(0, 0x1234), -ENXIO);
    guest.again();
    expect("read_only_slot_content", area.word(0), 0x7777);
}

// After fork both have the old content, and each its own new one.
void check_fork(Puppet &guest) {
    Area area;
    give(guest, area);
    guest.poke(0, 0x1111);
    guest.poke(1, 0x2222);
    int to_child[2], from_child[2];
    if (::pipe(to_child) || ::pipe(from_child)) return;
    pid_t child = ::fork();
    if (child == 0) {
        char byte;
        area.word(1) = 0x9999;
        (void)!::write(from_child[1], "x", 1);
        (void)!::read(to_child[0], &byte, 1);
        std::_Exit(area.word(0) == 0x1111 && area.word(1) == 0x9999 ? 0 : 1);
    }
    char byte;
    (void)!::read(from_child[0], &byte, 1);
    guest.poke(0, 0x3333);
    expect("fork_guest_keeps_its_own", guest.peek(1), 0x2222);
    expect("fork_write_reaches_parent", area.word(0), 0x3333);
    (void)!::write(to_child[1], "x", 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    expect("fork_child_keeps_its_own", status, 0);
    for (int fd : {to_child[0], to_child[1], from_child[0], from_child[1]})
        ::close(fd);
}

void check_memfd(Puppet &guest) {
    int fd = ::memfd_create("guest", MFD_CLOEXEC);
    (void)!::ftruncate(fd, pages * page);
    Area area{pages * page, MAP_SHARED, fd}, view{pages * page, MAP_SHARED, fd};
    give(guest, area);
    guest.poke(0, 0x1111);
    expect("memfd_other_mapping", view.word(0), 0x1111);
    view.word(1) = 0x2222;
    expect("memfd_from_other_mapping", guest.peek(1), 0x2222);
    ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page);
    expect("memfd_hole", guest.peek(0), 0);
    guest.poke(0, 0x3333);
    std::uint16_t content = 0;
    (void)!::pread(fd, &content, 2, 0);
    expect("memfd_content", content, 0x3333);
    (void)!::ftruncate(fd, page);
    expect("memfd_truncated", guest.peek(5), -EFAULT);
    (void)!::ftruncate(fd, pages * page);
    expect("memfd_grown", guest.again(), 0);
    ::close(fd);
}

// A page of a file that is mapped to be read only: reads are served, writes are not.
void check_read_only_file(Puppet &guest) {
    int fd = ::memfd_create("rom", MFD_CLOEXEC);
    std::vector<std::uint16_t> content(pages * page / 2, 0xabcd);
    (void)!::write(fd, content.data(), pages * page);
    Area area{pages * page, MAP_PRIVATE, fd, PROT_READ};
    give(guest, area);
    expect("rom_reads", guest.peek(7), 0xabcd);
    expect("rom_refuses_write", guest.poke(7, 1), -EFAULT);
    ::mprotect(area.at(7), page, PROT_READ | PROT_WRITE); // private: the write makes a copy
    expect("rom_copied_on_write", guest.again(), 1);
    std::uint16_t file = 0;
    (void)!::pread(fd, &file, 2, 7 * page);
    expect("rom_file_is_untouched", file, 0xabcd);
    ::close(fd);
}

// What is refused has changed nothing: the guest does not even fault again.
void check_refused_changes(Puppet &guest) {
    Area area;
    give(guest, area);
    const auto slot = [&](auto change) {
        hwv_memory m{
            .slot = 1, .size = area.size(), .hva = reinterpret_cast<std::uint64_t>(area.at(0))};
        change(m);
        return m;
    };
    guest.poke(4, 0x4444);
    const std::uint64_t before = guest.page_faults();
    const auto refused = [&](const char *what, long error, auto change) {
        expect(what, guest.change(slot(change)), error);
    };
    refused("change_size", -EINVAL, [](hwv_memory &m) { m.size -= page; });
    refused("change_hva", -EINVAL, [](hwv_memory &m) { m.hva += page; });
    refused("change_flag", -EINVAL, [](hwv_memory &m) { m.flags = 4; });
    refused("change_gpa_beyond", -EINVAL, [](hwv_memory &m) { m.gpa = 1ull << 52; });
    refused("change_onto_another", -EEXIST, [](hwv_memory &m) { m.gpa = 0xffff'f000; });
    refused("change_nothing", 0, [](hwv_memory &) {});
    expect("change_refused_content", guest.peek(4), 0x4444);
    expect("change_refused_faults", static_cast<long>(guest.page_faults() - before), 0);
    refused("change_to_read_only", 0, [](hwv_memory &m) { m.flags = HWV_MEMORY_READONLY; });
    expect("change_made_reads", guest.peek(4), 0x4444);
    expect("change_made", guest.poke(4, 1), -ENXIO);
}

bool write_file(const char *path, const char *text) {
    std::ofstream file(path);
    file << text << std::flush;
    return file.good();
}

long read_number(const char *path) {
    long value = -1;
    std::ifstream(path) >> value;
    return value;
}

// Equal pages become one, and part again at the guest's write.
void check_ksm(Puppet &guest) {
    Area area;
    give(guest, area);
    for (unsigned n = 0; n < pages; ++n)
        std::memset(area.at(n), 0x5a, page);
    for (unsigned n = 0; n < pages; ++n)
        guest.poke(n, 0x5a5a);
    if (::madvise(area.at(0), area.size(), MADV_MERGEABLE))
        return skip("ksm", "this kernel has none");
    write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1");
    write_file("/sys/kernel/mm/ksm/pages_to_scan", "1000");
    write_file("/sys/kernel/mm/ksm/run", "1");
    for (int i = 0; i < 1000 && read_number("/sys/kernel/mm/ksm/pages_sharing") < pages - 8; ++i)
        ::usleep(5000);
    write_file("/sys/kernel/mm/ksm/run", "0");
    report("ksm_merged", read_number("/sys/kernel/mm/ksm/pages_sharing") >= pages - 8,
           "nothing was merged");
    expect("ksm_reads", guest.peek(10), 0x5a5a);
    guest.poke(11, 0x1111);
    expect("ksm_write_parts", guest.peek(11), 0x1111);
    expect("ksm_write_owner", area.word(11), 0x1111);
    expect("ksm_others_keep", guest.peek(10), 0x5a5a);
    write_file("/sys/kernel/mm/ksm/run", "2");
    expect("ksm_unmerged", guest.peek(12), 0x5a5a);
}

// The 2 MiB block that lies whole in an area of three.
char *whole_block(const Area &room) {
    auto aligned = (reinterpret_cast<std::uintptr_t>(room.at(0)) + huge - 1) & ~(huge - 1);
    return reinterpret_cast<char *>(aligned);
}

constexpr int collapse = 25; // MADV_COLLAPSE

// Small pages become a huge one and fall apart again under the guest.
void check_thp(Puppet &guest) {
    Area room{3 * huge};
    char *base = whole_block(room);
    auto word = [&](unsigned n) -> volatile std::uint16_t & {
        return *reinterpret_cast<volatile std::uint16_t *>(base + n * page);
    };
    guest.set_memory(base, huge);
    ::madvise(base, huge, MADV_NOHUGEPAGE);
    for (unsigned n = 0; n < 256; ++n)
        guest.poke(n, static_cast<std::uint16_t>(n + 1));
    ::madvise(base, huge, MADV_HUGEPAGE);
    expect("thp_collapse", ::madvise(base, huge, collapse) ? -errno : 0, 0);
    bool same = true;
    std::uint64_t before = guest.page_faults();
    for (unsigned n = 0; n < 256; ++n)
        same &= guest.peek(n) == static_cast<long>(n + 1);
    report("thp_content_after_collapse", same, "a page changed");
    expect("thp_in_one_fault", static_cast<long>(guest.page_faults() - before), 1);
    guest.poke(3, 0x3333);
    expect("thp_write", word(3), 0x3333);
    ::madvise(base + 100 * page, page, MADV_DONTNEED); // splits it
    expect("thp_split_hole", guest.peek(100), 0);
    expect("thp_split_neighbour", guest.peek(101), 102);
    ::mprotect(base + 50 * page, page, PROT_READ);
    expect("thp_protected", guest.poke(50, 9), -EFAULT);
    ::mprotect(base + 50 * page, page, PROT_READ | PROT_WRITE);
    expect("thp_unprotected", guest.again(), 9);
    expect("thp_whole_gone", ::madvise(base, huge, MADV_DONTNEED) || guest.peek(3), 0);
}

// What is executed in a huge page costs one fault more where large pages must not be executable,
// for all of it, and none more if its first access executes.
void check_execution(Puppet &guest) {
    Area room{3 * huge};
    char *base = whole_block(room);
    ::madvise(base, huge, MADV_HUGEPAGE);
    for (unsigned n = 0; n < 256; ++n) {
        const unsigned char code[] = {0xb8, static_cast<unsigned char>(n), 0x40, 0xef};
        std::memcpy(base + n * page + 2, code, sizeof code); // mov ax, 0x4000 + n; out dx, ax
    }
    if (::madvise(base, huge, collapse)) return skip("execution", "no huge page to be had");
    char nx = 0;
    std::ifstream("/sys/module/hwv/parameters/nx_huge_pages") >> nx;
    const auto execute_all = [&] {
        bool right = true;
        for (unsigned n = 0; n < 256; ++n)
            right &= guest.execute(n) == 0x4000 + static_cast<long>(n);
        return right;
    };
    Area small;
    give(guest, small);
    guest.peek(0); // the program's own page is there
    guest.set_memory(base, huge);
    std::uint64_t before = guest.page_faults();
    const auto faults = [&] { return static_cast<long>(guest.page_faults() - before); };
    expect("read_a_huge_page", guest.peek(255), 0);
    expect("execute_data_once_fault", faults(), 1);
    report("execute_a_huge_page", execute_all(), "not what is there");
    expect("execute_once_more_fault", faults(), nx == 'Y' ? 2 : 1);
    guest.poke(7, 0x7777);
    expect("execute_then_write", *reinterpret_cast<std::uint16_t *>(base + 7 * page), 0x7777);
    expect("execute_then_write_faults", faults(), nx == 'Y' ? 2 : 1);
    guest.set_memory(base, huge);
    before = guest.page_faults();
    report("execute_first", execute_all(), "not what is there");
    guest.poke(9, 0x9999);
    expect("execute_first_faults", faults(), 1);
}

void check_hugetlb(Puppet &guest) {
    write_file("/proc/sys/vm/nr_hugepages", "4");
    Area area{huge, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB};
    if (!area.valid()) return skip("hugetlb", "no huge pages to be had");
    give(guest, area);
    area.word(9) = 0x1111;
    expect("hugetlb_reads", guest.peek(9), 0x1111);
    guest.poke(10, 0x2222);
    expect("hugetlb_writes", area.word(10), 0x2222);
    ::madvise(area.at(0), huge, MADV_DONTNEED);
    expect("hugetlb_dontneed", guest.peek(10), 0);
}

// A page that is not memory, or that nobody holds a reference to, is never given to a guest.
void check_device_memory(Puppet &guest) {
    int fd = ::open("/dev/mem", O_RDWR | O_CLOEXEC);
    void *at = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0xfed00000); // HPET
    if (at == MAP_FAILED) return skip("device_memory", "/dev/mem cannot be mapped");
    guest.set_memory(at, page);
    expect("device_memory_refused", guest.peek(0), -EPERM);
    ::munmap(at, page);
    ::close(fd);
}

void check_swap(Puppet &guest) {
    Area area;
    give(guest, area);
    for (unsigned n = 0; n < pages; ++n)
        guest.poke(n, static_cast<std::uint16_t>(0x100 + n));
    ::madvise(area.at(0), area.size(),
              MADV_PAGEOUT); // to swap where there is some, else away from the tables only
    bool same = true;
    for (unsigned n = 0; n < pages; ++n)
        same &= guest.peek(n) == static_cast<long>(0x100 + n);
    report("paged_out_content", same, "a page changed");
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("memory", "this machine cannot run guests");
        return 0;
    }
    for (auto check : {check_plain, check_unmap, check_protection, check_fork, check_memfd,
                       check_read_only_file, check_refused_changes, check_ksm, check_thp,
                       check_execution, check_hugetlb, check_swap, check_device_memory}) {
        Puppet guest;
        check(guest);
    }
    return verdict();
}
