// SPDX-License-Identifier: GPL-2.0-only
// options.hpp - the command line of a subcommand: options, words, --help.
#pragma once
#include <optional>
#include <string>
#include <vector>
#include <boost/program_options.hpp>
#include "hwvctl/command.hpp"

namespace hwvctl {

struct Words {
    std::vector<std::string> words; // what is no option
    boost::program_options::variables_map values;

    bool has(const char *option) const { return values.count(option) != 0; }
    template <typename T>
    const T &get(const char *option) const {
        return values[option].as<T>();
    }
    std::string text(const char *option) const {
        return has(option) ? get<std::string>(option) : std::string{};
    }
};

class Options {
  public:
    // usage: "stat VM [OPTIONS]"; what follows it in --help, before and after the options.
    Options(std::string usage, std::string what, std::string examples);

    boost::program_options::options_description_easy_init add() { return options_.add_options(); }
    // nullopt: help was asked for and printed. least, most: how many words. Throws UsageError.
    std::optional<Words> parse(const Arguments &arguments, std::size_t least,
                               std::size_t most) const;

  private:
    std::string usage_, what_, examples_;
    boost::program_options::options_description options_;
};

// Boost takes a sign before a number that has none, and -1 for the largest. Throws UsageError.
void refuse_signs(const boost::program_options::parsed_options &parsed);

// "0x1000", "4096", and where `suffixes`, "64K" "2M" "1G". Throws UsageError that names `what`.
std::uint64_t parse_number(const std::string &text, const char *what, bool suffixes = false);

} // namespace hwvctl
