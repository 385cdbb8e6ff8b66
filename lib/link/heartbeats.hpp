// A link's heartbeat: the message that asks, and what takes the answers out of the stream.
#pragma once

#include "base/journal.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/liveness.hpp>
#include <sidecar/sink.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace sidecar::detail {

/// Stands between a transport and the link's inbox, and recognises answers; and is the batch of one
/// message that the link's writer writes between two others. Owned by the link's KeepAlive; only a
/// link with a heartbeat has one, so others pay nothing. Side: sidecar.
class Heartbeats final : public Sink {
public:
    /// `on_answer`: called for each. Lifetime: `journal` outlives it.
    Heartbeats(Heartbeat heartbeat, Journal& journal, std::function<void()> on_answer);

    /// Lifetime: `inbox` outlives the reads into it.
    [[nodiscard]] Sink& around(Sink& inbox) noexcept
    {
        inbox_ = &inbox;
        return *this;
    }

    [[nodiscard]] const Heartbeat& message() const noexcept { return heartbeat_; }

    // --- Sink
    bool put(MessageKind kind, std::span<const std::byte> payload) override;
    std::span<std::byte> receive_buffer(std::size_t at_least) override
    {
        return inbox_->receive_buffer(at_least);
    }
    std::span<std::byte> prepare(std::size_t payload_bytes) override;
    void commit(MessageKind kind) override { inbox_->commit(kind); }
    void note_bytes() override { inbox_->note_bytes(); }
    void note_pong(std::span<const std::byte> payload) override { inbox_->note_pong(payload); }
    Task<bool> wait_for_room(Context ctx, TimePoint deadline) override
    {
        return inbox_->wait_for_room(ctx, deadline);
    }

    /// A larger message is no answer.
    static constexpr std::size_t largest_answer = 64u << 10;

private:
    [[nodiscard]] bool is_answer(const MessageView& message);

    const Heartbeat heartbeat_;             // sidecar side
    Journal& journal_;                      // both
    const std::function<void()> on_answer_; // sidecar side
    Sink* inbox_ = nullptr;                 // sidecar side
};

} // namespace sidecar::detail
