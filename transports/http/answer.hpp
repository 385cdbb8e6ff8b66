// A request to an HTTP/1.x server and its answer (RFC 9112): collects the head of either from pieces
// and describes an answer. Without I/O. Private to the transports.
#pragma once

#include "text.hpp"

#include <sidecar/error.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::http {

/// A text shows at most so many bytes of the peer's.
constexpr std::size_t max_shown_bytes = 200;

constexpr unsigned switching_protocols = 101;

/// The first line and the fields of an answer or a request.
struct HttpHead {
    unsigned status = 0;        ///< of an answer, as the reason
    unsigned major_version = 1; ///< an answer has no other
    unsigned minor_version = 1;
    std::string reason{};
    std::string method{}; ///< of a request, as the target; empty: the first line is unreadable
    std::string target{};
    std::vector<std::pair<std::string, std::string>> fields{}; ///< in order, with repeated ones
    /// Set if the fields, or a request's first line, are unreadable; then there are no fields.
    error_code fault{};

    /// The values of all fields of that name, in order. Lifetime: that of this object.
    [[nodiscard]] std::vector<std::string_view> values(std::string_view name) const;
    /// The first of these values; empty: there is none. Lifetime: that of this object.
    [[nodiscard]] std::string_view first_value(std::string_view name) const;
    /// The elements of a comma-separated list (RFC 9110 section 5.6.1) over all lines of the field.
    /// Lifetime: that of this object.
    [[nodiscard]] std::vector<std::string_view> elements(std::string_view name) const;
};

/// Whether `elements` contain `name`, ignoring case.
[[nodiscard]] bool contains(const std::vector<std::string_view>& elements, std::string_view name);

/// Collects the head of the final answer from pieces of any size; skips interim answers (1xx except
/// 101). Or that of a request; skips empty lines before it (RFC 9112 section 2.2). A handshake owns
/// it; sidecar side. Invariants: it examines each byte a bounded number of times, and takes at most
/// `max_bytes` of a head and about as much of interim answers.
class HeadReader {
public:
    enum class Kind : bool { answer, request };
    enum class State {
        incomplete,
        complete,
        not_http,          ///< the bytes cannot begin an HTTP/1.x answer, or a request
        too_large,         ///< the head is longer than `max_bytes`
        interim_too_large, ///< the interim answers are longer than `max_bytes`
    };

    explicit HeadReader(std::size_t max_bytes, Kind kind = Kind::answer) noexcept
        : max_bytes_{max_bytes}, kind_{kind}
    {
    }

    /// Returns how many of the bytes belong to heads; all of them while the state is incomplete.
    std::size_t take(std::string_view bytes);
    [[nodiscard]] State state() const noexcept { return state_; }
    /// The head so far; its lines end in CR LF.
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    /// Parses the status line only; the status is zero if it has not arrived.
    [[nodiscard]] HttpHead status_line() const;
    /// Parses the whole head; call it when complete.
    [[nodiscard]] HttpHead parse() const;
    /// Whether a byte of this answer, or of an interim one, was taken.
    [[nodiscard]] bool has_begun() const noexcept { return head_bytes_ + interim_bytes_ != 0; }

private:
    [[nodiscard]] HttpHead request_line() const;
    [[nodiscard]] bool is_at_start() const noexcept;
    [[nodiscard]] bool may_begin(char c) const noexcept;
    [[nodiscard]] std::size_t take_start(std::string_view bytes);
    [[nodiscard]] std::size_t take_line(std::string_view bytes);
    void end_line();
    void skip_interim();

    const std::size_t max_bytes_;     // sidecar side
    const Kind kind_;                 // sidecar side
    State state_ = State::incomplete; // sidecar side
    std::string text_;                // sidecar side
    std::size_t line_at_ = 0;         // sidecar side; offset of the last line in text_
    std::size_t head_bytes_ = 0;      // sidecar side; of the current head
    std::size_t interim_bytes_ = 0;   // sidecar side; total of interim answers
};

/// Quotes the peer's text without our secrets, at most max_shown_bytes of it.
[[nodiscard]] std::string quote(std::string_view text, const Secrets& secrets);

/// Returns `HTTP 403 Forbidden, Retry-After: 5 s: "no"`; `body` holds the bytes behind the head.
[[nodiscard]] std::string describe(const HttpHead& head, std::string_view body,
                                   const Secrets& secrets);
/// Returns status, Location and Retry-After as fields of a failure.
[[nodiscard]] FailureDetails details_of(const HttpHead& head);

/// The words in the failures of an exchange.
struct ExchangeWords {
    Error refused; ///< the code of a refusal
    std::string attempted;
    std::string endpoint;
    std::string_view whose;  ///< "its" answer, or "the" answer
    std::string max_head;    ///< the limit of the head
    std::string_view hint;   ///< shown if the answer is TLS
    bool hints_if_silent;    ///< also if the connection ends before the answer: TLS servers do that
    std::string_view peer;   ///< names the peer that closed the connection
    std::string_view broken; ///< format of a broken connection: how it ended "{}", where "{}"
};

/// One request, and the answer that decides whether the stream can be used: a proxy's tunnel, the
/// WebSocket handshake. The stream's owner writes request(), then passes the bytes that it reads to
/// take() until that returns a verdict. The verdict comes as soon as the bytes allow it. It does
/// not depend on how they were cut, except for the part of a refusal's body that is quoted. Sidecar
/// side. Invariant: `max_head_bytes` bounds memory and time, whatever the peer sends.
class Exchange {
public:
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;
    virtual ~Exchange() = default;

    [[nodiscard]] const std::string& request() const noexcept { return request_; }
    /// Takes more bytes of the answer. Empty: it took all and needs more. A value: so many of the
    /// bytes belong to the answer; the rest is the stream's. Do not call it after a verdict.
    /// Errors: the refusal.
    [[nodiscard]] std::optional<Result<std::size_t>> take(std::span<const std::byte> bytes);
    /// Returns the failure of a stream that ended before the verdict. `cause` is set if it did not
    /// end in order; then `fate` says how. Errors: connect_failed, cancelled.
    [[nodiscard]] Failure ended(error_code cause = {}, std::string_view fate = "broke") const;

protected:
    /// `secrets`: those that the peer may repeat.
    Exchange(ExchangeWords words, std::string request, Secrets secrets, std::size_t max_head_bytes);

    /// Judges the whole head; `body` holds the bytes behind it.
    [[nodiscard]] virtual Result<void> validate(const HttpHead& head, std::string_view body) = 0;
    [[nodiscard]] Failure refusal(std::string why, FailureDetails details = {}) const;
    [[nodiscard]] const Secrets& secrets() const noexcept { return secrets_; }

private:
    [[nodiscard]] std::string_view whose() const noexcept { return words_.whose; }
    [[nodiscard]] Failure too_large(std::string_view what) const;

    const ExchangeWords words_; // sidecar side
    const std::string request_; // sidecar side
    const Secrets secrets_;     // sidecar side
    HeadReader reader_;         // sidecar side
};

/// Parses an HTTP-date in any of its three forms, RFC 9110 section 5.6.7. `now` decides the century
/// of a year of two digits.
[[nodiscard]] std::optional<std::chrono::sys_seconds> parse_http_date(std::string_view text,
                                                                      std::chrono::sys_seconds now);

/// Returns the wait that a Retry-After field asks for (RFC 9110 section 10.2.3), between zero and a
/// year. A date counts from the answer's Date field, since the two clocks may differ, else from
/// `now`.
[[nodiscard]] std::optional<std::chrono::seconds> parse_retry_after(std::string_view retry_after,
                                                                    std::string_view date,
                                                                    std::chrono::sys_seconds now);

} // namespace sidecar::http
