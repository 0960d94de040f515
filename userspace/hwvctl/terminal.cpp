// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/terminal.hpp"
#include <csignal>
#include <cstdlib>
#include <poll.h>
#include <string_view>
#include <sys/ioctl.h>
#include <unistd.h>
#include "hwv/error.hpp"

namespace hwvctl {
namespace {

// ECMA-48, and xterm's private modes: the alternate screen, the cursor.
constexpr std::string_view enter = "\033[?1049h\033[?25l", leave = "\033[?25h\033[?1049l",
                           home = "\033[H", clear_line = "\033[K", plain = "\033[0m";

volatile std::sig_atomic_t ending = 0;

void put(std::string_view text) {
    while (!text.empty()) {
        const ssize_t done = ::write(STDOUT_FILENO, text.data(), text.size());
        if (done < 0 && errno != EINTR) return;
        if (done > 0) text.remove_prefix(static_cast<std::size_t>(done));
    }
}

void handle(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler; // without SA_RESTART: poll() comes back
    ::sigaction(signal, &action, nullptr);
}

const char *colour(Style style) {
    switch (style) {
    case Style::title: return "\033[1m";
    case Style::header:
    case Style::selected: return "\033[7m";
    case Style::help: return "\033[2m";
    default: return "";
    }
}

std::string_view variable(const char *name) {
    const char *text = std::getenv(name);
    return text ? text : "";
}

} // namespace

bool colours_wanted() {
    return ::isatty(STDOUT_FILENO) && variable("NO_COLOR").empty() && variable("TERM") != "dumb";
}

std::pair<KeyPress, std::size_t> decode_key(std::string_view bytes) {
    if (bytes.empty()) return {{}, 0};
    if (bytes.size() > 2 && bytes[0] == '\033' && (bytes[1] == '[' || bytes[1] == 'O')) {
        switch (bytes[2]) {
        case 'A': return {{Key::up}, 3};
        case 'B': return {{Key::down}, 3};
        case 'C': return {{Key::right}, 3};
        case 'D': return {{Key::left}, 3};
        default: return {{}, bytes.size()};
        }
    }
    switch (bytes[0]) {
    case '\033':
    case '\b':
    case 0x7f: return {{Key::back}, 1};
    case '\r':
    case '\n': return {{Key::enter}, 1};
    default: return {{Key::none, bytes[0]}, 1};
    }
}

Screen::Screen() {
    if (!::isatty(STDOUT_FILENO) || ::tcgetattr(STDIN_FILENO, &before_) != 0)
        throw hwv::Error{ENOTTY, "this is no terminal: use --batch"};
    for (int s : {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGPIPE})
        handle(s, [](int) { ending = 1; });
    handle(SIGWINCH, [](int) {});
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    put(enter);
}

Screen::~Screen() {
    put(leave);
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

std::pair<unsigned, unsigned> Screen::size() const {
    winsize now{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &now) != 0 || !now.ws_col || !now.ws_row)
        return {80, 24};
    return {now.ws_col, now.ws_row};
}

void Screen::draw(std::span<const TopLine> lines) {
    const unsigned width = size().first;
    std::string out{home};
    for (std::size_t i = 0; i < lines.size(); ++i) {
        std::string text = lines[i].text;
        if (lines[i].style == Style::header || lines[i].style == Style::selected)
            text.resize(width, ' ');
        out += colour(lines[i].style) + text;
        out += plain;
        if (text.size() < width) out += clear_line;
        if (i + 1 < lines.size()) out += "\r\n";
    }
    put(out);
}

std::vector<KeyPress> Screen::keys(int timeout_ms) {
    std::vector<KeyPress> out;
    pollfd poll{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (::poll(&poll, 1, timeout_ms) <= 0) return out;
    char bytes[64];
    const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (got <= 0) ending = 1; // the terminal is gone
    std::string_view rest{bytes, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
    while (!rest.empty()) {
        const auto [key, taken] = decode_key(rest);
        out.push_back(key);
        rest.remove_prefix(taken);
    }
    return out;
}

bool Screen::asked_to_end() const { return ending; }

} // namespace hwvctl
