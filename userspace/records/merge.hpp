// SPDX-License-Identifier: GPL-2.0-only
// merge.hpp - the records of several vCPUs as one sequence in the order of their exits.
#pragma once
#include <algorithm>
#include <cstring>
#include <queue>
#include "records/recording.hpp"

namespace records {

struct ExitsLater {
    bool operator()(const hwv_record &a, const hwv_record &b) const {
        return a.tsc_exit != b.tsc_exit ? a.tsc_exit > b.tsc_exit : a.vcpu > b.vcpu;
    }
};

// One ring of a recording, record by record.
class Cursor {
  public:
    explicit Cursor(const Ring &ring) : ring_{&ring} {}
    bool next(hwv_record &out) {
        while (piece_ < ring_->pieces.size() && at_ == ring_->pieces[piece_].size()) {
            ++piece_;
            at_ = 0;
        }
        if (piece_ == ring_->pieces.size()) return false;
        std::memcpy(&out, ring_->pieces[piece_].data() + at_, sizeof out);
        out.vcpu = static_cast<__u16>(ring_->vcpu); // what the file says of the ring holds
        at_ += sizeof out;
        return true;
    }

  private:
    const Ring *ring_;
    std::size_t piece_ = 0, at_ = 0;
};

// Calls `visit(const hwv_record &)` for each record of the file. Within a vCPU the ring's order
// stays, whatever the times say.
template <typename Visit>
void in_order(const Recording &recording, Visit visit) {
    struct Head {
        hwv_record record;
        std::size_t ring;
    };
    const auto later = [](const Head &a, const Head &b) {
        return ExitsLater{}(a.record, b.record);
    };
    std::priority_queue<Head, std::vector<Head>, decltype(later)> heads{later};
    std::vector<Cursor> cursors(recording.rings().begin(), recording.rings().end());
    hwv_record record;
    for (std::size_t i = 0; i < cursors.size(); ++i)
        if (cursors[i].next(record)) heads.push({record, i});
    while (!heads.empty()) {
        const Head head = heads.top();
        heads.pop();
        visit(head.record);
        if (cursors[head.ring].next(record)) heads.push({record, head.ring});
    }
}

// The same for rings that are still being written: a record comes out once nothing older can
// follow.
class LiveMerge {
  public:
    void push(const hwv_record &record) { waiting_.push(record); }
    // `visit` gets what exited before `horizon`.
    template <typename Visit>
    void pop(std::uint64_t horizon, Visit visit) {
        for (; !waiting_.empty() && waiting_.top().tsc_exit < horizon; waiting_.pop())
            visit(waiting_.top());
    }
    template <typename Visit>
    void drain(Visit visit) {
        for (; !waiting_.empty(); waiting_.pop())
            visit(waiting_.top());
    }

  private:
    std::priority_queue<hwv_record, std::vector<hwv_record>, ExitsLater> waiting_;
};

} // namespace records
