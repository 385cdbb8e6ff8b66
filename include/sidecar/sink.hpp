// Sink: takes the messages that a transport has received.
#pragma once

#include <sidecar/context.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/envelope.hpp>
#include <sidecar/message.hpp>
#include <sidecar/task.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sidecar {

/// Takes the messages that a transport has received. A sidecar's sink is the inbox; a program that
/// drives a transport without a sidecar (a test, a recorder) derives another, for which put() is
/// enough. Side: the loop's thread.
class SIDECAR_API Sink {
public:
    Sink() = default;
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;
    virtual ~Sink() = default;

    /// Takes one message. False: there is no space and nothing was taken; keep the message, return
    /// from read() and put it again in the next read(). During a stop it discards and returns true:
    /// so a read() must not put until it is refused.
    /// Errors (thrown): too_big above the transport's limit. Lifetime: copies the payload, but see
    /// receive_buffer().
    [[nodiscard]] virtual bool put(MessageKind kind, std::span<const std::byte> payload) = 0;
    /// Takes one message with its topic, headers and so on, like the other put(). Both count for the
    /// transport's limit. Errors (thrown): also bad_message for a topic of more than 64 KiB.
    /// Lifetime: copies all.
    [[nodiscard]] bool put(MessageKind kind, std::span<const std::byte> payload,
                           const Envelope& envelope)
    {
        return put_envelope(kind, payload, envelope);
    }
    /// Implements that. By default the envelope is dropped.
    [[nodiscard]] virtual bool put_envelope(MessageKind kind, std::span<const std::byte> payload,
                                            const Envelope& envelope)
    {
        (void)envelope;
        return put(kind, payload);
    }
    /// Optional, for a protocol that numbers its messages: reports that so many are missing here. The
    /// application gets Event::Kind::gap, or Error::gap, between the messages put before and after.
    virtual void put_gap(std::uint64_t missing) { (void)missing; }
    [[nodiscard]] bool put_text(std::string_view payload)
    {
        return put(MessageKind::text, std::as_bytes(std::span{payload}));
    }
    [[nodiscard]] bool put_bytes(std::span<const std::byte> payload)
    {
        return put(MessageKind::binary, payload);
    }

    /// Optional: returns memory to receive many messages in, of at least `at_least` bytes, mostly
    /// more. put() does not copy messages of middle size (32 bytes to 32 KiB) from there. Empty:
    /// there is none now, so receive elsewhere. Three rules:
    /// 1. The memory is valid until read() waits for anything, returns, or calls this again; other
    ///    links then get the same memory. So call this when there is something to receive.
    /// 2. Do not write to the bytes of a message after its put().
    /// 3. Save bytes that were not put before the memory becomes invalid.
    [[nodiscard]] virtual std::span<std::byte> receive_buffer(std::size_t at_least)
    {
        (void)at_least;
        return {};
    }

    /// Optional, for a large message that has not arrived whole: returns memory to receive it in,
    /// so that it is not copied. Empty: it does not pay or there is no space now, so collect the
    /// message and put() it. One at a time; no put() before commit().
    /// Errors (thrown): too_big. Lifetime: until commit(), or until the link ends, over any number
    /// of reads.
    [[nodiscard]] virtual std::span<std::byte> prepare(std::size_t payload_bytes)
    {
        (void)payload_bytes;
        return {};
    }
    /// Takes the message in the memory from prepare(). Called only after prepare() returned memory.
    virtual void commit(MessageKind kind) { (void)kind; }

    /// Optional: reports received bytes, once for each time that some were read, also of an
    /// incomplete message. Liveness takes them as a sign of life. Without this call only messages
    /// are one.
    virtual void on_bytes() {}
    /// Optional, for a transport with ping(): reports the answer with its payload.
    virtual void on_pong(std::span<const std::byte> payload) { (void)payload; }

    /// Optional, for a transport with other work while there is no space (answering control frames,
    /// say): waits until there is space for one message of the size limit. Returns false if the
    /// deadline passed first. A transport without other work returns from read() instead.
    /// Cancellation: throws operation_aborted.
    [[nodiscard]] virtual Task<bool> wait_for_room(Context ctx, TimePoint deadline)
    {
        (void)ctx, (void)deadline;
        co_return true;
    }
};

} // namespace sidecar
