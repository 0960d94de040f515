// SPDX-License-Identifier: GPL-2.0-only
#include "machine/serial_backend.hpp"
#include "machine/uart.hpp"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace machine {
namespace {

// A UART with a FIFO that the test empties.
struct FakePort final : SerialPort {
    std::size_t space = 16;
    std::string received;
    unsigned ready = 0;
    std::size_t receive_space() const noexcept override { return space; }
    void receive(std::span<const std::uint8_t> bytes) noexcept override {
        received.append(bytes.begin(), bytes.end());
        space -= std::min(space, bytes.size());
    }
    void transmit_ready() noexcept override { ++ready; }
};

class BackendTest : public testing::Test {
  protected:
    BackendTest() {
        std::string pattern = "/tmp/hwv-test-XXXXXX";
        directory_ = mkdtemp(pattern.data());
        loop_.start();
    }
    ~BackendTest() override {
        loop_.stop();
        if (backend_) backend_->connect(nullptr);
        backend_.reset();
        std::filesystem::remove_all(directory_);
    }
    void plug(const std::string &spec) {
        const std::lock_guard guard(lock_);
        backend_ = serial_factory(spec)(
            {loop_, nullptr, [this](const std::string &text) { notice_ = text; }});
        backend_->connect(&port_);
    }
    std::size_t send(const std::string &text) {
        const std::lock_guard guard(lock_);
        return backend_->transmit(
            std::span(reinterpret_cast<const std::uint8_t *>(text.data()), text.size()));
    }
    template <typename Condition>
    bool eventually(Condition condition) {
        for (int tries = 0; tries < 4000; ++tries) {
            {
                const std::lock_guard guard(lock_);
                if (condition()) return true;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return false;
    }
    // The guest takes what is there.
    void make_room() {
        const std::lock_guard guard(lock_);
        port_.space = 16;
        backend_->receive_ready();
    }
    static std::string read_some(int fd, std::size_t wanted) {
        std::string text;
        pollfd state{.fd = fd, .events = POLLIN, .revents = 0};
        while (text.size() < wanted && poll(&state, 1, 20'000) > 0) {
            std::array<char, 256> bytes{};
            const ssize_t got = read(fd, bytes.data(), bytes.size());
            if (got <= 0) break;
            text.append(bytes.data(), static_cast<std::size_t>(got));
        }
        return text;
    }
    Fd dial(const std::string &path) {
        Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        EXPECT_EQ(
            connect(client.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address), 0);
        return client;
    }

    std::string directory_;
    std::string notice_;
    std::mutex lock_;
    SystemClock clock_;
    TimerQueue timers_{clock_};
    EventLoop loop_{lock_, timers_};
    FakePort port_;
    std::unique_ptr<SerialBackend> backend_;
};

TEST_F(BackendTest, SpecsThatNameNothingAreRefused) {
    EXPECT_FALSE(serial_factory(""));
    EXPECT_FALSE(serial_factory("unix:"));
    EXPECT_FALSE(serial_factory("file:"));
    EXPECT_TRUE(serial_factory("null"));
}

TEST_F(BackendTest, UnopenablePathsThrow) {
    EXPECT_THROW(plug("file:/nonexistent/x"), std::system_error);
    EXPECT_THROW(plug("unix:/nonexistent/x"), std::system_error);
    EXPECT_THROW(plug("unix:" + std::string(200, 'x')), std::system_error);
}

TEST_F(BackendTest, FileHasEverythingAfterTheEnd) {
    const std::string path = directory_ + "/log";
    plug(path);
    std::string expected;
    for (int line = 0; line < 1000; ++line) {
        const std::string text = "line " + std::to_string(line) + "\n";
        std::string rest = text;
        while (!rest.empty())
            rest.erase(0, send(rest));
        expected += text;
    }
    {
        const std::lock_guard guard(lock_);
        backend_->connect(nullptr);
        backend_.reset();
    }
    std::ifstream file(path);
    const std::string got{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(got, expected);
}

TEST_F(BackendTest, FileIsWrittenWhileTheGuestRuns) {
    plug("file:" + directory_ + "/log");
    send("early");
    EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(directory_ + "/log") == 5; }));
}

TEST_F(BackendTest, SocketServesOneClientAfterTheOther) {
    const std::string path = directory_ + "/socket";
    plug("unix:" + path);
    EXPECT_EQ(send("lost"), 4u) << "nobody is there";
    for (const std::string name : {"first", "second"}) {
        Fd client = dial(path);
        ASSERT_EQ(write(client.get(), name.data(), name.size()), static_cast<ssize_t>(name.size()));
        EXPECT_TRUE(eventually([&] { return port_.received == name; }));
        send("hello " + name);
        EXPECT_EQ(read_some(client.get(), 6 + name.size()), "hello " + name);
        port_.received.clear();
        make_room();
    }
}

TEST_F(BackendTest, SecondClientAtOnceIsHungUp) {
    const std::string path = directory_ + "/socket";
    plug("unix:" + path);
    Fd first = dial(path);
    ASSERT_EQ(write(first.get(), "x", 1), 1);
    EXPECT_TRUE(eventually([&] { return port_.received == "x"; }));
    Fd second = dial(path);
    EXPECT_EQ(read_some(second.get(), 1), "");
    send("still here");
    EXPECT_EQ(read_some(first.get(), 10), "still here");
}

TEST_F(BackendTest, InputWaitsForRoomAndNothingIsLost) {
    const std::string path = directory_ + "/socket";
    plug("unix:" + path);
    Fd client = dial(path);
    std::string text;
    for (int index = 0; index < 500; ++index)
        text += static_cast<char>('a' + index % 26);
    ASSERT_EQ(write(client.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    std::size_t expected = 16;
    while (expected < text.size()) {
        ASSERT_TRUE(eventually([&] { return port_.received.size() == expected; }));
        make_room();
        expected = std::min(text.size(), expected + 16);
    }
    EXPECT_TRUE(eventually([&] { return port_.received == text; }));
}

TEST_F(BackendTest, FilterSeesKeysWhileTheGuestReadsNothing) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const Fd input(ends[0]);
    const Fd keys(ends[1]);
    std::size_t seen = 0;
    {
        const std::lock_guard guard(lock_);
        port_.space = 0;
        auto stream = std::make_unique<StreamBackend>(loop_, StreamBackend::Blocked::lose);
        stream->set_filter([&](std::span<std::uint8_t> bytes) {
            seen += bytes.size();
            return bytes.size();
        });
        stream->connect(&port_);
        stream->open(input.get(), -1, nullptr);
        backend_ = std::move(stream);
    }
    const std::string text(5000, 'k');
    ASSERT_EQ(write(keys.get(), text.data(), text.size()), 5000);
    EXPECT_TRUE(eventually([&] { return seen == 5000; }));
    EXPECT_EQ(port_.received, "");
    make_room();
    EXPECT_EQ(port_.received, std::string(16, 'k')) << "the first ones are kept";
}

TEST_F(BackendTest, StoppingWritesWhatIsLeft) {
    const std::string path = directory_ + "/log";
    plug(path);
    loop_.stop();
    send("last words");
    EXPECT_EQ(std::filesystem::file_size(path), 0u);
    backend_->settle();
    EXPECT_EQ(std::filesystem::file_size(path), 10u);
}

TEST_F(BackendTest, SlowClientHoldsTheGuestBack) {
    const std::string path = directory_ + "/socket";
    plug("unix:" + path);
    Fd client = dial(path);
    ASSERT_EQ(write(client.get(), "x", 1), 1);
    ASSERT_TRUE(eventually([&] { return port_.received == "x"; }));
    const std::string block(1024, '.');
    std::size_t sent = 0;
    // Until socket and buffer are full; far beyond any default size.
    while (sent < (64u << 20)) {
        const std::size_t taken = send(block);
        sent += taken;
        if (taken < block.size()) break;
    }
    ASSERT_LT(sent, 64u << 20);
    EXPECT_EQ(port_.ready, 0u);
    EXPECT_EQ(read_some(client.get(), sent).size(), sent) << "everything that was taken arrives";
    EXPECT_TRUE(eventually([&] { return port_.ready > 0; }));
}

TEST_F(BackendTest, PortIsNotCalledFromInsideItsOwnCall) {
    const std::string path = directory_ + "/socket";
    plug("unix:" + path);
    Fd client = dial(path);
    ASSERT_EQ(write(client.get(), "x", 1), 1);
    ASSERT_TRUE(eventually([&] { return port_.received == "x"; }));
    std::vector<std::uint8_t> block(1024, '.');
    std::size_t sent = 0;
    // Under the lock, so that only this thread can notice that there is room again.
    const std::lock_guard guard(lock_);
    for (std::size_t taken = block.size(); taken == block.size(); sent += taken)
        taken = backend_->transmit(block);
    constexpr std::size_t collected = 4096;
    ASSERT_EQ(read_some(client.get(), sent - collected).size(), sent - collected);
    EXPECT_EQ(backend_->transmit(block), block.size());
    EXPECT_EQ(port_.ready, 0u);
}

TEST_F(BackendTest, ClientThatLeavesFreesAGuestThatWaits) {
    const std::string path = directory_ + "/socket";
    plug("unix:" + path);
    for (const bool half : {true, false}) {
        port_.received.clear();
        port_.ready = 0;
        make_room();
        Fd client = dial(path);
        ASSERT_EQ(write(client.get(), "x", 1), 1);
        ASSERT_TRUE(eventually([&] { return port_.received == "x"; }));
        const std::string block(1024, '.');
        while (send(block) == block.size()) {}
        // Ending its input counts as leaving, even with output still full.
        if (half)
            ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
        else
            client = Fd();
        EXPECT_TRUE(eventually([&] { return port_.ready > 0; }));
        EXPECT_EQ(send("nobody"), 6u);
    }
}

TEST_F(BackendTest, UartOutputThroughASlowClientIsExact) {
    const std::string path = directory_ + "/socket";
    plug("unix:" + path);
    struct NoIrq final : IrqSink {
        void set_irq(unsigned, bool) noexcept override {}
    } irqs;
    Fd client = dial(path);
    ASSERT_EQ(write(client.get(), "x", 1), 1);
    ASSERT_TRUE(eventually([&] { return port_.received == "x"; }));
    std::string expected;
    {
        std::unique_lock guard(lock_);
        auto uart = std::make_unique<Uart>(IrqLine(irqs, 4), backend_.get());
        uart->write(2, 1, 1);
        std::string got;
        for (unsigned index = 0; index < 1u << 20; ++index) {
            while ((uart->read(5, 1) & 0x20) == 0) {
                guard.unlock();
                got += read_some(client.get(), 1);
                guard.lock();
            }
            const auto byte = static_cast<std::uint8_t>(index * 7 + index / 256);
            expected += static_cast<char>(byte);
            uart->write(0, 1, byte);
        }
        guard.unlock();
        got += read_some(client.get(), expected.size() - got.size());
        EXPECT_TRUE(got == expected);
        guard.lock();
        uart.reset();
    }
}

TEST_F(BackendTest, PtyCarriesBothWaysAndNeverBlocks) {
    plug("pty");
    const std::string name = notice_.substr(notice_.rfind(' ') + 1);
    const Fd slave(open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(static_cast<bool>(slave)) << name;
    send("login: ");
    EXPECT_EQ(read_some(slave.get(), 7), "login: ");
    ASSERT_EQ(write(slave.get(), "root\r", 5), 5);
    EXPECT_TRUE(eventually([&] { return port_.received == "root\r"; }));
    const std::string block(1024, '.');
    for (int count = 0; count < 1000; ++count)
        ASSERT_EQ(send(block), block.size());
}

TEST_F(BackendTest, NullSwallows) {
    plug("null");
    EXPECT_EQ(send("whatever"), 8u);
    make_room();
}

TEST_F(BackendTest, StreamReadsPlainFilesAndPipesToTheirEnd) {
    const std::string path = directory_ + "/input";
    std::ofstream(path) << std::string(40, 'q');
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    bool ended = false;
    {
        const std::lock_guard guard(lock_);
        auto stream = std::make_unique<StreamBackend>(loop_, StreamBackend::Blocked::lose);
        stream->connect(&port_);
        stream->open(file.get(), -1, [&] { ended = true; });
        backend_ = std::move(stream);
    }
    EXPECT_EQ(port_.received.size(), 16u);
    make_room();
    make_room();
    EXPECT_EQ(port_.received, std::string(40, 'q'));
    make_room();
    EXPECT_TRUE(ended);
}

} // namespace
} // namespace machine
