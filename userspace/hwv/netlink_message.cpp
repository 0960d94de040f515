// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/netlink_message.hpp"
#include <algorithm>
#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <sys/socket.h>
#include "hwv/error.hpp"

namespace hwv {

void NetlinkClose::operator()(nl_sock *socket) const { ::nl_socket_free(socket); }
void NetlinkClose::operator()(nl_msg *message) const { ::nlmsg_free(message); }

// ---- attributes ----

Attributes::Attributes(nlattr *all, int all_bytes) : first{all}, bytes{all_bytes} {
    if (::nla_parse(at, HWV_ATTR_END - 1, first, bytes, nullptr) < 0)
        std::fill(std::begin(at), std::end(at), nullptr);
}

Attributes::Attributes(nlattr *nest)
    : Attributes{static_cast<nlattr *>(::nla_data(nest)), ::nla_len(nest)} {}

void Attributes::copy(hwv_netlink_attribute a, void *to, std::size_t bytes_at_most) const {
    if (at[a])
        std::memcpy(to, ::nla_data(at[a]), std::min<std::size_t>(bytes_at_most, ::nla_len(at[a])));
}

std::uint64_t Attributes::number(hwv_netlink_attribute a) const {
    return structure<std::uint64_t>(a); // of this machine's order, whatever its size
}

std::string Attributes::text(hwv_netlink_attribute a) const {
    if (!at[a]) return {};
    const auto *text = static_cast<const char *>(::nla_data(at[a]));
    return {text, ::strnlen(text, ::nla_len(at[a]))};
}

void Attributes::each(hwv_netlink_attribute kind,
                      const std::function<void(nlattr *)> &visit) const {
    int left = bytes;
    for (nlattr *a = first; ::nla_ok(a, left); a = ::nla_next(a, &left))
        if (::nla_type(a) == kind) visit(a);
}

Attributes netlink_attributes(nl_msg *message) {
    auto *header = static_cast<genlmsghdr *>(::nlmsg_data(::nlmsg_hdr(message)));
    return {::genlmsg_attrdata(header, 0), ::genlmsg_attrlen(header, 0)};
}

// ---- socket and request ----

NetlinkSocket netlink_socket() {
    NetlinkSocket socket{::nl_socket_alloc()};
    if (!socket) fail("make a netlink socket", ENOMEM);
    if (const int error = ::genl_connect(socket.get()); error < 0)
        throw Error{0, std::string{"cannot make a netlink socket: "} + ::nl_geterror(error)};
    const int on = 1, fd = ::nl_socket_get_fd(socket.get());
    ::setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    ::setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return socket;
}

int netlink_family(nl_sock *socket) {
    const int family = ::genl_ctrl_resolve(socket, HWV_NETLINK_NAME);
    if (family >= 0) return family;
    throw Error{ENOENT, "there is no netlink family hwv: load the module (insmod hwv.ko, or "
                        "modprobe hwv), of hwvctl's own build"};
}

NetlinkMessage netlink_request(int family, hwv_netlink_command command,
                               std::optional<std::uint64_t> vm, int flags) {
    NetlinkMessage message{::nlmsg_alloc_size(16384)};
    if (!message || !::genlmsg_put(message.get(), NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags,
                                   static_cast<std::uint8_t>(command), HWV_NETLINK_VERSION))
        fail("make a netlink message", ENOMEM);
    if (vm) ::nla_put_u64(message.get(), HWV_ATTR_VM, *vm);
    return message;
}

// ---- what comes back ----

namespace {

struct Exchange {
    const ReadMessage &read;
    Verdict verdict{};
    bool done = false;
};

// What follows the errno.
void explain(Verdict &verdict, const char *at, int bytes) {
    nlattr *known[NLMSGERR_ATTR_MAX + 1] = {};
    auto *first = reinterpret_cast<nlattr *>(const_cast<char *>(at));
    if (bytes <= 0 || ::nla_parse(known, NLMSGERR_ATTR_MAX, first, bytes, nullptr) < 0) return;
    if (nlattr *why = known[NLMSGERR_ATTR_MSG]) verdict.why = ::nla_get_string(why);
    if (nlattr *cookie = known[NLMSGERR_ATTR_COOKIE]) verdict.cookie = ::nla_get_u64(cookie);
}

int on_error(sockaddr_nl *, nlmsgerr *error, void *argument) {
    auto &exchange = *static_cast<Exchange *>(argument);
    const nlmsghdr *header = reinterpret_cast<const nlmsghdr *>(error) - 1;
    exchange.done = true;
    exchange.verdict.code = -error->error;
    std::size_t skip = sizeof *error;
    if (!(header->nlmsg_flags & NLM_F_CAPPED))
        skip += NLMSG_ALIGN(error->msg.nlmsg_len) - NLMSG_HDRLEN;
    if (header->nlmsg_flags & NLM_F_ACK_TLVS)
        explain(exchange.verdict, reinterpret_cast<const char *>(error) + skip,
                static_cast<int>(header->nlmsg_len) - static_cast<int>(NLMSG_HDRLEN + skip));
    return NL_STOP;
}

// A dump that fails on the way says so in its last message.
int on_finish(nl_msg *message, void *argument) {
    auto &exchange = *static_cast<Exchange *>(argument);
    const auto *data = static_cast<const char *>(::nlmsg_data(::nlmsg_hdr(message)));
    const int bytes = ::nlmsg_datalen(::nlmsg_hdr(message));
    int code = 0;
    if (bytes >= static_cast<int>(sizeof code)) std::memcpy(&code, data, sizeof code);
    exchange.done = true;
    if (code < 0) {
        exchange.verdict.code = -code;
        explain(exchange.verdict, data + sizeof code, bytes - static_cast<int>(sizeof code));
    }
    return NL_STOP;
}

int on_ack(nl_msg *, void *argument) {
    static_cast<Exchange *>(argument)->done = true;
    return NL_STOP;
}

int on_interrupted(nl_msg *, void *argument) {
    static_cast<Exchange *>(argument)->verdict.interrupted = true;
    return NL_OK;
}

int on_message(nl_msg *message, void *argument) {
    static_cast<Exchange *>(argument)->read(netlink_attributes(message));
    return NL_OK;
}

} // namespace

Verdict netlink_ask(nl_sock *socket, nl_msg *message, const ReadMessage &read) {
    Exchange exchange{read};
    nl_cb *callbacks = ::nl_cb_alloc(NL_CB_DEFAULT);
    if (!callbacks) fail("talk to hwv", ENOMEM);
    ::nl_cb_err(callbacks, NL_CB_CUSTOM, on_error, &exchange);
    ::nl_cb_set(callbacks, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, &exchange);
    ::nl_cb_set(callbacks, NL_CB_ACK, NL_CB_CUSTOM, on_ack, &exchange);
    ::nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, on_message, &exchange);
    ::nl_cb_set(callbacks, NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, &exchange);
    int result = ::nl_send_auto(socket, message);
    while (result >= 0 && !exchange.done) // answer and acknowledgement come one by one
        result = ::nl_recvmsgs(socket, callbacks);
    ::nl_cb_put(callbacks);
    if (result < 0 && !exchange.verdict.code) exchange.verdict = {EIO, ::nl_geterror(result), {}};
    return exchange.verdict;
}

void Verdict::must_be_good(const std::string &attempt) const {
    if (!code) return;
    if (why.empty()) fail(attempt, code);
    throw Error{code, "cannot " + attempt + ": " + why};
}

} // namespace hwv
