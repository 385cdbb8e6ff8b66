// TLS as a Stream over another. Private to TLS.
#pragma once

#include "engine.hpp"
#include "stream.hpp"
#include "tls_memory.hpp"
#include "tls_pump.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sidecar::stream {

/// Owned by the transport, as any stream; owns the one below. The engine decides what bytes mean,
/// the pump sends; this feeds the engine with what comes.
///
/// Reading looks at what OpenSSL holds before it looks at the stream below, and waits only if
/// neither has anything. The end of the stream below without the peer's close_notify is told as
/// TlsEnd::truncated, with it as eof. write_some takes up to four records, and gives how much of it
/// is in records that went out whole, so that what a failure leaves is counted as the peer sees it.
///
/// Invariants: has input memory only while it holds ciphertext that OpenSSL has not taken; what
/// reading puts out is sent without waiting for it, up to TlsEngine::most_unsent_bytes.
class Tls final : public Stream {
public:
    Tls(std::shared_ptr<Stream> below, std::shared_ptr<TlsEngine> engine);

    /// Before anything else. Gives why it failed; empty: it is done. What was refused is told to the
    /// peer. `ec` is the cause, where the stream below has one; operation_aborted once that was
    /// aborted.
    [[nodiscard]] Task<std::string> shake_hands(error_code& ec);

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
    std::string application_protocol() const override { return engine_->application_protocol(); }

private:
    [[nodiscard]] std::size_t pull(ReadBuffers into, bool may_ask_below, error_code& ec);
    [[nodiscard]] TlsEngine::Step decrypt(ReadBuffers into, std::size_t& got);
    [[nodiscard]] std::size_t ask_below(std::size_t wanted);
    [[nodiscard]] Task<> wait_below(ReadBuffers into, error_code& ec);
    void ended_below(error_code ec);
    [[nodiscard]] error_code end_code(TlsEngine::Step step) const;
    [[nodiscard]] Task<std::string> hear_more(error_code& ec);
    [[nodiscard]] std::string why_failed() const;
    [[nodiscard]] std::string_view heard() const;

    const std::shared_ptr<Stream> below_;     // sidecar side
    const std::shared_ptr<TlsEngine> engine_; // sidecar side
    const std::shared_ptr<TlsPump> pump_;     // sidecar side
    std::unique_ptr<TlsInput> input_;         // sidecar side; null: nothing is left of the input
    std::string heard_;    // sidecar side; the peer's first bytes, till the handshake is done
    error_code below_end_; // sidecar side; no more will come from below
    bool is_shaking_hands_ = true; // sidecar side
    bool has_read_ = false;        // sidecar side; plaintext, ever
    bool is_drained_ = false;      // sidecar side
    bool is_stuck_ = false;        // sidecar side; reading has to wait for the pump
    bool is_aborted_ = false;      // sidecar side
};

} // namespace sidecar::stream
