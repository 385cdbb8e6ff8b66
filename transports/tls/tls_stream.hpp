// TLS as a Stream over another. Private to TLS.
#pragma once

#include "engine.hpp"
#include "stream.hpp"
#include "tls.hpp"

#include <sidecar/loop_event.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sidecar::stream {

/// Owned by the transport, as any stream, and by its own sending in the background; owns the one
/// below. The engine decides what bytes mean, this feeds it and sends what it puts out: for callers
/// that wait until something is out, and in the background for answers to the peer (a KeyUpdate, an
/// alert).
///
/// Reading looks at what OpenSSL holds before it looks at the stream below, and waits only if neither
/// has anything. If the stream below ends without the peer's close_notify, the error is
/// TlsEnd::truncated, with it eof. write_some takes up to four records, and returns how much of it is
/// in records that went out whole, so that a failure's unsent bytes are counted as the peer sees them.
///
/// Invariants: one read_some below at a time, of the reader or of a writer that needs the peer's
/// bytes first; it has input memory only while it holds ciphertext that OpenSSL has not taken;
/// what reading puts out is sent without waiting, up to TlsEngine::max_unsent_bytes. One write_some
/// below at a time; everything goes in its order, also after the caller that waited for it was
/// cancelled; after the first error nothing goes.
class Tls final : public Stream, public std::enable_shared_from_this<Tls> {
public:
    /// `early`: the bytes of `below` that have arrived already. The rest is for TlsEngine.
    Tls(std::shared_ptr<Stream> below, std::vector<std::byte> early, TlsContextPtr context,
        std::string wanted, std::string session_key);

    /// Before anything else. Returns why it failed; empty: it is done. The peer hears a refusal.
    /// Throws system_error: operation_aborted once the stream below was aborted.
    [[nodiscard]] Task<std::optional<FailureDetails>> shake_hands();

    Task<std::size_t> read_some(ReadBuffers into, error_code& ec) override;
    std::size_t try_read(ReadBuffers into, error_code& ec) override;
    bool is_drained() const noexcept override { return is_drained_; }
    Task<std::size_t> write_some(std::span<const boost::asio::const_buffer> from,
                                 error_code& ec) override;
    Task<> shutdown(error_code& ec) override;
    void abort() noexcept override;
    bool is_aborted() const noexcept override { return is_aborted_; }
    boost::asio::any_io_executor executor() override { return below_->executor(); }
    std::string peer() const override { return below_->peer(); }
    std::string application_protocol() const override { return engine_.application_protocol(); }
    [[nodiscard]] bool is_verified() const { return engine_.is_verified(); }

private:
    [[nodiscard]] std::size_t pull(ReadBuffers into, bool may_ask_below, error_code& ec);
    [[nodiscard]] TlsEngine::Step decrypt(ReadBuffers into, std::size_t& got);
    [[nodiscard]] std::size_t ask_below(std::size_t wanted);
    [[nodiscard]] Task<> wait_below(ReadBuffers into, error_code& ec);
    [[nodiscard]] Task<> wait_below(error_code& ec);
    [[nodiscard]] error_code end_code(TlsEngine::Step step) const;
    [[nodiscard]] Task<std::optional<FailureDetails>> hear_more();
    [[nodiscard]] FailureDetails why_failed() const;

    [[nodiscard]] Task<> flush();
    [[nodiscard]] bool has_more() noexcept;
    void send_in_background();
    [[nodiscard]] static Task<> send_all(std::shared_ptr<Tls> self);
    [[nodiscard]] Task<> send_some();

    const std::shared_ptr<Stream> below_; // sidecar side
    TlsEngine engine_;                    // sidecar side

    // reading
    std::vector<std::byte> early_;    // sidecar side; of what is below, not looked at yet
    std::unique_ptr<TlsInput> input_; // sidecar side; null: nothing is left of the input
    std::string heard_;    // sidecar side; the peer's first bytes, till the handshake is done
    error_code below_end_; // sidecar side; no more will come from below
    LoopEvent came_;       // sidecar side; the read below is over
    bool is_waiting_below_ = false; // sidecar side
    bool is_shaking_hands_ = true;  // sidecar side
    bool has_read_ = false;         // sidecar side; plaintext, ever
    bool is_drained_ = false;       // sidecar side
    bool is_stuck_ = false;         // sidecar side; reading has to wait for sending

    // sending
    std::vector<std::byte> sending_; // sidecar side; taken from the engine
    std::size_t at_ = 0;             // sidecar side; how much of it is out
    std::uint64_t sent_bytes_ = 0;   // sidecar side; in all
    Waiters waiters_;                // sidecar side; for the end of a write below
    error_code send_error_;          // sidecar side
    bool is_sending_ = false;        // sidecar side
    bool is_aborted_ = false;        // sidecar side; reading too
};

} // namespace sidecar::stream
