// MockScript: what a MockPeer expects of the sidecar, and does, step by step.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/transports/mock_connection.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

namespace mock {

/// A step of a MockScript, which alone makes and reads it.
struct Step {
    enum class Kind { accept, refuse, expect, expect_close, expect_end, act, stream, ignore, rest };

    Kind kind;
    std::string text;     // for the failure
    Duration time{};      // the delay or the period; of an expectation, within which time
    std::size_t count{1}; // of connects or messages
    std::function<bool(const MessageView&)> matches{};
    std::function<std::string(std::size_t)> generate{};
    std::function<void(MockConnection&)> act{};
    Failure failure{};
    std::uint16_t code = 0;
};

} // namespace mock

/// A conversation, written as its steps: `MockScript{}.accept_after(20ms).expect("login")
/// .deliver("welcome").drop().refuse(2).expect("login")`. MockPeer::play() runs it on the loop, in
/// virtual time; MockPeer::verify() says whether it was met. Each step begins when the one before
/// has ended, the first one at the first connect. A step that needs a connection accepts the next
/// connect. Messages wait for the step that expects them.
///
/// The script fails at a message or a connect that no step expects, at the end of a `within`, and if
/// the sidecar ends a connection that has steps left. Then the connection ends with that failure
/// (Error::script_failed), which the link does not try to reconnect after; connects are refused.
/// While the application's inbox is full, steps wait. Side: any thread; one at a time. Functions of
/// a script run on the loop's thread.
class SIDECAR_API MockScript {
public:
    using Predicate = std::function<bool(const MessageView&)>;
    using Generator = std::function<std::string(std::size_t)>;
    static constexpr Duration no_limit = Duration::max();

    /// Accepts the next connect, `delay` after it began.
    MockScript& accept_after(Duration delay);
    MockScript& accept() { return accept_after({}); }
    /// Refuses the next connects.
    MockScript& refuse(std::size_t count = 1);
    MockScript& refuse(std::size_t count, Failure why);

    /// Expects that the next message is this one: a string as text, bytes as binary. `within`
    /// counts from the end of the step before.
    MockScript& expect(std::string_view text, Duration within = no_limit);
    MockScript& expect(std::span<const std::byte> bytes, Duration within = no_limit);
    MockScript& expect_prefix(std::string_view prefix, Duration within = no_limit);
    /// Expects that the next message fulfils the predicate; `what` names it in a failure.
    MockScript& expect_if(std::string_view what, Predicate matches, Duration within = no_limit);
    /// Expects that the sidecar closes politely, with this code; 0: any.
    MockScript& expect_close(std::uint16_t code = 0, Duration within = no_limit);
    /// Expects that the sidecar ends the connection, by a close or without.
    MockScript& expect_end(Duration within = no_limit);
    /// From here on, messages that fulfil the predicate are nothing to the script, say heartbeats.
    MockScript& ignore(std::string_view what, Predicate matches);
    /// The last step: all that follows is as without a script. A further step throws Exception
    /// (misuse), and so does one with an empty predicate or generator.
    MockScript& ignore_rest();

    /// Delivers a message on the connection.
    MockScript& deliver(std::string_view text) { return deliver_after({}, text); }
    MockScript& deliver(std::span<const std::byte> bytes);
    MockScript& deliver_after(Duration delay, std::string_view text);
    /// Delivers `count` texts, generate(0) at once, the next ones a period apart.
    MockScript& stream(std::size_t count, Duration period, Generator generate);
    /// Waits. Without a connection a connect waits too.
    MockScript& wait(Duration duration);
    /// As the calls of MockConnection.
    MockScript& go_silent();
    MockScript& hold_writes();
    MockScript& release_writes();
    MockScript& ignore_close();
    /// These end the connection; the next step waits for the next one.
    MockScript& drop();
    MockScript& reset();
    MockScript& close(std::uint16_t code, std::string_view reason = {});
    /// Calls a function; `what` names it in a failure.
    MockScript& run(std::string_view what, std::function<void(MockConnection&)> act);

private:
    friend class MockPeer;
    SIDECAR_LOCAL MockScript& add(mock::Step step);

    std::vector<mock::Step> steps_; // app side
};

} // namespace sidecar
