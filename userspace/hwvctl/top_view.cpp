// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/top_view.hpp"
#include <algorithm>
#include <fmt/format.h>
#include "hwvctl/exit_table.hpp"
#include "records/key_names.hpp"
#include "hwvctl/live.hpp"

namespace hwvctl {
namespace {

constexpr const char *list_columns[] = {"EXITS/S", "TO USER/S", "GUEST%",
                                        "KERNEL%", "HALT%",     "USER%"};
constexpr const char *exit_columns[] = {"PER S",  "SHARE%", "TIME%", "MEAN US",
                                        "P99 US", "MAX US", "TOTAL"};
constexpr unsigned list_widths[] = {9, 10, 7, 8, 6, 6}, exit_widths[] = {10, 7, 7, 9, 9, 10, 11};

constexpr const char *keys_help[] = {
    "up down j k   select         Enter right   the VM's exits",
    "< >           sort column    Esc left      back to the list of VMs",
    "r             turn it round  p Space       hold the picture; the VMs run on",
    "+ -           longer or shorter interval",
    "q             the end        h ?           this help",
};

double share(std::uint64_t part, std::uint64_t whole) {
    return whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

double rate(std::uint64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

double list_value(const TopVm &v, unsigned column) {
    const auto part = [&](hwv_segment_kind kind) {
        return share(v.recent.segment[kind].cycles, v.recent.cycles);
    };
    switch (column) {
    case 0: return rate(v.recent.exits(), v.seconds);
    case 1: return rate(v.recent.exits_to_user(), v.seconds);
    case 2: return part(HWV_TIME_GUEST);
    case 3: return part(HWV_TIME_KERNEL);
    case 4: return part(HWV_TIME_HALTED);
    default: return part(HWV_TIME_USER);
    }
}

double exit_value(const TopVm &v, std::uint32_t reason, unsigned column, std::uint32_t khz) {
    const hwv_exit_stats &e = v.recent.exit[reason];
    switch (column) {
    case 0: return rate(e.count, v.seconds);
    case 1: return share(e.count, v.recent.exits());
    case 2: return share(e.cycles, v.recent.exit_cycles());
    case 3: return e.count ? to_us(e.cycles, khz) / static_cast<double>(e.count) : 0;
    case 4: return to_us(hwv::percentile(e, 0.99), khz);
    case 5: return to_us(e.max_cycles, khz);
    default: return static_cast<double>(v.total.exit[reason].count);
    }
}

// Numbers without digits that say nothing.
std::string number(double value, unsigned width) {
    return fmt::format("{:>{}.{}f}", value, width, value < 1000 && value != 0 ? 1 : 0);
}

template <std::size_t N>
std::string headings(const char *const (&names)[N], const unsigned (&widths)[N], unsigned sort) {
    std::string out;
    for (unsigned i = 0; i < N; ++i)
        out += fmt::format("{:>{}}", (i == sort ? "*" : "") + std::string{names[i]}, widths[i]);
    return out;
}

} // namespace

bool TopView::press(Key key, char letter) {
    if (help_ && (key != Key::none || letter)) {
        help_ = false;
        return letter != 'q' && letter != 3;
    }
    if (key == Key::up || letter == 'k') cursor_ -= cursor_ != 0;
    if (key == Key::down || letter == 'j') ++cursor_;
    if (key == Key::enter || key == Key::right) {
        if (!vm_ && under_cursor_) vm_ = under_cursor_, cursor_ = 0, sort_ = 0;
    }
    if ((key == Key::back || key == Key::left) && vm_) vm_ = 0, cursor_ = 0, sort_ = 0;
    const unsigned columns =
        static_cast<unsigned>(vm_ ? std::size(exit_columns) : std::size(list_columns));
    switch (letter) {
    case '>': sort_ = std::min(sort_ + 1, columns - 1); break;
    case '<': sort_ -= sort_ != 0; break;
    case 'r': reversed_ = !reversed_; break;
    case 'p':
    case ' ': paused_ = !paused_; break;
    case '+': interval_ = std::min(interval_ * 2, 64.0); break;
    case '-': interval_ = std::max(interval_ / 2, 0.125); break;
    case 'h':
    case '?': help_ = true; break;
    case 'q':
    case 3: return false; // Ctrl-C
    default: break;
    }
    return true;
}

std::string TopView::status() const {
    return fmt::format("every {:g} s{}{}", interval_, paused_ ? ", held" : "",
                       reversed_ ? ", reversed" : "");
}

void TopView::select(std::size_t rows) { cursor_ = rows ? std::min(cursor_, rows - 1) : 0; }

void TopView::list(std::span<const TopVm> vms, unsigned room, std::vector<TopLine> &out) {
    std::vector<const TopVm *> rows;
    double all = 0;
    for (const TopVm &v : vms) {
        rows.push_back(&v);
        all += list_value(v, 0);
    }
    std::stable_sort(rows.begin(), rows.end(), [this](const TopVm *a, const TopVm *b) {
        const double x = list_value(*a, sort_), y = list_value(*b, sort_);
        return reversed_ ? x < y : x > y;
    });
    select(rows.size());
    under_cursor_ = rows.empty() ? 0 : rows[cursor_]->vm.id;
    out.push_back({fmt::format("hwvctl top: {} VM{}, {:.0f} exits/s; {}", vms.size(),
                               vms.size() == 1 ? "" : "s", all, status()),
                   Style::title});
    out.push_back({fmt::format("{:>5} {:<12} {:>7} {:<6}", "ID", "NAME", "PID", "STATE") +
                       headings(list_columns, list_widths, sort_),
                   Style::header});
    const std::size_t first = cursor_ >= room ? cursor_ - room + 1 : 0;
    for (std::size_t i = first; i < rows.size() && i < first + room; ++i) {
        const TopVm &v = *rows[i];
        std::string text =
            fmt::format("{:>5} {:<12.12} {:>7} {:<6}", v.vm.id,
                        *v.vm.name ? hwv::shown_name(v.vm) : "-", v.vm.pid, state(v.vm));
        for (unsigned c = 0; c < std::size(list_widths) && v.trouble.empty(); ++c)
            text += number(list_value(v, c), list_widths[c]);
        if (!v.trouble.empty()) text += "  " + v.trouble;
        out.push_back({text, i == cursor_ ? Style::selected : Style::plain});
    }
}

std::vector<std::uint32_t> TopView::order(const TopVm &vm) const {
    std::vector<std::uint32_t> rows = vm.total.occurred();
    std::stable_sort(rows.begin(), rows.end(), [&](std::uint32_t a, std::uint32_t b) {
        const double x = exit_value(vm, a, sort_, 1), y = exit_value(vm, b, sort_, 1);
        return reversed_ ? x < y : x > y;
    });
    return rows;
}

void TopView::exits(const TopVm &v, std::uint32_t khz, unsigned room, std::vector<TopLine> &out) {
    const std::vector<std::uint32_t> rows = order(v);
    select(rows.size());
    out.push_back({fmt::format("VM {} {}, pid {}, {}, {} old: {:.0f} exits/s; {}", v.vm.id,
                               hwv::shown_name(v.vm), v.vm.pid, state(v.vm), age(v.vm.age_ns),
                               list_value(v, 0), status()),
                   Style::title});
    std::string time;
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i)
        time += fmt::format("{}{} {:.1f}%", i ? " " : "",
                            hwv::segment_name(static_cast<hwv_segment_kind>(i)),
                            share(v.recent.segment[i].cycles, v.recent.cycles));
    out.push_back({v.trouble.empty() ? time : v.trouble});
    out.push_back({fmt::format("{:<16}", "EXIT") + headings(exit_columns, exit_widths, sort_),
                   Style::header});
    const unsigned keys = std::min(8u, room / 3), lines = room - keys - 1;
    const std::size_t first = cursor_ >= lines ? cursor_ - lines + 1 : 0;
    for (std::size_t i = first; i < rows.size() && i < first + lines; ++i) {
        std::string text = fmt::format("{:<16}", hwv::exit_name(rows[i]));
        for (unsigned c = 0; c < std::size(exit_widths); ++c)
            text += number(exit_value(v, rows[i], c, khz), exit_widths[c]);
        out.push_back({text, i == cursor_ ? Style::selected : Style::plain});
    }
    if (rows.empty() || !*records::key_kind(rows[cursor_])) return;
    unsigned shown = 0;
    for (const hwv::KeyCount &k : v.recent.keys_of(rows[cursor_]))
        if (shown++ < keys)
            out.push_back({fmt::format("  {:<34}{:>12} /s", records::key_text(k.reason, k.key),
                                       number(rate(k.count, v.seconds), 1))});
}

std::vector<TopLine> TopView::render(std::span<const TopVm> vms, std::uint32_t khz, unsigned width,
                                     unsigned height) {
    std::vector<TopLine> out;
    const unsigned room = std::max(height, 8u) - 4; // less title, time, headings, help
    const auto shown =
        std::find_if(vms.begin(), vms.end(), [this](const TopVm &v) { return v.vm.id == vm_; });
    if (vm_ && shown == vms.end())
        out.push_back({fmt::format("VM {} has ended", vm_), Style::title});
    else if (vm_)
        exits(*shown, khz, room, out);
    else
        list(vms, room, out);
    if (help_) {
        out.resize(1);
        for (const char *line : keys_help)
            out.push_back({line});
    }
    if (out.size() > height - 1) out.resize(height - 1);
    while (out.size() < height - 1)
        out.push_back({});
    out.push_back({vm_ ? "q quit  < > sort  r reverse  p hold  Esc list  h help"
                       : "q quit  < > sort  r reverse  p hold  Enter exits of the VM  h help",
                   Style::help});
    for (TopLine &line : out)
        if (line.text.size() > width) line.text.resize(width);
    return out;
}

} // namespace hwvctl
