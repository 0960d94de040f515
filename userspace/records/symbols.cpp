// SPDX-License-Identifier: GPL-2.0-only
// symbols.cpp - the tables as text, and looking up. ELF: symbols_elf.cpp; the slide: slide.cpp.
#include "records/symbols.hpp"
#include <algorithm>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <limits>
#include "hwv/error.hpp"
#include "records/recording.hpp"

namespace records {
namespace {

constexpr std::size_t largest = 2u << 30; // a vmlinux with debug information has some 400 MB
constexpr std::uint64_t longest_function = 1 << 20;

struct Line {
    std::uint64_t address = 0;
    char type = 0;
    std::string_view name, module;
};

// "ffffffff81000000 T _stext", and a "[module]" behind it.
std::optional<Line> parse_line(std::string_view line) {
    Line out;
    const char *end = line.data() + line.size();
    const auto [rest, error] = std::from_chars(line.data(), end, out.address, 16);
    if (error != std::errc{} || end - rest < 4 || rest[0] != ' ' || rest[2] != ' ')
        return std::nullopt;
    out.type = rest[1];
    out.name = {rest + 3, static_cast<std::size_t>(end - rest - 3)};
    const std::size_t blank = out.name.find_first_of(" \t\r");
    if (blank != std::string_view::npos) {
        out.module = out.name.substr(blank + 1);
        out.name = out.name.substr(0, blank);
    }
    if (out.name.empty()) return std::nullopt;
    return out;
}

bool is_code(char type) { return std::strchr("tTwW", type) != nullptr; }

// What compilers and kallsyms put beside a function at its own address.
bool is_label(std::string_view name) {
    return name.rfind("__pfx_", 0) == 0 || name.rfind("__cfi_", 0) == 0 || name[0] == '$';
}

} // namespace

Symbols Symbols::load(const std::string &path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) hwv::fail("open the symbols '" + path + "'");
    std::vector<char> bytes;
    while (file && bytes.size() < largest) {
        constexpr std::size_t piece = 1 << 20;
        const std::size_t had = bytes.size();
        bytes.resize(had + piece);
        file.read(bytes.data() + had, piece); // /proc/kallsyms has no size to ask for
        bytes.resize(had + static_cast<std::size_t>(file.gcount()));
    }
    if (bytes.size() >= 4 && std::memcmp(bytes.data(), "\177ELF", 4) == 0)
        return parse_elf(std::move(bytes), path);
    return parse_text({bytes.data(), bytes.size()}, path);
}

Symbols Symbols::parse_text(std::string_view text, const std::string &name) {
    Symbols out;
    std::size_t number = 0, lines = 0, zeros = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        ++number;
        if (line.empty()) continue;
        const auto parsed = parse_line(line);
        if (!parsed)
            throw Error{fmt::format("{}: line {}: not an address, a type and a name: neither "
                                    "System.map nor kallsyms nor an ELF file",
                                    name, number)};
        ++lines;
        zeros += parsed->address == 0;
        if (parsed->name == "_etext")
            out.end_ = parsed->address;
        else if (parsed->address && is_code(parsed->type) && !is_label(parsed->name))
            out.add(parsed->address, parsed->name, parsed->module);
    }
    if (zeros > 1 && zeros == lines)
        throw Error{name + ": every address is 0: read /proc/kallsyms as root"};
    if (out.symbols_.size() < 2)
        throw Error{name +
                    ": no functions in it. Debian's /boot/System.map is a placeholder: take the "
                    "guest's own /proc/kallsyms (as root), or that of the -dbg package"};
    out.sort();
    return out;
}

void Symbols::add(std::uint64_t address, std::string_view name, std::string_view module) {
    const std::size_t at = names_.size();
    names_ += harmless(std::string{name}); // a guest's file may say anything
    if (!module.empty()) names_ += " " + harmless(std::string{module});
    if (names_.size() > std::numeric_limits<std::uint32_t>::max()) throw Error{"too many symbols"};
    symbols_.push_back(
        {address, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(names_.size() - at)});
}

void Symbols::sort() {
    std::stable_sort(symbols_.begin(), symbols_.end(),
                     [](const Symbol &a, const Symbol &b) { return a.address < b.address; });
    const auto same = [](const Symbol &a, const Symbol &b) { return a.address == b.address; };
    symbols_.erase(std::unique(symbols_.begin(), symbols_.end(), same), symbols_.end());
}

std::optional<Symbols::Hit> Symbols::find_unmoved(std::uint64_t address) const {
    auto at = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                               [](std::uint64_t a, const Symbol &s) { return a < s.address; });
    if (at == symbols_.begin()) return std::nullopt;
    --at;
    const std::uint64_t offset = address - at->address;
    const bool past = end_ && at->address < end_ && address >= end_;
    if (offset >= longest_function || past) return std::nullopt;
    return Hit{text(*at), offset};
}

std::optional<Symbols::Hit> Symbols::find(std::uint64_t address) const {
    return find_unmoved(address - slide_);
}

std::string Symbols::name(std::uint64_t address) const {
    const auto hit = find(address);
    return hit ? fmt::format("{}+{:#x}", hit->name, hit->offset) : std::string{};
}

std::string Symbols::function(std::uint64_t address) const {
    const auto hit = find(address);
    return hit ? std::string{hit->name} : std::string{};
}

std::optional<std::uint64_t> Symbols::address_of(std::string_view name) const {
    for (const Symbol &s : symbols_)
        if (text(s) == name) return s.address + slide_;
    return std::nullopt;
}

} // namespace records
