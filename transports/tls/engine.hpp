// TLS without I/O: ciphertext in and out by memory. Private to TLS.
#pragma once

#include "context.hpp"
#include "errors.hpp"
#include "verify.hpp"

#include <sidecar/connection_info.hpp>

#include <boost/asio/buffer.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sidecar::stream {

/// The ends of the records of one seal(), as offsets in the plaintext and in the whole output.
struct SealedRecords {
    static constexpr std::size_t max = 4;
    struct Record {
        std::size_t plain_end;
        std::uint64_t put_end;
    };
    std::array<Record, max> records;
    std::size_t count = 0;

    /// Returns how much plaintext the peer can read after `sent_bytes` of output: that of the
    /// records which were sent whole.
    [[nodiscard]] std::size_t plain_bytes(std::uint64_t sent_bytes) const noexcept
    {
        std::size_t plain = 0;
        for (std::size_t i = 0; i < count && records[i].put_end <= sent_bytes; ++i)
            plain = records[i].plain_end;
        return plain;
    }
};

/// Our end of one TLS connection, a client's or a server's: OpenSSL between two pieces of memory.
/// Its stream owns it. Side: the loop's thread.
///
/// Invariants: whatever the peer asks for, reading leaves at most max_unsent_bytes of output
/// (answers to KeyUpdate, alerts) that nobody has taken; after close_notify() there is no new
/// output.
class TlsEngine {
public:
    enum class Step {
        done,         ///< the handshake is complete, or read()'s memory is full
        wants_input,  ///< all input is used, and more is needed
        wants_output, ///< output() must be sent first
        closed,       ///< the peer sent close_notify
        failed,       ///< permanently; fault() and refusal() say why
    };
    static constexpr std::size_t max_record_bytes = 16u << 10;
    static constexpr std::size_t max_unsent_bytes = 16u << 10;

    /// `context` has the role. A client's: `wanted` is the name or address that the peer must
    /// prove; empty: none. Throws Exception: tls_failed if OpenSSL fails.
    explicit TlsEngine(std::shared_ptr<const TlsContext> context, std::string wanted = {},
                       std::string session_key = {});
    TlsEngine(const TlsEngine&) = delete;
    TlsEngine& operator=(const TlsEngine&) = delete;
    ~TlsEngine();

    /// Returns done, or the need that the caller must meet before it calls again.
    [[nodiscard]] Step shake_hands();
    /// Decrypts the available input and adds the plaintext's size to `got`.
    [[nodiscard]] Step read(std::span<std::byte> into, std::size_t& got);
    /// Encrypts at most SealedRecords::max records. Returns done if `sealed` has at least one;
    /// wants_input if the peer has sent only a part of a handshake message; else failed.
    [[nodiscard]] Step seal(std::span<const boost::asio::const_buffer> from, SealedRecords& sealed);
    void close_notify();

    /// Sets the peer's next ciphertext, once all earlier input is used. Lifetime: until it is used.
    void set_input(std::span<const std::byte> bytes) noexcept { input_ = bytes; }
    [[nodiscard]] bool has_input() const noexcept { return !input_.empty(); }
    /// The ciphertext to send; the sender takes it out.
    [[nodiscard]] std::vector<std::byte>& output() noexcept { return output_; }
    /// The total size of the output so far.
    [[nodiscard]] std::uint64_t put_bytes() const noexcept { return put_bytes_; }

    /// Releases OpenSSL's record buffers if they are empty.
    void release_memory() noexcept;

    [[nodiscard]] TlsRole role() const noexcept { return peer_.context->role; }
    [[nodiscard]] const HandshakeFault& fault() const noexcept { return fault_; }
    /// Why a read failed. `is_first`: no plaintext was read before.
    [[nodiscard]] error_code read_error(bool is_first) const;
    [[nodiscard]] const std::optional<Refusal>& refusal() const noexcept { return peer_.refusal; }
    /// Valid after the handshake; empty: the peer chose none.
    [[nodiscard]] std::string application_protocol() const;
    /// Valid after the handshake.
    [[nodiscard]] TlsInfo info() const;
    /// Valid after the handshake: whether the peer is verified, even in a resumed session.
    [[nodiscard]] bool is_verified() const;

private:
    [[nodiscard]] Step step_after(int result);
    void record_fault();

    [[nodiscard]] static BIO_METHOD* bio_method();
    static int bio_read(BIO* bio, char* to, std::size_t size, std::size_t* got);
    static int bio_write(BIO* bio, const char* from, std::size_t size, std::size_t* taken);

    PeerCheck peer_;                                                   // sidecar side
    SslPtr ssl_;                                                       // sidecar side
    std::span<const std::byte> input_;                                 // sidecar side
    std::vector<std::byte> output_;                                    // sidecar side
    std::uint64_t put_bytes_ = 0;                                      // sidecar side
    std::size_t max_output_ = std::numeric_limits<std::size_t>::max(); // sidecar side
    HandshakeFault fault_;                                             // sidecar side
    bool has_failed_ = false;                                          // sidecar side
    bool has_notified_ = false;                                        // sidecar side
};

/// Memory for ciphertext, shared through the thread, so that an idle link holds none. One read of
/// the stream below takes at most four records, so that the system call costs little beside their
/// decryption.
using TlsInput = std::array<std::byte, 64u << 10>;

[[nodiscard]] std::unique_ptr<TlsInput> acquire_input();
void release(std::unique_ptr<TlsInput> input) noexcept;
/// Releases the memory of `output`, which is empty afterwards.
void release(std::vector<std::byte>& output) noexcept;

} // namespace sidecar::stream
