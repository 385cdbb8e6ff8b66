// Errors: Error, Failure, Result, Exception.
#pragma once

#include <sidecar/connect_trace.hpp>
#include <sidecar/detail/export.hpp>

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace sidecar {

using boost::system::error_code;

/// The library's error codes. Values are never renumbered.
enum class Error {
    /// The call's timeout passed; nothing else is wrong, and the call may be repeated.
    timed_out = 1,
    /// A stop was requested; the sidecar accepts nothing new until stop() has returned.
    stopping = 2,
    /// The sidecar has stopped; receive() returns this after all queued messages.
    stopped = 3,
    /// The sidecar was never started.
    not_started = 4,
    /// start() was called while the sidecar runs; call stop() first.
    already_started = 5,
    /// The link is not up: not yet, or no longer.
    not_connected = 6,
    /// The outbox has no space for this message; nothing was queued.
    full = 7,
    /// The message is larger than the limit that applies to it.
    too_big = 8,
    /// The call cannot be made here, for example waiting on the loop's own thread.
    misuse = 9,
    /// The process has forked; the sidecar lives in the parent only.
    forked = 10,
    /// An option, or a combination of options, is invalid.
    bad_options = 11,
    /// The URL or address cannot be parsed.
    bad_address = 12,
    /// The connection could not be made.
    connect_failed = 13,
    /// The connection broke: end of stream, reset, or an error of the network.
    disconnected = 14,
    /// The peer closed the connection as the protocol provides.
    closed_by_peer = 15,
    /// The peer violated the protocol.
    protocol_violation = 16,
    /// The host name could not be resolved.
    lookup_failed = 17,
    /// Too many name look-ups are pending in this process.
    lookup_busy = 18,
    /// The coroutine or operation was cancelled.
    cancelled = 19,
    /// A user's coroutine or callback threw.
    callback_failed = 20,
    /// The peer refused the protocol's handshake.
    handshake_refused = 21,
    /// The message cannot be sent on this transport as it is.
    bad_message = 22,
    /// The operating system refused a resource (thread, descriptor, memory).
    no_resources = 23,
    /// The peer's certificate was refused, or the TLS handshake failed.
    tls_failed = 24,
    /// Messages are missing here, because the link's overflow policy dropped or replaced them. The
    /// next call continues behind them.
    gap = 25,
    /// The message belongs to a connection that is not the present one.
    wrong_connection = 26,
    /// The peer gave no sign of life in time.
    unresponsive = 27,
    /// The queue of a link with the overflow policy `fail` was full.
    overflow = 28,
    /// The peer did not answer all subscriptions in time.
    unacknowledged = 29,
    /// The application closed the link.
    link_closed = 30,
    /// A message was dropped, because SendOptions::expires_after passed before its turn.
    expired = 31,
    /// The peer refused the login, as the application's on_connected says; see Session::refuse().
    login_refused = 32,
    /// A test's virtual time cannot pass, so that the call would wait for ever; see MockClock.
    time_limit = 33,
    /// A test's MockScript was not met: a step is missing, or something came that no step expects.
    script_failed = 34,
    /// Nobody listens to the topic of a request.
    no_responders = 35,
};

/// The category of Error; its name is "sidecar".
[[nodiscard]] SIDECAR_API const boost::system::error_category& error_category() noexcept;
[[nodiscard]] SIDECAR_API error_code make_error_code(Error error) noexcept;

} // namespace sidecar

template <>
struct boost::system::is_error_code_enum<sidecar::Error> : std::true_type {};

namespace sidecar {

/// A failure's facts beyond its code.
struct FailureDetails {
    std::string attempted{};   ///< the failed action, as an infinitive: "connect", "read a frame"
    std::string endpoint{};    ///< URL, host:port, or a name
    error_code cause{};        ///< the underlying error (Asio, Beast, the system), if there is one
    std::string explanation{}; ///< in words, if no code says it
    std::uint16_t close_code = 0;  ///< the peer's close code (RFC 6455 section 7.4); 0: none
    std::string close_reason{};    ///< the peer's close reason, UTF-8
    std::uint16_t http_status = 0; ///< of the answer to an HTTP handshake; 0: no answer
    /// The answer's Location field, unredacted: it may hold secrets. Texts show it redacted.
    std::string location{};
    /// How long the answer asks to wait before the next attempt (Retry-After); a year at most.
    std::optional<std::chrono::seconds> retry_after{};
    /// The steps of the connect that failed; empty: another operation failed.
    std::optional<ConnectTrace> trace{};
    /// Whether the same attempt may succeed later; empty: the code decides (see is_retryable()).
    std::optional<bool> is_passing{};
};

/// Identifies a link; see message.hpp.
enum class LinkId : std::uint32_t;

/// Why something failed: an error to decide by, and details to read. Cheap to copy. Immutable, so
/// any thread may use it.
class SIDECAR_API Failure {
public:
    Failure() noexcept = default; ///< no failure: Result::error() of a result with a value
    Failure(Error error) noexcept : error_{error} {} // NOLINT: implicit, for `return Error::full;`
    Failure(Error error, FailureDetails details);

    /// The error, for a `switch`. Always one of this library; those of others are in cause().
    /// Error{} (0, which no enumerator has) if there is no failure.
    [[nodiscard]] Error error() const noexcept { return error_; }
    /// The same in error_category(). Empty if there is no failure.
    [[nodiscard]] error_code code() const noexcept
    {
        return error_ == Error{} ? error_code{} : make_error_code(error_);
    }
    /// Whether the feed goes on, so that a loop makes the same call again. True:
    /// - the call's time is over (timed_out), there was no space (full), or messages are missing
    ///   here (gap);
    /// - a connection ended, and its link tries to reconnect or another link is up or tries;
    /// - the link is not up (not_connected), and it tries to connect.
    /// False: everything else. That includes the end of the last link, `stopping` and `stopped`,
    /// mistakes (misuse, not_started, bad_options, too_big), and all failures of start(), open()
    /// and Link::close().
    [[nodiscard]] bool will_retry() const noexcept { return will_retry_; }
    /// The link that failed or refused. Empty: the failure is not about one link.
    [[nodiscard]] std::optional<LinkId> link() const noexcept { return link_; }

    [[nodiscard]] const std::string& attempted() const noexcept { return details().attempted; }
    [[nodiscard]] const std::string& endpoint() const noexcept { return details().endpoint; }
    [[nodiscard]] error_code cause() const noexcept { return details().cause; }
    [[nodiscard]] const std::string& explanation() const noexcept { return details().explanation; }
    [[nodiscard]] std::uint16_t close_code() const noexcept { return details().close_code; }
    [[nodiscard]] const std::string& close_reason() const noexcept
    {
        return details().close_reason;
    }
    [[nodiscard]] std::uint16_t http_status() const noexcept { return details().http_status; }
    [[nodiscard]] const std::string& location() const noexcept { return details().location; }
    [[nodiscard]] std::optional<std::chrono::seconds> retry_after() const noexcept
    {
        return details().retry_after;
    }

    /// Whether the same attempt may succeed later; empty: the code decides (see is_retryable()).
    [[nodiscard]] std::optional<bool> is_passing() const noexcept { return details().is_passing; }

    /// Lifetime: as the failure.
    [[nodiscard]] const std::optional<ConnectTrace>& trace() const noexcept
    {
        return details().trace;
    }

    /// Returns the same failure of this attempt on this endpoint.
    [[nodiscard]] Failure with_attempt(std::string attempted, std::string endpoint) const;
    /// Returns the same failure with this trace of the connect.
    [[nodiscard]] Failure with_trace(ConnectTrace trace) const;
    /// Returns the same failure with this explanation.
    [[nodiscard]] Failure with_explanation(std::string explanation) const;
    /// Returns the same failure of this link. Copies no text.
    [[nodiscard]] Failure with_link(LinkId link) const noexcept;
    /// Returns the same failure with this will_retry(). Copies no text.
    [[nodiscard]] Failure with_retry(bool will_retry) const noexcept;

    /// One line: the attempt, the endpoint, and the reason.
    [[nodiscard]] std::string message() const;

    friend bool operator==(const Failure& failure, Error error) noexcept
    {
        return failure.error_ == error;
    }
    /// For any stream; streaming a Result uses it too.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const Failure& failure)
    {
        stream << failure.message();
        return stream;
    }

private:
    [[nodiscard]] const FailureDetails& details() const noexcept;
    [[nodiscard]] Failure with(FailureDetails details) const;

    Error error_{};
    std::optional<LinkId> link_{};
    bool will_retry_ = false;
    std::shared_ptr<const FailureDetails> details_;
};

/// A value, or the Failure in its place. `value()` throws Exception if there is no value.
template <class T>
using Result = boost::system::result<T, Failure>;

/// Compares `feed.send(x) == Error::full`. A result with a value equals no Error.
template <class T>
[[nodiscard]] bool operator==(const boost::system::result<T, Failure>& result, Error error) noexcept
{
    return result.has_error() && result.error() == error;
}

/// Shows a result in a test framework: its failure, or its value if that can be shown.
template <class Char, class Traits, class T>
    requires(!std::is_void_v<T>)
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& stream,
                                             const boost::system::result<T, Failure>& result)
{
    if (!result)
        return stream << "error:" << result.error(), stream;
    if constexpr (requires { stream << *result; })
        return stream << "value:" << *result, stream;
    else
        return stream << "value", stream;
}

/// A Failure as an exception. Transports throw it, and so does Result::value().
class SIDECAR_API Exception : public boost::system::system_error {
public:
    explicit Exception(Failure failure);
    [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
    [[nodiscard]] const Failure& failure() const noexcept { return failure_; }

private:
    Failure failure_;
    std::string message_;
};

/// Throws Exception. Result::value() without a value finds it by argument-dependent look-up.
[[noreturn]] SIDECAR_API void throw_exception_from_error(const Failure& failure,
                                                         const boost::source_location& where);

/// Converts a coroutine's exception to a Failure. An Exception keeps its Failure; a cancellation
/// becomes Error::cancelled; an error code of the library stays; any other becomes `code` with that cause; other exceptions
/// keep their what(). Without memory for its texts the Failure is `code` alone.
[[nodiscard]] SIDECAR_API Failure to_failure(std::exception_ptr exception, Error code,
                                             std::string_view attempted,
                                             std::string_view endpoint) noexcept;

} // namespace sidecar
