// Subjects: which ones are valid, and subscriptions to them. Without I/O. Private to the transport.
#pragma once

#include <sidecar/envelope.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar::nats {

[[nodiscard]] inline std::string_view text_of(std::span<const std::byte> bytes) noexcept
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

enum class SubjectUse : std::uint8_t { publish, subscribe };
/// Returns why this is no subject for the use; null: it is one. Only subscriptions have wildcards.
[[nodiscard]] const char* fault_of_subject(std::string_view subject, SubjectUse use) noexcept;
/// Returns why this cannot name a queue group; null: it can.
[[nodiscard]] const char* fault_of_queue(std::string_view queue) noexcept;
/// Returns why this cannot be a header; null: it can.
[[nodiscard]] const char* fault_of_header(const Header& header) noexcept;

/// A message of subscription() or unsubscription(): obeyed, not published. It begins with a number
/// that is random in each process, so no data from outside can look like one. Lifetime: borrows the
/// texts.
struct Command {
    bool removes = false;
    std::uint64_t max_messages = 0; ///< 0: no limit
    std::string_view subject{};
    std::string_view queue{}; ///< empty: no queue group
};
/// Empty: it is an ordinary message.
[[nodiscard]] std::optional<Command> parse_command(std::span<const std::byte> payload);

/// The numbers of one connection's subscriptions. Owned by the transport; sidecar side.
class Subscriber {
public:
    /// Appends the lines SUB and UNSUB that the command means. UNSUB of a subscription that does not
    /// exist names number 0, which servers ignore.
    void append(std::string& out, const Command& command);
    /// Appends an UNSUB for each.
    void append_end(std::string& out) const;

private:
    std::map<std::string, std::uint64_t, std::less<>> numbers_; // sidecar side; by subject, queue
    std::uint64_t last_ = 0;                                    // sidecar side
};

} // namespace sidecar::nats
