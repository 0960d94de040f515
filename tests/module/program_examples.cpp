// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// bed: --smp 2 --put build/programs
// The example programs (userspace/programs/), attached by hwvctl to a guest that it did not start:
// what they print is what the guest did.
#include <cstdio>
#include <fstream>
#include <functional>
#include <signal.h>
#include <sstream>
#include <sys/wait.h>
#include <thread>
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

std::string programs_dir;
const char *const output = "/tmp/prog-output";

std::vector<hwv_program_entry> list(int observer) {
    std::vector<hwv_program_entry> entries(HWV_MAX_PROGRAMS);
    hwv_program_list l{.count = HWV_MAX_PROGRAMS,
                       .entries = reinterpret_cast<std::uint64_t>(entries.data())};
    if (raw::call(observer, HWV_PROGRAM_LIST, &l) != 0) return {};
    entries.resize(l.count);
    return entries;
}

pid_t start(const std::string &command) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::execlp("sh", "sh", "-c", ("exec " + command + " >" + output + " 2>&1").c_str(), nullptr);
        ::_exit(127);
    }
    return child;
}

int ended(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

std::string read_file(const std::string &path) {
    std::ifstream file{path};
    std::stringstream text;
    text << file.rdbuf();
    std::printf("%s\n", text.str().c_str());
    return text.str();
}
std::string read_output() { return read_file(output); }

// Runs `body` while the program is attached; returns what hwvctl printed.
std::string with(Guest &guest, const std::string &file, const std::string &on,
                 const std::function<void()> &body) {
    const Observer observer{guest};
    const std::string vm = "id:" + std::to_string(guest.id);
    const pid_t attacher =
        start("hwvctl prog attach " + vm + " " + programs_dir + "/" + file + " --on " + on);
    for (int i = 0; i < 3000 && list(observer.fd).empty(); ++i)
        std::this_thread::sleep_for(10ms);
    const auto attached = list(observer.fd);
    expect(file + "_attached", static_cast<long>(attached.size()), 1);
    body();
    if (!attached.empty()) {
        const auto id = std::to_string(attached[0].id);
        const std::string detach = "hwvctl prog detach " + vm + " " + id;
        expect(file + "_detached", std::system(detach.c_str()), 0);
    }
    expect(file + "_ended", ended(attacher), 0);
    return read_output();
}

long word(Guest &guest) {
    return guest.enter() == 0 && guest.run->exit.reason == HWV_EXIT_IO ? guest.run->exit.io.data
                                                                       : -1;
}

bool has_line(const std::string &text, const std::string &line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

//        mov esi, 200
// next:  xor eax, eax
//        cpuid              ; at F000:F009
//        dec esi
//        jnz next
//        out 0x21, al       ; at F000:F00F
//        jmp start
const std::string cpuids =
    "\x66\xbe\xc8\x00\x00\x00\x66\x31\xc0\x0f\xa2\x66\x4e\x75\xf7\xe6\x21\xeb\xed"s;

void check_rips() {
    Guest guest{cpuids};
    long good = 0;
    const std::string told = with(guest, "rips.bpf.o", "cpuid,io", [&] {
        for (int i = 0; i < 5; ++i)
            good += word(guest) >= 0;
    });
    expect("rips_guest_runs", good, 5);
    report("rips_of_cpuid", has_line(told, "        1000 0xf009"), "no line with 1000");
    report("rips_of_out", has_line(told, "           5 0xf00f"), "no line with 5");
}

// start: mov eax, 0x40000000; cpuid; out 0x21, eax
//        rdtsc; out 0x21, eax; rdtsc; out 0x21, eax; jmp start
void check_disguise() {
    Guest guest{"\x66\xb8\x00\x00\x00\x40\x0f\xa2\x66\xe7\x21"
                "\x0f\x31\x66\xe7\x21\x0f\x31\x66\xe7\x21\xeb\xe9"s};
    const long shown = word(guest);
    report("undisguised", shown >= 0x40000000, std::to_string(shown));
    word(guest);
    word(guest);
    long told[3] = {};
    with(guest, "disguise.bpf.o", "cpuid,rdtsc", [&] {
        for (long &w : told)
            w = word(guest);
    });
    expect("disguised_cpuid", told[0], 0);
    expect("disguised_tsc", told[1], 100);
    expect("disguised_tsc_goes_on", told[2], 200);
    expect("undisguised_again", word(guest), shown);
}

// start: mov dx, 0x3f8; mov al, 'a'; out dx, al; inc ax; out dx, al; out 0x80, al; in al, dx;
//        jmp start
void check_port_log() {
    Guest guest{"\xba\xf8\x03\xb0\x61\xee\x40\xee\xe6\x80\xec\xeb\xf3"s};
    const std::string told = with(guest, "portlog.bpf.o", "io", [&] {
        for (int i = 0; i < 8; ++i)
            word(guest);
    });
    long lines = 0, a = 0, b = 0, other = 0;
    std::istringstream in{told};
    for (std::string line; std::getline(in, line);) {
        if (!line.starts_with("0x")) continue;
        ++lines;
        a += line.ends_with(" 0x3f8 0x61");
        b += line.ends_with(" 0x3f8 0x62");
        other += line.find(" 0x3f8 ") == std::string::npos;
    }
    expect("port_lines", lines, 6);
    expect("port_first", a, 2);
    expect("port_second", b, 2);
    expect("port_others", other, 0);
}

// One hwvctl's program takes the place of another's, which ends then; each exit is counted once.
void check_replacement() {
    Guest guest{cpuids};
    const std::string vm = "id:" + std::to_string(guest.id) + " ", json = "/tmp/prog-list";
    std::thread replacer;
    const std::string told = with(guest, "rips.bpf.o", "cpuid", [&] {
        word(guest);
        const Observer observer{guest};
        const hwv_program_entry former = list(observer.fd).at(0);
        const std::string attach = "hwvctl prog attach " + vm + programs_dir +
                                   "/rips.bpf.o --replace " + std::to_string(former.id);
        replacer = std::thread([attach] {
            expect("replacer_ended", std::system((attach + " >/dev/null").c_str()), 0);
        });
        for (int i = 0; i < 3000 && list(observer.fd).at(0).bpf_id == former.bpf_id; ++i)
            std::this_thread::sleep_for(10ms);
        word(guest);
        word(guest);
        expect("list_json", std::system(("hwvctl prog list " + vm + "--json >" + json).c_str()), 0);
    });
    replacer.join();
    report("former_counted", has_line(told, "         200 0xf009"), "no line with 200");
    const std::string listed = read_file(json);
    for (const char *part : {"\"cpuid\"", "\"runs\": 600", "\"name\": \"rips\""})
        report("list_says_"s + part[1], listed.find(part) != std::string::npos, listed);
}

void check_mistakes() {
    Guest guest{raw::loop_for_ever};
    const std::string vm = "id:" + std::to_string(guest.id), file = programs_dir + "/rips.bpf.o";
    expect("no_such_reason",
           ended(start("hwvctl prog attach " + vm + " " + file + " --on nothing")), 2);
    report("no_such_reason_named", read_output().find("'nothing'") != std::string::npos, "");
    expect("no_such_file", ended(start("hwvctl prog attach " + vm + " /nowhere.bpf.o")), 1);
    read_output();
    expect("no_such_vm", ended(start("hwvctl prog list 99999")), 1);
    read_output();
    expect("no_such_program", ended(start("hwvctl prog detach " + vm + " 7")), 1);
    read_output();
}

} // namespace

int main(int, char **argv) {
    if (!raw::can_run()) {
        skip("program_examples", "this machine cannot run guests");
        return 0;
    }
    const std::string self = argv[0];
    programs_dir = self.substr(0, self.rfind("/tests/")) + "/programs";
    check_rips();
    check_disguise();
    check_port_log();
    check_replacement();
    check_mistakes();
    return verdict();
}
