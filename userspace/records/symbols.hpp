// SPDX-License-Identifier: GPL-2.0-only
// symbols.hpp - names for a guest kernel's addresses, from System.map, /proc/kallsyms or a vmlinux
// ELF; and by how much KASLR has moved it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace records {

// An exit's reason and where it was: what the slide is found from.
struct ExitSite {
    unsigned reason;
    std::uint64_t rip;
    std::uint64_t count;
};

class Symbols {
  public:
    // Tells the kinds of file apart by their content. Throws Error.
    static Symbols load(const std::string &path);
    static Symbols parse_text(std::string_view text, const std::string &name);
    static Symbols parse_elf(std::vector<char> image, const std::string &name);

    struct Hit {
        std::string_view name;
        std::uint64_t offset;
    };
    std::optional<Hit> find(std::uint64_t address) const; // with the slide
    std::string name(std::uint64_t address) const;        // "function+0x12"; empty: none
    std::string function(std::uint64_t address) const;    // "function"; empty: none
    std::optional<std::uint64_t> address_of(std::string_view name) const; // with the slide
    std::size_t size() const { return symbols_.size(); }

    std::uint64_t slide() const { return slide_; }
    void set_slide(std::uint64_t slide) { slide_ = slide; }

    struct Guess {
        std::uint64_t slide;
        unsigned agree, asked; // sites that fit a function's name or the instruction there
    };
    // The slide under which the exits' places make sense; nullopt: no slide stands out.
    std::optional<Guess> guess_slide(std::span<const ExitSite> sites) const;

  private:
    struct Symbol {
        std::uint64_t address;
        std::uint32_t name, length; // in names_
    };
    struct Code {
        std::uint64_t address;
        std::vector<std::uint8_t> bytes;
    };
    void add(std::uint64_t address, std::string_view name, std::string_view module = {});
    void sort();
    std::string_view text(const Symbol &s) const {
        return std::string_view{names_}.substr(s.name, s.length);
    }
    std::optional<Hit> find_unmoved(std::uint64_t address) const;
    bool plausible(unsigned reason, std::uint64_t address) const;

    std::vector<Symbol> symbols_; // by address
    std::string names_;
    std::vector<Code> code_; // an ELF's, to look at instructions
    std::uint64_t end_ = 0;  // first address after the text
    std::uint64_t slide_ = 0;
};

} // namespace records
