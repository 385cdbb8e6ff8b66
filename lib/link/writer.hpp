// Writer: queues the application's messages for a link and writes them.
#pragma once

#include "link/pause_meter.hpp"
#include "link/rate_limit.hpp"
#include "link/services.hpp"
#include "link/subscriptions.hpp"
#include "queue/outbox.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/context.hpp>
#include <sidecar/detail/any_transport.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/send_options.hpp>
#include <sidecar/task.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar::detail {

class Connection;
class LinkImpl;

/// Lets the transport check a message. An exception of its code, other than bad_alloc, becomes a
/// failure. Side: any thread.
[[nodiscard]] Result<void> validate_message(const LinkConfig& config, StoredKind kind,
                                            std::span<const std::byte> stored);
/// Checks a subscription; see validate_message(). `max_bytes`: of the outbox. Errors: bad_options
/// without a key; too_big; those of check_send().
[[nodiscard]] Result<void> validate_subscription(const LinkConfig& config, std::size_t max_bytes,
                                                 std::string_view key,
                                                 const SubscriptionMessage& message);

/// Puts messages into the link's outbox for the application, and writes them on the loop. Owned by
/// the link, over all its connections, so that a reconnect does not refill the rate limit.
/// Invariant: one run() at a time.
class Writer {
public:
    /// Lifetime: `link` owns it and has constructed its services, outbox and subscriptions.
    Writer(LinkImpl& link, const std::optional<RateLimit>& limit);

    // --- app side, any thread
    /// Queues a message. Blocks: at most for the options' timeout; zero: not at all. Reads the
    /// clock only if it waits, or for a message that may expire.
    [[nodiscard]] Result<void> send(MessageKind kind, std::span<const std::byte> payload,
                                    const SendOptions& options);
    /// Sends the acknowledgement of a message that the application has taken, if it has one. While
    /// nothing can be sent it does nothing: the peer then delivers the message again.
    void acknowledge(const MessageView& taken)
    {
        if (outbox_.is_open() && !services_.stop.is_over())
            acknowledge_taken(taken);
    }
    [[nodiscard]] Result<void> flush(Duration timeout);
    Result<void> subscribe(std::string key, SubscriptionMessage message);
    Result<bool> unsubscribe(std::string_view key, SubscriptionMessage message);

    // --- sidecar side
    /// Writes until it is cancelled or the transport throws; Outbox::give_up() must follow.
    /// Lifetime: `transport` and `connection` outlive it.
    [[nodiscard]] Task<> run(Context ctx, AnyTransport& transport, Connection& connection);
    /// The same for on_connected, which runs before anything can be sent.
    void acknowledge_taken(const MessageView& taken);
    /// Looks again for something to write.
    void wake() { work_.set(); }
    /// The peer of the present connection takes no larger message; 0: not known.
    void set_max_send_bytes(std::size_t bytes) noexcept
    {
        max_send_bytes_.store(bytes != 0 ? bytes : SIZE_MAX, std::memory_order_relaxed);
    }

    // --- both
    [[nodiscard]] std::uint64_t writes() const noexcept { return writes_.load(); }
    /// How often send() woke the loop.
    [[nodiscard]] std::uint64_t wakeups() const noexcept { return wakeups_.load(); }
    /// Counts the waits for the rate limit.
    [[nodiscard]] PauseMeter::Pauses waits() const noexcept
    {
        return waits_.pauses(services_.loop.now());
    }

private:
    struct WriteEnd;
    [[nodiscard]] Result<void> send_stored(StoredKind kind, std::span<const std::byte> stored,
                                           const SendOptions& options);
    [[nodiscard]] Result<void> validate_for_peer(const MessageView& message) const;
    [[nodiscard]] Result<void> queue(StoredKind kind, std::span<const std::byte> stored,
                                     const SendOptions& options);
    [[nodiscard]] std::optional<Failure> refused_by_listener(const char* attempted) const;
    [[nodiscard]] Failure failed(Error code, const char* attempted, std::string explanation) const;
    [[nodiscard]] std::optional<Batch> allowed(const Batch& batch);
    [[nodiscard]] Task<> wait_for_rate(Context ctx);

    LinkImpl& link_;                             // both
    LinkServices& services_;                     // both
    Outbox& outbox_;                             // both
    const std::unique_ptr<RateLimiter> limiter_; // sidecar side; null: no limit
    LoopEvent work_;                             // sidecar side
    bool is_refused_ = false;                    // sidecar side; the wait is counted already
    /// both: atomic; without the parts of an envelope that are no headers
    std::atomic<std::size_t> max_send_bytes_{SIZE_MAX};
    std::atomic<std::uint64_t> writes_{0};  // both: atomic
    std::atomic<std::uint64_t> wakeups_{0}; // both: atomic
    PauseMeter waits_;                      // both
};

} // namespace sidecar::detail
