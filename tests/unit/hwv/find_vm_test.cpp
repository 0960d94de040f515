// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/observer.hpp"

#include <cstring>
#include <gtest/gtest.h>

namespace hwv {
namespace {

hwv_vm_entry vm(std::uint64_t id, const char *name, std::uint32_t pid) {
    hwv_vm_entry out{};
    out.id = id;
    std::strcpy(out.name, name);
    out.pid = pid;
    return out;
}

const std::vector<hwv_vm_entry> three{vm(3, "web", 100), vm(4, "db", 3), vm(7, "web", 200)};

std::string complaint(const std::string &text, std::span<const hwv_vm_entry> vms = three) {
    try {
        find_vm(vms, text);
    } catch (const Error &e) {
        return e.what();
    }
    return "found";
}

TEST(FindVm, ByIdNameAndPid) {
    EXPECT_EQ(find_vm(three, "7").id, 7u);
    EXPECT_EQ(find_vm(three, "db").id, 4u);
    EXPECT_EQ(find_vm(three, "200").id, 7u);
}

TEST(FindVm, OneKindAlone) {
    EXPECT_EQ(find_vm(three, "id:3").id, 3u);
    EXPECT_EQ(find_vm(three, "pid:3").id, 4u);
    EXPECT_EQ(find_vm(three, "name:db").id, 4u);
}

TEST(FindVm, SeveralAreListed) {
    EXPECT_EQ(complaint("web"), "'web' names several VMs: id 3 'web' (pid 100), id 7 'web' (pid "
                                "200); say id:N");
    EXPECT_NE(complaint("3").find("several"), std::string::npos) << "id of one, pid of another";
}

TEST(FindVm, NoneIsSaid) {
    EXPECT_NE(complaint("mail").find("id 4 'db' (pid 3)"), std::string::npos);
    EXPECT_NE(complaint("web", {}).find("no VM runs"), std::string::npos);
    EXPECT_NE(complaint("7x"), "found");
    EXPECT_NE(complaint("pid:0"), "found");
    EXPECT_NE(complaint("", std::vector{vm(1, "", 0)}), "found") << "no name is no match";
}

TEST(ShownName, IsHarmlessToATerminal) {
    EXPECT_EQ(shown_name(vm(1, "a b", 0)), "a b");
    EXPECT_EQ(shown_name(vm(1, "\033[2J\n\xff", 0)), "?[2J??");
    EXPECT_EQ(complaint("x", std::vector{vm(1, "\007", 5)}),
              "there is no VM 'x'; there is id 1 '?' (pid 5)");
}

} // namespace
} // namespace hwv
