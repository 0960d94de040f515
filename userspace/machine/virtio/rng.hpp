// SPDX-License-Identifier: GPL-2.0-only
// Random numbers of the host's ("Entropy Device").
#pragma once

#include "machine/virtio/loop_model.hpp"

namespace machine::virtio {

class Rng final : public LoopModel {
  public:
    using LoopModel::LoopModel;
    Kind kind() const override { return {4, 0x00ff00, {64}}; }
    std::uint64_t features() const override { return 0; }

  private:
    // What one turn gives at most: a guest that wants more asks again.
    static constexpr std::size_t most = 4096;
    void serve(unsigned queue) noexcept override;
};

} // namespace machine::virtio
