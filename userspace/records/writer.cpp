// SPDX-License-Identifier: GPL-2.0-only
#include "records/writer.hpp"
#include <cstring>
#include "hwv/error.hpp"

namespace records {

Writer::Writer(const std::string &path, const Identity &identity)
    : path_{path}, file_{std::fopen(path.c_str(), "wbe")} {
    if (!file_) hwv::fail("create the recording '" + path + "'");
    std::setvbuf(file_.get(), nullptr, _IOFBF, 1 << 20);
    FileHeader header{{}, version, sizeof header};
    std::memcpy(header.magic, magic, sizeof magic);
    put(&header, sizeof header);
    const std::string json = to_json(identity);
    begin(ChunkKind::identity, 0, json.size());
    put(json.data(), json.size());
    pad(json.size());
}

void Writer::put(const void *data, std::size_t bytes) {
    if (std::fwrite(data, 1, bytes, file_.get()) != bytes)
        hwv::fail("write the recording '" + path_ + "'");
    bytes_ += bytes;
}

void Writer::begin(ChunkKind kind, std::uint32_t vcpu, std::size_t bytes) {
    const ChunkHeader header{static_cast<std::uint32_t>(kind), vcpu, bytes};
    put(&header, sizeof header);
}

void Writer::pad(std::size_t bytes) {
    constexpr char zeros[8] = {};
    put(zeros, -bytes & 7);
}

void Writer::snapshot(std::uint32_t vcpu, Phase phase, std::uint64_t tsc,
                      const hwv_vcpu_stats &stats) {
    const SnapshotHeader header{phase, tsc};
    begin(ChunkKind::snapshot, vcpu, sizeof header + sizeof stats);
    put(&header, sizeof header);
    put(&stats, sizeof stats);
}

void Writer::records(std::uint32_t vcpu, std::span<const hwv_record> records) {
    if (records.empty()) return;
    begin(ChunkKind::records, vcpu, records.size_bytes());
    put(records.data(), records.size_bytes());
    count_ += records.size();
}

void Writer::ring(std::uint32_t vcpu, const RingEnd &end) {
    begin(ChunkKind::ring, vcpu, sizeof end);
    put(&end, sizeof end);
}

void Writer::finish() {
    begin(ChunkKind::end, 0, sizeof count_);
    put(&count_, sizeof count_);
    flush();
}

void Writer::flush() {
    if (std::fflush(file_.get()) != 0) hwv::fail("write the recording '" + path_ + "'");
}

} // namespace records
