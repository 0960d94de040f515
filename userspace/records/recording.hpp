// SPDX-License-Identifier: GPL-2.0-only
// recording.hpp - a file of exit records, read. All of it may be hostile: every size is checked
// before use.
//
// The file, version 1; numbers are little-endian:
//   file  := "hwv-rec\n", u32 version, u32 bytes of this header (16), chunk...
//   chunk := u32 kind, u32 vCPU (0 where none is meant), u64 bytes, so many bytes, zeros up to a
//   multiple of 8
// Kinds, see enum ChunkKind:
//   identity  a JSON object: what was watched, where and how (struct Identity); the first chunk
//   snapshot  struct SnapshotHeader, struct hwv_vcpu_stats as the kernel maps it; when the
//   recording began and when it ended records   struct hwv_record..., of one vCPU in the order of
//   its ring ring      struct RingEnd: what became of a vCPU's ring; once, after its last records
//   end       u64: records in the file. Its absence says that the recorder was cut off
// Readers skip kinds that they do not know; what changes the meaning of the known ones changes the
// version.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>
#include "hwv.h"
#include "hwv/fd.hpp"

namespace records {

// A file that cannot be used: says which, where in it, and why.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline constexpr char magic[8] = {'h', 'w', 'v', '-', 'r', 'e', 'c', '\n'};
inline constexpr std::uint32_t version = 1;

enum class ChunkKind : std::uint32_t { identity = 1, snapshot = 2, records = 3, ring = 4, end = 5 };

struct FileHeader {
    char magic[8];
    std::uint32_t version;
    std::uint32_t bytes;
};
struct ChunkHeader {
    std::uint32_t kind;
    std::uint32_t vcpu;
    std::uint64_t bytes;
};
enum class Phase : std::uint64_t { begin = 0, end = 1 };
struct SnapshotHeader {
    Phase phase;
    std::uint64_t tsc;
};
// The counters of struct hwv_ring when it was closed.
struct RingEnd {
    std::uint64_t head, matched, dropped, blocked;
};
static_assert(sizeof(FileHeader) == 16 && sizeof(ChunkHeader) == 16 && sizeof(RingEnd) == 32);

struct Identity {
    std::uint64_t vm = 0;
    std::string name;
    std::uint32_t pid = 0;
    std::uint32_t tsc_khz = 0;
    std::uint64_t start_tsc = 0;
    std::string started; // date and time, UTC
    std::string host;    // name and release of its kernel
    std::string cpu;     // model name
    bool lossless = false;
    std::uint32_t every = 1; // one record of so many exits
    std::uint64_t reasons = ~0ull;
    std::string filter;
};

struct Snapshot {
    std::uint32_t vcpu;
    Phase phase;
    std::uint64_t tsc;
    hwv_vcpu_stats stats;
};

// What one vCPU's ring gave.
struct Ring {
    std::uint32_t vcpu = 0;
    std::uint64_t records = 0;
    std::vector<std::span<const std::byte>> pieces;
    std::optional<RingEnd> end;
};

class Recording {
  public:
    // Both throw Error. The bytes stay the caller's; `name` is for messages.
    static Recording open(const std::string &path);
    static Recording parse(std::span<const std::byte> bytes, const std::string &name);

    const std::string &name() const { return name_; }
    const Identity &identity() const { return identity_; }
    const std::vector<Ring> &rings() const { return rings_; } // by vCPU
    const std::vector<Snapshot> &snapshots() const { return snapshots_; }
    std::uint64_t records() const;
    // The recorder was cut off: what is whole can be read; says what is missing.
    const std::optional<std::string> &damage() const { return damage_; }

  private:
    void read(std::span<const std::byte> bytes);
    void chunk(const ChunkHeader &header, std::span<const std::byte> payload, std::size_t at);
    void read_snapshot(const ChunkHeader &header, std::span<const std::byte> payload,
                       std::size_t at);
    Ring &ring(std::uint32_t vcpu);
    [[noreturn]] void refuse(std::size_t at, const std::string &why) const;

    std::string name_;
    hwv::Mapping mapping_;
    Identity identity_;
    bool identified_ = false;
    std::vector<Ring> rings_;
    std::vector<Snapshot> snapshots_;
    std::optional<std::uint64_t> announced_;
    std::optional<std::string> damage_;
};

// What a terminal takes for more than text becomes '?'.
std::string harmless(std::string text);

// The identity as the file has it. from_json throws std::exception on anything else.
std::string to_json(const Identity &identity);
Identity identity_from_json(const std::string &text);

} // namespace records
