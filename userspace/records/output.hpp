// SPDX-License-Identifier: GPL-2.0-only
// output.hpp - records one after the other, as text, CSV, JSON lines or a Chrome trace.
#pragma once
#include <cstdio>
#include <memory>
#include <string>
#include "records/recording.hpp"
#include "records/symbols.hpp"

namespace records {

// Where it goes. A reader that has gone (EPIPE) is not an error: nothing more is written, `gone`
// says so.
class Sink {
  public:
    // Empty or "-": standard output. Throws hwv::Error.
    explicit Sink(const std::string &path);
    ~Sink();
    Sink(const Sink &) = delete;
    Sink &operator=(const Sink &) = delete;
    void put(const std::string &text);
    void flush();
    bool gone() const { return gone_; }
    bool terminal() const;

  private:
    void check();
    std::string path_;
    std::FILE *file_;
    bool gone_ = false;
};

class Output {
  public:
    virtual ~Output() = default;
    virtual void begin(const Identity &identity) = 0;
    virtual void record(const hwv_record &record) = 0;
    // Records that the ring of a vCPU could not take.
    virtual void dropped(std::uint32_t vcpu, std::uint64_t tsc, std::uint64_t count) = 0;
    virtual void end() = 0;
};

inline constexpr const char *formats = "text, perfetto, csv, json";

// nullptr: no such format. `symbols` may be null and must outlive the output.
std::unique_ptr<Output> make_output(const std::string &format, Sink &sink, const Symbols *symbols);

} // namespace records
