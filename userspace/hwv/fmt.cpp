// SPDX-License-Identifier: GPL-2.0-only
// fmt.cpp - the functions of fmt that are no templates, from its headers: Debian has them in a
// shared library alone, whose C++ would bring libstdc++'s along. Who calls another one adds it
// here.
#define FMT_HEADER_ONLY
#include <fmt/format.h>

namespace {

using fmt::format_args, fmt::string_view;

[[gnu::used]] std::string (*const format)(string_view, format_args) = fmt::vformat;
[[gnu::used]] void (*const print)(string_view, format_args) = fmt::vprint;
[[gnu::used]] void (*const print_to)(std::FILE *, string_view, format_args) = fmt::vprint;

} // namespace
