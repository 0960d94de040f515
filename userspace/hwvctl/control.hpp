// SPDX-License-Identifier: GPL-2.0-only
// control.hpp - how other commands ask a running `hwvctl run` for its guest's screen and keys.
//
// A stream socket in the abstract name space, "hwvctl/control/VMID", that root and the VM's owner
// may use. Each message is one line of JSON, followed by as many bytes as its "bytes" says, if it
// does. A request is {"protocol":1,"request":NAME,...}; its reply {"protocol":1,"ok":true,...} or
// {"protocol":1,"ok":false,"error":TEXT}; "retry":true says that it is for now alone. One after the
// other:
//   screen        -> mode "text" or "graphics", width, height; text: columns, rows, text, cursor
//   picture       -> width, height and bytes: 24 bits for each pixel, red first
//   key           chord "ctrl-alt-delete": pressed in this order, released in the opposite one
//   power-button
//   balloon       target: bytes that the guest is to give, if any -> target, actual, inflated,
//                 reported, driven, reporting, guest: free, total, available, caches, as far as
//                 it says, which with "ask":true it is asked for; asked: it has not said yet
//   msrs          which: their numbers -> values, of the first vCPU, 0 for those it has not
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>
#include <nlohmann/json.hpp>
#include "hwv.h"
#include "hwv/fd.hpp"
#include "machine/machine.hpp"

namespace machine::virtio {
class Balloon;
}

namespace hwvctl {

inline constexpr int control_protocol = 1;

struct ControlMessage {
    nlohmann::json head;
    std::vector<std::uint8_t> body;
};

// Throw hwv::Error; nullopt: the other side has closed, or what came is no message.
void send_control(const hwv::Fd &socket, ControlMessage message);
std::optional<ControlMessage> receive_control(const hwv::Fd &socket);

// What requests are about.
struct Controlled {
    machine::Machine &machine;
    std::function<std::optional<std::vector<std::uint64_t>>(std::vector<std::uint32_t>)> msrs;
    machine::virtio::Balloon *balloon = nullptr; // null: there is none
};

// The launcher's side: answers in a thread of its own as long as it lives.
class ControlServer {
  public:
    // Throws hwv::Error.
    ControlServer(std::uint64_t vm, Controlled controlled);
    ~ControlServer();
    ControlServer(const ControlServer &) = delete;
    ControlServer &operator=(const ControlServer &) = delete;

  private:
    void serve();
    void talk(const hwv::Fd &caller);

    Controlled controlled_;
    hwv::Fd listener_;
    hwv::Fd stop_;
    std::thread thread_;
};

// The other commands' side.
class ControlClient {
  public:
    // Throws hwv::Error with what to do, if that VM's launcher does not listen.
    explicit ControlClient(const hwv_vm_entry &vm);
    // The reply. Throws hwv::Error with the launcher's words if that says no, after asking again
    // for `patience` where that may help.
    ControlMessage ask(const std::string &request, nlohmann::json head = nlohmann::json::object(),
                       std::chrono::milliseconds patience = {});

  private:
    hwv::Fd socket_;
};

// The VM of this process. Throws hwv::Error if there is none.
std::uint64_t own_vm();

} // namespace hwvctl
