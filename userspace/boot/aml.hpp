// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

// A builder for ACPI Machine Language: each function returns the encoding of one term, and terms
// concatenate (ACPI specification, "ACPI Machine Language (AML) Specification").
namespace boot::aml {

using Code = std::vector<std::uint8_t>;

Code operator+(Code left, const Code &right);
Code &operator+=(Code &left, const Code &right);

// PkgLength for a package of `content` bytes: it counts itself ("Package Length Encoding").
Code package_length(std::size_t content);

// NameString: "_HID", "\\_SB_.PCI0", "^ABCD". Segments shorter than four characters are padded with
// '_'. Throws std::invalid_argument for what is no name.
Code name_string(std::string_view path);

Code integer(std::uint64_t value); // the shortest form
Code string(std::string_view text);
Code eisa_id(std::string_view id); // "PNP0501" as the compressed 32-bit number
Code buffer(const Code &bytes);
Code package(std::initializer_list<Code> elements);
Code package(const std::vector<Code> &elements);

Code name(std::string_view path, const Code &value);
Code scope(std::string_view path, const Code &body);
Code device(std::string_view path, const Code &body);
Code method(std::string_view path, unsigned arguments, bool serialized, const Code &body);
Code return_value(const Code &value);

// Resource descriptors ("Resource Data Types for ACPI"); resources() adds the end tag and makes the
// buffer.
Code resources(const Code &descriptors);
Code io_port(std::uint16_t first, std::uint8_t count);
Code irq(unsigned line); // edge, active high, exclusive: the short form
Code interrupt(std::uint32_t gsi, bool level, bool low); // the extended form
Code memory32(std::uint32_t base, std::uint32_t size);
Code bus_range(std::uint16_t first, std::uint16_t last);
Code io_range(std::uint16_t first, std::uint16_t last);
Code memory_range32(std::uint32_t first, std::uint32_t last);
Code memory_range64(std::uint64_t first, std::uint64_t last);

} // namespace boot::aml
