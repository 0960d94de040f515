// SPDX-License-Identifier: GPL-2.0-only
#include "boot/multiboot2.hpp"

#include <algorithm>

#include "boot/elf.hpp"
#include "boot/memory_map.hpp"
#include "boot/multiboot.hpp"

namespace boot {
namespace {

// "The layout of Multiboot2 header".
constexpr std::uint32_t header_magic = 0xe852'50d6;
constexpr std::uint32_t architecture_i386 = 0;
constexpr std::uint64_t search_bytes = 32768;
constexpr std::uint64_t header_bytes = 16;
constexpr std::uint64_t header_align = 8;
constexpr std::uint16_t tag_optional = 1;

enum class HeaderTag : std::uint16_t {
    end,
    information_request,
    addresses,
    entry,
    console,
    framebuffer,
    module_alignment,
    efi_services,
    efi_entry32,
    efi_entry64,
    relocatable
};

// "Boot information".
constexpr std::uint32_t loader_magic = 0x36d7'6289;
enum class Tag : std::uint32_t {
    end = 0,
    command_line = 1,
    loader_name = 2,
    module = 3,
    basic_memory = 4,
    memory_map = 6,
    framebuffer = 8,
    rsdp_old = 14,
    rsdp_new = 15,
    load_base = 21
};
constexpr std::uint64_t rsdp_old_bytes = 20;
constexpr std::uint64_t rsdp_new_bytes = 36;

struct Header {
    std::uint64_t at = 0;
    std::optional<std::uint64_t> addresses; // where in the file that tag is
    std::optional<std::uint32_t> entry;
};

struct Kernel {
    GpaRange range;
    std::uint64_t entry = 0;
};

std::optional<std::uint64_t> find_header(ByteView image) {
    const auto end = std::min<std::uint64_t>(image.size(), search_bytes);
    for (std::uint64_t at = 0; at + header_bytes <= end; at += header_align) {
        if (get<std::uint32_t>(image, at) != header_magic) continue;
        std::uint32_t sum = 0;
        for (std::uint64_t field = 0; field < header_bytes; field += 4)
            sum += get<std::uint32_t>(image, at + field);
        if (sum == 0) return at;
    }
    return std::nullopt;
}

bool is_given(std::uint32_t type, bool screen) {
    switch (Tag{type}) {
    case Tag::end:
    case Tag::command_line:
    case Tag::loader_name:
    case Tag::module:
    case Tag::basic_memory:
    case Tag::memory_map:
    case Tag::rsdp_old:
    case Tag::rsdp_new:
    case Tag::load_base: return true;
    case Tag::framebuffer: return screen;
    }
    return false;
}

void check_requests(ByteView image, std::uint64_t at, std::uint32_t size, bool screen) {
    for (std::uint64_t i = 8; i + 4 <= size; i += 4) {
        const auto type = get<std::uint32_t>(image, at + i);
        if (!is_given(type, screen))
            throw Error("multiboot2 header demands what is not there: information of type " +
                        std::to_string(type));
    }
}

// What an image may demand; console, framebuffer and relocation are wishes, and entries for EFI are
// for who starts from there.
void read_tag(ByteView image, std::uint64_t at, std::uint32_t size, bool screen, Header &header) {
    const auto type = get<std::uint16_t>(image, at);
    const bool optional = (get<std::uint16_t>(image, at + 2) & tag_optional) != 0;
    switch (HeaderTag{type}) {
    case HeaderTag::information_request:
        if (!optional) check_requests(image, at, size, screen);
        return;
    case HeaderTag::addresses: header.addresses = at; return;
    case HeaderTag::entry: header.entry = get<std::uint32_t>(image, at + 8); return;
    case HeaderTag::efi_services: break;
    case HeaderTag::end:
    case HeaderTag::console:
    case HeaderTag::framebuffer:
    case HeaderTag::module_alignment:
    case HeaderTag::efi_entry32:
    case HeaderTag::efi_entry64:
    case HeaderTag::relocatable: return;
    }
    if (!optional)
        throw Error("multiboot2 header demands what is not there: tag of type " +
                    std::to_string(type));
}

Header read_header(ByteView image, std::uint64_t at, bool screen) {
    Header header{at, {}, {}};
    if (get<std::uint32_t>(image, at + 4) != architecture_i386)
        throw Error("multiboot2 image is for another architecture");
    const std::uint64_t length = get<std::uint32_t>(image, at + 8);
    if (!within(at, length, image.size())) throw Error("multiboot2 header is truncated");
    for (auto tag = at + header_bytes; tag + 8 <= at + length;) {
        const auto size = get<std::uint32_t>(image, tag + 4);
        if (size < 8 || size > at + length - tag)
            throw Error("malformed multiboot2 header: a tag of " + std::to_string(size) + " bytes");
        if (HeaderTag{get<std::uint16_t>(image, tag)} == HeaderTag::end) break;
        read_tag(image, tag, size, screen, header);
        tag += align_up(size, header_align);
    }
    return header;
}

// An ELF's entry is an address as it was linked for, which is not where it is loaded.
std::uint64_t physical_entry(const Elf &elf) {
    for (const auto &segment : elf.segments)
        if (segment.type == elf_load && elf.entry - segment.vaddr < segment.memory_size)
            return elf.entry - segment.vaddr + segment.paddr;
    return elf.entry;
}

Kernel load_kernel(GuestMemory &memory, ByteView image, const Header &header) {
    Kernel kernel;
    if (header.addresses) {
        if (!header.entry) throw Error("bad multiboot2 header: addresses without an entry");
        const auto tag = *header.addresses;
        const LoadAddresses addresses{
            get<std::uint32_t>(image, tag + 8), get<std::uint32_t>(image, tag + 12),
            get<std::uint32_t>(image, tag + 16), get<std::uint32_t>(image, tag + 20)};
        return {load_by_addresses(memory, image, header.at, addresses), *header.entry};
    }
    const auto elf = parse_elf(image);
    if (!elf || (elf->machine != elf_machine_386 && elf->machine != elf_machine_x86_64))
        throw Error("multiboot2 image is neither an ELF for x86 nor has load addresses");
    kernel.range = load_segments(memory, image, *elf);
    kernel.entry = header.entry ? *header.entry : physical_entry(*elf);
    return kernel;
}

// The boot information as it grows: tags of eight-byte alignment after a head with its size.
class Information {
  public:
    Information() { bytes_.resize(8); }

    template <typename... Fields>
    void add(Tag tag, const std::string *text, Fields... fields) {
        bytes_.resize(align_up(bytes_.size(), 8));
        const auto at = bytes_.size();
        append(bytes_, tag);
        append(bytes_, std::uint32_t{});
        (append(bytes_, fields), ...);
        if (text != nullptr) add_bytes(std::as_bytes(std::span{text->c_str(), text->size() + 1}));
        finish(at);
    }
    void add(Tag tag, ByteView content) {
        add(tag, nullptr);
        add_bytes(content);
        finish(bytes_.size() - content.size() - 8);
    }
    void put_at(GuestMemory &memory, std::uint64_t gpa, std::uint64_t room) {
        add(Tag::end, nullptr);
        if (bytes_.size() > room)
            throw Error("multiboot information of " + std::to_string(bytes_.size()) +
                        " bytes, most of it command lines, is too long");
        put(bytes_, 0, static_cast<std::uint32_t>(bytes_.size()));
        memory.write(gpa, bytes_);
    }

  private:
    void add_bytes(ByteView content) {
        bytes_.insert(bytes_.end(), content.begin(), content.end());
    }
    void finish(std::uint64_t at) {
        put(bytes_, at + 4, static_cast<std::uint32_t>(bytes_.size() - at));
    }

    Bytes bytes_;
};

Bytes map_content(const GuestMemory &memory) {
    Bytes content;
    append(content, std::uint32_t{24}); // an entry's size
    append(content, std::uint32_t{0});  // its version
    for (const auto &entry : memory_map(memory)) {
        append(content, entry.start);
        append(content, entry.size);
        append(content, entry.type);
        append(content, std::uint32_t{});
    }
    return content;
}

// "Framebuffer info": a picture, or the VGA's text.
Bytes framebuffer_content(const Screen &screen) {
    constexpr std::uint8_t rgb = 1, text = 2;
    constexpr std::uint64_t text_page = 0xb8000;
    const bool picture = screen.address != 0;
    Bytes content;
    append(content, picture ? screen.address : text_page);
    append(content, picture ? screen.pitch : screen.columns * 2);
    append(content, picture ? screen.width : screen.columns);
    append(content, picture ? screen.height : screen.rows);
    append(content, static_cast<std::uint8_t>(picture ? screen.bits : 16));
    append(content, picture ? rgb : text);
    append(content, std::uint16_t{});
    if (!picture) return content;
    const auto parts = components(screen);
    for (std::size_t colour = 0; colour < 3; ++colour) {
        append(content, parts[2 * colour + 1]); // the position first
        append(content, parts[2 * colour]);
    }
    return content;
}

void add_rsdp(const GuestMemory &memory, std::uint64_t rsdp, Information &information) {
    if (rsdp == 0) return;
    Bytes table(rsdp_new_bytes);
    memory.read(rsdp, table);
    information.add(Tag::rsdp_old, ByteView{table}.first(rsdp_old_bytes));
    information.add(Tag::rsdp_new, ByteView{table});
}

} // namespace

bool is_multiboot2(ByteView image) { return find_header(image).has_value(); }

Entry load_multiboot2(GuestMemory &memory, ByteView image, const Payload &payload,
                      const std::string &name) {
    const auto at = find_header(image);
    if (!at) throw Error("no multiboot2 header");
    const auto kernel =
        load_kernel(memory, image, read_header(image, *at, payload.screen.has_value()));
    if (!memory.is_ram(0, stack_gpa))
        throw Error("guest has no RAM below 640 KiB for the loader's tables");
    Information information;
    const auto line = payload.command_line.empty() ? name : name + " " + payload.command_line;
    const std::string loader = "hwv";
    information.add(Tag::command_line, &line);
    information.add(Tag::loader_name, &loader);
    const auto files = place_files(memory, payload, kernel.range);
    for (std::size_t i = 0; i < files.size(); ++i)
        information.add(Tag::module, &payload.modules[i].command_line,
                        static_cast<std::uint32_t>(files[i].start),
                        static_cast<std::uint32_t>(files[i].end()));
    information.add(Tag::basic_memory, nullptr, static_cast<std::uint32_t>(ebda.start / 1024),
                    static_cast<std::uint32_t>((low_ram_end(memory) - high_memory) / 1024));
    information.add(Tag::memory_map, map_content(memory));
    if (payload.screen) information.add(Tag::framebuffer, framebuffer_content(*payload.screen));
    information.add(Tag::load_base, nullptr, static_cast<std::uint32_t>(kernel.range.start));
    add_rsdp(memory, payload.acpi_rsdp, information);
    information.put_at(memory, info_gpa, info_bytes);

    Entry entry;
    enter_protected(entry, memory, tables_gpa);
    entry.rip = kernel.entry;
    entry.gpr[rax] = loader_magic;
    entry.gpr[rbx] = info_gpa;
    entry.gpr[rsp] = stack_gpa;
    return entry;
}

} // namespace boot
