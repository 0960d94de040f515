// SPDX-License-Identifier: GPL-2.0-only
#include "boot/aml.hpp"

#include <stdexcept>
#include <string>

namespace boot::aml {
namespace {

constexpr std::uint8_t op_zero = 0x00;
constexpr std::uint8_t op_one = 0x01;
constexpr std::uint8_t op_name = 0x08;
constexpr std::uint8_t prefix_byte = 0x0a;
constexpr std::uint8_t prefix_word = 0x0b;
constexpr std::uint8_t prefix_dword = 0x0c;
constexpr std::uint8_t prefix_string = 0x0d;
constexpr std::uint8_t prefix_qword = 0x0e;
constexpr std::uint8_t op_scope = 0x10;
constexpr std::uint8_t op_buffer = 0x11;
constexpr std::uint8_t op_package = 0x12;
constexpr std::uint8_t op_method = 0x14;
constexpr std::uint8_t prefix_dual_name = 0x2e;
constexpr std::uint8_t prefix_multi_name = 0x2f;
constexpr std::uint8_t prefix_extended = 0x5b;
constexpr std::uint8_t op_device = 0x82; // after the extended prefix
constexpr std::uint8_t op_return = 0xa4;

void put_number(Code &to, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i)
        to.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

Code numbers(std::initializer_list<std::pair<std::uint64_t, unsigned>> fields) {
    Code code;
    for (const auto &[value, bytes] : fields)
        put_number(code, value, bytes);
    return code;
}

Code with_length(Code opcode, const Code &content) {
    return std::move(opcode) + package_length(content.size()) + content;
}

bool is_name_char(char c, bool first) {
    return (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

Code name_segment(std::string_view segment) {
    if (segment.empty() || segment.size() > 4)
        throw std::invalid_argument("AML name segment of wrong length: " + std::string{segment});
    Code code;
    for (std::size_t i = 0; i < segment.size(); ++i) {
        if (!is_name_char(segment[i], i == 0))
            throw std::invalid_argument("bad character in AML name: " + std::string{segment});
        code.push_back(static_cast<std::uint8_t>(segment[i]));
    }
    code.resize(4, '_');
    return code;
}

// "Address Space Resource Descriptors": resource producer, positive decode, both ends fixed.
Code address_space(std::uint8_t tag, unsigned width, std::uint8_t kind, std::uint8_t type_flags,
                   std::uint64_t first, std::uint64_t last) {
    constexpr std::uint8_t min_and_max_fixed = 0x0c;
    return numbers({{tag, 1},
                    {3 + 5 * width, 2},
                    {kind, 1},
                    {min_and_max_fixed, 1},
                    {type_flags, 1},
                    {0, width},
                    {first, width},
                    {last, width},
                    {0, width},
                    {last - first + 1, width}});
}

constexpr std::uint8_t tag_word_space = 0x88;
constexpr std::uint8_t tag_dword_space = 0x87;
constexpr std::uint8_t tag_qword_space = 0x8a;
constexpr std::uint8_t kind_memory = 0;
constexpr std::uint8_t kind_io = 1;
constexpr std::uint8_t kind_bus = 2;
constexpr std::uint8_t io_entire_range = 3;
constexpr std::uint8_t memory_read_write = 1; // not cacheable

} // namespace

Code &operator+=(Code &left, const Code &right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

Code operator+(Code left, const Code &right) { return left += right; }

Code package_length(std::size_t content) {
    if (content + 1 <= 0x3f) return {static_cast<std::uint8_t>(content + 1)};
    // The lead byte has the count of further bytes and the low four bits of the length.
    for (unsigned extra = 1; extra <= 3; ++extra) {
        const auto length = content + 1 + extra;
        if (length >> (4 + 8 * extra) != 0) continue;
        Code code{static_cast<std::uint8_t>(extra << 6 | (length & 0xf))};
        put_number(code, length >> 4, extra);
        return code;
    }
    throw std::length_error("AML package of more than 256 MiB");
}

Code name_string(std::string_view path) {
    Code prefix;
    while (!path.empty() && (path.front() == '\\' || path.front() == '^')) {
        prefix.push_back(static_cast<std::uint8_t>(path.front()));
        path.remove_prefix(1);
    }
    if (path.empty()) { // the root itself
        if (prefix.empty()) throw std::invalid_argument("empty AML name");
        return prefix + Code{0};
    }
    Code segments;
    unsigned count = 0;
    for (std::size_t dot = 0; dot != std::string_view::npos; ++count) {
        dot = path.find('.');
        segments += name_segment(path.substr(0, dot));
        path.remove_prefix(dot == std::string_view::npos ? path.size() : dot + 1);
    }
    if (count == 2)
        prefix.push_back(prefix_dual_name);
    else if (count > 2)
        prefix += {prefix_multi_name, static_cast<std::uint8_t>(count)};
    return prefix + segments;
}

Code integer(std::uint64_t value) {
    if (value <= 1) return {value == 0 ? op_zero : op_one};
    if (value <= 0xff) return numbers({{prefix_byte, 1}, {value, 1}});
    if (value <= 0xffff) return numbers({{prefix_word, 1}, {value, 2}});
    if (value <= 0xffff'ffff) return numbers({{prefix_dword, 1}, {value, 4}});
    return numbers({{prefix_qword, 1}, {value, 8}});
}

Code string(std::string_view text) {
    Code characters(text.begin(), text.end());
    characters.push_back(0);
    return Code{prefix_string} + characters;
}

Code eisa_id(std::string_view id) {
    if (id.size() != 7) throw std::invalid_argument("EISA id of wrong length: " + std::string{id});
    std::uint32_t packed = 0;
    for (const char c : id.substr(0, 3)) {
        if (c < 'A' || c > 'Z') throw std::invalid_argument("bad EISA id: " + std::string{id});
        packed = packed << 5 | static_cast<std::uint32_t>(c - '@');
    }
    packed = packed << 16 |
             static_cast<std::uint32_t>(std::stoul(std::string{id.substr(3)}, nullptr, 16));
    // The number is stored with its most significant byte first.
    return numbers(
        {{prefix_dword, 1}, {packed >> 24, 1}, {packed >> 16, 1}, {packed >> 8, 1}, {packed, 1}});
}

Code buffer(const Code &bytes) { return with_length({op_buffer}, integer(bytes.size()) + bytes); }

Code package(const std::vector<Code> &elements) {
    if (elements.size() > 255) throw std::length_error("AML package of more than 255 elements");
    Code content{static_cast<std::uint8_t>(elements.size())};
    for (const auto &element : elements)
        content += element;
    return with_length({op_package}, content);
}

Code package(std::initializer_list<Code> elements) { return package(std::vector<Code>{elements}); }

Code name(std::string_view path, const Code &value) {
    return Code{op_name} + name_string(path) + value;
}

Code scope(std::string_view path, const Code &body) {
    return with_length({op_scope}, name_string(path) + body);
}

Code device(std::string_view path, const Code &body) {
    return with_length({prefix_extended, op_device}, name_string(path) + body);
}

Code method(std::string_view path, unsigned arguments, bool serialized, const Code &body) {
    if (arguments > 7) throw std::invalid_argument("AML method with more than seven arguments");
    const auto flags = static_cast<std::uint8_t>(arguments | (serialized ? 8U : 0U));
    return with_length({op_method}, name_string(path) + Code{flags} + body);
}

Code return_value(const Code &value) { return Code{op_return} + value; }

Code resources(const Code &descriptors) {
    // End tag; a zero checksum byte means "not checked".
    return buffer(descriptors + Code{0x79, 0x00});
}

Code io_port(std::uint16_t first, std::uint8_t count) {
    return numbers({{0x47, 1}, {1, 1}, {first, 2}, {first, 2}, {1, 1}, {count, 1}});
}

Code irq(unsigned line) {
    if (line > 15) throw std::invalid_argument("ISA interrupt line out of range");
    return numbers({{0x22, 1}, {std::uint64_t{1} << line, 2}});
}

Code interrupt(std::uint32_t gsi, bool level, bool low) {
    const auto flags = 1U | (level ? 0U : 2U) | (low ? 4U : 0U); // bit 0: resource consumer
    return numbers({{0x89, 1}, {6, 2}, {flags, 1}, {1, 1}, {gsi, 4}});
}

Code memory32(std::uint32_t base, std::uint32_t size) {
    return numbers({{0x86, 1}, {9, 2}, {1, 1}, {base, 4}, {size, 4}});
}

Code bus_range(std::uint16_t first, std::uint16_t last) {
    return address_space(tag_word_space, 2, kind_bus, 0, first, last);
}

Code io_range(std::uint16_t first, std::uint16_t last) {
    return address_space(tag_word_space, 2, kind_io, io_entire_range, first, last);
}

Code memory_range32(std::uint32_t first, std::uint32_t last) {
    return address_space(tag_dword_space, 4, kind_memory, memory_read_write, first, last);
}

Code memory_range64(std::uint64_t first, std::uint64_t last) {
    return address_space(tag_qword_space, 8, kind_memory, memory_read_write, first, last);
}

} // namespace boot::aml
