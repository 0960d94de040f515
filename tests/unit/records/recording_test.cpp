// SPDX-License-Identifier: GPL-2.0-only
#include "records/fixture.hpp"
#include <gmock/gmock.h>
#include "hwv/error.hpp"
#include "records/merge.hpp"

namespace records {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::byte> bytes_of(const std::string &text) {
    const auto *bytes = reinterpret_cast<const std::byte *>(text.data());
    return {bytes, bytes + text.size()};
}

std::string sample() {
    const TemporaryFile file;
    write_sample(file.path());
    return file.text();
}

// What reading says of it; empty: nothing.
std::string complaint(const std::string &text) {
    try {
        const auto bytes = bytes_of(text);
        Recording::parse(bytes, "F");
        return {};
    } catch (const Error &e) {
        return e.what();
    }
}

template <typename T>
std::string with(std::string text, std::size_t at, T value) {
    std::memcpy(text.data() + at, &value, sizeof value);
    return text;
}

TEST(Recording, comes_back_as_written) {
    const TemporaryFile file;
    write_sample(file.path());
    const Recording r = Recording::open(file.path());
    EXPECT_EQ(r.identity().vm, 7u);
    EXPECT_EQ(r.identity().name, "guest");
    EXPECT_EQ(r.identity().tsc_khz, 1'000'000u);
    EXPECT_EQ(r.records(), 6u);
    EXPECT_EQ(r.snapshots().size(), 4u);
    EXPECT_EQ(r.snapshots()[3].stats.exit[HWV_EXIT_IO].to_user, 1u);
    ASSERT_EQ(r.rings().size(), 2u);
    EXPECT_EQ(r.rings()[1].end->matched, 3u);
    EXPECT_FALSE(r.damage());
}

TEST(Recording, merges_vcpus_in_the_order_of_their_exits) {
    const TemporaryFile file;
    write_sample(file.path());
    std::vector<std::pair<unsigned, std::uint64_t>> seen;
    in_order(Recording::open(file.path()),
             [&](const hwv_record &r) { seen.emplace_back(r.vcpu, r.tsc_exit); });
    EXPECT_THAT(seen,
                ElementsAre(std::pair{0u, 1100u}, std::pair{1u, 1150u}, std::pair{0u, 2100u},
                            std::pair{1u, 2150u}, std::pair{0u, 9100u}, std::pair{1u, 9150u}));
}

TEST(Recording, keeps_a_rings_order_whatever_its_times_say) {
    const TemporaryFile file;
    Writer writer{file.path(), an_identity()};
    writer.records(0, numbered({a_record(1, 500), a_record(2, 100), a_record(3, 900)}));
    writer.records(1, numbered({a_record(4, 600)}));
    writer.finish();
    std::vector<unsigned> seen;
    in_order(Recording::open(file.path()), [&](const hwv_record &r) { seen.push_back(r.reason); });
    EXPECT_THAT(seen, ElementsAre(1, 2, 4, 3));
}

TEST(Recording, cut_off_anywhere_gives_what_is_whole_or_says_what_is_missing) {
    const std::string whole = sample();
    // The statistics in it are long and alike.
    for (std::size_t size = 0; size < whole.size(); size += size < 1000 ? 1 : 487) {
        const auto bytes = bytes_of(whole.substr(0, size));
        try {
            const Recording r = Recording::parse(bytes, "F");
            ASSERT_TRUE(r.damage()) << size;
            EXPECT_THAT(*r.damage(), HasSubstr("cut off at byte"));
            EXPECT_LE(r.records(), 6u);
        } catch (const Error &e) {
            EXPECT_THAT(e.what(), HasSubstr("F: ")) << size;
        }
    }
}

TEST(Recording, refuses_other_files_and_versions) {
    EXPECT_THAT(complaint("ELF and so on, long enough"), HasSubstr("not a recording"));
    EXPECT_THAT(complaint(with(sample(), 8, 2u)),
                HasSubstr("format version 2, this hwvctl reads 1"));
    EXPECT_THAT(complaint(with(sample(), 12, 0xfffffff8u)), HasSubstr("file header of 4294967288"));
}

TEST(Recording, refuses_what_contradicts_itself) {
    const std::string whole = sample();
    EXPECT_THAT(complaint(with(whole, 16, 3u)), HasSubstr("does not begin with an identity"));
    EXPECT_THAT(complaint(with(whole, 20, 64u)), HasSubstr("vCPU 64"));
    EXPECT_THAT(complaint(with(whole, whole.size() - 8, std::uint64_t{5})),
                HasSubstr("announces 5 records and has 6"));
    EXPECT_THAT(complaint(whole + whole.substr(whole.size() - 24)), HasSubstr("follows the end"));
    EXPECT_THAT(complaint(with(whole, 32, 'x')), HasSubstr("identity cannot be read"));
}

TEST(Recording, a_size_beyond_the_file_is_a_cut) {
    const std::string whole = sample();
    const auto bytes = bytes_of(with(whole, whole.size() - 16, ~std::uint64_t{0}));
    EXPECT_TRUE(Recording::parse(bytes, "F").damage());
}

TEST(Recording, skips_kinds_that_it_does_not_know) {
    std::string whole = sample();
    const ChunkHeader unknown{99, 0, 3};
    std::string chunk{reinterpret_cast<const char *>(&unknown), sizeof unknown};
    whole.insert(whole.size() - 24, chunk + "abc" + std::string(5, '\0'));
    EXPECT_EQ(complaint(whole), "");
}

TEST(Recording, needs_the_frequency_of_the_tsc) {
    const TemporaryFile file;
    Identity identity = an_identity();
    identity.tsc_khz = 0;
    write_sample(file.path(), identity);
    EXPECT_THAT(complaint(file.text()), HasSubstr("frequency of the TSC"));
}

TEST(Recording, a_file_commands_no_terminal) {
    const TemporaryFile file;
    Identity identity = an_identity();
    identity.name = "a\x1b[2Jb";
    write_sample(file.path(), identity);
    EXPECT_EQ(Recording::open(file.path()).identity().name, "a?[2Jb");
}

TEST(Recording, names_that_are_not_utf8_survive) {
    const TemporaryFile file;
    Identity identity = an_identity();
    identity.name = "a\xff\"b";
    write_sample(file.path(), identity);
    EXPECT_EQ(complaint(file.text()), "");
}

TEST(Recording, absent_files_are_named) {
    EXPECT_THROW(Recording::open("/nonexistent/file"), hwv::Error);
    const TemporaryFile file;
    file.write("");
    EXPECT_THROW(Recording::open(file.path()), Error);
    EXPECT_THROW(Recording::open("/dev/null"), Error);
}

TEST(LiveMerge, holds_back_what_something_older_may_precede) {
    LiveMerge merge;
    std::vector<std::uint64_t> seen;
    const auto visit = [&](const hwv_record &r) { seen.push_back(r.tsc_exit); };
    merge.push(a_record(1, 300));
    merge.push(a_record(1, 100));
    merge.pop(200, visit);
    EXPECT_THAT(seen, ElementsAre(100));
    merge.push(a_record(1, 250));
    merge.drain(visit);
    EXPECT_THAT(seen, ElementsAre(100, 250, 300));
}

} // namespace
} // namespace records
