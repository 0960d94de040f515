// SPDX-License-Identifier: GPL-2.0-only
// A console that moves text by the line and not by the character ("Console Device"), plugged into
// the same things of the host as a serial port.
#pragma once

#include <memory>

#include "machine/serial.hpp"
#include "machine/virtio/loop_model.hpp"

namespace machine::virtio {

class Console final : public LoopModel, private SerialPort {
  public:
    // `backend` may be null: what is written is lost.
    Console(EventLoop &loop, std::unique_ptr<SerialBackend> backend);
    ~Console() override;
    Kind kind() const override { return {3, 0x078000, {64, 64}}; }
    std::uint64_t features() const override { return 0; }

  private:
    static constexpr unsigned input = 0, output = 1;
    void serve(unsigned queue) noexcept override;
    void stopped() noexcept override;
    void send() noexcept;
    bool send_held(Queue &queue) noexcept;

    std::size_t receive_space() const noexcept override;
    void receive(std::span<const std::uint8_t> bytes) noexcept override;
    void transmit_ready() noexcept override { send(); }

    std::unique_ptr<SerialBackend> backend_;
    // Output that the backend has not taken all of.
    Chain held_;
    bool holding_ = false;
    // A buffer of the driver's for input, got ready so that its size is known.
    Chain room_;
    bool has_room_ = false;
};

} // namespace machine::virtio
