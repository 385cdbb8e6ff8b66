// Player: runs a MockScript on a peer's connections. Private to the mock.
#pragma once

#include <sidecar/transports/mock_script.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::mock {

/// Returns a payload for a failure: quoted, without control characters, at most 60 bytes of it.
[[nodiscard]] std::string quoted(std::string_view text);
/// The same; of a binary message it says so.
[[nodiscard]] std::string quoted(const MessageView& message);
/// Returns "0.02 s".
[[nodiscard]] std::string seconds(Duration duration);

/// The Mock reports to it what happens, and it acts on the connection. It has no timer: the Mock's
/// read asks it when it is next due. It calls functions of the script with its mutex held, and such
/// a function may take it again (MockPeer::verify). Side: the loop's thread, except verdict().
class Player {
public:
    /// Lifetime: `state` owns it.
    Player(State& state, std::vector<Step> steps) : state_{state}, steps_{std::move(steps)} {}

    /// Returns when to ask again; not after `now`: accept it. Throws what a refused connect fails
    /// with.
    [[nodiscard]] TimePoint connecting(MockConnection& connection, TimePoint began, TimePoint now);
    /// Performs all steps that are due. Returns when the next one is.
    TimePoint advance(MockConnection& connection, TimePoint now);
    void received(MockConnection& connection, const MessageView& message);
    void closing(MockConnection& connection, std::uint16_t code, TimePoint now);
    /// `how`, if a step does not expect it.
    void ended(std::uint32_t number, std::string_view how, TimePoint now);

    /// Why the script is not met.
    struct Verdict {
        std::string why;
        std::size_t trace_size; ///< when it failed
    };
    /// Empty: it is met. Side: any.
    [[nodiscard]] std::optional<Verdict> verdict() const;

private:
    struct Came {
        TimePoint at;
        MessageKind kind;
        std::string payload;
        [[nodiscard]] MessageView view() const
        {
            return {{}, kind, std::as_bytes(std::span{payload}), 0, at};
        }
    };

    [[nodiscard]] bool is_over() const { return failure_ || is_free_; }
    [[nodiscard]] const Step* step() const { return at_ < steps_.size() ? &steps_[at_] : nullptr; }
    void begin(TimePoint now);
    void next(TimePoint when, TimePoint now);
    [[nodiscard]] std::optional<TimePoint> perform(MockConnection& connection, TimePoint now);
    [[nodiscard]] std::optional<TimePoint> await(const Step& step, MockConnection& connection,
                                                 TimePoint now);
    void leave(MockConnection* connection, TimePoint now, std::string_view how);
    void fail(MockConnection* connection, TimePoint now, std::string_view what);
    void fail_with_exception(MockConnection& connection, TimePoint now);
    [[nodiscard]] std::string where() const;

    State& state_;                       // both: guarded by its mutex
    const std::vector<Step> steps_;      // both: constant
    mutable std::recursive_mutex mutex_; // guards all below
    std::size_t at_ = 0;
    std::size_t done_ = 0; // of the present step's count
    TimePoint began_{};    // the present step
    bool is_begun_ = false;
    bool is_free_ = false;     // behind ignore_rest()
    std::uint32_t on_ = 0;     // the connection that the script is on; 0: none
    std::deque<Came> waiting_; // messages that no step has taken
    std::vector<const Step*> ignored_;
    std::optional<std::string> failure_;
    std::size_t trace_size_ = 0;
};

} // namespace sidecar::mock
