// SPDX-License-Identifier: GPL-2.0-only
// libFuzzer's door to everything that reads a file of records; records.sh builds and runs it.
#include <stdexcept>
#include "records/advise.hpp"
#include "records/html_report.hpp"
#include "records/merge.hpp"
#include "records/output.hpp"
#include "records/text_report.hpp"

namespace {

using namespace records;

void read_recording(std::span<const std::byte> bytes) {
    const Recording recording = Recording::parse(bytes, "fuzz");
    const Profile profile = profile_of(recording);
    text_report(recording, profile, nullptr, 5);
    html_report(recording, {}, profile, nullptr, 5);
    folded(recording, {}, nullptr, true);
    advice_text(profile, advise(profile));
    profile_from_json(to_json(profile), "fuzz");
    Sink sink{"/dev/null"};
    for (const char *format : {"text", "csv", "json", "perfetto"}) {
        const auto output = make_output(format, sink, nullptr);
        output->begin(recording.identity());
        in_order(recording, [&](const hwv_record &r) { output->record(r); });
        output->end();
    }
}

void read_symbols(std::vector<char> bytes, bool elf) {
    const std::string_view text{bytes.data(), bytes.size()};
    const Symbols symbols =
        elf ? Symbols::parse_elf(bytes, "fuzz") : Symbols::parse_text(text, "fuzz");
    symbols.name(0xffffffff81000123);
    const ExitSite site{HWV_EXIT_HLT, 0xffffffff81000123, 1};
    symbols.guess_slide({&site, 1});
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size) {
    if (size == 0) return 0;
    const auto *rest = reinterpret_cast<const char *>(bytes + 1);
    try {
        if (bytes[0] % 8 == 1)
            read_symbols({rest, rest + size - 1}, false);
        else if (bytes[0] % 8 == 2)
            read_symbols({rest, rest + size - 1}, true);
        else if (bytes[0] % 8 == 3)
            profile_from_json({rest, size - 1}, "fuzz");
        else if (bytes[0] % 8 == 4)
            Filter::parse({rest, size - 1});
        else
            read_recording(std::as_bytes(std::span{rest, size - 1}));
    } catch (const std::runtime_error &) { // says what is wrong with the file
    } catch (const std::invalid_argument &) {}
    return 0;
}
