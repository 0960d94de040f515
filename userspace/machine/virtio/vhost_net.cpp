// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/vhost_net.hpp"

#include <cerrno>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <system_error>

namespace machine::virtio {

namespace {

// "Feature bits": those of the guest's side, what it takes; of the host's side, what it may send.
constexpr std::uint64_t checksum = 1u << 0, guest_checksum = 1u << 1, guest_tso4 = 1u << 7,
                        guest_tso6 = 1u << 8, guest_ecn = 1u << 9, host_tso4 = 1u << 11,
                        host_tso6 = 1u << 12, host_ecn = 1u << 13, merged_buffers = 1u << 15;

Fd new_event() {
    Fd event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!event) throw std::system_error(errno, std::generic_category(), "eventfd");
    return event;
}

bool took(const Fd &event) {
    eventfd_t count = 0;
    return eventfd_read(event.get(), &count) == 0;
}

} // namespace

VhostNet::VhostNet(EventLoop &loop, std::unique_ptr<net::Vhost> vhost, const net::Mac &mac,
                   Tell tell)
    : loop_(loop),
      vhost_(std::move(vhost)),
      configuration_(net_configuration(mac)),
      tell_(std::move(tell)),
      error_(new_event()) {
    for (unsigned i = 0; i < lines_.size(); ++i) {
        lines_[i].event = new_event();
        lines_[i].watch = loop_.watch(lines_[i].event.get(), EPOLLIN, [this, i](std::uint32_t) {
            if (took(lines_[i].event) && signals_ != nullptr) signals_->queue_used(i);
        });
    }
    error_watch_ = loop_.watch(error_.get(), EPOLLIN, [this](std::uint32_t) {
        if (took(error_)) queues_broken();
    });
}

VhostNet::~VhostNet() {
    stop();
    for (const Line &line : lines_)
        loop_.unwatch(line.watch);
    loop_.unwatch(error_watch_);
}

std::uint64_t VhostNet::features() const {
    return net_features | checksum | guest_checksum | guest_tso4 | guest_tso6 | guest_ecn |
           host_tso4 | host_tso6 | host_ecn | merged_buffers;
}

bool VhostNet::start(Queues &queues, std::uint64_t features, Signals &signals) noexcept {
    const auto has = [features](std::uint64_t feature) { return (features & feature) != 0; };
    signals_ = &signals;
    bool good = vhost_->configure(
        features, {has(guest_checksum), has(guest_tso4), has(guest_tso6), has(guest_ecn)});
    for (unsigned i = 0; good && i < lines_.size(); ++i)
        good = !queues[i]->running() || give(i, *queues[i]);
    if (good) return true;
    failed(vhost_->failure());
    stop();
    return false;
}

bool VhostNet::give(unsigned queue, Queue &of) noexcept {
    Line &line = lines_[queue];
    const HostRings rings = of.host_rings();
    line.call = call_of(queue);
    line.given = vhost_->give(queue, {rings.size, rings.descriptors, rings.driver, rings.device,
                                      of.doorbell(), line.call, error_.get()});
    if (line.given) of.ring(); // what was offered before anybody listened
    return line.given;
}

int VhostNet::call_of(unsigned queue) const noexcept {
    const int event = signals_->event(queue);
    return event >= 0 ? event : lines_[queue].event.get();
}

void VhostNet::take_back() noexcept {
    for (unsigned i = 0; i < lines_.size(); ++i) {
        if (lines_[i].given) vhost_->take_back(i);
        lines_[i].given = false;
    }
}

void VhostNet::stop() noexcept {
    if (signals_ == nullptr) return;
    take_back();
    vhost_->configure(0, {}); // frames that come now are for whichever driver is next
    signals_ = nullptr;
    took(error_); // which was of these queues
}

void VhostNet::events_moved() noexcept {
    for (unsigned i = 0; i < lines_.size(); ++i) {
        Line &line = lines_[i];
        if (!line.given) continue;
        const int call = call_of(i);
        if (line.call == call) continue;
        line.call = call;
        if (!vhost_->call(i, call)) {
            failed(vhost_->failure());
            take_back();
            return signals_->needs_reset();
        }
        eventfd_write(call, 1); // the other one may have had a signal that nobody hears now
    }
}

void VhostNet::queues_broken() noexcept {
    if (signals_ == nullptr) return;
    failed("vhost-net cannot go on with its queues, which wait for the guest's driver");
    take_back();
    signals_->needs_reset();
}

// A guest can make it happen as often as it likes.
void VhostNet::failed(const std::string &what) noexcept {
    if (!told_) tell_("network card: " + what);
    told_ = true;
}

} // namespace machine::virtio
