// SPDX-License-Identifier: GPL-2.0-only
// mem.cpp - hwvctl mem: guest memory, read and written, by guest-physical or virtual address.
#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include "assist/paging.hpp"
#include "hwv/error.hpp"
#include "hwvctl/hexdump.hpp"
#include "records/key_names.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;

constexpr const char *what =
    "Shows guest memory as hexdump -C does, 256 bytes unless LENGTH says else. ADDRESS is\n"
    "guest-physical, and the guest is not stopped for it; with --virtual it is what a vCPU's page\n"
    "tables translate now, and the VM is paused meanwhile. No accessed or dirty bits change.\n";

constexpr const char *examples = R"(
examples:
  hwvctl mem web 0x7c00 512
  hwvctl mem web 0xffffffff81000000 64 --virtual --vcpu 1
  hwvctl mem web 0 256M --out ram.bin
  hwvctl mem web 0x7c00 512 --json | jq -r .bytes | xxd -r -p >sector
  hwvctl mem web 0x100000 --write patch.bin
)";

// Page tables as the walker wants them: it marks copies.
class Tables final : public assist::PhysicalMemory {
  public:
    explicit Tables(const hwv::Observer &observer) : observer_{observer} {}
    std::byte *ram(std::uint64_t gpa, std::size_t size, bool) override {
        Entry &entry = entries_.emplace_back();
        const std::span<std::byte> bytes{entry.bytes.data(), std::min(size, entry.bytes.size())};
        return observer_.read_memory(gpa, bytes) == size ? bytes.data() : nullptr;
    }
    std::uint64_t mmio_read(std::uint64_t, unsigned) override { return ~std::uint64_t{0}; }
    void mmio_write(std::uint64_t, unsigned, std::uint64_t) override {}

  private:
    struct alignas(8) Entry {
        std::array<std::byte, 8> bytes{};
    };
    const hwv::Observer &observer_;
    std::deque<Entry> entries_;
};

class Memory {
  public:
    Memory(hwv::Observer &observer, const Words &words)
        : observer_{observer}, virtual_{words.has("virtual")} {
        if (!virtual_) return;
        observer_.pause();
        const hwv_regs regs =
            observer_.registers(words.get<std::uint32_t>("vcpu"), HWV_REGS_CONTROL);
        paging_.cr0 = regs.cr0;
        paging_.cr3 = regs.cr3;
        paging_.cr4 = regs.cr4;
        paging_.efer = regs.efer;
        paging_.access_allowed = true;
    }
    std::size_t done() const { return done_; } // bytes, of the last read or write

    void read(std::uint64_t address, std::span<std::byte> to) {
        in_pieces(address, to.size(), [&](std::uint64_t gpa, std::size_t at, std::size_t bytes) {
            return observer_.read_memory(gpa, to.subspan(at, bytes));
        });
    }
    void write(std::uint64_t address, std::span<const std::byte> from) {
        in_pieces(address, from.size(), [&](std::uint64_t gpa, std::size_t at, std::size_t bytes) {
            return observer_.write_memory(gpa, from.subspan(at, bytes));
        });
    }

  private:
    // A virtual range is physical page by page.
    template <typename Piece>
    void in_pieces(std::uint64_t address, std::size_t size, Piece piece) {
        for (done_ = 0; done_ < size;) {
            const std::size_t at = done_;
            std::size_t bytes = size - at;
            if (virtual_)
                bytes = std::min<std::size_t>(bytes, assist::page_size -
                                                         (address + at) % assist::page_size);
            const std::uint64_t gpa = physical(address + at);
            const std::size_t got = piece(gpa, at, bytes);
            done_ += got;
            if (got != bytes)
                throw hwv::Error{EFAULT, "the guest has no memory at guest-physical address " +
                                             records::hex(gpa + got) +
                                             ", or it may not be written"};
        }
    }
    std::uint64_t physical(std::uint64_t address) {
        if (!virtual_) return address;
        Tables tables{observer_};
        try {
            return assist::translate(tables, paging_, address, assist::Access::read);
        } catch (const assist::Fault &) {
            throw hwv::Error{EFAULT, "the guest has nothing mapped at virtual address " +
                                         records::hex(address) + " (CR3 " +
                                         records::hex(paging_.cr3) + ")"};
        } catch (const assist::Unsupported &) {
            throw hwv::Error{EFAULT, "page tables for " + records::hex(address) +
                                         " are not in memory (CR3 " + records::hex(paging_.cr3) +
                                         ")"};
        }
    }
    hwv::Observer &observer_;
    bool virtual_;
    std::size_t done_ = 0;
    assist::PagingState paging_;
};

void write_file(Memory &memory, std::uint64_t address, const std::string &path) {
    std::ifstream file{path, std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    if (!file) hwv::fail("read '" + path + "'");
    memory.write(address, std::as_bytes(std::span{bytes}));
}

class Output {
  public:
    Output(std::FILE *file, bool raw, std::uint64_t address)
        : file_{file}, raw_{raw}, dump_{address} {}
    void write(std::span<const std::byte> bytes) {
        const std::string lines = raw_ ? std::string{} : dump_.lines(bytes);
        const void *from = raw_ ? static_cast<const void *>(bytes.data()) : lines.data();
        const std::size_t size = raw_ ? bytes.size() : lines.size();
        if (std::fwrite(from, 1, size, file_) != size) hwv::fail("write what was read");
    }
    void end() {
        if (!raw_) fmt::print(file_, "{}", dump_.end());
        if (std::fflush(file_) != 0) hwv::fail("write what was read");
    }

  private:
    std::FILE *file_;
    bool raw_;
    Hexdump dump_;
};

// What there is comes out, also before memory that is not there.
void show(Memory &memory, std::uint64_t address, std::uint64_t length, Output output) {
    std::vector<std::byte> bytes(std::min<std::uint64_t>(length, 1 << 20));
    for (std::uint64_t at = 0; at < length; at += memory.done()) {
        const std::span<std::byte> now{bytes.data(),
                                       std::min<std::size_t>(bytes.size(), length - at)};
        try {
            memory.read(address + at, now);
        } catch (const hwv::Error &) {
            output.write(now.first(memory.done()));
            output.end();
            throw;
        }
        output.write(now);
    }
    output.end();
}

// For programs: what is to be shown, or nothing.
void show_json(Memory &memory, std::uint64_t address, std::uint64_t length, bool is_virtual) {
    std::string text;
    std::vector<std::byte> bytes(std::min<std::uint64_t>(length, 1 << 20));
    for (std::uint64_t at = 0; at < length; at += memory.done()) {
        const std::span<std::byte> now{bytes.data(),
                                       std::min<std::size_t>(bytes.size(), length - at)};
        memory.read(address + at, now);
        for (const std::byte b : now)
            text += fmt::format("{:02x}", static_cast<unsigned>(b));
    }
    fmt::print(
        "{}\n",
        json_text(
            {{"address", address}, {"virtual", is_virtual}, {"length", length}, {"bytes", text}}));
}

Options command_line() {
    Options options{"mem VM ADDRESS [LENGTH] [OPTIONS]", std::string{what} + vm_argument, examples};
    options.add()("virtual", "ADDRESS is virtual, as the vCPU has it now")(
        "vcpu", po::value<std::uint32_t>()->default_value(0)->value_name("N"),
        "whose page tables, with --virtual")("out,o", po::value<std::string>()->value_name("FILE"),
                                             "write the bytes there; - is stdout")(
        "write", po::value<std::string>()->value_name("FILE"),
        "write this file's bytes there")("json", "for programs: the bytes in hexadecimal");
    return options;
}

} // namespace

int mem_command(const Arguments &arguments) {
    const std::optional<Words> words = command_line().parse(arguments, 2, 3);
    if (!words) return 0;
    const std::uint64_t address = parse_number(words->words[1], "address", true);
    const bool sized = words->words.size() > 2;
    if (sized && words->has("write")) throw UsageError{"--write takes the file's length"};
    const std::uint64_t length = sized ? parse_number(words->words[2], "length", true) : 256;
    if (words->has("json") && (words->has("out") || words->has("write")))
        throw UsageError{"--json is for what is shown, without --out and --write"};
    hwv::Observer observer = hwv::attach(words->words[0]);
    Memory memory{observer, *words};
    if (words->has("write")) {
        write_file(memory, address, words->text("write"));
        return 0;
    }
    if (words->has("json")) {
        show_json(memory, address, length, words->has("virtual"));
        return 0;
    }
    const std::string path = words->text("out");
    std::FILE *out = path.empty() || path == "-" ? stdout : std::fopen(path.c_str(), "we");
    if (!out) hwv::fail("open '" + path + "'");
    show(memory, address, length, Output{out, !path.empty(), address});
    if (out != stdout && std::fclose(out) != 0) hwv::fail("write '" + path + "'");
    return 0;
}

} // namespace hwvctl
