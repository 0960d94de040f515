// SPDX-License-Identifier: GPL-2.0-only
// writer.hpp - a recording, written. See recording.hpp for the format.
#pragma once
#include <cstdio>
#include <memory>
#include "records/recording.hpp"

namespace records {

class Writer {
  public:
    // Creates or empties the file. Everything throws hwv::Error where the file system refuses.
    Writer(const std::string &path, const Identity &identity);

    void snapshot(std::uint32_t vcpu, Phase phase, std::uint64_t tsc, const hwv_vcpu_stats &stats);
    void records(std::uint32_t vcpu, std::span<const hwv_record> records);
    void ring(std::uint32_t vcpu, const RingEnd &end);
    void flush();
    void finish(); // nothing may follow

    std::uint64_t count() const { return count_; } // records so far
    std::uint64_t bytes() const { return bytes_; }

  private:
    struct Close {
        void operator()(std::FILE *file) const { std::fclose(file); }
    };
    void put(const void *data, std::size_t bytes);
    void begin(ChunkKind kind, std::uint32_t vcpu, std::size_t bytes);
    void pad(std::size_t bytes);

    std::string path_;
    std::unique_ptr<std::FILE, Close> file_;
    std::uint64_t count_ = 0, bytes_ = 0;
};

} // namespace records
