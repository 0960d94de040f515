// SPDX-License-Identifier: GPL-2.0-only
// Source: X Window System Protocol, "KEYSYM Encoding".
#include "machine/display/keysyms.hpp"

#include <algorithm>
#include <string_view>

namespace machine {

namespace {

struct Keysym {
    std::uint32_t number;
    std::string_view key;
};

constexpr Keysym keysyms[] = {
    {0xff08, "backspace"},   {0xff09, "tab"},        {0xff0d, "ret"},       {0xff13, "pause"},
    {0xff14, "scroll_lock"}, {0xff1b, "esc"},        {0xff50, "home"},      {0xff51, "left"},
    {0xff52, "up"},          {0xff53, "right"},      {0xff54, "down"},      {0xff55, "pgup"},
    {0xff56, "pgdn"},        {0xff57, "end"},        {0xff61, "print"},     {0xff63, "insert"},
    {0xff67, "menu"},        {0xff7f, "num_lock"},   {0xff8d, "kp_enter"},  {0xff95, "kp_7"},
    {0xff96, "kp_4"},        {0xff97, "kp_8"},       {0xff98, "kp_6"},      {0xff99, "kp_2"},
    {0xff9a, "kp_9"},        {0xff9b, "kp_3"},       {0xff9c, "kp_1"},      {0xff9d, "kp_5"},
    {0xff9e, "kp_0"},        {0xff9f, "kp_decimal"}, {0xffaa, "asterisk"},  {0xffab, "kp_add"},
    {0xffad, "kp_subtract"}, {0xffae, "kp_decimal"}, {0xffaf, "kp_divide"}, {0xffb0, "kp_0"},
    {0xffb1, "kp_1"},        {0xffb2, "kp_2"},       {0xffb3, "kp_3"},      {0xffb4, "kp_4"},
    {0xffb5, "kp_5"},        {0xffb6, "kp_6"},       {0xffb7, "kp_7"},      {0xffb8, "kp_8"},
    {0xffb9, "kp_9"},        {0xffbe, "f1"},         {0xffbf, "f2"},        {0xffc0, "f3"},
    {0xffc1, "f4"},          {0xffc2, "f5"},         {0xffc3, "f6"},        {0xffc4, "f7"},
    {0xffc5, "f8"},          {0xffc6, "f9"},         {0xffc7, "f10"},       {0xffc8, "f11"},
    {0xffc9, "f12"},         {0xffe1, "shift"},      {0xffe2, "shift_r"},   {0xffe3, "ctrl"},
    {0xffe4, "ctrl_r"},      {0xffe5, "caps_lock"},  {0xffe7, "alt"},       {0xffe8, "alt_r"},
    {0xffe9, "alt"},         {0xffea, "alt_r"},      {0xffeb, "meta_l"},    {0xffec, "meta_r"},
    {0xffff, "delete"},      {0xfe03, "alt_r"},      {0xfe20, "tab"},
};

} // namespace

std::optional<Key> key_of_keysym(std::uint32_t keysym) {
    if (keysym >= 0x20 && keysym < 0x7f) {
        const auto keys = keys_for(static_cast<char>(keysym));
        if (!keys) return std::nullopt;
        return keys->back(); // Shift comes as a key of its own
    }
    const auto *found = std::find_if(std::begin(keysyms), std::end(keysyms),
                                     [keysym](const Keysym &k) { return k.number == keysym; });
    return found == std::end(keysyms) ? std::nullopt : key_by_name(found->key);
}

} // namespace machine
