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

/// Feeds the engine with ciphertext and sends the engine's output. The engine interprets the bytes.
/// A caller may wait until the output is sent; answers to the peer (a KeyUpdate, an alert) are sent
/// in the background. The transport owns it, and so does its background sending; it owns the stream
/// below.
///
/// A read takes plaintext from OpenSSL first, then from the stream below, and waits only if neither
/// has any. If the stream below ends without the peer's close_notify, the error is
/// TlsEnd::truncated; with it, eof. write_some takes up to four records. It returns the bytes in
/// records that were sent whole, so that a failure counts unsent bytes as the peer sees them.
///
/// Invariants: one read_some below at a time, by the reader or by a writer that needs the peer's
/// bytes first; input memory is held only while it has ciphertext that OpenSSL has not taken; a
/// read never waits for its own output, up to TlsEngine::max_unsent_bytes. One write_some below at
/// a time; output is sent in order, even if the caller that waited for it was cancelled; after the
/// first error nothing is sent.
class TlsStream final : public Stream, public std::enable_shared_from_this<TlsStream> {
public:
    /// `early`: bytes of `below` that have already arrived. The other parameters are TlsEngine's.
    TlsStream(std::shared_ptr<Stream> below, std::vector<std::byte> early, TlsContextPtr context,
              std::string wanted = {}, std::string session_key = {});

    /// Does the handshake; called first. Returns why it failed; empty: it succeeded. Sends the
    /// alert of a refusal to the peer. Throws system_error: operation_aborted after an abort of the
    /// stream below.
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
    std::optional<TlsInfo> tls_info() const override { return engine_.info(); }
    [[nodiscard]] bool is_verified() const { return engine_.is_verified(); }
    /// False: shake_hands() has failed because the peer sent something else.
    [[nodiscard]] bool speaks_tls() const noexcept { return speaks_tls_; }
    /// The peer's first bytes, until the handshake is done.
    [[nodiscard]] const std::string& heard() const noexcept { return heard_; }

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
    [[nodiscard]] static Task<> send_all(std::shared_ptr<TlsStream> self);
    [[nodiscard]] Task<> send_some();

    const std::shared_ptr<Stream> below_; // sidecar side
    TlsEngine engine_;                    // sidecar side

    // reading
    std::vector<std::byte> early_;    // sidecar side; bytes of below_, not seen yet
    std::unique_ptr<TlsInput> input_; // sidecar side; null: the input is used up
    std::string heard_;    // sidecar side; the peer's first bytes, until the handshake is done
    error_code below_end_; // sidecar side; set when the stream below has ended
    LoopEvent came_;       // sidecar side; the read below has ended
    bool is_waiting_below_ = false; // sidecar side
    bool is_shaking_hands_ = true;  // sidecar side
    bool speaks_tls_ = true;        // sidecar side
    bool has_read_ = false;         // sidecar side; some plaintext, ever
    bool is_drained_ = false;       // sidecar side
    bool is_stuck_ = false;         // sidecar side; reading must wait for sending

    // sending
    std::vector<std::byte> sending_; // sidecar side; taken from the engine
    std::size_t at_ = 0;             // sidecar side; bytes of sending_ that are sent
    std::uint64_t sent_bytes_ = 0;   // sidecar side; total
    Waiters waiters_;                // sidecar side; woken at the end of a write below
    error_code send_error_;          // sidecar side
    bool is_sending_ = false;        // sidecar side
    bool is_aborted_ = false;        // sidecar side; ends reading too
};

} // namespace sidecar::stream
