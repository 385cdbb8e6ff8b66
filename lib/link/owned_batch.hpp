// A batch of messages that stand in no outbox.
#pragma once

#include <sidecar/batch.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sidecar::detail {

/// What a link writes of its own accord: a session's messages, sticky ones. Owned by who writes it.
/// Invariant: nothing is added while a write is under way. Lifetime: what it views outlives the write.
/// Side: sidecar.
class OwnedBatch final : public BatchSource {
public:
    void add(const MessageView& message) { messages_.push_back(message); }
    void clear() noexcept { messages_.clear(); }
    [[nodiscard]] bool empty() const noexcept { return messages_.empty(); }
    [[nodiscard]] Batch batch() noexcept { return {*this, 0, messages_.size()}; }

    // BatchSource
    [[nodiscard]] MessageView read(std::uint64_t& position) const override
    {
        return messages_[position++];
    }
    void mark_written(std::size_t, std::uint64_t) override {}

private:
    std::vector<MessageView> messages_; // sidecar side
};

} // namespace sidecar::detail
