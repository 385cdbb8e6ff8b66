// Requests: calls that wait for the answer to their message.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/envelope.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar::detail {

class LinkImpl;

/// Gives each request a topic for its answer, below ConnectionInfo::reply_prefix, and hands the
/// answer to the thread that waits. Owned by the link, over all its connections; made by the first
/// request. Invariant: a message with such a topic never goes into the inbox.
class Requests {
public:
    /// Lifetime: `link` owns it.
    explicit Requests(LinkImpl& link) noexcept : link_{link} {}

    /// See Link::request. Side: app, any thread.
    [[nodiscard]] Result<Message> request(std::string_view topic, MessageKind kind,
                                          std::span<const std::byte> payload, Duration timeout,
                                          std::span<const Header> headers);
    /// Takes a message if its topic is that of an answer. An answer for which nobody waits
    /// is discarded and counted. Side: sidecar.
    [[nodiscard]] bool offer(MessageKind kind, std::span<const std::byte> payload,
                             const Envelope& envelope);

private:
    struct Waiting {
        std::optional<Message> answer{}; // both: before is_answered it is the sidecar's
        std::atomic<bool> is_answered{false};
    };
    class Place;

    [[nodiscard]] Failure failed(Error code, std::string_view topic, std::string_view why) const;

    LinkImpl& link_; // both
    std::mutex mutex_;
    std::string prefix_;     // both: guarded by mutex_; of the topics of answers
    std::uint64_t last_ = 0; // both: guarded by mutex_; number of a request
    /// both: guarded by mutex_; by the topic of the answer
    std::map<std::string, std::shared_ptr<Waiting>, std::less<>> waiting_;
};

} // namespace sidecar::detail
