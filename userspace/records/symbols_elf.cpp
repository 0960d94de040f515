// SPDX-License-Identifier: GPL-2.0-only
// symbols_elf.cpp - a vmlinux: its symbols, and its code, by libelf.
#include <algorithm>
#include <gelf.h>
#include <memory>
#include <utility>
#include "records/recording.hpp"
#include "records/symbols.hpp"

namespace records {
namespace {

struct End {
    void operator()(Elf *elf) const { elf_end(elf); }
};

std::string why() {
    const char *text = elf_errmsg(-1);
    return text ? text : "unknown";
}

} // namespace

Symbols Symbols::parse_elf(std::vector<char> image, const std::string &name) {
    constexpr std::size_t most_code = 1024; // sections; a vmlinux has some twenty
    Symbols out;
    std::size_t left = image.size();
    bool table = false; // there is at most one
    elf_version(EV_CURRENT);
    const std::unique_ptr<Elf, End> elf{elf_memory(image.data(), image.size())};
    if (!elf || elf_kind(elf.get()) != ELF_K_ELF)
        throw Error{name + ": not a sound ELF file: " + why()};
    for (Elf_Scn *section = nullptr; (section = elf_nextscn(elf.get(), section));) {
        GElf_Shdr header;
        if (!gelf_getshdr(section, &header)) throw Error{name + ": a bad section: " + why()};
        const bool code = header.sh_type == SHT_PROGBITS && header.sh_flags & SHF_EXECINSTR;
        if (!code && (header.sh_type != SHT_SYMTAB || std::exchange(table, true))) continue;
        Elf_Data *data = code ? elf_rawdata(section, nullptr) : elf_getdata(section, nullptr);
        if (!data || !data->d_buf) continue;
        if (code) {
            // Sections of a file may lie over each other: copies of one would have no bound.
            left -= std::min<std::size_t>(left, data->d_size);
            if (!left || out.code_.size() == most_code)
                throw Error{name + ": its sections are larger than the file, or too many"};
            const auto *bytes = static_cast<const std::uint8_t *>(data->d_buf);
            out.code_.push_back({header.sh_addr, {bytes, bytes + data->d_size}});
            continue;
        }
        GElf_Sym symbol;
        for (int i = 0; gelf_getsym(data, i, &symbol); ++i) {
            const char *text = elf_strptr(elf.get(), header.sh_link, symbol.st_name);
            const unsigned type = GELF_ST_TYPE(symbol.st_info);
            if (!text || !*text || !symbol.st_value) continue;
            if (std::string_view{text} == "_etext")
                out.end_ = symbol.st_value;
            else if (type == STT_FUNC || (type == STT_NOTYPE && symbol.st_shndx == 1))
                out.add(symbol.st_value, text);
        }
    }
    if (out.symbols_.size() < 2)
        throw Error{name +
                    ": no symbols in it: it is stripped, as the ELF inside a bzImage is. Take "
                    "the guest's /proc/kallsyms (as root), or the vmlinux of the -dbg package"};
    out.sort();
    return out;
}

} // namespace records
