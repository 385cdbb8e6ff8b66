// ClientOverflow: how a listener treats messages to a client that does not keep up.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/overflow.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace sidecar {

/// How a listener treats messages to a client whose outbox is full. It never waits for a client, and
/// the other clients notice nothing. Stats::unsent counts each message that a client does not get.
struct ClientOverflow {
    /// - drop_oldest: drops the oldest queued message.
    /// - drop_newest: a broadcast leaves the client out; Link::send() returns `full`.
    /// - conflate: a message replaces the queued one of the same key, at its place, whether the
    ///   outbox is full or not: the client gets the newest state of each key. If there is still no
    ///   space, the oldest message is dropped.
    /// - fail: as drop_newest; a client whose outbox was full for `fail_after` is closed with
    ///   code 1013 and ends with Error::overflow.
    /// pause_reading is bad_options.
    OverflowPolicy policy = OverflowPolicy::drop_oldest;
    /// Needed for `conflate`; invalid with any other policy (bad_options). Side: the thread that
    /// sends or broadcasts; an exception passes to it.
    ConflationKey key{};
    Duration fail_after = std::chrono::seconds{5}; ///< of `fail`; not negative
    /// Makes the text that a client gets in place of the messages that were dropped there; `missing`:
    /// how many. Empty: a client learns nothing of its gaps. Not for replaced messages. Side: the
    /// loop's thread; must not block. An exception ends the client.
    std::function<std::string(std::uint64_t missing)> on_gap{};
};

} // namespace sidecar
