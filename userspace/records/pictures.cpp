// SPDX-License-Identifier: GPL-2.0-only
#include "records/pictures.hpp"
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace records {
namespace {

constexpr unsigned width = 960, left = 70, column = 5, reasons_shown = 7;
static_assert(left + Timeline::bins * column < width);

constexpr const char *colours[reasons_shown + 1] = {"#4477aa", "#ee6677", "#228833", "#ccbb44",
                                                    "#66ccee", "#aa3377", "#dd8452", "#999999"};

double seconds_at(const Timeline &t, const Profile &p, unsigned bin) {
    return p.us(t.last - t.first) / 1e6 * bin / Timeline::bins;
}

std::string open(unsigned height, const char *label) {
    return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", width,
                       height, label);
}

std::string time_axis(const Timeline &t, const Profile &p, unsigned y) {
    std::string out =
        fmt::format("<path class=\"axis\" d=\"M{} {}h{}\"/>\n", left, y, Timeline::bins * column);
    for (unsigned i = 0; i <= 4; ++i) {
        const unsigned bin = Timeline::bins * i / 4;
        out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{:.3g} s</text>\n",
                           left + bin * column, y + 16, seconds_at(t, p, bin));
    }
    return out;
}

std::string marks(const Timeline &t, unsigned height) {
    std::string out;
    for (const auto &[tsc, text] : t.marks)
        out += fmt::format("<path class=\"mark\" d=\"M{} 4v{}\"><title>mark {}</title></path>\n",
                           left + t.bin(tsc) * column, height, escaped(text));
    return out;
}

struct Layer {
    std::string name;
    Timeline::Row row{};
};

// The most frequent reasons, and one layer for all others.
std::vector<Layer> layers(const Timeline &t, const Profile &p) {
    std::vector<Layer> out;
    for (const unsigned r : occurred(p.records->exits)) {
        if (out.size() < reasons_shown) {
            out.push_back({hwv::exit_name(r), t.exits[r]});
            continue;
        }
        if (out.size() == reasons_shown) out.push_back({"others", {}});
        for (unsigned b = 0; b < Timeline::bins; ++b)
            out.back().row[b] += t.exits[r][b];
    }
    return out;
}

std::string legend(const std::vector<Layer> &all) {
    std::string out = "<p class=\"legend\">";
    for (std::size_t i = 0; i < all.size(); ++i)
        out += fmt::format("<span><i style=\"background:{}\"></i>{}</span> ", colours[i],
                           escaped(all[i].name));
    return out + "</p>\n";
}

} // namespace

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        case '\'': out += "&#39;"; break;
        default: out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
        }
    }
    return out;
}

std::string duration(double us) {
    if (us < 1) return fmt::format("{:.0f} ns", us * 1e3);
    if (us < 1e3) return fmt::format("{:.3g} us", us);
    if (us < 1e6) return fmt::format("{:.3g} ms", us / 1e3);
    return fmt::format("{:.3g} s", us / 1e6);
}

std::string exits_over_time(const Timeline &t, const Profile &p) {
    constexpr unsigned height = 240, floor = 210, tallest = 190;
    const std::vector<Layer> all = layers(t, p);
    Timeline::Row sums{};
    for (const Layer &l : all)
        for (unsigned b = 0; b < Timeline::bins; ++b)
            sums[b] += l.row[b];
    const double most = std::max(1u, *std::max_element(sums.begin(), sums.end()));
    const double bin_seconds = seconds_at(t, p, 1);
    std::string out = open(height, "exits over time") + time_axis(t, p, floor);
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.0f}/s</text>\n", left - 6,
                       floor - tallest + 4, bin_seconds > 0 ? most / bin_seconds : 0);
    for (unsigned b = 0; b < Timeline::bins; ++b) {
        double y = floor;
        for (std::size_t i = 0; i < all.size(); ++i) {
            if (!all[i].row[b]) continue;
            const double h = tallest * all[i].row[b] / most;
            y -= h;
            out += fmt::format("<rect x=\"{}\" y=\"{:.2f}\" width=\"{}\" height=\"{:.2f}\" "
                               "fill=\"{}\"><title>{}: {} exits at {:.4g} s</title></rect>\n",
                               left + b * column, y, column, h, colours[i], escaped(all[i].name),
                               all[i].row[b], seconds_at(t, p, b));
        }
    }
    return out + marks(t, floor - 4) + "</svg>\n" + legend(all);
}

std::string heat_map(const Timeline &t, const Profile &p, unsigned reason) {
    constexpr unsigned cell = 11;
    const std::vector<Timeline::Row> &rows = t.took[reason];
    const auto used = [](const Timeline::Row &r) {
        return std::any_of(r.begin(), r.end(), [](std::uint32_t n) { return n != 0; });
    };
    const auto low = std::find_if(rows.begin(), rows.end(), used);
    if (low == rows.end()) return {};
    const auto high = std::find_if(rows.rbegin(), rows.rend(), used).base(); // behind the last one
    const auto count = static_cast<unsigned>(high - low);
    std::uint32_t most = 1;
    for (auto row = low; row != high; ++row)
        most = std::max(most, *std::max_element(row->begin(), row->end()));
    const unsigned floor = 8 + count * cell;
    std::string out = open(floor + 26, "latency heat map") + time_axis(t, p, floor);
    for (unsigned i = 0; i < count; ++i) {
        const auto bucket = static_cast<unsigned>(low - rows.begin()) + i;
        const unsigned y = floor - (i + 1) * cell;
        if (i % 2 == 0)
            out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", left - 6,
                               y + cell, duration(p.us(1ull << bucket)));
        for (unsigned b = 0; b < Timeline::bins; ++b) {
            const std::uint32_t n = rows[bucket][b];
            if (!n) continue;
            const double depth = 0.15 + 0.85 * std::log1p(n) / std::log1p(most);
            out += fmt::format("<rect class=\"heat\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" "
                               "fill-opacity=\"{:.2f}\"><title>{} exits from {} on, at {:.4g} "
                               "s</title></rect>\n",
                               left + b * column, y, column, cell, depth, n,
                               duration(p.us(1ull << bucket)), seconds_at(t, p, b));
        }
    }
    return out + marks(t, floor - 4) + "</svg>\n";
}

} // namespace records
