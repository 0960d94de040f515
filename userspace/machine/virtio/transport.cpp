// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/transport.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <system_error>

#include "machine/pci/host.hpp"

namespace machine::virtio {

namespace {

constexpr unsigned notify_bar = 0, structures_bar = 1, msix_bar = 2;
constexpr unsigned notify_multiplier = 4;
// In structures_bar, a page each.
constexpr std::uint32_t common_offset = 0, isr_offset = 0x1000, device_offset = 0x2000;
constexpr std::uint32_t structure_bytes = 0x1000;
constexpr std::uint32_t common_bytes = 0x38;

// "Virtio Structure PCI Capabilities".
enum Capability : std::uint8_t { common = 1, notify = 2, isr = 3, device = 4, window = 5 };
constexpr std::uint8_t vendor_capability = 9;
constexpr unsigned window_bar = 4, window_offset = 8, window_length = 12, window_data = 16;

// "Device Status Field".
constexpr std::uint8_t driver_ok = 4, features_ok = 8, device_needs_reset = 0x40;
constexpr std::uint8_t isr_queue = 1, isr_configuration = 2;
constexpr std::uint16_t no_vector = 0xffff;

} // namespace

Transport::Transport(std::unique_ptr<Model> model, const GuestMemory &memory)
    : Function({.vendor = 0x1af4,
                .device = static_cast<std::uint16_t>(0x1040 + model->kind().id),
                .class_code = model->kind().class_code,
                .revision = 1,
                .subsystem_vendor = 0x1af4,
                .subsystem = static_cast<std::uint16_t>(0x1040 + model->kind().id)}),
      memory_(memory),
      model_(std::move(model)),
      kind_(model_->kind()),
      states_(std::make_unique<QueueState[]>(kind_.queue_sizes.size())),
      intx_event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!intx_event_) throw std::system_error(errno, std::generic_category(), "eventfd");
    for (const std::uint16_t size : kind_.queue_sizes)
        queues_.push_back(
            std::make_unique<Queue>(static_cast<unsigned>(queues_.size()), size, *this));
    const auto ports = static_cast<std::uint32_t>(
        std::bit_ceil(std::max<std::size_t>(1, queues_.size()) * notify_multiplier));
    add_bar(notify_bar, pci::BarKind::io, ports);
    add_bar(structures_bar, pci::BarKind::memory32, 4 * structure_bytes);
    use_intx();
    add_capability(Capability::window, 0, 0, 0, 0);
    add_capability(Capability::device, structures_bar, device_offset, structure_bytes, 0);
    add_capability(Capability::isr, structures_bar, isr_offset, 4, 0);
    add_capability(Capability::notify, notify_bar, 0, ports, notify_multiplier);
    add_capability(Capability::common, structures_bar, common_offset, structure_bytes, 0);
    reset();
}

Transport::~Transport() {
    if (started_) model_->stop();
    if (intx_watch_ != 0) host().wiring().loop.unwatch(intx_watch_);
}

void Transport::add_capability(std::uint8_t type, std::uint8_t bar, std::uint32_t offset,
                               std::uint32_t length, std::uint32_t last_word) {
    const bool long_one = type == Capability::notify || type == Capability::window;
    const std::uint8_t bytes = long_one ? 20 : 16;
    const unsigned at = config().add_capability(vendor_capability, bytes);
    config().set(at + 2, bytes);
    config().set(at + 3, type);
    config().set(at + window_bar, bar);
    config().set(at + window_offset, offset);
    config().set(at + window_length, length);
    if (long_one) config().set(at + window_data, last_word);
    if (type != Capability::window) return;
    window_ = at;
    config().set_writable<std::uint8_t>(at + window_bar, 0xff);
    for (const unsigned word : {window_offset, window_length, window_data})
        config().set_writable<std::uint32_t>(at + word, 0xffff'ffff);
}

void Transport::attached() {
    use_msix(static_cast<unsigned>(queues_.size()) + 1, msix_bar);
    intx_watch_ = host().wiring().loop.watch(intx_event_.get(), EPOLLIN, [this](std::uint32_t) {
        eventfd_t count = 0;
        eventfd_read(intx_event_.get(), &count);
        set_intx(isr_.load() != 0);
    });
}

void Transport::bar_mapped(unsigned bar, std::uint64_t base) noexcept {
    EventFds *events = host().wiring().events;
    for (std::size_t i = 0; bar == notify_bar && events != nullptr && i < queues_.size(); ++i)
        events->connect_doorbell(queues_[i]->doorbell(), {true, base + notify_multiplier * i});
}

void Transport::bar_unmapped(unsigned bar, std::uint64_t base) noexcept {
    EventFds *events = host().wiring().events;
    for (std::size_t i = 0; bar == notify_bar && events != nullptr && i < queues_.size(); ++i)
        events->disconnect_doorbell(queues_[i]->doorbell(), {true, base + notify_multiplier * i});
}

void Transport::interrupt(std::uint16_t vector, std::uint8_t reason) noexcept {
    if (msix()->enabled()) {
        msix()->signal(vector);
        return;
    }
    isr_ |= reason;
    eventfd_write(intx_event_.get(), 1);
}

void Transport::queue_used(unsigned queue) noexcept { interrupt(states_[queue].vector, isr_queue); }

int Transport::event(unsigned queue) const noexcept {
    return msix()->enabled() ? msix()->event(states_[queue].vector) : -1;
}

void Transport::configuration_changed() noexcept {
    ++generation_;
    if ((status_ & driver_ok) != 0) interrupt(config_vector_, isr_configuration);
}

void Transport::needs_reset() noexcept {
    status_ |= device_needs_reset;
    configuration_changed();
}

std::uint64_t Transport::read_isr() noexcept {
    const std::uint8_t bits = isr_.exchange(0);
    set_intx(false);
    return bits;
}

std::uint64_t Transport::read_bar(unsigned bar, std::uint64_t offset, unsigned size) noexcept {
    if (bar != structures_bar) return 0;
    if (offset == isr_offset) return read_isr();
    if (offset >= device_offset) return read_device(offset - device_offset, size);
    if (offset >= common_bytes) return 0;
    const auto at = static_cast<unsigned>(offset);
    const std::uint64_t low = read_common(at & ~3u) >> (8 * (at & 3));
    return size == 8 ? low | std::uint64_t{read_common((at & ~3u) + 4)} << 32 : low;
}

void Transport::write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                          std::uint64_t value) noexcept {
    if (bar == notify_bar) {
        const std::uint64_t queue = offset / notify_multiplier;
        if (queue < queues_.size()) queues_[queue]->ring();
        return;
    }
    if (offset >= device_offset) return write_device(offset - device_offset, size, value);
    if (offset >= common_bytes) return;
    const auto at = static_cast<unsigned>(offset);
    write_common(at, static_cast<std::uint32_t>(value));
    if (size == 8) write_common(at + 4, static_cast<std::uint32_t>(value >> 32));
}

std::uint64_t Transport::read_device(std::uint64_t offset, unsigned size) noexcept {
    std::uint64_t value = 0;
    const auto bytes = model_->configuration();
    if (offset < bytes.size())
        std::memcpy(&value, bytes.data() + offset,
                    std::min<std::size_t>(size, bytes.size() - offset));
    return value;
}

void Transport::write_device(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (offset < structure_bytes)
        model_->write_configuration(static_cast<unsigned>(offset),
                                    std::as_bytes(std::span{&value, 1}).first(size));
}

std::uint64_t Transport::offered() const {
    return model_->features() | feature::indirect | feature::event_index | feature::version_1;
}

Transport::QueueState *Transport::selected() noexcept {
    return queue_select_ < queues_.size() ? &states_[queue_select_] : nullptr;
}

std::uint16_t Transport::checked_vector(std::uint32_t vector) const noexcept {
    // A vector that does not exist reads back as none: the driver sees that it was refused.
    return vector <= queues_.size() ? static_cast<std::uint16_t>(vector) : no_vector;
}

// "Common configuration structure layout"; `offset` is a word's.
std::uint32_t Transport::read_common(unsigned offset) noexcept {
    const QueueState *queue = selected();
    const Rings rings = queue ? queue->rings : Rings{};
    const auto half = [](std::uint64_t value, bool high) {
        return static_cast<std::uint32_t>(high ? value >> 32 : value);
    };
    switch (offset) {
    case 0x00: return feature_select_;
    case 0x04: return feature_select_ < 2 ? half(offered(), feature_select_ != 0) : 0;
    case 0x08: return driver_select_;
    case 0x0c: return driver_select_ < 2 ? half(accepted_, driver_select_ != 0) : 0;
    case 0x10: return config_vector_ | static_cast<std::uint32_t>(queues_.size()) << 16;
    case 0x14:
        return status_ | std::uint32_t{generation_} << 8 | std::uint32_t{queue_select_} << 16;
    case 0x18: return rings.size | std::uint32_t{queue ? queue->vector.load() : no_vector} << 16;
    case 0x1c:
        return (queue && queue->enabled ? 1u : 0u) |
               (queue ? std::uint32_t{queue_select_} << 16 : 0);
    case 0x20:
    case 0x24: return half(rings.descriptors, offset == 0x24);
    case 0x28:
    case 0x2c: return half(rings.driver, offset == 0x2c);
    case 0x30:
    case 0x34: return half(rings.device, offset == 0x34);
    default: return 0;
    }
}

void Transport::write_common(unsigned offset, std::uint32_t value) noexcept {
    switch (offset) {
    case 0x00: feature_select_ = value; break;
    case 0x08: driver_select_ = value; break;
    case 0x0c:
        if (driver_select_ > 1 || (status_ & features_ok) != 0) break;
        accepted_ = driver_select_ == 0 ? (accepted_ & ~std::uint64_t{0xffff'ffff}) | value
                                        : (accepted_ & 0xffff'ffff) | std::uint64_t{value} << 32;
        break;
    case 0x10: config_vector_ = checked_vector(value & 0xffff); break;
    case 0x14: set_status(static_cast<std::uint8_t>(value)); break;
    case 0x16: queue_select_ = static_cast<std::uint16_t>(value); break;
    default: write_queue(offset, value); break;
    }
}

void Transport::write_queue(unsigned offset, std::uint32_t value) noexcept {
    QueueState *queue = selected();
    if (!queue) return;
    if (offset == 0x1a) {
        queue->vector = checked_vector(value & 0xffff);
        if (started_) model_->events_moved();
    }
    if (queue->enabled || started_) return;
    Rings &rings = queue->rings;
    const auto low = [value](std::uint64_t &to) {
        to = (to & ~std::uint64_t{0xffff'ffff}) | value;
    };
    const auto high = [value](std::uint64_t &to) {
        to = (to & 0xffff'ffff) | std::uint64_t{value} << 32;
    };
    switch (offset) {
    case 0x18: rings.size = static_cast<std::uint16_t>(value); break;
    case 0x1c: queue->enabled = (value & 0xffff) == 1; break;
    case 0x20: low(rings.descriptors); break;
    case 0x24: high(rings.descriptors); break;
    case 0x28: low(rings.driver); break;
    case 0x2c: high(rings.driver); break;
    case 0x30: low(rings.device); break;
    case 0x34: high(rings.device); break;
    default: break;
    }
}

void Transport::set_status(std::uint8_t status) noexcept {
    if (status == 0) return reset();
    const std::uint8_t added = status & ~status_;
    if ((added & features_ok) != 0 &&
        ((accepted_ & ~offered()) != 0 || (accepted_ & feature::version_1) == 0))
        status &= static_cast<std::uint8_t>(~features_ok);
    status_ |= status;
    if ((added & driver_ok) == 0 || (status_ & features_ok) == 0 || started_) return;
    for (std::size_t i = 0; i < queues_.size(); ++i)
        if (states_[i].enabled &&
            !queues_[i]->start(memory_, states_[i].rings, (accepted_ & feature::event_index) != 0))
            return needs_reset();
    started_ = true;
    if (!model_->start(queues_, accepted_, *this)) needs_reset();
}

void Transport::reset() noexcept {
    if (started_) model_->stop();
    started_ = false;
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        queues_[i]->stop();
        queues_[i]->quiet();
        states_[i].rings = {.size = queues_[i]->max_size()};
        states_[i].vector = no_vector;
        states_[i].enabled = false;
    }
    feature_select_ = driver_select_ = 0;
    accepted_ = 0;
    queue_select_ = 0;
    config_vector_ = no_vector;
    status_ = 0;
    isr_ = 0;
    set_intx(false);
}

// "PCI configuration access capability": BARs for who cannot map them.
void Transport::config_reading(unsigned offset, unsigned size) noexcept {
    if (offset >= window_ + window_data + 4 || offset + size <= window_ + window_data) return;
    const auto length = config().get<std::uint32_t>(window_ + window_length);
    if (length != 1 && length != 2 && length != 4) return;
    const auto at = config().get<std::uint32_t>(window_ + window_offset);
    const auto bar = config().get<std::uint8_t>(window_ + window_bar);
    if (bar == structures_bar && at < 4 * structure_bytes)
        config().set(window_ + window_data, static_cast<std::uint32_t>(read_bar(bar, at, length)));
}

void Transport::config_written(unsigned offset, unsigned size) noexcept {
    if (started_) model_->events_moved(); // MSI-X may be on or off now
    if (offset >= window_ + window_data + 4 || offset + size <= window_ + window_data) return;
    const auto length = config().get<std::uint32_t>(window_ + window_length);
    if (length != 1 && length != 2 && length != 4) return;
    const auto at = config().get<std::uint32_t>(window_ + window_offset);
    const auto bar = config().get<std::uint8_t>(window_ + window_bar);
    const auto value = config().get<std::uint32_t>(window_ + window_data);
    if ((bar == structures_bar || bar == notify_bar) && at < 4 * structure_bytes)
        write_bar(bar, at, length, value & static_cast<std::uint32_t>(undriven(length)));
}

} // namespace machine::virtio
