// SPDX-License-Identifier: GPL-2.0-only
// record_options.hpp - what the commands on records have in common: options, symbols, progress.
#pragma once
#include <atomic>
#include <boost/program_options.hpp>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include "hwvctl/command.hpp"
#include "records/filter.hpp"
#include "records/profile.hpp"
#include "records/symbols.hpp"

namespace hwvctl {

namespace po = boost::program_options;

// nullopt: help was asked for and printed, with `text` behind the options. Positional words go to
// the options that `positional` names, one each. Throws UsageError.
std::optional<po::variables_map> parse_options(const Arguments &arguments,
                                               po::options_description options,
                                               const std::vector<std::string> &positional,
                                               const std::string &text);
std::string option_text(const po::variables_map &values, const char *name);
// Throws UsageError naming it where it is absent.
std::string required(const po::variables_map &values, const char *name, const char *what);

// --filter, and what it understands as text for --help.
void add_filter(po::options_description &options);
records::Filter filter_of(const po::variables_map &values);
extern const char *const filter_help;

// --symbols and --kaslr-offset.
void add_symbols(po::options_description &options);
// nullopt: not asked for. Without an offset given it is found from where exits happened; a note on
// stderr says what was found.
std::optional<records::Symbols> symbols_of(const po::variables_map &values,
                                           const records::RecordSums *records);

// For what takes longer than two seconds: a line on the terminal's stderr, again each half second,
// gone at the end. No terminal: nothing.
class Progress {
  public:
    explicit Progress(std::function<std::string()> text);
    ~Progress();
    Progress(const Progress &) = delete;
    Progress &operator=(const Progress &) = delete;

  private:
    void show() const;
    std::function<std::string()> text_;
    std::atomic<bool> over_{false};
    std::thread thread_;
};

} // namespace hwvctl
