// SPDX-License-Identifier: GPL-2.0-only
// record.cpp - hwvctl record: a running VM's exits into a file, for hwvctl report, diff and advise.
#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include "hwvctl/capture.hpp"
#include "hwvctl/live.hpp"
#include "records/writer.hpp"

namespace hwvctl {
namespace {

constexpr const char *text = R"(
VM is an id or a name, as hwvctl ls shows them. It runs on: it stands only for the moments in which statistics are read at the beginning
and the end, so that they and the records tell of the same exits. Records are 64 bytes an exit.

examples:
  hwvctl record web -o web.rec --seconds 10
  hwvctl record 3 -o all.rec --lossless          (until Ctrl-C or the VM's end)
  hwvctl record new --wait -o boot.rec --lossless & hwvctl run --name new --kernel vmlinuz
  hwvctl record web -o io.rec --filter 'reason=io,page_fault' --ring 1048576
  hwvctl record web -o web.rec --seconds 1 --json | jq .dropped
)";

po::options_description description() {
    po::options_description d{"usage: hwvctl record VM -o FILE [OPTIONS]\n\noptions", 100};
    d.add_options()("out,o", po::value<std::string>()->value_name("FILE"),
                    "the recording (required)")("json",
                                                "in the end, what it holds as JSON on stdout");
    add_capture(d);
    add_filter(d);
    return d;
}

class Recorder {
  public:
    Recorder(Capture &capture, records::Writer &writer, const records::Filter *filter,
             const CaptureOptions &options, std::uint32_t tsc_khz)
        : capture_{&capture},
          writer_{&writer},
          filter_{filter},
          options_{&options},
          tsc_khz_{tsc_khz} {}

    void run() {
        for (const auto &s : capture_->sources())
            writer_->snapshot(s.ring.vcpu(), records::Phase::begin, capture_->begin_tsc(),
                              s.begin.raw);
        writer_->flush(); // who waits for the file to grow knows that recording is on
        while (capture_->wait(100) && !enough())
            drain();
        capture_->finish();
        drain();
        for (auto &s : capture_->sources()) {
            const hwv::Stats end = s.page.read();
            const hwv::RingCounts ring = s.ring.counts();
            dropped_ += ring.dropped;
            writer_->ring(s.ring.vcpu(), {ring.written, ring.matched, ring.dropped, ring.blocked});
            writer_->snapshot(s.ring.vcpu(), records::Phase::end, end.raw.last_tsc, end.raw);
        }
        capture_->resume();
        writer_->finish();
    }
    std::uint64_t dropped() const { return dropped_; }

  private:
    bool enough() const { return options_->count && writer_->count() >= *options_->count; }
    void drain() {
        for (auto &s : capture_->sources())
            capture_->drain(
                s, [&](std::span<const hwv_record> records) { put(s.ring.vcpu(), records); });
    }
    void put(std::uint32_t vcpu, std::span<const hwv_record> records) {
        if (!filter_) return writer_->records(vcpu, records);
        wanted_.clear();
        std::copy_if(records.begin(), records.end(), std::back_inserter(wanted_),
                     [&](const hwv_record &r) { return filter_->matches(r, tsc_khz_); });
        writer_->records(vcpu, wanted_);
    }

    Capture *capture_;
    records::Writer *writer_;
    const records::Filter *filter_;
    const CaptureOptions *options_;
    std::uint32_t tsc_khz_;
    std::vector<hwv_record> wanted_;
    std::uint64_t dropped_ = 0;
};

} // namespace

int record_command(const Arguments &arguments) {
    const auto values =
        parse_options(arguments, description(), {"VM"}, std::string{filter_help} + text);
    if (!values) return 0;
    const std::string name = required(*values, "VM", "the VM"),
                      path = required(*values, "out", "-o FILE");
    CaptureOptions options = capture_options(*values);
    const records::Filter filter = filter_of(*values);
    options.ring.reasons = filter.reasons();
    const std::unique_ptr<Capture> capture = start_capture(name, options);
    records::Identity identity = identity_of(*capture, options);
    identity.filter = option_text(*values, "filter");
    records::Writer writer{path, identity};
    Recorder recorder{*capture, writer, values->count("filter") ? &filter : nullptr, options,
                      identity.tsc_khz};
    {
        const Progress progress{[&] {
            return fmt::format("{} records, {} MiB; Ctrl-C ends it", writer.count(),
                               writer.bytes() >> 20);
        }};
        recorder.run();
    }
    if (values->count("json"))
        fmt::print("{}\n", json_text({{"file", path},
                                      {"vm", identity.name},
                                      {"records", writer.count()},
                                      {"dropped", recorder.dropped()},
                                      {"bytes", writer.bytes()},
                                      {"ended", capture->ended()}}));
    std::fprintf(stderr, "hwvctl: %s: %lu records, %lu dropped%s\n", path.c_str(), writer.count(),
                 recorder.dropped(), capture->ended() ? "; the VM has ended" : "");
    return 0;
}

} // namespace hwvctl
