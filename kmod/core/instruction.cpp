// SPDX-License-Identifier: GPL-2.0-only
#include "core/instruction.hpp"

namespace hwv {
namespace {

using Op = Operation;

// Bytes read in order; running out is remembered, not checked at every step.
class Reader {
  public:
    Reader(const std::uint8_t *bytes, unsigned count)
        : bytes_{bytes}, count_{count < 15 ? count : 15} {}
    std::uint8_t peek() const { return at_ < count_ ? bytes_[at_] : 0; }
    std::uint8_t next() {
        if (at_ >= count_) {
            ok_ = false;
            return 0;
        }
        return bytes_[at_++];
    }
    std::uint64_t little_endian(unsigned n) {
        std::uint64_t v = 0;
        for (unsigned i = 0; i < n; ++i)
            v |= static_cast<std::uint64_t>(next()) << (8 * i);
        return v;
    }
    void skip(unsigned n) {
        at_ += n;
        if (at_ > count_) ok_ = false;
    }
    bool ok() const { return ok_; }
    unsigned at() const { return at_; }

  private:
    const std::uint8_t *bytes_;
    unsigned count_;
    unsigned at_ = 0;
    bool ok_ = true;
};

struct Prefixes {
    bool operand = false, address = false, rep = false, repne = false;
    std::uint8_t rex = 0;
    std::uint8_t segment = HWV_DS; // override, or the default of what has its source there
    bool w() const { return rex & 8; }
};

struct ModRm {
    std::uint8_t byte = 0;
    std::uint8_t mod() const { return byte >> 6; }
    std::uint8_t reg() const { return byte >> 3 & 7; }
    std::uint8_t rm() const { return byte & 7; }
    bool memory() const { return mod() != 3; }
};

// 64-bit code has bases in FS and GS alone: the other overrides do nothing there.
void override_segment(Prefixes &p, std::uint8_t prefix, CodeSize code) {
    if (prefix == 0x64)
        p.segment = HWV_FS;
    else if (prefix == 0x65)
        p.segment = HWV_GS;
    else if (prefix != 0xf0 && code != CodeSize::bits64)
        p.segment = HWV_ES + (prefix >> 3 & 3);
}

Prefixes read_prefixes(Reader &in, CodeSize code) {
    Prefixes p;
    for (unsigned i = 0; i < 15; ++i) {
        const std::uint8_t b = in.peek();
        if (b == 0x66)
            p.operand = true;
        else if (b == 0x67)
            p.address = true;
        else if (b == 0xf3)
            p.rep = true;
        else if (b == 0xf2)
            p.repne = true;
        else if (b == 0xf0 || b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 ||
                 b == 0x65) {
            override_segment(p, b, code);
        } else if (code == CodeSize::bits64 && (b & 0xf0) == 0x40) {
            p.rex = b; // only the last one before the opcode counts: a legacy prefix behind it
                       // cancels it
            in.next();
            continue;
        } else {
            break;
        }
        p.rex = 0;
        in.next();
    }
    return p;
}

unsigned operand_bytes(const Prefixes &p, CodeSize code) {
    if (p.w()) return 8;
    const bool wide = code != CodeSize::bits16;
    return wide != p.operand ? 4 : 2;
}

unsigned address_bytes(const Prefixes &p, CodeSize code) {
    if (code == CodeSize::bits64) return p.address ? 4 : 8;
    return (code == CodeSize::bits32) != p.address ? 4 : 2;
}

// Steps over SIB and displacement. Intel SDM "ModR/M and SIB Bytes".
ModRm read_modrm(Reader &in, unsigned address_size) {
    ModRm m{in.next()};
    if (!m.memory()) return m;
    if (address_size == 2) {
        if (m.mod() == 1)
            in.skip(1);
        else if (m.mod() == 2 || (m.mod() == 0 && m.rm() == 6))
            in.skip(2);
        return m;
    }
    std::uint8_t base = m.rm();
    if (m.rm() == 4) base = in.next() & 7;
    if (m.mod() == 1)
        in.skip(1);
    else if (m.mod() == 2 || (m.mod() == 0 && base == 5))
        in.skip(4);
    return m;
}

// 0F 01: one opcode, many instructions by ModRM.
Op group_0f01(const ModRm &m) {
    if (m.memory()) {
        constexpr Op ops[8] = {Op::descriptor, Op::descriptor, Op::descriptor, Op::descriptor,
                               Op::smsw,       Op::other,      Op::lmsw,       Op::invlpg};
        return ops[m.reg()];
    }
    switch (m.byte) {
    case 0xc1: return Op::vmcall;
    case 0xc8:
    case 0xfa: return Op::monitor;
    case 0xc9:
    case 0xfb: return Op::mwait;
    case 0xd1: return Op::xsetbv;
    case 0xd8:
    case 0xda:
    case 0xdb:
    case 0xdc:
    case 0xdd:
    case 0xde:
    case 0xdf:
    case 0xc2:
    case 0xc3:
    case 0xc4: return Op::virt;
    case 0xd9: return Op::vmmcall;
    case 0xf9: return Op::rdtscp;
    case 0xfd: return Op::rdpru;
    default: break;
    }
    if (m.reg() == 4) return Op::smsw;
    if (m.reg() == 6) return Op::lmsw;
    return Op::other;
}

void set_register(Instruction &i, const Prefixes &p, std::uint8_t field, bool byte_operand) {
    i.reg = static_cast<std::uint8_t>(field | (p.rex & 4 ? 8 : 0));
    if (byte_operand && !p.rex && field >= 4) {
        i.reg = field - 4;
        i.high_byte = true;
    }
}

void two_byte(Instruction &i, Reader &in, const Prefixes &p, CodeSize code) {
    const std::uint8_t opcode = in.next();
    const unsigned address = address_bytes(p, code);
    switch (opcode) {
    case 0x00: i.operation = read_modrm(in, address).reg() < 4 ? Op::descriptor : Op::other; return;
    case 0x01: {
        const ModRm m = read_modrm(in, address);
        i.operation = group_0f01(m);
        i.memory = m.memory();
        i.reg = static_cast<std::uint8_t>(m.rm() | (p.rex & 1 ? 8 : 0));
        i.size = static_cast<std::uint8_t>(operand_bytes(p, code));
        return;
    }
    case 0x06: i.operation = Op::clts; return;
    case 0x08: i.operation = Op::invd; return;
    case 0x09: i.operation = Op::wbinvd; return;
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23: {
        constexpr Op ops[4] = {Op::mov_from_cr, Op::mov_from_dr, Op::mov_to_cr, Op::mov_to_dr};
        const ModRm m{in.next()}; // always a register form: mod is ignored
        i.operation = ops[opcode & 3];
        i.number = static_cast<std::uint8_t>(m.reg() | (p.rex & 4 ? 8 : 0));
        i.reg = static_cast<std::uint8_t>(m.rm() | (p.rex & 1 ? 8 : 0));
        return;
    }
    case 0x30: i.operation = Op::wrmsr; return;
    case 0x31: i.operation = Op::rdtsc; return;
    case 0x32: i.operation = Op::rdmsr; return;
    case 0x33: i.operation = Op::rdpmc; return;
    case 0xa2: i.operation = Op::cpuid; return;
    case 0xaa: i.operation = Op::rsm; return;
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf: {
        const ModRm m = read_modrm(in, address);
        if (!m.memory()) return;
        i.operation = Op::load;
        i.memory = true;
        i.size = opcode & 1 ? 2 : 1;
        i.sign_extend = opcode & 8;
        i.destination_size = static_cast<std::uint8_t>(operand_bytes(p, code));
        set_register(i, p, m.reg(), false);
        return;
    }
    default: return;
    }
}

// 88-8B, C6/C7 /0, A0-A3: MOV between memory and a register or an immediate.
void plain_mov(Instruction &i, Reader &in, const Prefixes &p, CodeSize code, std::uint8_t opcode) {
    const bool byte_operand = !(opcode & 1);
    const unsigned bytes = byte_operand ? 1 : operand_bytes(p, code);
    const unsigned address = address_bytes(p, code);
    i.size = i.destination_size = static_cast<std::uint8_t>(bytes);
    if (opcode >= 0xa0 && opcode <= 0xa3) {
        in.skip(address);
        i.memory = true;
        i.operation = opcode < 0xa2 ? Op::load : Op::store;
        return;
    }
    const ModRm m = read_modrm(in, address);
    i.memory = m.memory();
    if (opcode == 0xc6 || opcode == 0xc7) {
        const unsigned n = bytes == 8 ? 4 : bytes;
        i.immediate = in.little_endian(n);
        if (bytes == 8)
            i.immediate = static_cast<std::uint64_t>(static_cast<std::int32_t>(i.immediate));
        if (m.memory() && m.reg() == 0) i.operation = Op::store_immediate;
        return;
    }
    set_register(i, p, m.reg(), byte_operand);
    if (m.memory()) i.operation = opcode & 2 ? Op::load : Op::store;
}

void one_byte(Instruction &i, Reader &in, const Prefixes &p, CodeSize code, std::uint8_t opcode) {
    switch (opcode) {
    case 0x6c:
    case 0x6d: i.operation = Op::ins; return;
    case 0x6e:
    case 0x6f:
        i.operation = Op::outs;
        i.segment = p.segment;
        return;
    case 0x88:
    case 0x89:
    case 0x8a:
    case 0x8b:
    case 0xc6:
    case 0xc7:
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3: plain_mov(i, in, p, code, opcode); return;
    case 0x90: i.operation = p.rep ? Op::pause : Op::other; return;
    case 0xcc: i.operation = Op::int3; return;
    case 0xce: i.operation = Op::into; return;
    case 0xe4:
    case 0xe5:
        in.skip(1);
        i.operation = Op::in;
        return;
    case 0xe6:
    case 0xe7:
        in.skip(1);
        i.operation = Op::out;
        return;
    case 0xec:
    case 0xed: i.operation = Op::in; return;
    case 0xee:
    case 0xef: i.operation = Op::out; return;
    case 0xf4: i.operation = Op::hlt; return;
    default: return;
    }
}

} // namespace

std::optional<Instruction> decode_instruction(const std::uint8_t *bytes, unsigned count,
                                              CodeSize code) {
    Reader in{bytes, count};
    const Prefixes p = read_prefixes(in, code);
    Instruction i;
    const std::uint8_t opcode = in.next();
    if (opcode == 0x0f)
        two_byte(i, in, p, code);
    else
        one_byte(i, in, p, code, opcode);
    if (!in.ok()) return std::nullopt;
    i.length = static_cast<std::uint8_t>(in.at());
    return i;
}

bool matches(const Instruction &instruction, ExitReason reason) {
    const Op op = instruction.operation;
    switch (reason) {
    case HWV_EXIT_HLT: return op == Op::hlt;
    case HWV_EXIT_CPUID: return op == Op::cpuid;
    case HWV_EXIT_IO: return op == Op::in || op == Op::out || op == Op::ins || op == Op::outs;
    case HWV_EXIT_MSR_READ: return op == Op::rdmsr;
    case HWV_EXIT_MSR_WRITE: return op == Op::wrmsr;
    case HWV_EXIT_HYPERCALL: return op == Op::vmcall || op == Op::vmmcall;
    case HWV_EXIT_CR_READ: return op == Op::mov_from_cr || op == Op::smsw;
    case HWV_EXIT_CR_WRITE: return op == Op::mov_to_cr || op == Op::clts || op == Op::lmsw;
    case HWV_EXIT_DR_ACCESS: return op == Op::mov_from_dr || op == Op::mov_to_dr;
    case HWV_EXIT_RDTSC: return op == Op::rdtsc || op == Op::rdtscp;
    case HWV_EXIT_RDTSCP: return op == Op::rdtscp;
    case HWV_EXIT_RDPMC: return op == Op::rdpmc;
    case HWV_EXIT_INVLPG: return op == Op::invlpg;
    case HWV_EXIT_INVD:
    case HWV_EXIT_WBINVD: return op == Op::invd || op == Op::wbinvd; // QEMU reports both as WBINVD
    case HWV_EXIT_MONITOR: return op == Op::monitor;
    case HWV_EXIT_MWAIT: return op == Op::mwait;
    case HWV_EXIT_PAUSE: return op == Op::pause;
    case HWV_EXIT_XSETBV: return op == Op::xsetbv;
    case HWV_EXIT_DESCRIPTOR: return op == Op::descriptor;
    case HWV_EXIT_EXCEPTION: return op == Op::int3 || op == Op::into;
    case HWV_EXIT_RSM: return op == Op::rsm;
    case HWV_EXIT_VIRT_INSTRUCTION: return op == Op::virt || op == Op::vmmcall;
    case HWV_EXIT_RDPRU: return op == Op::rdpru;
    default: return false;
    }
}

} // namespace hwv
