// SPDX-License-Identifier: GPL-2.0-only
#include "records/output.hpp"
#include <cerrno>
#include <cinttypes>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include "hwv/error.hpp"
#include "hwv/stats.hpp"
#include "records/describe.hpp"

namespace records {
namespace {

// As of the recording's beginning; what exited before it counts from there backwards.
double microseconds(const Identity &identity, std::uint64_t tsc) {
    const auto cycles = static_cast<std::int64_t>(tsc - identity.start_tsc);
    return static_cast<double>(cycles) * 1000.0 / identity.tsc_khz;
}
double duration_us(const Identity &identity, const hwv_record &r) {
    return static_cast<double>(took(r)) * 1000.0 / identity.tsc_khz;
}

std::string quoted(const std::string &text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class Base : public Output {
  public:
    Base(Sink &sink, const Symbols *symbols) : sink_{&sink}, symbols_{symbols} {}
    void begin(const Identity &identity) override { identity_ = identity; }
    void dropped(std::uint32_t, std::uint64_t, std::uint64_t) override {}
    void end() override { sink_->flush(); }

  protected:
    std::string symbol(const hwv_record &r) const {
        return symbols_ ? symbols_->name(r.rip) : std::string{};
    }
    Sink *sink_;
    const Symbols *symbols_;
    Identity identity_;
};

// The columns of `trace-cmd report`: who, where, when, event, details.
class Text final : public Base {
  public:
    using Base::Base;
    void record(const hwv_record &r) override {
        std::string line = prefix(r.vcpu, r.tsc_exit);
        const auto mark = mark_text(r);
        line += mark ? fmt::format("hwv_mark: {}", *mark)
                     : fmt::format("hwv_exit: reason {}", describe(r));
        line += fmt::format(" rip {:#x}", r.rip);
        if (const std::string name = symbol(r); !name.empty()) line += " <" + name + ">";
        line += fmt::format(" cpl {} cr3 {:#x} took {:.3f} us", cpl(r), r.cr3,
                            duration_us(identity_, r));
        if (const std::string flags = describe_flags(r); !flags.empty()) line += " [" + flags + "]";
        sink_->put(line + "\n");
    }
    void dropped(std::uint32_t vcpu, std::uint64_t tsc, std::uint64_t count) override {
        sink_->put(prefix(vcpu, tsc) + fmt::format("hwv_lost: {} records\n", count));
    }

  private:
    std::string prefix(std::uint32_t vcpu, std::uint64_t tsc) const {
        const std::string task = fmt::format(
            "{}-{}", identity_.name.empty() ? fmt::format("vm{}", identity_.vm) : identity_.name,
            identity_.pid);
        return fmt::format("{:>20} [{:03}] {:>15.9f}: ", task, vcpu,
                           microseconds(identity_, tsc) / 1e6);
    }
};

class Csv final : public Base {
  public:
    using Base::Base;
    void begin(const Identity &identity) override {
        Base::begin(identity);
        sink_->put("seconds,vcpu,sequence,reason,key,data,rip,symbol,cr3,cpl,qualification,"
                   "microseconds,flags,tsc_exit,tsc_entry\n");
    }
    void record(const hwv_record &r) override {
        std::string flags = describe_flags(r);
        for (char &c : flags)
            if (c == ',') c = ' ';
        std::string name = symbol(r); // module names bring blanks, nothing brings commas or quotes
        for (char &c : name)
            if (c == ',' || c == '"') c = '_';
        sink_->put(fmt::format(
            "{:.9f},{},{},{},{:#x},{:#x},{:#x},{},{:#x},{},{:#x},{:.3f},{},{},{}\n",
            microseconds(identity_, r.tsc_exit) / 1e6, r.vcpu, r.sequence, hwv::exit_name(r.reason),
            r.key, r.data, r.rip, name, r.cr3, cpl(r), r.qualification, duration_us(identity_, r),
            flags, r.tsc_exit, r.tsc_entry));
    }
};

// One JSON object a line.
class JsonLines final : public Base {
  public:
    using Base::Base;
    void record(const hwv_record &r) override {
        std::string line = fmt::format(
            "{{\"seconds\":{:.9f},\"vcpu\":{},\"sequence\":{},\"reason\":\"{}\",\"key\":{},"
            "\"data\":{},\"rip\":{},\"cr3\":{},\"cpl\":{},\"qualification\":{},"
            "\"microseconds\":{:.3f},\"flags\":\"{}\"",
            microseconds(identity_, r.tsc_exit) / 1e6, r.vcpu, r.sequence, hwv::exit_name(r.reason),
            r.key, r.data, r.rip, r.cr3, cpl(r), r.qualification, duration_us(identity_, r),
            describe_flags(r));
        if (const std::string name = symbol(r); !name.empty())
            line += ",\"symbol\":" + quoted(name);
        if (const auto mark = mark_text(r)) line += ",\"mark\":" + quoted(*mark);
        sink_->put(line + "}\n");
    }
    void dropped(std::uint32_t vcpu, std::uint64_t, std::uint64_t count) override {
        sink_->put(fmt::format("{{\"vcpu\":{},\"lost\":{}}}\n", vcpu, count));
    }
};

// Chrome's trace event format, "JSON Object Format": what ui.perfetto.dev and chrome://tracing
// open. A vCPU is a thread, an exit a slice.
class Perfetto final : public Base {
  public:
    using Base::Base;
    void begin(const Identity &identity) override {
        Base::begin(identity);
        const std::string name =
            identity.name.empty() ? fmt::format("VM {}", identity.vm) : identity.name;
        sink_->put("{\"displayTimeUnit\":\"ns\",\"otherData\":" + to_json(identity) +
                   ",\"traceEvents\":[\n");
        event(
            fmt::format("\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{{\"name\":{}}}",
                        quoted(name)));
    }
    void record(const hwv_record &r) override {
        name_thread(r.vcpu);
        if (const auto mark = mark_text(r))
            event(fmt::format("\"ph\":\"i\",\"s\":\"p\",\"cat\":\"mark\",\"pid\":1,\"tid\":{},"
                              "\"ts\":{:.3f},\"name\":{}",
                              r.vcpu, microseconds(identity_, r.tsc_exit), quoted(*mark)));
        std::string args = fmt::format("\"rip\":\"{:#x}\",\"cr3\":\"{:#x}\",\"cpl\":{},"
                                       "\"qualification\":\"{:#x}\",\"sequence\":{}",
                                       r.rip, r.cr3, cpl(r), r.qualification, r.sequence);
        for (const auto &[key, text] :
             {std::pair{"key", describe_key(r.reason, r.key)}, std::pair{"data", describe_data(r)},
              std::pair{"symbol", symbol(r)}, std::pair{"flags", describe_flags(r)}})
            if (!text.empty()) args += fmt::format(",\"{}\":{}", key, quoted(text));
        event(fmt::format("\"ph\":\"X\",\"cat\":\"exit\",\"pid\":1,\"tid\":{},\"ts\":{:.3f},"
                          "\"dur\":{:.3f},\"name\":\"{}\",\"args\":{{{}}}",
                          r.vcpu, microseconds(identity_, r.tsc_exit), duration_us(identity_, r),
                          hwv::exit_name(r.reason), args));
    }
    void dropped(std::uint32_t vcpu, std::uint64_t tsc, std::uint64_t count) override {
        event(fmt::format("\"ph\":\"i\",\"s\":\"t\",\"cat\":\"lost\",\"pid\":1,\"tid\":{},"
                          "\"ts\":{:.3f},\"name\":\"{} records lost\"",
                          vcpu, microseconds(identity_, tsc), count));
    }
    void end() override {
        sink_->put("\n]}\n");
        Base::end();
    }

  private:
    void event(const std::string &members) {
        sink_->put((std::exchange(first_, false) ? "{" : ",\n{") + members + "}");
    }
    void name_thread(std::uint32_t vcpu) {
        if (vcpu >= HWV_MAX_VCPUS || named_ >> vcpu & 1) return;
        named_ |= 1ull << vcpu;
        event(fmt::format("\"ph\":\"M\",\"pid\":1,\"tid\":{0},\"name\":\"thread_name\","
                          "\"args\":{{\"name\":\"vCPU {0}\"}}",
                          vcpu));
    }
    bool first_ = true;
    std::uint64_t named_ = 0;
};

} // namespace

Sink::Sink(const std::string &path)
    : path_{path.empty() || path == "-" ? "standard output" : "'" + path + "'"},
      file_{path.empty() || path == "-" ? stdout : std::fopen(path.c_str(), "we")} {
    if (!file_) hwv::fail("create " + path_);
}

Sink::~Sink() {
    if (file_ == stdout)
        std::fflush(file_);
    else
        std::fclose(file_);
}

void Sink::check() {
    if (errno != EPIPE) hwv::fail("write " + path_);
    gone_ = true;
}

void Sink::put(const std::string &text) {
    if (!gone_ && std::fwrite(text.data(), 1, text.size(), file_) != text.size()) check();
}

void Sink::flush() {
    if (!gone_ && std::fflush(file_) != 0) check();
}

bool Sink::terminal() const { return ::isatty(::fileno(file_)); }

std::unique_ptr<Output> make_output(const std::string &format, Sink &sink, const Symbols *symbols) {
    if (format == "text") return std::make_unique<Text>(sink, symbols);
    if (format == "csv") return std::make_unique<Csv>(sink, symbols);
    if (format == "json") return std::make_unique<JsonLines>(sink, symbols);
    if (format == "perfetto") return std::make_unique<Perfetto>(sink, symbols);
    return nullptr;
}

} // namespace records
