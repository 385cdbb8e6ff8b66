// Sink: where a transport puts the messages that have arrived.
#pragma once

#include <sidecar/context.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>
#include <sidecar/task.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace sidecar {

/// Where a transport puts the messages that have arrived. A sidecar's sink is the inbox; whoever
/// drives a transport without a sidecar (a test, a recorder) derives his own, for which put() is
/// enough. Side: the loop's thread.
class SIDECAR_API Sink {
public:
    Sink() = default;
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;
    virtual ~Sink() = default;

    /// Takes one message. False: there is no room and nothing was taken, so keep the message,
    /// return from read() and put it again in the next. Throws too_big for a message above the
    /// transport's limit. Lifetime: the payload is copied, but see receive_buffer().
    [[nodiscard]] virtual bool put(MessageKind kind, std::span<const std::byte> payload) = 0;
    [[nodiscard]] bool put_text(std::string_view payload)
    {
        return put(MessageKind::text, std::as_bytes(std::span{payload}));
    }
    [[nodiscard]] bool put_bytes(std::span<const std::byte> payload)
    {
        return put(MessageKind::bytes, payload);
    }

    /// Optional: memory to receive many messages in, at least so many bytes, mostly more. Messages
    /// of middle size (32 bytes to 32 KiB) that are put() from there are not copied. Empty where no
    /// such memory is to be had now: then receive elsewhere. Three rules go with it:
    /// 1. It is valid until read() waits for anything, returns, or calls this again; other links
    ///    are then given the same. So ask when there is something to receive.
    /// 2. What was put must not be written to again.
    /// 3. What was not put must be saved elsewhere before it becomes invalid.
    [[nodiscard]] virtual std::span<std::byte> receive_buffer(std::size_t at_least)
    {
        (void)at_least;
        return {};
    }

    /// Optional, for a large message that has not come whole: memory to receive it in, so that it
    /// is not copied. Empty where that does not pay or there is no room for it now: then collect
    /// the message and put() it. Throws too_big. Lifetime: until commit(), or until the link ends,
    /// over any number of reads. One at a time; no put() before commit().
    [[nodiscard]] virtual std::span<std::byte> prepare(std::size_t payload_bytes)
    {
        (void)payload_bytes;
        return {};
    }
    /// The memory from prepare() holds the message. Called only after prepare() gave memory.
    virtual void commit(MessageKind kind) { (void)kind; }

    /// Optional: says that bytes of the peer's have come, once for each time that some were read, also
    /// while a message is not whole. The link's Liveness takes it as a sign of life; of a transport
    /// that never says it only messages are.
    virtual void note_bytes() {}
    /// Optional, for a transport with ping(): the answer to it has come, with this payload.
    virtual void note_pong(std::span<const std::byte> payload) { (void)payload; }

    /// Optional, for a transport that has something else to do while there is no room (to answer
    /// control frames, say): waits until there is room for one message of the size limit, and says
    /// whether there is; false when the deadline came first. Whoever has nothing else to do returns
    /// from read() instead. Cancellation: throws operation_aborted.
    [[nodiscard]] virtual Task<bool> wait_for_room(Context ctx, TimePoint deadline)
    {
        (void)ctx, (void)deadline;
        co_return true;
    }
};

} // namespace sidecar
