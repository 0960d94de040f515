// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/record_options.hpp"
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <iostream>
#include <stdexcept>
#include <unistd.h>
#include "hwv/stats.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

std::uint64_t parse_offset(const std::string &text) {
    const std::size_t skip = text.rfind("0x", 0) == 0 ? 2 : 0;
    std::uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + skip, end, value, 16);
    if (error != std::errc{} || rest != end)
        throw UsageError{"--kaslr-offset: '" + text + "' is no hexadecimal number"};
    return value;
}

void find_slide(records::Symbols &symbols, const std::string &path,
                const records::RecordSums &records) {
    const auto entry = symbols.address_of("entry_SYSCALL_64");
    if (entry && records.syscall_entry) { // the guest told its CPU where it is
        symbols.set_slide(records.syscall_entry - *entry);
        std::fprintf(stderr, "hwvctl: KASLR offset %#lx, by LSTAR\n", symbols.slide());
        return;
    }
    const auto guess = symbols.guess_slide(sites(records));
    if (!guess) {
        std::fprintf(
            stderr,
            "hwvctl: no KASLR offset fits the exits to '%s': names are left out; is it that "
            "kernel's? --kaslr-offset HEX gives it\n",
            path.c_str());
        symbols = records::Symbols{};
        return;
    }
    symbols.set_slide(guess->slide);
    std::fprintf(stderr, "hwvctl: KASLR offset %#lx: %u of %u places of exits agree\n",
                 guess->slide, guess->agree, guess->asked);
}

} // namespace

const char *const filter_help = R"(
A filter is a list of terms, which must all hold:
  reason=NAME[,NAME...]         key=, data=, rip=, cr3=, cpl=, vcpu= with numbers or ranges FIRST-LAST
  took>10us, took<1ms           user halted descheduled stopped ruled unfinished
  != instead of =, and ! before a word, say the opposite.
)";

std::optional<po::variables_map> parse_options(const Arguments &arguments,
                                               po::options_description options,
                                               const std::vector<std::string> &positional,
                                               const std::string &text) {
    options.add_options()("help,h", "this text");
    po::options_description all = options;
    po::positional_options_description places;
    for (const std::string &name : positional) {
        all.add_options()(name.c_str(), po::value<std::string>());
        places.add(name.c_str(), 1);
    }
    po::variables_map values;
    try {
        const auto parsed =
            po::command_line_parser(arguments).options(all).positional(places).run();
        refuse_signs(parsed);
        po::store(parsed, values);
    } catch (const po::error &e) {
        throw UsageError{e.what()};
    }
    if (!values.count("help")) return values;
    std::cout << options << text;
    return std::nullopt;
}

std::string option_text(const po::variables_map &values, const char *name) {
    return values.count(name) ? values[name].as<std::string>() : std::string{};
}

std::string required(const po::variables_map &values, const char *name, const char *what) {
    if (!values.count(name)) throw UsageError{std::string{what} + " is missing"};
    return values[name].as<std::string>();
}

void add_filter(po::options_description &options) {
    options.add_options()("filter", po::value<std::string>()->value_name("\"TERMS\""),
                          "only the records that match, see below");
}

records::Filter filter_of(const po::variables_map &values) {
    try {
        return records::Filter::parse(option_text(values, "filter"));
    } catch (const std::invalid_argument &e) {
        std::string reasons;
        for (unsigned r = 1; r < HWV_EXIT_CPU_REASONS; ++r)
            reasons += std::string{r > 1 ? ", " : ""} + hwv::exit_name(r);
        const bool reason = std::string{e.what()}.find("exit reason") != std::string::npos;
        throw UsageError{std::string{"--filter: "} + e.what() +
                         (reason ? " (there are " + reasons + ")" : "")};
    }
}

void add_symbols(po::options_description &options) {
    auto add = options.add_options();
    add("symbols", po::value<std::string>()->value_name("FILE"),
        "name the guest kernel's addresses: a copy of its /proc/kallsyms, System.map or vmlinux");
    add("kaslr-offset", po::value<std::string>()->value_name("HEX"),
        "by how much the kernel was moved; without it, it is found from where exits happened");
}

std::optional<records::Symbols> symbols_of(const po::variables_map &values,
                                           const records::RecordSums *records) {
    const std::string path = option_text(values, "symbols");
    if (path.empty()) {
        if (values.count("kaslr-offset")) throw UsageError{"--kaslr-offset without --symbols"};
        return std::nullopt;
    }
    records::Symbols out = records::Symbols::load(path);
    if (values.count("kaslr-offset"))
        out.set_slide(parse_offset(option_text(values, "kaslr-offset")));
    else if (records)
        find_slide(out, path, *records);
    return out;
}

Progress::Progress(std::function<std::string()> text) : text_{std::move(text)} {
    if (::isatty(STDERR_FILENO)) thread_ = std::thread{[this] { show(); }};
}

Progress::~Progress() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
}

void Progress::show() const {
    using namespace std::chrono_literals;
    bool shown = false;
    for (unsigned tick = 1; !over_; ++tick) {
        std::this_thread::sleep_for(50ms);
        if (tick < 40 || tick % 10) continue;
        std::fprintf(stderr, "\rhwvctl: %s\033[K", text_().c_str());
        shown = true;
    }
    if (shown) std::fputs("\r\033[K", stderr);
}

} // namespace hwvctl
