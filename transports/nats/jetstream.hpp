// JetStream without I/O: drives a consumer, and matches publications with their acknowledgements.
// Private to the transport.
#pragma once

#include "protocol.hpp"

#include <sidecar/clock.hpp>
#include <sidecar/error.hpp>
#include <sidecar/transports/nats_jetstream.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar::nats {

struct Position::State {
    /// Of the last message that was put, or of the one before the beginning; empty: not known yet.
    std::optional<std::uint64_t> stream_sequence{};
};

[[nodiscard]] Result<void> validate(const Consumer& consumer);
/// Parses the subject for acknowledging a message; empty: it is none.
[[nodiscard]] std::optional<Delivery> parse_delivery(std::string_view reply_to) noexcept;

/// Decides what to ask of the server for a consumer, on one connection. Asks for no more than
/// max_pending at a time, and for more once half of it is there. Side: the loop's thread.
class Puller {
public:
    /// `inbox`: the subjects of the server's answers begin so.
    Puller(Consumer consumer, std::shared_ptr<Position::State> position, std::string inbox);

    [[nodiscard]] const std::string& inbox() const noexcept { return inbox_; }
    [[nodiscard]] bool acknowledges() const noexcept
    {
        return !consumer_.durable.empty() && !consumer_.acknowledge_by_hand;
    }
    /// Whether a message is one of this consumer's; `former`: of one that it replaced, so the message
    /// comes again.
    enum class Whose { ours, former, others };
    [[nodiscard]] Whose whose(const Delivery& delivery) const noexcept;
    /// Appends the request that finds or makes the consumer.
    void begin(std::string& out, TimePoint now);
    /// Takes an answer of the server: a message to inbox(). Appends what to send now. Throws
    /// Exception handshake_refused: the server refuses the consumer.
    void answered(std::string& out, const Envelope& envelope, std::span<const std::byte> payload,
                  TimePoint now);
    /// Returns how many messages are missing before this one. Until put() it is asked again: call
    /// gap_told() once it is known.
    [[nodiscard]] std::uint64_t missing_before(const Delivery& delivery) const noexcept;
    void gap_told(const Delivery& delivery) noexcept;
    /// The sink has taken this message. Appends what to send now.
    void put(std::string& out, const Delivery& delivery, TimePoint now);
    /// How often to call tick() while a read waits.
    static constexpr Duration tick_time = std::chrono::seconds{1};
    /// Appends what to send because an answer is late or a request was refused.
    void tick(std::string& out, TimePoint now);

private:
    void request(std::string& out, std::string_view call, std::string_view reply,
                 std::string_view json) const;
    void create(std::string& out);
    void made(std::string& out, std::string_view json);
    void pull(std::string& out);
    void obey(std::string& out, const Envelope& envelope, std::string_view status, TimePoint now);

    const Consumer consumer_;                         // sidecar side
    const std::shared_ptr<Position::State> position_; // sidecar side
    const std::string inbox_;                         // sidecar side; ends in '.'
    std::string name_{};               // sidecar side; of the consumer once it is made
    std::string former_{};             // sidecar side; of the ordered one that it replaced
    bool is_creating_ = false;         // sidecar side; else the server is asked whether it exists
    std::optional<TimePoint> began_{}; // sidecar side; of the first request that nobody answered
    std::uint64_t sequence_ = 0;       // sidecar side; of the consumer's last message
    std::size_t asked_ = 0;            // sidecar side; messages that the server may send
    TimePoint heard_{};                // sidecar side; the last sign of life
};

/// Gives each publication a subject for its acknowledgement, and says which are acknowledged.
/// Side: the loop's thread.
class Publications {
public:
    /// `inbox`: as for Puller.
    explicit Publications(std::string inbox) : inbox_{std::move(inbox)} {}
    [[nodiscard]] const std::string& inbox() const noexcept { return inbox_; }
    /// Adds a message that is being written; returns the reply subject. Lifetime: until the next
    /// call. Empty: it needs no acknowledgement.
    [[nodiscard]] std::string_view add(bool needs_acknowledgement);
    /// Takes an answer.
    void answered(const Envelope& envelope, std::span<const std::byte> payload);
    /// Returns how many of the oldest are acknowledged, and forgets them. `refusal`: no stream takes
    /// the one behind them.
    struct Taken {
        std::size_t count = 0;
        std::optional<Failure> refusal{};
    };
    [[nodiscard]] Taken take_acknowledged();
    [[nodiscard]] bool empty() const noexcept { return waiting_.empty(); }

private:
    const std::string inbox_; // sidecar side; ends in '.'
    std::uint64_t first_ = 0; // sidecar side; number of waiting_.front()
    enum class State : std::uint8_t { waiting, acknowledged, refused };
    std::deque<State> waiting_{}; // sidecar side; in order
    std::string refusal_{};       // sidecar side; of the latest that was refused
    std::string reply_{};         // sidecar side
};

} // namespace sidecar::nats
