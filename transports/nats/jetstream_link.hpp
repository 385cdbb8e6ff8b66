// JetStreamLink: the part of a connection that JetStream uses. Private to the transport.
#pragma once

#include "jetstream.hpp"
#include "reader.hpp"
#include "subjects.hpp"
#include "writer.hpp"

#include <sidecar/transport.hpp>
#include <sidecar/transports/nats.hpp>

#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <string>

namespace sidecar::nats {

/// Reads and writes for a consumer and for publications that a stream confirms. Owned by the
/// transport. Side: the loop's thread.
class JetStreamLink {
public:
    /// `inbox`: its subjects begin so; ends in '.'. Lifetime: `encoder` outlives it.
    JetStreamLink(const Nats::Options& options, const Attempt& attempt, std::string_view inbox,
                  Encoder& encoder);
    JetStreamLink(const JetStreamLink&) = delete;
    JetStreamLink& operator=(const JetStreamLink&) = delete;
    ~JetStreamLink();

    /// Whether these options use JetStream.
    [[nodiscard]] static bool is_used(const Nats::Options& options) noexcept
    {
        return options.consumer || options.publish_to_stream;
    }
    /// Appends the lines that begin a connection.
    void begin(std::string& out, Subscriber& subscriber, TimePoint now);
    /// As Reader::read(). Lifetime: all outlive it.
    [[nodiscard]] Task<> read(Context ctx, stream::Reader& reader, stream::Stream& from, Sink& sink,
                              Decoder& decoder, std::shared_ptr<stream::Writer> writer);
    /// As Transport::write(): returns when a stream has all of the batch, if one is to confirm it.
    /// Messages that are not confirmed when the connection ends may be sent again; one that was
    /// refused is not.
    [[nodiscard]] Task<> write(Context ctx, Batch batch, stream::Writer& writer, Encoder& encoder);
    /// The connection is over: write() ends. `why`: empty if it was aborted.
    void end(std::optional<Failure> why) noexcept;

private:
    /// Calls the puller's tick() while a read waits. It may outlive its owner.
    struct Ticker {
        static void arm(const std::shared_ptr<Ticker>& ticker);
        boost::asio::steady_timer timer;        // sidecar side
        JetStreamLink* of;                      // sidecar side; null: the transport is gone
        const Context ctx;                      // sidecar side
        std::shared_ptr<stream::Writer> writer; // sidecar side
    };
    void throw_if_over() const;

    std::optional<Puller> puller_;             // sidecar side; empty: no consumer
    std::optional<Publications> publications_; // sidecar side; empty: no stream confirms
    std::shared_ptr<Ticker> ticker_;           // sidecar side; null until a consumer is read
    stream::Waiters confirmed_;                // sidecar side; write() waits for it
    std::optional<Failure> end_;               // sidecar side
    bool is_over_ = false;                     // sidecar side
    bool is_reading_ = false;                  // sidecar side; a read waits
};

} // namespace sidecar::nats
