// The head of an HTTP/1.x answer, collected from pieces and taken apart (RFC 9112).
#pragma once

#include <sidecar/error.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::http {

/// An answer's status line and fields.
struct HttpHead {
    unsigned status = 0;
    unsigned minor_version = 1; ///< of HTTP/1.x
    std::string reason{};
    std::vector<std::pair<std::string, std::string>> fields{}; ///< in order, repeated as they came

    /// The values of all fields of that name, in order. Lifetime: that of this.
    [[nodiscard]] std::vector<std::string_view> values(std::string_view name) const;
    /// The elements of a field that is a comma-separated list (RFC 9110 section 5.6.1), over all
    /// its lines. Lifetime: that of this.
    [[nodiscard]] std::vector<std::string_view> elements(std::string_view name) const;
};

[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

/// Collects the head of an answer, from pieces of any size. Pure: it is given bytes and judges them.
/// Owned by who shakes hands; sidecar side. Invariants: each byte is looked at a bounded number of
/// times, and no more than `max_bytes` are kept. Beast's parser gets the head when it is whole, for
/// with one that grows it begins anew.
class HeadReader {
public:
    enum class State {
        incomplete,
        complete,
        not_http,  ///< what came cannot be the beginning of an HTTP/1.x answer
        too_large, ///< longer than `max_bytes`
    };

    explicit HeadReader(std::size_t max_bytes) noexcept : max_bytes_{max_bytes} {}

    /// Gives how many of the bytes belong to the head; fewer than all only when it is not
    /// incomplete any more.
    std::size_t take(std::string_view bytes);
    [[nodiscard]] State state() const noexcept { return state_; }
    /// What came so far, lines ended by CR LF.
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    /// How many bytes came so far.
    [[nodiscard]] std::size_t received_bytes() const noexcept { return received_bytes_; }
    /// Status line only, once it has come as far as the status; else status is zero.
    [[nodiscard]] HttpHead status_line() const;
    /// When complete. Errors: protocol_violation for fields that cannot be read.
    [[nodiscard]] Result<HttpHead> parse() const;
    /// Begins with the next head.
    void reset() noexcept;

private:
    [[nodiscard]] bool is_at_start() const noexcept;
    [[nodiscard]] std::size_t take_start(std::string_view bytes);
    [[nodiscard]] std::size_t take_line(std::string_view bytes);
    void end_line();

    const std::size_t max_bytes_;     // sidecar side
    State state_ = State::incomplete; // sidecar side
    std::string text_;                // sidecar side
    std::size_t line_at_ = 0;         // sidecar side; where in text_ the last line begins
    std::size_t received_bytes_ = 0;  // sidecar side
};

} // namespace sidecar::http
