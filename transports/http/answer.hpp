// The answer of an HTTP/1.x server (RFC 9112): its head, collected from pieces, and its words for
// people. Without I/O. Private to the transports.
#pragma once

#include "text.hpp"

#include <sidecar/error.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::http {

/// How much of the peer's words a text shows; bytes.
constexpr std::size_t max_shown_bytes = 200;

constexpr unsigned switching_protocols = 101;

/// An answer's status line and fields.
struct HttpHead {
    unsigned status = 0;
    unsigned minor_version = 1; ///< of HTTP/1.x
    std::string reason{};
    std::vector<std::pair<std::string, std::string>> fields{}; ///< in order, repeated as they came

    /// The values of all fields of that name, in order. Lifetime: that of this.
    [[nodiscard]] std::vector<std::string_view> values(std::string_view name) const;
    /// The first of them; empty: there is none. Lifetime: that of this.
    [[nodiscard]] std::string_view first_value(std::string_view name) const;
    /// The elements of a field that is a comma-separated list (RFC 9110 section 5.6.1), over all
    /// its lines. Lifetime: that of this.
    [[nodiscard]] std::vector<std::string_view> elements(std::string_view name) const;
};

/// Whether one of the elements is this, ignoring case.
[[nodiscard]] bool contains(const std::vector<std::string_view>& elements, std::string_view name);

/// Collects the head of the final answer, from pieces of any size; passes over interim answers (1xx
/// but 101). Owned by a handshake; sidecar side. Invariants: it looks at each byte a bounded number
/// of times, and keeps no more than `max_bytes`.
class HeadReader {
public:
    enum class State {
        incomplete,
        complete,
        not_http,          ///< these bytes cannot begin an HTTP/1.x answer
        too_large,         ///< longer than `max_bytes`
        interim_too_large, ///< the interim answers are longer than that
    };

    explicit HeadReader(std::size_t max_bytes) noexcept : max_bytes_{max_bytes} {}

    /// Returns how many of the bytes belong to heads; fewer than all only when it is not incomplete
    /// any longer.
    std::size_t take(std::string_view bytes);
    [[nodiscard]] State state() const noexcept { return state_; }
    /// The head so far, lines ended by CR LF.
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    /// Status line only, once it has come as far as the status; else status is zero.
    [[nodiscard]] HttpHead status_line() const;
    /// When complete. Errors: protocol_violation for fields that cannot be read.
    [[nodiscard]] Result<HttpHead> parse() const;
    /// "before" or "in the middle of": where the stream has ended.
    [[nodiscard]] const char* where() const noexcept
    {
        return head_bytes_ == 0 && interim_bytes_ == 0 ? "before" : "in the middle of";
    }
    /// `, which began with "HTTP/1.1 2"`; empty: nothing has come.
    [[nodiscard]] std::string describe_begun(const Secrets& secrets) const;

private:
    [[nodiscard]] bool is_at_start() const noexcept;
    [[nodiscard]] std::size_t take_start(std::string_view bytes);
    [[nodiscard]] std::size_t take_line(std::string_view bytes);
    void end_line();
    void skip_interim();

    const std::size_t max_bytes_;     // sidecar side
    State state_ = State::incomplete; // sidecar side
    std::string text_;                // sidecar side
    std::size_t line_at_ = 0;         // sidecar side; where in text_ the last line begins
    std::size_t head_bytes_ = 0;      // sidecar side; of the head at hand
    std::size_t interim_bytes_ = 0;   // sidecar side; of interim answers
};

/// The peer's words in quotes, without our secrets, and not more than max_shown_bytes.
[[nodiscard]] std::string quote(std::string_view text, const Secrets& secrets);

/// `HTTP 403 Forbidden, Retry-After: 5 s: "no"`; `body` came behind the head.
[[nodiscard]] std::string describe(const HttpHead& head, std::string_view body,
                                   const Secrets& secrets);
/// Status, Location and Retry-After, for programs.
[[nodiscard]] FailureDetails details_of(const HttpHead& head);

/// The first bytes of an answer that is not HTTP/1.x, and a guess: `it begins with "SSH-2.0"; this is
/// an SSH server`.
[[nodiscard]] std::string describe_not_http(std::string_view first, std::string_view rest,
                                            const Secrets& secrets, std::string_view hint_for_tls);

/// An HTTP-date in any of its three forms, RFC 9110 section 5.6.7. `now` decides the century of a
/// year of two digits.
[[nodiscard]] std::optional<std::chrono::sys_seconds> parse_http_date(std::string_view text,
                                                                      std::chrono::sys_seconds now);

/// The wait that a Retry-After field asks for (RFC 9110 section 10.2.3), never below zero nor above a
/// year. A date counts from the answer's Date field, for the two clocks may differ, else from `now`.
[[nodiscard]] std::optional<std::chrono::seconds> parse_retry_after(std::string_view retry_after,
                                                                    std::string_view date,
                                                                    std::chrono::sys_seconds now);

} // namespace sidecar::http
