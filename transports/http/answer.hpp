// A request to an HTTP/1.x server and its answer (RFC 9112): the head, collected from pieces, and its
// words for people. Without I/O. Private to the transports.
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

/// How much of the peer's words a text shows; bytes.
constexpr std::size_t max_shown_bytes = 200;

constexpr unsigned switching_protocols = 101;

/// An answer's status line and fields.
struct HttpHead {
    unsigned status = 0;
    unsigned minor_version = 1; ///< of HTTP/1.x
    std::string reason{};
    std::vector<std::pair<std::string, std::string>> fields{}; ///< in order, repeated as they came
    error_code fault{}; ///< the fields cannot be read; there are none then

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
    /// When complete.
    [[nodiscard]] HttpHead parse() const;
    /// A byte of the answer, or of an interim one, was taken.
    [[nodiscard]] bool has_begun() const noexcept { return head_bytes_ + interim_bytes_ != 0; }

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

/// How the failures of an exchange name things.
struct ExchangeWords {
    Error refused; ///< the code of a refusal
    std::string attempted;
    std::string endpoint;
    std::string_view whose;  ///< "its" answer, or "the" answer
    std::string max_head;    ///< the limit of the head
    std::string_view hint;   ///< where the answer is TLS
    std::string_view peer;   ///< closed the connection
    std::string_view broken; ///< how the connection ended, if not in order: "{}", and where: "{}"
};

/// One request, and the answer that says whether the stream may be used: the way through a proxy, the
/// handshake of WebSocket. The owner of the stream writes request(), then passes the bytes that it
/// reads to take() until that returns a verdict. The verdict comes as soon as the bytes allow it, and
/// is the same however they were cut, but for how much of a refusal's body is quoted. Sidecar side.
/// Invariant: memory and time are bounded by `max_head_bytes`, whatever the peer sends.
class Exchange {
public:
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;
    virtual ~Exchange() = default;

    [[nodiscard]] const std::string& request() const noexcept { return request_; }
    /// Takes in more of the answer. Nothing: all of it was taken, and more is needed. A value: so many
    /// of the bytes belong to the answer; what follows is the stream's. Not to be called again after a
    /// verdict. Errors: that of a refusal.
    [[nodiscard]] std::optional<Result<std::size_t>> take(std::span<const std::byte> bytes);
    /// What the end of the stream means before there is a verdict; `cause` if it did not end in
    /// order, and then what became of the connection. Errors: connect_failed, cancelled.
    [[nodiscard]] Failure ended(error_code cause = {}, std::string_view fate = "broke") const;

protected:
    /// `secrets`: those that the peer may repeat.
    Exchange(ExchangeWords words, std::string request, Secrets secrets, std::size_t max_head_bytes);

    /// Judges the whole head; `body` came behind it.
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
