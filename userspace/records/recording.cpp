// SPDX-License-Identifier: GPL-2.0-only
#include "records/recording.hpp"
#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include "hwv/error.hpp"

namespace records {
namespace {

constexpr std::size_t most_identity = 64 << 10; // bytes: more is no description

template <typename T>
T load(std::span<const std::byte> bytes) {
    T out;
    std::memcpy(&out, bytes.data(), sizeof out);
    return out;
}

std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

hwv::Mapping map_file(const std::string &path) {
    const hwv::Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) < 0) hwv::fail("open the recording '" + path + "'");
    if (!S_ISREG(status.st_mode)) throw Error{path + ": not a regular file"};
    if (status.st_size == 0) throw Error{path + ": empty: no recording was written to it"};
    const auto bytes = static_cast<std::size_t>(status.st_size);
    void *at = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (at == MAP_FAILED) hwv::fail("map the recording '" + path + "'");
    return {at, bytes};
}

} // namespace

Recording Recording::open(const std::string &path) {
    Recording out;
    out.name_ = path;
    out.mapping_ = map_file(path);
    out.read({static_cast<const std::byte *>(out.mapping_.data()), out.mapping_.size()});
    return out;
}

Recording Recording::parse(std::span<const std::byte> bytes, const std::string &name) {
    Recording out;
    out.name_ = name;
    out.read(bytes);
    return out;
}

void Recording::refuse(std::size_t at, const std::string &why) const {
    throw Error{name_ + ": byte " + std::to_string(at) + ": " + why};
}

void Recording::read(std::span<const std::byte> bytes) {
    if (bytes.size() < sizeof(FileHeader) || std::memcmp(bytes.data(), magic, sizeof magic) != 0)
        throw Error{name_ + ": not a recording of hwvctl record"};
    const auto header = load<FileHeader>(bytes);
    if (header.version != version)
        throw Error{name_ + ": format version " + std::to_string(header.version) +
                    ", this hwvctl reads " + std::to_string(version) +
                    ": use the hwvctl that wrote it"};
    if (header.bytes < sizeof header || header.bytes % 8 || header.bytes > bytes.size())
        refuse(12, "a file header of " + std::to_string(header.bytes) + " bytes");
    std::size_t at = header.bytes;
    while (bytes.size() - at >= sizeof(ChunkHeader)) {
        const auto next = load<ChunkHeader>(bytes.subspan(at));
        const std::size_t left = bytes.size() - at - sizeof next;
        if (next.bytes > left) break;
        chunk(next, bytes.subspan(at + sizeof next, next.bytes), at);
        at += sizeof next + std::min<std::size_t>(left, (next.bytes + 7) & ~std::uint64_t{7});
    }
    if (!identified_) refuse(at, "cut off before it says what was recorded");
    if (at != bytes.size() || !announced_)
        damage_ = "cut off at byte " + std::to_string(at) + ": the recorder did not finish; " +
                  std::to_string(records()) + " records are whole";
    else if (*announced_ != records())
        refuse(at, "it announces " + std::to_string(*announced_) + " records and has " +
                       std::to_string(records()));
}

void Recording::chunk(const ChunkHeader &header, std::span<const std::byte> payload,
                      std::size_t at) {
    const auto kind = static_cast<ChunkKind>(header.kind);
    if (identified_ == (kind == ChunkKind::identity))
        refuse(at, identified_ ? "a second identity" : "it does not begin with an identity");
    if (header.vcpu >= HWV_MAX_VCPUS) refuse(at, "vCPU " + std::to_string(header.vcpu));
    if (announced_) refuse(at, "something follows the end");
    switch (kind) {
    case ChunkKind::identity:
        if (payload.size() > most_identity) refuse(at, "an identity of more than 64 KiB");
        try {
            identity_ = identity_from_json(text(payload));
        } catch (const std::exception &e) {
            refuse(at, std::string{"its identity cannot be read: "} + e.what());
        }
        if (!identity_.tsc_khz) refuse(at, "it does not tell the frequency of the TSC");
        identified_ = true;
        break;
    case ChunkKind::snapshot: read_snapshot(header, payload, at); break;
    case ChunkKind::records:
        if (payload.size() % sizeof(hwv_record)) refuse(at, "records that are not of 64 bytes");
        ring(header.vcpu).pieces.push_back(payload);
        ring(header.vcpu).records += payload.size() / sizeof(hwv_record);
        break;
    case ChunkKind::ring:
        if (payload.size() != sizeof(RingEnd)) refuse(at, "a ring's end of another size");
        ring(header.vcpu).end = load<RingEnd>(payload);
        break;
    case ChunkKind::end:
        if (payload.size() != sizeof(std::uint64_t)) refuse(at, "an end of another size");
        announced_ = load<std::uint64_t>(payload);
        break;
    }
}

void Recording::read_snapshot(const ChunkHeader &header, std::span<const std::byte> payload,
                              std::size_t at) {
    if (payload.size() != sizeof(SnapshotHeader) + sizeof(hwv_vcpu_stats))
        refuse(at, "statistics of another size");
    const auto head = load<SnapshotHeader>(payload);
    Snapshot out{header.vcpu, head.phase, head.tsc,
                 load<hwv_vcpu_stats>(payload.subspan(sizeof head))};
    if (head.phase != Phase::begin && head.phase != Phase::end)
        refuse(at, "statistics of an unknown phase");
    if (out.stats.version != HWV_STATS_VERSION || out.stats.reasons != HWV_EXIT_CPU_REASONS)
        refuse(at, "statistics of version " + std::to_string(out.stats.version));
    if (snapshots_.size() >= 2 * HWV_MAX_VCPUS) refuse(at, "too many statistics");
    snapshots_.push_back(out);
}

Ring &Recording::ring(std::uint32_t vcpu) {
    auto at = std::lower_bound(rings_.begin(), rings_.end(), vcpu,
                               [](const Ring &r, std::uint32_t v) { return r.vcpu < v; });
    if (at == rings_.end() || at->vcpu != vcpu) {
        at = rings_.emplace(at);
        at->vcpu = vcpu;
    }
    return *at;
}

std::uint64_t Recording::records() const {
    std::uint64_t sum = 0;
    for (const Ring &r : rings_)
        sum += r.records;
    return sum;
}

} // namespace records
