// SPDX-License-Identifier: GPL-2.0-only
// top.cpp - hwvctl top: all VMs, and one VM's exits, as they are now.
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include "hwv/error.hpp"
#include "hwv/system.hpp"
#include "hwvctl/exit_table.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"
#include "hwvctl/terminal.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;
using clock = std::chrono::steady_clock;

constexpr const char *what =
    "Shows all VMs that you may observe and how often they exit, again and again; Enter shows one\n"
    "VM's exits by reason, and what the selected ones are about. h lists the keys, q ends.\n";

constexpr const char *examples = R"(
examples:
  hwvctl top
  hwvctl top web -d 0.5
  hwvctl top --batch -n 3 | tee log      plain text, for pipes
  hwvctl top --json -n 1 | jq .vms[].exits
)";

// What is mapped of each VM, and how it was a moment ago.
class Sampler {
  public:
    std::vector<TopVm> sample() {
        std::vector<TopVm> out;
        std::map<std::uint64_t, Watched> still;
        for (const hwv_vm_entry &vm : hwv::list_vms()) {
            TopVm row;
            row.vm = vm;
            try {
                measure(row);
                still.insert(watched_.extract(vm.id));
            } catch (const hwv::Error &e) {
                row.trouble = e.what();
            }
            out.push_back(std::move(row));
        }
        watched_ = std::move(still); // who has ended is let go
        return out;
    }

  private:
    struct Watched {
        std::uint64_t vcpus;
        Watch watch;
        Summary before;
        clock::time_point when;
    };

    void measure(TopVm &row) {
        auto found = watched_.find(row.vm.id);
        if (found == watched_.end() || found->second.vcpus != row.vm.vcpus) {
            if (found != watched_.end()) watched_.erase(found);
            // The mappings keep the observer.
            Watch watch{hwv::attach(row.vm.id)};
            Watched fresh{row.vm.vcpus, std::move(watch), {}, clock::now()};
            fresh.before = fresh.watch.read();
            found = watched_.emplace(row.vm.id, std::move(fresh)).first;
        }
        Watched &w = found->second;
        const auto now = clock::now();
        row.total = w.watch.read();
        row.recent = difference(row.total, w.before);
        row.seconds = std::chrono::duration<double>(now - w.when).count();
        w.before = row.total;
        w.when = now;
    }

    std::map<std::uint64_t, Watched> watched_;
};

struct Request {
    TopView view;
    std::uint64_t vm = 0;    // 0: all
    std::uint64_t count = 0; // pictures; 0: until the end
    bool batch = false, json = false;
};

std::optional<Request> request_of(const Arguments &arguments) {
    Options options{"top [VM] [OPTIONS]", std::string{what} + vm_argument, examples};
    options.add()("delay,d", po::value<double>()->default_value(1)->value_name("SECONDS"),
                  "from one picture to the next")(
        "count,n", po::value<std::uint64_t>()->value_name("N"),
        "end after so many pictures")("batch,b", "plain text, without a terminal")(
        "json", "for programs: a line for each picture, all VMs with what came to them in it");
    const std::optional<Words> words = options.parse(arguments, 0, 1);
    if (!words) return std::nullopt;
    Request out;
    const double delay = words->get<double>("delay");
    if (!(delay >= 0.1 && delay <= 3600)) throw UsageError{"--delay: from 0.1 to 3600 seconds"};
    out.view.set_interval(delay);
    if (words->has("count")) out.count = words->get<std::uint64_t>("count");
    out.batch = words->has("batch");
    out.json = words->has("json");
    if (!words->words.empty()) {
        const std::vector<hwv_vm_entry> vms = hwv::list_vms();
        out.vm = hwv::find_vm(vms, words->words[0]).id;
        out.view.only(out.vm);
    }
    return out;
}

std::chrono::milliseconds interval(const TopView &view) {
    return std::chrono::milliseconds{static_cast<long>(view.interval() * 1000)};
}

nlohmann::json to_json(const TopVm &vm, std::uint32_t khz) {
    nlohmann::json out = vm.trouble.empty() ? exit_json(vm.recent, khz) : nlohmann::json::object();
    out["id"] = vm.vm.id;
    out["name"] = vm.vm.name;
    out["pid"] = vm.vm.pid;
    out["state"] = state(vm.vm);
    out["seconds"] = vm.seconds;
    if (!vm.trouble.empty()) out["trouble"] = vm.trouble;
    return out;
}

int run_json(const Request &request, std::uint32_t khz) {
    Sampler sampler;
    sampler.sample();
    for (std::uint64_t n = 0; !request.count || n < request.count; ++n) {
        std::this_thread::sleep_for(interval(request.view));
        nlohmann::json vms = nlohmann::json::array();
        for (const TopVm &vm : sampler.sample())
            if (!request.vm || vm.vm.id == request.vm) vms.push_back(to_json(vm, khz));
        fmt::print("{}\n", json_text({{"vms", vms}}, true));
        if (std::fflush(stdout) != 0) return 0; // nobody reads on
    }
    return 0;
}

int run_batch(Request &request, std::uint32_t khz) {
    constexpr unsigned width = 80, height = 1000;
    Sampler sampler;
    sampler.sample();
    for (std::uint64_t n = 0; !request.count || n < request.count; ++n) {
        std::this_thread::sleep_for(interval(request.view));
        std::vector<TopLine> lines = request.view.render(sampler.sample(), khz, width, height);
        lines.pop_back(); // of keys
        while (!lines.empty() && lines.back().text.empty())
            lines.pop_back();
        for (const TopLine &line : lines)
            fmt::print("{}\n", line.text);
        fmt::print("\n");
        if (std::fflush(stdout) != 0) return 0; // nobody reads on
    }
    return 0;
}

int run_screen(Request &request, std::uint32_t khz) {
    Screen screen;
    Sampler sampler;
    sampler.sample();
    std::vector<TopVm> vms = sampler.sample();
    auto next = clock::now() + std::chrono::milliseconds{250};
    for (std::uint64_t n = 0; !screen.asked_to_end();) {
        const auto [width, height] = screen.size();
        screen.draw(request.view.render(vms, khz, width, height));
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - clock::now());
        for (const KeyPress &press : screen.keys(static_cast<int>(std::max<long>(left.count(), 0))))
            if (!request.view.press(press.key, press.letter)) return 0;
        if (clock::now() < next) continue;
        next = clock::now() + interval(request.view);
        if (request.view.paused()) continue;
        vms = sampler.sample();
        if (request.count && ++n == request.count) return 0;
    }
    return 0;
}

} // namespace

int top_command(const Arguments &arguments) {
    std::optional<Request> request = request_of(arguments);
    if (!request) return 0;
    const std::uint32_t khz = hwv::System{}.info().tsc_khz;
    if (request->json) return run_json(*request, khz);
    return request->batch ? run_batch(*request, khz) : run_screen(*request, khz);
}

} // namespace hwvctl
