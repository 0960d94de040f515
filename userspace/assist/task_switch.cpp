// SPDX-License-Identifier: GPL-2.0-only
#include "assist/task_switch.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <optional>

#include "assist/segment.hpp"

namespace assist {
namespace {

constexpr std::uint64_t cr0_ts = 1 << 3;
constexpr std::uint64_t flag_nested_task = 1 << 14;
constexpr std::uint64_t flags_defined = 0x3f'7fd5, flags_fixed = 2;
constexpr std::uint64_t dr6_task_switch = 1 << 15;
constexpr std::uint64_t dr7_local = 0x155; // L0-L3 and LE
constexpr std::uint16_t v86_segment = 0xf3;

// "32-Bit Task-State Segment (TSS)", "16-Bit TSS": from `ip` on come the flags, the eight general
// registers in the order of their numbers, the segments in theirs, and the LDT's selector.
struct Layout {
    unsigned width; // bytes of a register
    unsigned ip;
    unsigned segments; // how many
    unsigned bytes;    // that a TSS has at least

    constexpr unsigned gpr(unsigned n) const { return ip + (2 + n) * width; }
    constexpr unsigned segment(unsigned n) const { return ip + (10 + n) * width; }
    constexpr unsigned ldt() const { return segment(segments); } // behind all that is saved
};
constexpr Layout tss32{4, 0x20, 6, 0x68}, tss16{2, 0x0e, 4, 0x2c};
constexpr unsigned tss32_cr3 = 0x1c, tss32_trap = 0x64;
static_assert(tss32.ldt() == 0x60 && tss16.ldt() == 0x2a);

const Layout &layout_of(unsigned type) { return (type & type_tss32) == type_tss32 ? tss32 : tss16; }

using Image = std::array<std::byte, 0x68>;

std::uint32_t get(const Image &tss, unsigned at, unsigned bytes) {
    std::uint32_t value = 0;
    std::memcpy(&value, tss.data() + at, bytes);
    return value;
}

void put(Image &tss, unsigned at, std::uint64_t value, unsigned bytes) {
    std::memcpy(tss.data() + at, &value, bytes);
}

class Switch {
  public:
    Switch(const hwv_regs &initial, const Environment &environment,
           const hwv_exit_task_switch &task, std::uint64_t next_rip)
        : regs(initial), environment_(environment), task_(task), next_rip_(next_rip) {}

    hwv_regs regs; // the old task's until the commit point, then the new one's

    void run();
    void raise(Fault fault);
    void trap();
    void block_nmis();

  private:
    bool by_iret() const { return task_.source == HWV_TASK_IRET; }
    bool nests() const { return task_.source == HWV_TASK_CALL || task_.source == HWV_TASK_GATE; }
    bool external() const;
    const hwv_segment &old_tss() const { return regs.segment[HWV_TR]; }

    Place place(std::uint64_t linear, unsigned size, Access access) const;
    std::atomic_ref<std::uint8_t> descriptor_type(std::uint64_t descriptor) const;
    Descriptor read_descriptor(std::uint64_t linear) const;
    Descriptor find_tss() const;
    void check_page_directories(std::uint64_t cr3) const;
    void prepare();
    void save();
    void load_registers(const Image &tss);
    void expect_segments(const Image &tss);

    Descriptor find_segment(std::uint16_t selector) const;
    void take(unsigned index, std::uint16_t selector, const Descriptor &descriptor);
    void load_ldt();
    void load_code();
    void load_stack();
    void load_data(unsigned index);
    void push_error_code();

    Environment environment_;
    const hwv_exit_task_switch &task_;
    std::uint64_t next_rip_;

    // Translated before the commit point.
    Descriptor tss_;
    const Layout *old_ = nullptr;
    const Layout *new_ = nullptr;
    Place save_;
    Place load_;
    Place link_;
    std::optional<std::atomic_ref<std::uint8_t>> old_type_;
    std::optional<std::atomic_ref<std::uint8_t>> new_type_;
};

[[noreturn]] void fault(std::uint8_t vector, unsigned selector) {
    throw Fault{vector, true, selector & ~selector_rpl, 0};
}

// "Error Code": EXT is set where no INT n, INT3 or INTO caused it; INT1 is one byte long.
bool Switch::external() const {
    if (task_.source != HWV_TASK_GATE) return false;
    if (task_.event_type != HWV_EVENT_SOFTWARE) return true;
    return task_.event_vector == vector_debug && next_rip_ == regs.rip + 1;
}

// The CPU's own accesses are a supervisor's, whatever the CPL is, and AC does not lift SMAP.
Place Switch::place(std::uint64_t linear, unsigned size, Access access) const {
    const PagingState state{.cr0 = regs.cr0,
                            .cr3 = regs.cr3,
                            .cr4 = regs.cr4,
                            .efer = regs.efer,
                            .physical_bits = environment_.physical_bits};
    return translate_range(environment_.memory, state, linear & 0xffff'ffff, size, access);
}

// The byte with the type, to be changed: other CPUs use the table as well.
std::atomic_ref<std::uint8_t> Switch::descriptor_type(std::uint64_t descriptor) const {
    const auto at = place(descriptor + 5, 1, Access::write);
    auto *type = environment_.memory.ram(at.pieces[0].gpa, 1, true);
    if (type == nullptr) throw Unsupported{"a descriptor table is not in RAM"};
    return std::atomic_ref{*reinterpret_cast<std::uint8_t *>(type)};
}

Descriptor Switch::read_descriptor(std::uint64_t linear) const {
    Descriptor descriptor{linear, 0};
    read_place(environment_.memory, place(linear, 8, Access::read),
               std::as_writable_bytes(std::span{&descriptor.value, 1}));
    return descriptor;
}

// ---- up to the commit point: nothing is changed ----

Descriptor Switch::find_tss() const {
    const unsigned selector = task_.selector;
    const auto invalid = by_iret() ? vector_invalid_tss : vector_protection;
    if ((selector & selector_local) != 0 || is_null(selector) ||
        table_offset(selector) + 7 > regs.gdtr.limit)
        fault(invalid, selector);
    const auto descriptor = read_descriptor(regs.gdtr.base + table_offset(selector));
    const auto wanted = by_iret() ? type_busy : 0;
    const bool is_tss = !descriptor.has(attr_no_system) && descriptor.has(type_tss16) &&
                        (descriptor.type() & ~type_tss32) == wanted;
    if (!is_tss) fault(invalid, selector);
    if (!descriptor.has(attr_present)) fault(vector_not_present, selector);
    if (descriptor.limit() < layout_of(descriptor.type()).bytes - 1)
        fault(vector_invalid_tss, selector);
    return descriptor;
}

// "PDPTE Registers": with PAE the load of CR3 is refused for reserved bits in a present entry.
void Switch::check_page_directories(std::uint64_t cr3) const {
    if ((regs.cr4 & cr4_pae) == 0) return;
    const auto reserved = ~std::uint64_t{0} << environment_.physical_bits | 0x1e6;
    for (unsigned i = 0; i < 4; ++i) {
        std::uint64_t entry = 0;
        const Place at{{Place::Piece{(cr3 & 0xffff'ffe0) + std::uint64_t{8} * i, 8}}, 1};
        read_place(environment_.memory, at, std::as_writable_bytes(std::span{&entry, 1}));
        if ((entry & 1) != 0 && (entry & reserved) != 0) throw Fault{vector_protection, true, 0, 0};
    }
}

void Switch::prepare() {
    tss_ = find_tss();
    new_ = &layout_of(tss_.type());
    old_ = &layout_of(old_tss().attributes);
    if (old_tss().limit + std::uint64_t{1} < old_->ldt())
        fault(vector_invalid_tss, old_tss().selector);
    save_ = place(old_tss().base + old_->ip, old_->ldt() - old_->ip, Access::write);
    load_ = place(tss_.base(), new_->bytes, Access::read);
    if (nests()) link_ = place(tss_.base(), 2, Access::write);
    if (!nests())
        old_type_.emplace(descriptor_type(regs.gdtr.base + table_offset(old_tss().selector)));
    if (!by_iret()) new_type_.emplace(descriptor_type(tss_.address));
    if (new_ != &tss32 || (regs.cr0 & cr0_pg) == 0) return;
    Image tss{};
    read_place(environment_.memory, load_, tss);
    check_page_directories(get(tss, tss32_cr3, 4));
}

// ---- the switch ----

void Switch::save() {
    Image tss{};
    const auto width = old_->width;
    put(tss, old_->ip, next_rip_ != 0 ? next_rip_ : regs.rip, width);
    put(tss, old_->ip + width, by_iret() ? regs.rflags & ~flag_nested_task : regs.rflags, width);
    for (unsigned n = 0; n < 8; ++n)
        put(tss, old_->gpr(n), regs.gpr[n], width);
    for (unsigned n = 0; n < old_->segments; ++n)
        put(tss, old_->segment(n), regs.segment[n].selector, 2);
    write_place(environment_.memory, save_,
                std::span{tss}.subspan(old_->ip, old_->ldt() - old_->ip));
    if (nests()) {
        const auto selector = old_tss().selector;
        write_place(environment_.memory, link_, std::as_bytes(std::span{&selector, 1}));
    }
    if (old_type_) old_type_->fetch_and(0xff & ~type_busy);
    if (new_type_) new_type_->fetch_or(type_busy);
}

void Switch::load_registers(const Image &tss) {
    regs.segment[HWV_TR] = tss_.segment(task_.selector);
    regs.segment[HWV_TR].attributes |= type_busy;
    regs.cr0 |= cr0_ts;
    regs.dr7 &= ~dr7_local;
    if (new_ == &tss32 && (regs.cr0 & cr0_pg) != 0) regs.cr3 = get(tss, tss32_cr3, 4);
    const auto width = new_->width;
    regs.rip = get(tss, new_->ip, width);
    regs.rflags = (get(tss, new_->ip + width, width) & flags_defined) | flags_fixed;
    if (nests()) regs.rflags |= flag_nested_task;
    for (unsigned n = 0; n < 8; ++n)
        regs.gpr[n] = get(tss, new_->gpr(n), width);
    regs.event.shadow = 0;
    expect_segments(tss);
}

// All selectors are loaded first. A segment whose descriptor was not reached when a fault ends the
// loading is unusable; CS cannot be: it is an empty one with the privilege of its selector.
void Switch::expect_segments(const Image &tss) {
    const bool v86 = (regs.rflags & flag_virtual_8086) != 0;
    for (unsigned n = HWV_ES; n <= HWV_GS; ++n) {
        const auto selector =
            static_cast<std::uint16_t>(n < new_->segments ? get(tss, new_->segment(n), 2) : 0);
        regs.segment[n] = {0, 0, selector, attr_unusable};
        if (v86) regs.segment[n] = {std::uint64_t{selector} << 4, 0xffff, selector, v86_segment};
    }
    const auto ldt = static_cast<std::uint16_t>(get(tss, new_->ldt(), 2));
    regs.segment[HWV_LDTR] = {0, 0, ldt, attr_unusable | type_ldt};
    if (v86) return;
    auto &cs = regs.segment[HWV_CS];
    const unsigned dpl = (cs.selector & selector_rpl) << attr_dpl_shift;
    constexpr unsigned empty_code =
        attr_present | attr_no_system | attr_code | attr_writable | attr_accessed;
    cs.attributes = static_cast<__u16>(empty_code | dpl);
    regs.segment[HWV_SS].attributes = static_cast<__u16>(attr_unusable | dpl);
}

// ---- the new task's segments: "Exception Conditions Checked During a Task Switch". The order in
// which they are checked is a CPU's own. ----

Descriptor Switch::find_segment(std::uint16_t selector) const {
    const auto &ldt = regs.segment[HWV_LDTR];
    const bool local = (selector & selector_local) != 0;
    const auto base = local ? ldt.base : regs.gdtr.base;
    const auto limit = local ? ldt.limit : regs.gdtr.limit;
    const bool usable = !local || (ldt.attributes & attr_unusable) == 0;
    if (is_null(selector) || !usable || table_offset(selector) + 7 > limit)
        fault(vector_invalid_tss, selector);
    return read_descriptor(base + table_offset(selector));
}

void Switch::take(unsigned index, std::uint16_t selector, const Descriptor &descriptor) {
    if (!descriptor.has(attr_accessed)) descriptor_type(descriptor.address).fetch_or(attr_accessed);
    regs.segment[index] = descriptor.segment(selector);
    regs.segment[index].attributes |= attr_accessed;
}

void Switch::load_ldt() {
    auto &ldt = regs.segment[HWV_LDTR];
    if (is_null(ldt.selector)) return;
    if ((ldt.selector & selector_local) != 0) fault(vector_invalid_tss, ldt.selector);
    const auto descriptor = find_segment(ldt.selector);
    const bool good = !descriptor.has(attr_no_system) && descriptor.type() == type_ldt &&
                      descriptor.has(attr_present);
    if (!good) fault(vector_invalid_tss, ldt.selector);
    ldt = descriptor.segment(ldt.selector);
}

void Switch::load_code() {
    const auto selector = regs.segment[HWV_CS].selector;
    const auto descriptor = find_segment(selector);
    const unsigned rpl = selector & selector_rpl;
    const bool conforming = descriptor.has(attr_expand_down);
    const bool good = descriptor.has(attr_no_system | attr_code) &&
                      (conforming ? descriptor.dpl() <= rpl : descriptor.dpl() == rpl);
    if (!good) fault(vector_invalid_tss, selector);
    if (!descriptor.has(attr_present)) fault(vector_not_present, selector);
    take(HWV_CS, selector, descriptor);
}

void Switch::load_stack() {
    const auto selector = regs.segment[HWV_SS].selector;
    const auto descriptor = find_segment(selector);
    const unsigned cpl = regs.segment[HWV_CS].selector & selector_rpl;
    const bool good = descriptor.has(attr_no_system | attr_writable) &&
                      !descriptor.has(attr_code) && descriptor.dpl() == cpl &&
                      (selector & selector_rpl) == cpl;
    if (!good) fault(vector_invalid_tss, selector);
    if (!descriptor.has(attr_present)) fault(vector_stack, selector);
    take(HWV_SS, selector, descriptor);
}

void Switch::load_data(unsigned index) {
    const auto selector = regs.segment[index].selector;
    if (is_null(selector)) return;
    const auto descriptor = find_segment(selector);
    const bool code = descriptor.has(attr_code);
    const unsigned cpl = regs.segment[HWV_CS].selector & selector_rpl;
    const bool conforming = code && descriptor.has(attr_expand_down);
    const bool allowed =
        conforming || (descriptor.dpl() >= cpl && descriptor.dpl() >= (selector & selector_rpl));
    const bool readable = !code || descriptor.has(attr_writable);
    if (!descriptor.has(attr_no_system) || !readable || !allowed)
        fault(vector_invalid_tss, selector);
    if (!descriptor.has(attr_present)) fault(vector_not_present, selector);
    take(index, selector, descriptor);
}

// As wide as the new TSS.
void Switch::push_error_code() {
    Cpu cpu{regs, environment_};
    const auto width = cpu.stack_width();
    const auto top = truncate(cpu.gpr(HWV_RSP, width) - new_->width, width);
    cpu.write(cpu.place(HWV_SS, top, new_->width, Access::write), task_.error_code);
    cpu.set_gpr(HWV_RSP, width, top);
    regs.gpr[HWV_RSP] = cpu.regs.gpr[HWV_RSP];
}

void Switch::run() {
    prepare();
    save();
    Image tss{};
    read_place(environment_.memory, load_, std::span{tss}.first(new_->bytes));
    load_registers(tss);
    load_ldt();
    if ((regs.rflags & flag_virtual_8086) == 0) {
        load_code();
        load_stack();
        for (const unsigned index : {HWV_DS, HWV_ES, HWV_FS, HWV_GS})
            load_data(index);
    }
    if (task_.has_error_code != 0) push_error_code();
    if (new_ == &tss32 && (get(tss, tss32_trap, 1) & 1) != 0) trap();
}

void Switch::trap() {
    regs.dr6 |= dr6_task_switch;
    deliver(regs, {vector_debug, false, 0, 0});
}

// IRET ends the blocking of NMIs even where it faults. One that came by a task gate blocks them.
void Switch::block_nmis() {
    if (by_iret()) regs.event.nmi_blocked = 0;
    if (task_.event_type == HWV_EVENT_NMI) regs.event.nmi_blocked = 1;
}

constexpr bool is_contributory(unsigned vector) {
    return vector == vector_divide || (vector >= vector_invalid_tss && vector <= vector_protection);
}

// "Interrupt 8 - Double Fault Exception (#DF)": the event that was being delivered may have been an
// exception. An interrupt is lost, as it is on a CPU.
void Switch::raise(Fault second) {
    const unsigned first = task_.event_vector;
    const bool severe = is_contributory(second.vector) || second.vector == vector_page_fault;
    if (task_.event_type == HWV_EVENT_EXCEPTION && severe) {
        if (first == vector_double_fault) {
            regs.event.mp_state = HWV_MP_SHUTDOWN;
            return;
        }
        const bool both = is_contributory(first) && is_contributory(second.vector);
        if (both || first == vector_page_fault) second = {vector_double_fault, true, 0, 0};
    }
    if (second.vector != vector_double_fault) regs.rflags |= flag_resume;
    if (second.vector != vector_page_fault && second.vector != vector_double_fault)
        second.error_code |= external() ? 1U : 0U;
    deliver(regs, second);
}

} // namespace

Outcome switch_task(hwv_regs &regs, const Environment &environment,
                    const hwv_exit_task_switch &task, std::uint64_t next_rip) {
    if ((regs.cr0 & cr0_pe) == 0 || (regs.efer & efer_lma) != 0)
        return {Status::unsupported, 0, "a task switch in a mode that has none"};
    Switch change{regs, environment, task, next_rip};
    change.block_nmis();
    try {
        change.run();
    } catch (const Fault &fault) {
        change.raise(fault);
    } catch (const Unsupported &unsupported) {
        return {Status::unsupported, 0, unsupported.what};
    }
    regs = change.regs;
    const bool goes_on =
        regs.event.type == HWV_EVENT_NONE && regs.event.mp_state != HWV_MP_SHUTDOWN;
    return {goes_on ? Status::done : Status::fault, HWV_REGS_ALL, ""};
}

} // namespace assist
