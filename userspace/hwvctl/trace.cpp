// SPDX-License-Identifier: GPL-2.0-only
// trace.cpp - hwvctl trace: a running VM's exits as they happen.
#include <algorithm>
#include <cstdio>
#include <map>
#include <x86intrin.h>
#include "hwvctl/capture.hpp"
#include "records/merge.hpp"
#include "records/output.hpp"

namespace hwvctl {
namespace {

constexpr const char *text = R"(
VM is an id or a name, as hwvctl ls shows them. What a slow reader makes the ring lose is counted and told; --lossless has the VM wait instead.

examples:
  hwvctl trace web | head -100
  hwvctl trace web --filter 'reason=io key=0x3f8-0x3ff cpl=0'
  hwvctl trace web --filter 'took>100us !halted' --symbols guest-kallsyms --kaslr-offset 0
  hwvctl trace web --format perfetto --out web.json --seconds 5     (open it at ui.perfetto.dev)
)";

po::options_description description() {
    po::options_description d{"usage: hwvctl trace VM [OPTIONS]\n\noptions", 100};
    auto add = d.add_options();
    add("out,o", po::value<std::string>()->value_name("FILE"),
        "write there, not to standard output");
    add("format", po::value<std::string>()->default_value("text")->value_name("FORMAT"),
        "text, perfetto, csv, json (one object a line)");
    add("json", "the same as --format json");
    add_capture(d);
    add_filter(d);
    add_symbols(d);
    return d;
}

// An exit is on record when it is over: one that began earlier may come later, by as much as exits
// usually take.
constexpr int tick_ms = 50;

// Symbols whose slide is not known before some exits have been seen: no names until then.
class Names {
  public:
    explicit Names(const po::variables_map &values) : loaded_{symbols_of(values, nullptr)} {
        if (!loaded_) return;
        known_ = values.count("kaslr-offset");
        if (known_) shown_ = *loaded_;
    }
    const records::Symbols *symbols() const { return loaded_ ? &shown_ : nullptr; }
    void see(const hwv_record &r) {
        constexpr std::size_t enough = 1000;
        if (loaded_ && !known_ && sites_.size() < enough)
            grown_ |= sites_.emplace(r.rip, r.reason).second;
    }
    void look() {
        if (!grown_) return;
        grown_ = false;
        std::vector<records::ExitSite> all;
        for (const auto &[rip, reason] : sites_)
            all.push_back({reason, rip, 1});
        const auto guess = loaded_->guess_slide(all);
        if (!guess) return;
        known_ = true;
        loaded_->set_slide(guess->slide);
        shown_ = *loaded_;
    }

  private:
    std::optional<records::Symbols> loaded_;
    records::Symbols shown_;
    std::map<std::uint64_t, unsigned> sites_; // reason by RIP
    bool known_ = false, grown_ = false;
};

class Tracer {
  public:
    Tracer(Capture &capture, records::Output &output, records::Sink &sink,
           const records::Filter &filter, Names &names, const CaptureOptions &options,
           std::uint32_t tsc_khz)
        : capture_{&capture},
          output_{&output},
          sink_{&sink},
          filter_{&filter},
          names_{&names},
          options_{&options},
          tsc_khz_{tsc_khz},
          dropped_(HWV_MAX_VCPUS) {}

    void run() {
        sink_->flush(); // who waits for the file to grow knows that tracing is on
        bool more = true;
        while (more && !enough() && !sink_->gone()) {
            more = capture_->wait(tick_ms);
            if (!more) capture_->finish();
            const std::uint64_t now = __rdtsc();
            drain(now);
            names_->look();
            merge_.pop(now - std::min(now, std::uint64_t{tsc_khz_} * tick_ms),
                       [&](const hwv_record &r) { show(r); });
            sink_->flush();
        }
        merge_.drain([&](const hwv_record &r) { show(r); });
        output_->end();
        capture_->resume();
    }

  private:
    bool enough() const { return options_->count && shown_ >= *options_->count; }
    void drain(std::uint64_t now) {
        for (auto &s : capture_->sources()) {
            capture_->drain(s, [&](std::span<const hwv_record> records) {
                for (const hwv_record &r : records) {
                    names_->see(r);
                    if (filter_->matches(r, tsc_khz_)) merge_.push(r);
                }
            });
            std::uint64_t &told = dropped_[s.ring.vcpu()];
            const std::uint64_t dropped = s.ring.counts().dropped;
            if (dropped != told) output_->dropped(s.ring.vcpu(), now, dropped - told);
            told = dropped;
        }
    }
    void show(const hwv_record &r) {
        if (enough()) return;
        output_->record(r);
        ++shown_;
    }

    Capture *capture_;
    records::Output *output_;
    records::Sink *sink_;
    const records::Filter *filter_;
    Names *names_;
    const CaptureOptions *options_;
    std::uint32_t tsc_khz_;
    records::LiveMerge merge_;
    std::vector<std::uint64_t> dropped_;
    std::uint64_t shown_ = 0;
};

} // namespace

int trace_command(const Arguments &arguments) {
    const auto values =
        parse_options(arguments, description(), {"VM"}, std::string{filter_help} + text);
    if (!values) return 0;
    const std::string name = required(*values, "VM", "the VM");
    CaptureOptions options = capture_options(*values);
    const records::Filter filter = filter_of(*values);
    options.ring.reasons = filter.reasons();
    const std::string format = values->count("json") ? "json" : option_text(*values, "format");
    Names names{*values};
    records::Sink sink{option_text(*values, "out")};
    const auto output = records::make_output(format, sink, names.symbols());
    if (!output) throw UsageError{"--format: '" + format + "' is none of " + records::formats};
    const std::unique_ptr<Capture> capture = start_capture(name, options);
    const records::Identity identity = identity_of(*capture, options);
    output->begin(identity);
    Tracer{*capture, *output, sink, filter, names, options, identity.tsc_khz}.run();
    return 0;
}

} // namespace hwvctl
