// JetStreamSink: sorts what JetStream sends: answers to requests, acknowledgements, messages. Private
// to the transport.
#pragma once

#include "jetstream.hpp"

#include <sidecar/context.hpp>
#include <sidecar/sink.hpp>

#include <cstddef>
#include <span>
#include <string>

namespace sidecar::nats {

/// Passes messages on; reports gaps, and tells the Puller what was taken. Side: the loop's thread.
class JetStreamSink final : public Sink {
public:
    /// `puller`, `publications`: null if there is none. Appends to `out` what to send. Lifetime: all
    /// outlive it.
    JetStreamSink(Sink& to, Puller* puller, Publications* publications, std::string& out,
                  Context ctx) noexcept
        : to_{to}, puller_{puller}, publications_{publications}, out_{out}, ctx_{ctx}
    {
    }

    bool put(MessageKind kind, std::span<const std::byte> payload) override
    {
        return to_.put(kind, payload);
    }
    bool put_envelope(MessageKind kind, std::span<const std::byte> payload,
                      const Envelope& envelope) override
    {
        if (publications_ && envelope.topic.starts_with(publications_->inbox())) {
            publications_->answered(envelope, payload);
            return true;
        }
        if (puller_ && envelope.topic.starts_with(puller_->inbox())) {
            puller_->answered(out_, envelope, payload, ctx_.now());
            return true;
        }
        const auto delivery = puller_ ? parse_delivery(envelope.reply_to) : std::nullopt;
        const auto whose = delivery ? puller_->whose(*delivery) : Puller::Whose::others;
        switch (whose) {
        case Puller::Whose::ours: return deliver(kind, payload, envelope, *delivery);
        case Puller::Whose::former: return true; // the new consumer delivers it too
        case Puller::Whose::others: break;
        }
        return to_.put(kind, payload, envelope);
    }
    std::span<std::byte> receive_buffer(std::size_t at_least) override
    {
        return to_.receive_buffer(at_least);
    }
    void put_gap(std::uint64_t missing) override { to_.put_gap(missing); }
    void on_bytes() override { to_.on_bytes(); }
    void on_pong(std::span<const std::byte> payload) override { to_.on_pong(payload); }

private:
    bool deliver(MessageKind kind, std::span<const std::byte> payload, Envelope envelope,
                 const Delivery& delivery)
    {
        if (const auto missing = puller_->missing_before(delivery)) {
            to_.put_gap(missing);
            puller_->gap_told(delivery);
        }
        if (puller_->acknowledges())
            envelope.acknowledgement = "+ACK";
        if (!to_.put(kind, payload, envelope))
            return false; // it comes again
        puller_->put(out_, delivery, ctx_.now());
        return true;
    }

    Sink& to_;                         // sidecar side
    Puller* const puller_;             // sidecar side
    Publications* const publications_; // sidecar side
    std::string& out_;                 // sidecar side
    const Context ctx_;                // sidecar side
};

} // namespace sidecar::nats
