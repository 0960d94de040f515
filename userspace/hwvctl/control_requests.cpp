// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/control_requests.hpp"
#include "machine/display/picture.hpp"
#include "machine/keys.hpp"
#include "machine/virtio/balloon.hpp"

namespace hwvctl {
namespace {

using nlohmann::json;

ControlMessage refuse(const std::string &why, bool retry = false) {
    json head{{"ok", false}, {"error", why}};
    if (retry) head["retry"] = true;
    return {std::move(head), {}};
}

std::optional<machine::Screen> screen_of(machine::Machine &machine) {
    const std::lock_guard guard{machine.lock()};
    if (machine.vga() == nullptr) return std::nullopt;
    return machine.vga()->screen();
}

ControlMessage answer_screen(const machine::Screen &screen) {
    const machine::Picture picture = machine::render(screen);
    json head{{"ok", true}, {"width", picture.width}, {"height", picture.height}};
    const auto text = machine::read_text(screen);
    head["mode"] = text ? "text" : "graphics";
    if (!text) return {std::move(head), {}};
    head["columns"] = text->columns;
    head["rows"] = text->rows;
    head["text"] = machine::utf8(*text);
    if (text->cursor)
        head["cursor"] = {{"row", *text->cursor / text->columns},
                          {"column", *text->cursor % text->columns}};
    return {std::move(head), {}};
}

ControlMessage answer_picture(const machine::Screen &screen) {
    const machine::Picture picture = machine::render(screen);
    ControlMessage reply{{{"ok", true}, {"width", picture.width}, {"height", picture.height}}, {}};
    reply.body.reserve(picture.pixels.size() * 3);
    for (const std::uint32_t pixel : picture.pixels)
        for (const unsigned shift : {16u, 8u, 0u})
            reply.body.push_back(static_cast<std::uint8_t>(pixel >> shift));
    return reply;
}

ControlMessage press(machine::Machine &machine, const json &request) {
    const auto chord = request.find("chord");
    if (chord == request.end() || !chord->is_string()) return refuse("'chord' is no text");
    const auto keys = machine::key_chord(chord->get<std::string>());
    if (!keys) return refuse("'" + chord->get<std::string>() + "' is no key");
    const std::lock_guard guard{machine.lock()};
    machine::I8042 *input = machine.input();
    if (input == nullptr || !input->plugged())
        return refuse("the guest has no keyboard: launch it with --vga, --display or --keyboard");
    if (input->keys_free() < 2 * keys->size())
        return refuse("the guest does not read its keyboard", true);
    for (auto key = keys->begin(); key != keys->end(); ++key)
        input->key(*key, true);
    for (auto key = keys->rbegin(); key != keys->rend(); ++key)
        input->key(*key, false);
    return {{{"ok", true}}, {}};
}

json said_by_guest(const machine::virtio::Balloon::Statistics &guest) {
    json out = json::object();
    for (const auto &[name, value] : {std::pair{"free", guest.free},
                                      {"total", guest.total},
                                      {"available", guest.available},
                                      {"caches", guest.caches}})
        if (value) out[name] = *value;
    return out;
}

ControlMessage answer_balloon(const Controlled &controlled, const json &request) {
    machine::virtio::Balloon *balloon = controlled.balloon;
    if (balloon == nullptr) return refuse("the guest has no balloon: launch it with --balloon");
    const std::lock_guard guard{controlled.machine.lock()};
    if (const auto target = request.find("target"); target != request.end()) {
        if (!target->is_number_unsigned()) return refuse("'target' is no number of bytes");
        balloon->set_target(target->get<std::uint64_t>());
    }
    if (request.value("ask", json{}) == true) balloon->refresh();
    const auto state = balloon->state();
    return {{{"ok", true},
             {"driven", state.driven},
             {"reporting", state.reporting},
             {"target", state.target},
             {"actual", state.actual},
             {"inflated", state.inflated},
             {"reported", state.reported},
             {"asked", !balloon->fresh()},
             {"guest", said_by_guest(state.guest)}},
            {}};
}

ControlMessage answer_msrs(const Controlled &controlled, const json &request) {
    const auto which = request.find("which");
    constexpr std::size_t most = 64;
    std::vector<std::uint32_t> numbers;
    if (which == request.end() || !which->is_array() || which->size() > most)
        return refuse("'which' is no list of at most 64 numbers");
    for (const json &number : *which) {
        if (!number.is_number_unsigned() || number.get<std::uint64_t>() > UINT32_MAX)
            return refuse("'which' has something that is no MSR's number");
        numbers.push_back(number.get<std::uint32_t>());
    }
    const auto values = controlled.msrs ? controlled.msrs(std::move(numbers)) : std::nullopt;
    if (!values) return refuse("the vCPU does not come by");
    return {{{"ok", true}, {"values", *values}}, {}};
}

} // namespace

ControlMessage answer_control(const Controlled &controlled, const json &request) {
    machine::Machine &machine = controlled.machine;
    const auto name = request.find("request");
    if (request.value("protocol", json{}) != control_protocol || name == request.end())
        return refuse("this launcher speaks protocol " + std::to_string(control_protocol));
    if (*name == "msrs") return answer_msrs(controlled, request);
    if (*name == "balloon") return answer_balloon(controlled, request);
    if (*name == "key") return press(machine, request);
    if (*name == "power-button") {
        machine.press_power_button();
        return {{{"ok", true}}, {}};
    }
    const bool picture = *name == "picture";
    if (!picture && *name != "screen") return refuse("no such request");
    const auto screen = screen_of(machine);
    if (!screen) return refuse("the guest has no screen: launch it with --vga or --display");
    return picture ? answer_picture(*screen) : answer_screen(*screen);
}

} // namespace hwvctl
