// The protocol of NATS clients, without I/O: lines of the server, and messages both ways. Private to
// the transport.
#pragma once

#include "subjects.hpp"

#include <sidecar/envelope.hpp>
#include <sidecar/error.hpp>
#include <sidecar/sink.hpp>
#include <sidecar/transports/detail/codec.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::nats {

class Publications;

constexpr std::string_view ping_line = "PING\r\n";
constexpr std::string_view pong_line = "PONG\r\n";

/// Removes these characters from both ends.
[[nodiscard]] std::string_view trimmed(std::string_view text, std::string_view blanks) noexcept;
/// Empty: these are not the digits of a number, or it is too large.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view digits) noexcept;

/// The facts that a server's INFO gives.
struct ServerInfo {
    std::string nonce{};                     ///< to sign with an NKey; empty: none
    std::size_t max_payload = 0;             ///< bytes of headers and payload; 0: not said
    bool has_headers = false;                ///< it takes HPUB
    bool is_tls_required = false;            ///< the client has to begin TLS now
    bool is_tls_available = false;           ///< the client may begin TLS now
    bool is_lame_duck = false;               ///< it will end its connections soon
    std::vector<std::string> connect_urls{}; ///< "host:port" of the cluster's other servers
    /// Names, versions and numbers, for ConnectionInfo::headers: "server_name", "version"...
    std::vector<std::pair<std::string, std::string>> facts{};
};
/// Errors: protocol_violation.
[[nodiscard]] Result<ServerInfo> parse_info(std::string_view json);

/// Returns the error that a text of -ERR ends the connection with; empty: it goes on. One that no
/// further attempt can heal is not is_retryable().
[[nodiscard]] std::optional<Error> judge_error(std::string_view text);

/// Returns the failure of a server that broke the protocol. Shows a part of the bytes, escaped.
[[nodiscard]] Failure violation(std::string_view what, std::string_view bytes);

/// Appends `"text"` with the escapes of JSON.
void append_json(std::string& out, std::string_view text);

/// Takes the server's lines between messages. Side: the loop's thread, within decode(). Each may
/// throw, which ends the read.
class Control {
public:
    Control() = default;
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;
    virtual void on_ping() = 0;
    virtual void on_pong(Sink& sink) = 0;
    virtual void on_info(ServerInfo info) = 0;
    virtual void on_error(std::string_view text) = 0;

protected:
    ~Control() = default;
};

/// Bytes of a server into messages. A message's topic is its subject. The status line of its headers
/// becomes the headers "Status" and "Description", so a request without responders is answered with
/// Status 503. Headers come from other clients, unseen by the server: unreadable ones are left out.
/// Owned by the transport; sidecar side.
class Decoder final : public stream::Decoder {
public:
    /// Lifetime: `control` outlives it.
    Decoder(std::size_t max_message_bytes, Control& control)
        : max_message_bytes_{max_message_bytes}, control_{control}
    {
    }
    [[nodiscard]] stream::DecodeResult decode(std::span<const std::byte> unread,
                                              Sink& sink) override;

private:
    struct Head { // of MSG and HMSG
        std::string_view subject, reply_to;
        std::size_t header_bytes, total_bytes;
    };
    [[nodiscard]] Head parse_head(std::string_view line) const;
    [[nodiscard]] Envelope envelope_of(const Head& head, std::string_view header_block);
    void obey(std::string_view line, Sink& sink);

    const std::size_t max_message_bytes_; // sidecar side
    Control& control_;                    // sidecar side
    std::size_t looked_at_ = 0;           // sidecar side; bytes without a line's end
    std::vector<Header> headers_;         // sidecar side; of the current message
    std::string refused_;                 // sidecar side; head and headers that the sink refused
    Envelope refused_envelope_;           // sidecar side; borrows refused_ and headers_
};

/// Messages into PUB and HPUB. Owned by the transport; sidecar side.
class Encoder final : public stream::Encoder {
public:
    /// `subject`: of messages without a topic; `reply_prefix`: ends in '.'; the first message with
    /// such a reply_to subscribes to all of them. Lifetime: `subscriber` outlives it.
    Encoder(std::string subject, std::string reply_prefix, Subscriber& subscriber)
        : subject_{std::move(subject)},
          reply_prefix_{std::move(reply_prefix)},
          subscriber_{subscriber}
    {
    }
    /// Throws Exception bad_message for a message without a subject.
    void encode(stream::Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) override;
    [[nodiscard]] const std::string& reply_prefix() const noexcept { return reply_prefix_; }
    /// Lets a stream acknowledge each message. Lifetime: `publications` outlives this.
    void set_publications(Publications& publications) noexcept { publications_ = &publications; }

private:
    void append(stream::Chunk& chunk, const MessageView& message);

    const std::string subject_;            // sidecar side
    const std::string reply_prefix_;       // sidecar side
    Subscriber& subscriber_;               // sidecar side
    Publications* publications_ = nullptr; // sidecar side; null: none are acknowledged
    bool hears_replies_ = false;           // sidecar side
    std::string line_;                     // sidecar side
};

} // namespace sidecar::nats
