// SPDX-License-Identifier: GPL-2.0-only
// vnc.hpp - a guest's screen, keyboard and mouse for VNC viewers (--display vnc=...).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>
#include "hwv/fd.hpp"
#include "hwvctl/display_options.hpp"
#include "machine/display/picture.hpp"
#include "machine/machine.hpp"

struct _rfbScreenInfo;

namespace hwvctl {

struct VncLibrary;

// Serves in a thread of its own as long as it lives.
class VncServer {
  public:
    // Throws hwv::Error when it cannot listen there, or the password file cannot be read.
    VncServer(const VncOptions &options, machine::Machine &machine);
    ~VncServer();
    VncServer(const VncServer &) = delete;
    VncServer &operator=(const VncServer &) = delete;

    // What viewers do; called by the library.
    void key(bool down, std::uint32_t keysym);
    void pointer(unsigned buttons, int x, int y);
    const VncLibrary &library() const { return *library_; }

  private:
    void set_up(const VncOptions &options);
    void listen_at(const std::string &path);
    void serve();
    void accept_local();
    void refresh();
    void show(machine::Picture picture);

    const std::unique_ptr<const VncLibrary> library_;
    machine::Machine &machine_;
    machine::Picture shown_; // the library reads its pixels
    std::string password_;
    std::vector<char *> passwords_; // as the library wants them
    _rfbScreenInfo *server_ = nullptr;
    hwv::Fd listener_; // of a path
    std::string path_;
    int x_ = 0, y_ = 0;
    unsigned buttons_ = 0;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

} // namespace hwvctl
