// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// beds: svm
// bed: --smp 2
// Messages of the family `hwv` that make sense, nearly make sense and make none, from root and from
// nobody, while guests run, come and go: each is served or refused, and the host stays whole. Bochs
// lets no interrupt of the host end guests like these, that exit quickly for ever with IF clear
// (scripts/bedlib/README.md), so that their CPU is lost there; nothing of it is the vendor's.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/netlink.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include "fuzz/fuzz.hpp"
#include "hwv/netlink_message.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using fuzz::Random;

struct Tally {
    std::atomic<std::uint64_t> sent, served, refused;
};
Tally *tally; // shared with the children

// A message as bytes: nothing between the fuzzer and the kernel makes it better.
class Message {
  public:
    Message(Random &r, int family, std::uint64_t vm) : r_{r}, vm_{vm} {
        nlmsghdr header{};
        header.nlmsg_type = static_cast<__u16>(r.one_in(50) ? r.below(64) : family);
        header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
        if (r.one_in(3)) header.nlmsg_flags |= NLM_F_DUMP;
        if (r.one_in(20)) header.nlmsg_flags = static_cast<__u16>(r.next());
        const genlmsghdr command{static_cast<__u8>(r.below(HWV_CMD_EVENT + 2)), 1,
                                 static_cast<__u16>(r.one_in(20) ? r.next() : 0)};
        append(&header, sizeof header);
        append(&command, sizeof command);
        if (!r.one_in(8)) attribute(HWV_ATTR_VM, &vm_, sizeof vm_);
        if (r.one_in(3)) rules();
        for (std::uint64_t n = r.below(5); n; --n)
            random_attribute();
        header.nlmsg_len = static_cast<__u32>(r.one_in(30) ? r.boundary() : bytes_.size());
        std::memcpy(bytes_.data(), &header, sizeof header);
    }
    const std::vector<char> &bytes() const { return bytes_; }

  private:
    void append(const void *from, std::size_t n) {
        const auto *first = static_cast<const char *>(from);
        bytes_.insert(bytes_.end(), first, first + n);
        bytes_.resize(NLA_ALIGN(bytes_.size()));
    }
    void attribute(unsigned type, const void *from, std::size_t n) {
        const nlattr header{static_cast<__u16>(r_.one_in(40) ? r_.next() : NLA_HDRLEN + n),
                            static_cast<__u16>(type)};
        append(&header, sizeof header);
        append(from, n);
    }
    void random_attribute() {
        const std::uint64_t value = r_.one_in(2) ? r_.below(4) : r_.boundary();
        char noise[64] = {};
        std::memcpy(noise, &value, sizeof value);
        static constexpr std::size_t sizes[] = {0, 1, 4, 4, 4, 8, 8, 64};
        attribute(static_cast<unsigned>(r_.one_in(20) ? r_.next() : r_.below(HWV_ATTR_END + 1)),
                  noise, sizes[r_.below(std::size(sizes))]);
    }
    void rules() {
        std::vector<char> before = std::move(bytes_);
        bytes_.clear();
        for (std::uint64_t n = r_.one_in(20) ? 70 : r_.below(4); n; --n) {
            hwv_rule rule{};
            rule.reason = static_cast<__u32>(r_.one_in(10) ? r_.boundary() : r_.below(42));
            rule.action = static_cast<__u32>(r_.below(r_.one_in(4) ? 8 : 2));
            if (r_.one_in(4)) rule.flags = static_cast<__u32>(r_.below(64));
            rule.every = static_cast<__u32>(r_.below(3));
            rule.key_last = r_.boundary();
            attribute(HWV_ATTR_RULE, &rule, sizeof rule);
        }
        std::vector<char> nest = std::move(bytes_);
        bytes_ = std::move(before);
        attribute(HWV_ATTR_RULES | (r_.one_in(10) ? 0 : NLA_F_NESTED), nest.data(), nest.size());
    }

    Random &r_;
    std::uint64_t vm_;
    std::vector<char> bytes_;
};

// What came back so far is thrown away, but counted.
void drain(int fd) {
    alignas(nlmsghdr) char buffer[32768];
    for (;;) {
        const ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got < static_cast<ssize_t>(sizeof(nlmsghdr))) return;
        const auto *header = reinterpret_cast<const nlmsghdr *>(buffer);
        const bool error = header->nlmsg_type == NLMSG_ERROR &&
                           static_cast<const nlmsgerr *>(NLMSG_DATA(header))->error;
        ++(error ? tally->refused : tally->served);
    }
}

void storm(Random &r) {
    Guest guest{r.one_in(2) ? raw::loop_for_ever : std::string{"\xb8\x01\x00\x0f\xa2\xeb\xf9", 7}};
    std::atomic<bool> stop{false};
    std::thread runner([&] {
        while (!stop)
            if (guest.enter() < 0) break; // killed
    });
    std::thread others([&] {
        while (!stop) {
            const int vm = raw::create_vm();
            ::close(raw::create_vcpu(vm));
            ::close(vm);
        }
    });
    const hwv::NetlinkSocket socket = hwv::netlink_socket();
    const int family = hwv::netlink_family(socket.get()), fd = ::nl_socket_get_fd(socket.get());
    if (r.one_in(3) && ::seteuid(65534) != 0) std::_Exit(1);
    for (unsigned n = 0; n < 3000; ++n) {
        const Message message{r, family, guest.id + (r.one_in(6) ? r.below(6) : 0)};
        ::send(fd, message.bytes().data(), message.bytes().size(), MSG_DONTWAIT);
        ++tally->sent;
        if (!r.one_in(4)) drain(fd);
    }
    stop = true;
    std::_Exit(0); // with all threads where they are
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("netlink", "this machine cannot run guests");
        return 0;
    }
    tally = static_cast<Tally *>(
        ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    fuzz::arm();
    report("netlink_ends", fuzz::rounds(fuzz::seconds(15), 5, storm));
    std::printf("# %llu messages, %llu answers, %llu refusals\n",
                static_cast<unsigned long long>(tally->sent),
                static_cast<unsigned long long>(tally->served),
                static_cast<unsigned long long>(tally->refused));
    report("netlink_answers_and_refuses", tally->served > 100 && tally->refused > 100);
    report("netlink_guest_still_runs", fuzz::guest_still_runs());
    report("netlink_no_complaint", fuzz::complaint().empty(), fuzz::complaint());
    return verdict();
}
