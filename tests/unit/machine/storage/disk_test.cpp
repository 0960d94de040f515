// SPDX-License-Identifier: GPL-2.0-only
#include "machine/storage/nbd.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <stdexcept>
#include <unistd.h>
#include <vector>

namespace machine::storage {
namespace {

using namespace std::chrono_literals;

class DiskTest : public testing::Test {
  protected:
    DiskTest() {
        const int file = mkstemp(path_.data());
        content_.resize(64 * 1024 + 512);
        for (std::size_t i = 0; i < content_.size(); ++i)
            content_[i] = static_cast<char>('a' + i / 512 % 26);
        EXPECT_EQ(::write(file, content_.data(), content_.size()), ssize_t(content_.size()));
        ::close(file);
    }
    ~DiskTest() override { std::remove(path_.c_str()); }
    DiskOptions options(const std::string &more = {}) { return parse_disk(path_ + more); }
    std::string file_now() {
        std::string bytes(content_.size(), ' ');
        std::FILE *file = std::fopen(path_.c_str(), "r");
        EXPECT_EQ(std::fread(bytes.data(), 1, bytes.size(), file), bytes.size());
        std::fclose(file);
        return bytes;
    }
    static std::string read(Disk &disk, std::uint64_t offset, std::size_t count) {
        std::string bytes(count, ' ');
        const std::size_t half = count / 2;
        const iovec segments[] = {{bytes.data(), half}, {bytes.data() + half, count - half}};
        EXPECT_EQ(disk.read(segments, offset), 0);
        return bytes;
    }
    static int write(Disk &disk, std::uint64_t offset, std::string bytes) {
        const std::size_t third = bytes.size() / 3;
        const iovec segments[] = {{bytes.data(), third},
                                  {bytes.data() + third, bytes.size() - third}};
        return disk.write(segments, offset);
    }

    std::string path_ = testing::TempDir() + "hwv-disk-XXXXXX";
    std::string content_;
};

TEST_F(DiskTest, OptionsAreTakenApart) {
    const auto all = parse_disk("/a/b,ro,format=raw,serial=abc,queues=4,aio=threads");
    EXPECT_EQ(all.path, "/a/b");
    EXPECT_EQ(all.access, DiskOptions::Access::read_only);
    EXPECT_EQ(all.format, "raw");
    EXPECT_EQ(parse_disk("a,format=qcow2").format, "qcow2");
    EXPECT_EQ(all.serial, "abc");
    EXPECT_EQ(all.queues, 4u);
    EXPECT_FALSE(all.io_uring);
    for (const char *bad : {"", ",ro", "a,", "a,rw", "a,ro,cow", "a,format=tar",
                            "nbd://a,format=raw", "a,queues=0", "a,queues=17", "a,queues=1x",
                            "a,aio=native", "a,serial=123456789012345678901", "a,color=red"})
        EXPECT_THROW(parse_disk(bad), std::invalid_argument) << bad;
}

TEST_F(DiskTest, WritesReachTheFile) {
    const auto disk = open_disk(options());
    EXPECT_EQ(disk->bytes(), content_.size());
    EXPECT_EQ(read(*disk, 512, 1024), content_.substr(512, 1024));
    EXPECT_EQ(write(*disk, 1024, std::string(1024, 'X')), 0);
    EXPECT_EQ(disk->flush(), 0);
    content_.replace(1024, 1024, 1024, 'X');
    EXPECT_EQ(file_now(), content_);
    for (const bool unmap : {false, true}) {
        EXPECT_EQ(write(*disk, 512, std::string(8192, 'Y')), 0);
        EXPECT_EQ(disk->write_zeroes(1024, 4096, unmap), 0);
        EXPECT_EQ(read(*disk, 1024, 4096), std::string(4096, '\0'));
        EXPECT_EQ(read(*disk, 512, 512), std::string(512, 'Y'));
        EXPECT_EQ(read(*disk, 5120, 512), std::string(512, 'Y'));
    }
    EXPECT_EQ(disk->discard(0, content_.size()), 0);
    EXPECT_EQ(file_now().size(), content_.size());
}

TEST_F(DiskTest, OverlaysTakeWhatIsWrittenAndLeaveTheFile) {
    auto expected = content_;
    {
        const auto disk = open_disk(options(",cow"));
        EXPECT_FALSE(disk->read_only());
        std::mt19937 random(7);
        for (unsigned round = 0; round < 300; ++round) {
            const std::uint64_t offset = random() % 128 * 512;
            const std::size_t count = std::min(1 + random() % 20, 129 - offset / 512) * 512;
            const char letter = static_cast<char>('A' + round % 26);
            if (round % 7 == 0) {
                EXPECT_EQ(disk->write_zeroes(offset, count, true), 0);
                expected.replace(offset, count, count, '\0');
            } else {
                EXPECT_EQ(write(*disk, offset, std::string(count, letter)), 0);
                expected.replace(offset, count, count, letter);
            }
            ASSERT_EQ(read(*disk, 0, content_.size()), expected);
        }
    }
    EXPECT_EQ(file_now(), content_);
}

TEST_F(DiskTest, OneWriterOrManyReaders) {
    {
        const auto writer = open_disk(options());
        EXPECT_THROW(open_disk(options()), std::runtime_error);
        EXPECT_THROW(open_disk(options(",ro")), std::runtime_error);
        EXPECT_THROW(open_disk(options(",cow")), std::runtime_error);
    }
    const auto one = open_disk(options(",ro"));
    const auto two = open_disk(options(",cow"));
    EXPECT_TRUE(one->read_only());
    EXPECT_THROW(open_disk(options()), std::runtime_error);
    EXPECT_EQ(write(*one, 0, std::string(512, 'Z')), EBADF);
    EXPECT_EQ(file_now(), content_);
}

TEST_F(DiskTest, RefusesWhatIsNoDisk) {
    EXPECT_THROW(open_disk(parse_disk("/nowhere/at/all")), std::runtime_error);
    EXPECT_THROW(open_disk(parse_disk("/dev/null,ro")), std::runtime_error);
    EXPECT_THROW(open_disk(parse_disk(testing::TempDir() + ",ro")), std::runtime_error);
    ASSERT_EQ(truncate(path_.c_str(), 1000), 0);
    EXPECT_THROW(open_disk(options()), std::runtime_error);
}

std::string refusal(const DiskOptions &options) {
    try {
        open_disk(options);
    } catch (const std::runtime_error &e) {
        return e.what();
    }
    return {};
}

// A guest may have written its beginning.
TEST_F(DiskTest, AnImageIsTakenForNoneUnlessSomebodySaysSo) {
    const int file = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(::pwrite(file, "QFI\xfb", 4, 0), 4);
    ::close(file);
    EXPECT_NE(refusal(options()).find("say format=qcow2"), std::string::npos);
    EXPECT_EQ(open_disk(options(",format=raw"))->bytes(), content_.size());
}

// Of a format, by a child of our own.
class ImageTest : public testing::Test {
  protected:
    ImageTest() {
        const std::string make = "qemu-img create -q -f qcow2 " + path_ + " 4M";
        EXPECT_EQ(std::system(make.c_str()), 0);
    }
    ~ImageTest() override { std::remove(path_.c_str()); }
    static std::string read(Disk &disk, std::uint64_t offset, std::size_t count) {
        std::string bytes(count, ' ');
        const iovec segments[] = {{bytes.data(), 512}, {bytes.data() + 512, count - 512}};
        EXPECT_EQ(disk.read(segments, offset), 0);
        return bytes;
    }
    // The only child.
    static bool stop_server() {
        std::ifstream children{"/proc/thread-self/children"};
        pid_t child = 0;
        return children >> child && ::kill(child, SIGSTOP) == 0;
    }

    std::string path_ = testing::TempDir() + "hwv-image-" + std::to_string(::getpid());
};

TEST_F(ImageTest, KeepsWhatIsWritten) {
    std::string written(1 << 20, 'w');
    {
        const auto disk = open_disk(parse_disk(path_ + ",format=qcow2"));
        EXPECT_EQ(disk->bytes(), 4u << 20);
        std::vector<iovec> segments; // more than are under way at once
        for (std::size_t at = 0; at < written.size(); at += 4096)
            segments.push_back({written.data() + at, 4096});
        EXPECT_EQ(disk->write(segments, 512), 0);
        EXPECT_EQ(disk->write_zeroes(1024, 1024, true), 0);
        EXPECT_EQ(disk->discard(2 << 20, 1 << 20), 0);
        EXPECT_EQ(disk->flush(), 0);
    }
    written.replace(512, 1024, 1024, '\0');
    const auto disk = open_disk(parse_disk(path_ + ",format=qcow2,ro"));
    EXPECT_EQ(read(*disk, 512, written.size()), written);
    const iovec segment{written.data(), 512};
    EXPECT_EQ(disk->write({&segment, 1}, 0), EBADF);
}

TEST_F(ImageTest, TakesAnOverlay) {
    const auto disk = open_disk(parse_disk(path_ + ",format=qcow2,cow"));
    std::string written(4096, 'o');
    const iovec segment{written.data(), written.size()};
    EXPECT_EQ(disk->write({&segment, 1}, 512), 0);
    EXPECT_EQ(read(*disk, 512, 4096), written);
}

TEST_F(ImageTest, RefusesWhatItIsNot) {
    EXPECT_NE(refusal(parse_disk(path_ + ",format=vmdk")).find(path_), std::string::npos);
    EXPECT_NE(refusal(parse_disk(path_)).find("say format=qcow2"), std::string::npos);
    EXPECT_NE(refusal(parse_disk("nbd+unix:///?socket=/nowhere")).find("/nowhere"),
              std::string::npos);
}

TEST_F(ImageTest, TalksToAServer) {
    const std::string socket = path_ + ".socket";
    const std::string serve =
        "qemu-nbd -f qcow2 -k " + socket + " --fork --pid-file=" + path_ + ".pid " + path_;
    ASSERT_EQ(std::system(serve.c_str()), 0);
    {
        const auto disk = open_disk(parse_disk("nbd+unix:///?socket=" + socket));
        EXPECT_EQ(read(*disk, 0, 8192), std::string(8192, '\0'));
    }
    // It ends with its only client.
    std::remove(socket.c_str());
    std::remove((path_ + ".pid").c_str());
}

TEST_F(ImageTest, GivesUpAServerThatStandsStill) {
    const auto disk = open_image(path_, "qcow2", false, 200ms);
    ASSERT_TRUE(stop_server());
    std::string bytes(2048, ' ');
    const iovec segment{bytes.data(), bytes.size()};
    EXPECT_EQ(disk->read({&segment, 1}, 0), ETIMEDOUT);
    EXPECT_EQ(disk->read({&segment, 1}, 0), EIO);
    EXPECT_EQ(disk->flush(), EIO);
    EXPECT_EQ(disk->discard(0, 4096), EIO);
    EXPECT_EQ(disk->write_zeroes(0, 4096, true), EIO);
}

TEST_F(ImageTest, EndsThoughTheServerStandsStill) {
    auto disk = open_image(path_, "qcow2", false, 200ms);
    ASSERT_TRUE(stop_server());
    disk.reset();
}

TEST_F(DiskTest, AFileThatWasCutOffIsAnError) {
    const auto disk = open_disk(options());
    ASSERT_EQ(truncate(path_.c_str(), 1024), 0);
    std::string bytes(2048, ' ');
    const iovec segment{bytes.data(), bytes.size()};
    EXPECT_EQ(disk->read({&segment, 1}, 512), EIO);
}

} // namespace
} // namespace machine::storage
