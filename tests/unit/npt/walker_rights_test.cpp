// SPDX-License-Identifier: GPL-2.0-only
// Who may do what: every combination of access, page rights and control bits against the manual's
// rules written out once more, and the rules' corners by hand.
#include "guest_pages.hpp"

#include <gtest/gtest.h>

namespace npt_test {
namespace {

// Intel SDM volume 3, "Determination of Access Rights", case by case as the text has it.
struct Case {
    bool user_page, writable, no_execute;
    bool wp, smep, smap, ac;
    Access access;

    bool supervisor_data_on_user_page_allowed() const { return !smap || (ac && !access.implicit); }
    bool allowed() const {
        if (!access.user) {
            if (access.kind == AccessKind::fetch) return !(user_page && smep) && !no_execute;
            if (user_page && !supervisor_data_on_user_page_allowed()) return false;
            return access.kind == AccessKind::read || writable || !wp;
        }
        if (!user_page) return false;
        if (access.kind == AccessKind::fetch) return !no_execute;
        return access.kind == AccessKind::read || writable;
    }
    std::uint32_t error_code(bool nxe) const {
        return 1 | (access.kind == AccessKind::write ? 2 : 0) | (access.user ? 4 : 0) |
               (access.kind == AccessKind::fetch && (nxe || smep) ? 16 : 0);
    }
};

Case make_case(unsigned bits) {
    const auto bit = [&](unsigned i) { return (bits >> i & 1) != 0; };
    Case out{bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6), {}};
    out.access.user = bit(7);
    out.access.implicit = bit(8) && !bit(7);
    return out;
}

void apply(const Case &c, Path &path, std::size_t restricted) {
    path.paging.cr0 = cr0_pg | (c.wp ? cr0_wp : 0);
    path.paging.cr4 |= (c.smep ? cr4_smep : 0) | (c.smap ? cr4_smap : 0);
    path.paging.alignment_check = c.ac;
    std::uint64_t entry = path.get(restricted) & ~(w | u);
    entry |= (c.writable ? w : 0) | (c.user_page ? u : 0) | (c.no_execute ? nx : 0);
    path.set(restricted, entry);
}

void check(const Case &base, const Path &mode, std::size_t restricted) {
    for (const auto kind : {AccessKind::read, AccessKind::write, AccessKind::fetch}) {
        Case c = base;
        c.access.kind = kind;
        Path path = mode;
        apply(c, path, restricted);
        const Translation result = path.look(c.access);
        if (c.allowed()) {
            ASSERT_EQ(result.status, WalkStatus::ok);
            for (const auto other : {AccessKind::read, AccessKind::write, AccessKind::fetch}) {
                Case also = c;
                also.access.kind = other;
                const bool told = other == AccessKind::read    ? result.perms.read
                                  : other == AccessKind::write ? result.perms.write
                                                               : result.perms.exec;
                ASSERT_EQ(told, also.allowed());
            }
        } else {
            ASSERT_EQ(result.status, WalkStatus::page_fault);
            ASSERT_EQ(result.error_code, c.error_code(path.paging.nx_enabled()));
        }
    }
}

TEST(WalkerRights, EveryCombinationAtEveryLevel) {
    for (unsigned bits = 0; bits < 512; ++bits) {
        const Case c = make_case(bits);
        SCOPED_TRACE(testing::Message() << "case " << bits);
        for (std::size_t level = 0; level < 2 && !c.no_execute; ++level)
            check(c, legacy(), level);
        for (std::size_t level = 1; level < 3; ++level)
            check(c, pae(), level);
        for (std::size_t level = 0; level < 4; ++level)
            check(c, four(), level);
        for (std::size_t level = 0; level < 5; ++level)
            check(c, five(), level);
        if (HasFatalFailure()) return;
    }
}

TEST(WalkerRights, RightsOfAllLevelsCountTogether) {
    Path path = four();
    path.set(0, path.get(0) & ~w);
    path.set(2, path.get(2) & ~u);
    EXPECT_EQ(path.look({AccessKind::write}).error_code, pf::present | pf::write);
    EXPECT_EQ(path.look({AccessKind::read, true}).error_code, pf::present | pf::user);
    EXPECT_EQ(path.look({AccessKind::read}).perms, (Perms{true, false, true}));
}

TEST(WalkerRights, FetchIsNamedOnlyWhereItCanBeDenied) {
    Path path = legacy(0xc012'3456, p | w);
    EXPECT_EQ(path.look({AccessKind::fetch, true}).error_code, pf::present | pf::user);
    path.paging.cr4 |= cr4_smep;
    EXPECT_EQ(path.look({AccessKind::fetch, true}).error_code, pf::present | pf::user | pf::fetch);
    Path no_pae = legacy(0xc012'3456, p | w);
    no_pae.paging.efer = efer_nxe; // means nothing without PAE
    EXPECT_EQ(no_pae.look({AccessKind::fetch, true}).error_code, pf::present | pf::user);
}

struct KeyRow {
    const char *name;
    unsigned pkru; // of the page's key: bit 0 no access, bit 1 no write
    Access access;
    bool wp, user_page;
    bool denied;
};

constexpr KeyRow key_rows[] = {
    {"user read, AD", 1, {AccessKind::read, true}, true, true, true},
    {"user read, WD", 2, {AccessKind::read, true}, true, true, false},
    {"user write, WD", 2, {AccessKind::write, true}, false, true, true},
    {"supervisor read, AD", 1, {AccessKind::read}, true, true, true},
    {"supervisor write, WD, WP", 2, {AccessKind::write}, true, true, true},
    {"supervisor write, WD, no WP", 2, {AccessKind::write}, false, true, false},
    {"fetch, AD", 3, {AccessKind::fetch, true}, true, true, false},
    {"supervisor page", 3, {AccessKind::write}, true, false, false},
};

TEST(WalkerRights, ProtectionKeys) {
    for (const KeyRow &row : key_rows) {
        SCOPED_TRACE(row.name);
        Path path = four(0x1000, p | w | (row.user_page ? u : 0));
        path.set(3, path.get(3) | 13ull << 59);
        path.paging.cr0 = cr0_pg | (row.wp ? cr0_wp : 0);
        path.paging.pkru = row.pkru << 26;
        EXPECT_EQ(path.look(row.access).status, WalkStatus::ok) << "CR4.PKE is off";
        path.paging.cr4 |= cr4_pke;
        const Translation result = path.look(row.access);
        EXPECT_EQ(result.status, row.denied ? WalkStatus::page_fault : WalkStatus::ok);
        EXPECT_EQ(bool(result.error_code & pf::key), row.denied);
        path.paging.pkru = ~(3u << 26);
        EXPECT_EQ(path.look(row.access).status, WalkStatus::ok) << "another key";
        path.paging.pkru.reset();
        EXPECT_EQ(path.look(row.access).status, WalkStatus::ok);
    }
}

TEST(WalkerRights, KeyIsNamedBesideOtherCauses) {
    Path path = four(0x1000, p | u);
    path.paging.cr4 |= cr4_pke;
    path.paging.pkru = 1;
    EXPECT_EQ(path.look({AccessKind::write, true}).error_code,
              pf::present | pf::write | pf::user | pf::key);
}

} // namespace
} // namespace npt_test
