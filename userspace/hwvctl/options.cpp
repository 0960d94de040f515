// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/options.hpp"
#include <charconv>
#include <iostream>
#include <limits>

namespace hwvctl {

namespace po = boost::program_options;

Options::Options(std::string usage, std::string what, std::string examples)
    : usage_{std::move(usage)},
      what_{std::move(what)},
      examples_{std::move(examples)},
      options_{"options", 100} {
    options_.add_options()("help,h", "this text");
}

std::optional<Words> Options::parse(const Arguments &arguments, std::size_t least,
                                    std::size_t most) const {
    po::options_description all;
    all.add(options_).add_options()("words", po::value<std::vector<std::string>>());
    po::positional_options_description positional;
    positional.add("words", -1);
    Words out;
    try {
        const auto parsed =
            po::command_line_parser(arguments).options(all).positional(positional).run();
        refuse_signs(parsed);
        po::store(parsed, out.values);
    } catch (const po::error &e) {
        throw UsageError{e.what()};
    }
    if (out.has("help")) {
        std::cout << "usage: hwvctl " << usage_ << "\n\n"
                  << what_ << "\n\n"
                  << options_ << "\n"
                  << examples_;
        return std::nullopt;
    }
    if (out.has("words")) out.words = out.get<std::vector<std::string>>("words");
    if (out.words.size() < least || out.words.size() > most)
        throw UsageError{"usage: hwvctl " + usage_};
    return out;
}

void refuse_signs(const po::parsed_options &parsed) {
    for (const po::option &option : parsed.options) {
        const auto *known = parsed.description->find_nothrow(option.string_key, false);
        if (!known || option.value.empty() || !option.value[0].starts_with('-')) continue;
        const po::value_semantic *type = known->semantic().get();
        if (dynamic_cast<const po::typed_value<std::uint32_t> *>(type) ||
            dynamic_cast<const po::typed_value<std::uint64_t> *>(type))
            throw UsageError{"--" + option.string_key + ": '" + option.value[0] +
                             "' is no number from 0 on"};
    }
}

std::uint64_t parse_number(const std::string &text, const char *what, bool suffixes) {
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
    const char *begin = text.data() + (is_hex ? 2 : 0), *end = text.data() + text.size();
    std::uint64_t value = 0;
    const auto [rest, error] = std::from_chars(begin, end, value, is_hex ? 16 : 10);
    unsigned shift = 0;
    if (suffixes && rest + 1 == end)
        shift = *rest == 'K' || *rest == 'k'   ? 10
                : *rest == 'M' || *rest == 'm' ? 20
                : *rest == 'G' || *rest == 'g' ? 30
                                               : 0;
    const bool tail = rest != end && !shift;
    if (error != std::errc{} || tail || value > std::numeric_limits<std::uint64_t>::max() >> shift)
        throw UsageError{"'" + text + "' is no " + what + ": a number, decimal or 0x hexadecimal" +
                         (suffixes ? ", with K, M or G behind it" : "")};
    return value << shift;
}

} // namespace hwvctl
