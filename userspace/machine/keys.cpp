// SPDX-License-Identifier: GPL-2.0-only
#include "machine/keys.hpp"

#include <algorithm>

namespace machine {

namespace {

struct Name {
    std::string_view name;
    Key key;
};

constexpr Name names[] = {
    {"esc", 0x01},
    {"1", 0x02},
    {"2", 0x03},
    {"3", 0x04},
    {"4", 0x05},
    {"5", 0x06},
    {"6", 0x07},
    {"7", 0x08},
    {"8", 0x09},
    {"9", 0x0a},
    {"0", 0x0b},
    {"minus", 0x0c},
    {"equal", 0x0d},
    {"backspace", 0x0e},
    {"tab", 0x0f},
    {"q", 0x10},
    {"w", 0x11},
    {"e", 0x12},
    {"r", 0x13},
    {"t", 0x14},
    {"y", 0x15},
    {"u", 0x16},
    {"i", 0x17},
    {"o", 0x18},
    {"p", 0x19},
    {"bracket_left", 0x1a},
    {"bracket_right", 0x1b},
    {"ret", 0x1c},
    {"ctrl", 0x1d},
    {"a", 0x1e},
    {"s", 0x1f},
    {"d", 0x20},
    {"f", 0x21},
    {"g", 0x22},
    {"h", 0x23},
    {"j", 0x24},
    {"k", 0x25},
    {"l", 0x26},
    {"semicolon", 0x27},
    {"apostrophe", 0x28},
    {"grave_accent", 0x29},
    {"shift", 0x2a},
    {"backslash", 0x2b},
    {"z", 0x2c},
    {"x", 0x2d},
    {"c", 0x2e},
    {"v", 0x2f},
    {"b", 0x30},
    {"n", 0x31},
    {"m", 0x32},
    {"comma", 0x33},
    {"dot", 0x34},
    {"slash", 0x35},
    {"shift_r", 0x36},
    {"asterisk", 0x37},
    {"alt", 0x38},
    {"spc", 0x39},
    {"caps_lock", 0x3a},
    {"f1", 0x3b},
    {"f2", 0x3c},
    {"f3", 0x3d},
    {"f4", 0x3e},
    {"f5", 0x3f},
    {"f6", 0x40},
    {"f7", 0x41},
    {"f8", 0x42},
    {"f9", 0x43},
    {"f10", 0x44},
    {"num_lock", 0x45},
    {"scroll_lock", 0x46},
    {"kp_7", 0x47},
    {"kp_8", 0x48},
    {"kp_9", 0x49},
    {"kp_subtract", 0x4a},
    {"kp_4", 0x4b},
    {"kp_5", 0x4c},
    {"kp_6", 0x4d},
    {"kp_add", 0x4e},
    {"kp_1", 0x4f},
    {"kp_2", 0x50},
    {"kp_3", 0x51},
    {"kp_0", 0x52},
    {"kp_decimal", 0x53},
    {"less", 0x56},
    {"f11", 0x57},
    {"f12", 0x58},
    {"kp_enter", 0x11c},
    {"ctrl_r", 0x11d},
    {"kp_divide", 0x135},
    {"print", 0x137},
    {"alt_r", 0x138},
    {"home", 0x147},
    {"up", 0x148},
    {"pgup", 0x149},
    {"left", 0x14b},
    {"right", 0x14d},
    {"end", 0x14f},
    {"down", 0x150},
    {"pgdn", 0x151},
    {"insert", 0x152},
    {"delete", 0x153},
    {"meta_l", 0x15b},
    {"meta_r", 0x15c},
    {"menu", 0x15d},
    {"power", 0x15e},
    {"pause", 0x200},
    {"enter", 0x1c},
    {"space", 0x39},
};

// A US keyboard's keys for characters, row after row from the key code given, plain and shifted.
struct Row {
    Key first;
    std::string_view plain;
    std::string_view shifted;
};

constexpr Row rows[] = {
    {0x02, "1234567890-=", "!@#$%^&*()_+"},
    {0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
    {0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
    {0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"},
    {0x39, " ", ""},
    {0x1c, "\n", ""},
    {0x0f, "\t", ""},
};

} // namespace

std::optional<Key> key_by_name(std::string_view name) {
    const auto *found = std::find_if(std::begin(names), std::end(names),
                                     [name](const Name &n) { return n.name == name; });
    if (found == std::end(names)) return std::nullopt;
    return found->key;
}

std::string_view key_name(Key key) {
    const auto *found = std::find_if(std::begin(names), std::end(names),
                                     [key](const Name &n) { return n.key == key; });
    return found == std::end(names) ? std::string_view{} : found->name;
}

std::optional<std::vector<Key>> key_chord(std::string_view text) {
    std::vector<Key> keys;
    for (;;) {
        const std::size_t dash = text.find('-');
        const auto key = key_by_name(text.substr(0, dash));
        if (!key) return std::nullopt;
        keys.push_back(*key);
        if (dash == std::string_view::npos) return keys;
        text.remove_prefix(dash + 1);
    }
}

std::optional<std::vector<Key>> keys_for(char character) {
    for (const Row &row : rows) {
        if (const auto at = row.plain.find(character); at != std::string_view::npos)
            return std::vector<Key>{static_cast<Key>(row.first + at)};
        if (const auto at = row.shifted.find(character); at != std::string_view::npos)
            return std::vector<Key>{shift_key, static_cast<Key>(row.first + at)};
    }
    return std::nullopt;
}

} // namespace machine
