// SPDX-License-Identifier: GPL-2.0-only
// capture.hpp - the exits of a running VM, from a moment at which all its vCPUs stand to another
// one: statistics at both, and each record in between.
#pragma once
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>
#include "hwv/observer.hpp"
#include "hwvctl/record_options.hpp"

namespace hwvctl {

// --ring, --lossless, --every, --seconds, --count, --wait.
struct CaptureOptions {
    hwv::RingOptions ring;
    std::optional<double> seconds;
    std::optional<std::uint64_t> count;
    bool wait = false; // until there is such a VM
};
void add_capture(po::options_description &options);
CaptureOptions capture_options(const po::variables_map &values);

class Capture {
  public:
    // The VM stands while statistics are read and rings opened.
    Capture(const hwv_vm_entry &vm, const CaptureOptions &options);

    struct Source {
        hwv::StatsPage page;
        hwv::Stats begin;
        hwv::Ring ring;
    };
    std::vector<Source> &sources() { return sources_; }
    const hwv_vm_entry &vm() const { return vm_; }
    std::uint64_t begin_tsc() const { return begin_tsc_; }

    // `take(std::span<const hwv_record>)` gets what the source's ring holds, in its order.
    template <typename Take>
    void drain(Source &source, Take take) {
        for (std::uint64_t left = source.ring.waiting();
             left;) { // and no more: it may fill for ever
            const auto room = std::span{room_}.first(std::min<std::uint64_t>(left, room_.size()));
            const std::size_t count = source.ring.read(room);
            if (!count) break;
            take(std::span<const hwv_record>{room.first(count)});
            left -= count;
        }
    }
    // Sleeps until there may be something; false: it is time to finish (--seconds, SIGINT, SIGTERM,
    // the VM's end).
    bool wait(int milliseconds);
    // After the last wait: the VM stands until resume(), or has ended.
    void finish();
    void resume();
    bool ended() const { return ended_; }

  private:
    hwv_vm_entry vm_;
    std::vector<hwv_record> room_{1 << 12};
    hwv::Observer observer_;
    CaptureOptions options_;
    std::vector<Source> sources_;
    std::uint64_t begin_tsc_ = 0;
    std::chrono::steady_clock::time_point until_;
    bool ended_ = false, paused_ = false;
};

// Of the VM of that id or name.
std::unique_ptr<Capture> start_capture(const std::string &vm, const CaptureOptions &options);

// What a recording says of itself.
records::Identity identity_of(const Capture &capture, const CaptureOptions &options);

} // namespace hwvctl
