// TLS without I/O: ciphertext in and out by memory. Private to TLS.
#pragma once

#include "context.hpp"
#include "errors.hpp"
#include "verify.hpp"

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

/// How far each record of one seal() reaches, in bytes of plaintext and of everything put out.
struct SealedRecords {
    static constexpr std::size_t max = 4;
    struct Record {
        std::size_t plain_end;
        std::uint64_t put_end;
    };
    std::array<Record, max> records;
    std::size_t count = 0;

    /// Plaintext in records that are out whole once so many bytes are; what the peer can read.
    [[nodiscard]] std::size_t plain_bytes(std::uint64_t sent_bytes) const noexcept
    {
        std::size_t plain = 0;
        for (std::size_t i = 0; i < count && records[i].put_end <= sent_bytes; ++i)
            plain = records[i].plain_end;
        return plain;
    }
};

/// The client's end of one TLS connection: OpenSSL between two pieces of memory. Owned by its
/// stream. Side: the loop's thread.
///
/// Invariants: reading puts out at most max_unsent_bytes that nobody has taken yet (answers to
/// KeyUpdate, alerts), whatever the peer asks for; after close_notify() nothing is put out.
class TlsEngine {
public:
    enum class Step {
        done,         ///< the handshake is; or the memory given to read() is full
        wants_input,  ///< all input was used, and more is needed
        wants_output, ///< output() must be sent first
        closed,       ///< the peer's close_notify
        failed,       ///< for good; fault() and refusal() say why
    };
    static constexpr std::size_t max_record_bytes = 16u << 10;
    static constexpr std::size_t max_unsent_bytes = 16u << 10;

    /// `wanted`: the name or address that the peer must prove; empty: none. Throws Exception:
    /// tls_failed where OpenSSL cannot.
    TlsEngine(std::shared_ptr<const TlsContext> context, std::string wanted,
              std::string session_key);
    TlsEngine(const TlsEngine&) = delete;
    TlsEngine& operator=(const TlsEngine&) = delete;
    ~TlsEngine();

    /// done, or what it needs to go on; to be called again until then.
    [[nodiscard]] Step shake_hands();
    /// Decrypts as much as there is, and adds to `got`.
    [[nodiscard]] Step read(std::span<std::byte> into, std::size_t& got);
    /// Encrypts at most SealedRecords::max records. done if `sealed` has one; wants_input while the
    /// peer has sent only a part of a message of the handshake's; else failed.
    [[nodiscard]] Step seal(std::span<const boost::asio::const_buffer> from, SealedRecords& sealed);
    void close_notify();

    /// The next of the peer's ciphertext, once all before is used. Lifetime: until it is.
    void set_input(std::span<const std::byte> bytes) noexcept { input_ = bytes; }
    [[nodiscard]] bool has_input() const noexcept { return !input_.empty(); }
    /// Is to be sent; its sender takes it away.
    [[nodiscard]] std::vector<std::byte>& output() noexcept { return output_; }
    /// How much was ever put out.
    [[nodiscard]] std::uint64_t put_bytes() const noexcept { return put_bytes_; }

    /// Releases OpenSSL's memory for records where it holds none.
    void release_memory() noexcept;

    [[nodiscard]] const HandshakeFault& fault() const noexcept { return fault_; }
    /// Why a read failed. `is_first`: nothing of the peer's was read before.
    [[nodiscard]] error_code read_error(bool is_first) const;
    [[nodiscard]] const std::optional<Refusal>& refusal() const noexcept { return peer_.refusal; }
    /// After the handshake; empty: the peer chose none.
    [[nodiscard]] std::string application_protocol() const;
    /// After the handshake: the peer is verified, also where a session was resumed.
    [[nodiscard]] bool is_verified() const;

private:
    [[nodiscard]] Step step_after(int result);
    void note_fault();

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

/// Memory for ciphertext, lent by the thread, so that a silent link holds none. One look at the stream
/// below brings at most four records, so that a system call costs little beside their decryption.
using TlsInput = std::array<std::byte, 64u << 10>;

[[nodiscard]] std::unique_ptr<TlsInput> acquire_input();
void release(std::unique_ptr<TlsInput> input) noexcept;
/// Leaves it without memory.
void release(std::vector<std::byte>& output) noexcept;

} // namespace sidecar::stream
