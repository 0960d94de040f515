// SPDX-License-Identifier: GPL-2.0-only
#include <nlohmann/json.hpp>
#include "records/recording.hpp"

namespace records {

std::string harmless(std::string text) {
    for (char &c : text)
        if (c < ' ' || c > '~') c = '?';
    return text;
}

std::string to_json(const Identity &i) {
    return nlohmann::json{{"vm", i.vm},
                          {"name", i.name},
                          {"pid", i.pid},
                          {"tsc_khz", i.tsc_khz},
                          {"start_tsc", i.start_tsc},
                          {"started", i.started},
                          {"host", i.host},
                          {"cpu", i.cpu},
                          {"lossless", i.lossless},
                          {"every", i.every},
                          {"reasons", i.reasons},
                          {"filter", i.filter}}
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Identity identity_from_json(const std::string &text) {
    const auto json = nlohmann::json::parse(text);
    Identity i;
    i.vm = json.at("vm").get<std::uint64_t>();
    i.name = harmless(json.at("name").get<std::string>());
    i.pid = json.value("pid", 0u);
    i.tsc_khz = json.at("tsc_khz").get<std::uint32_t>();
    i.start_tsc = json.value("start_tsc", std::uint64_t{0});
    i.started = harmless(json.value("started", std::string{}));
    i.host = harmless(json.value("host", std::string{}));
    i.cpu = harmless(json.value("cpu", std::string{}));
    i.lossless = json.value("lossless", false);
    i.every = json.value("every", 1u);
    i.reasons = json.value("reasons", ~std::uint64_t{0});
    i.filter = harmless(json.value("filter", std::string{}));
    return i;
}

} // namespace records
