// What a test has told the mock's other side, and what the sidecar did. Private to the mock.
#pragma once

#include <sidecar/loop_event.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sidecar {

namespace mock {

/// What the coroutines of one connection wait for. Held by posted handlers too, which may run after
/// the connection.
struct Signals {
    LoopEvent connect, read, write, ping, close; // sidecar side
    void set_all()
    {
        connect.set();
        read.set();
        write.set();
        ping.set();
        close.set();
    }
};

struct Incoming {
    enum class Kind { message, failure, close, bytes, pong } what = Kind::message;
    MessageKind kind = MessageKind::text;
    std::string payload; // of a message, or the reason of a close
    error_code error;
    std::uint16_t code = 0;
};

} // namespace mock

/// Shared by the peer's copies and by the connection there is. Side: any thread, guarded by its
/// mutex; a change wakes the connection's coroutines, which look again.
struct MockPeer::State {
    mutable std::mutex mutex; // guards all below

    // what the test has told
    std::optional<error_code> connect_error;
    Duration connect_delay{};
    Duration close_delay{};
    std::deque<mock::Incoming> incoming;
    std::vector<std::pair<Duration, mock::Incoming>> delayed; // not yet seen by a connection
    std::size_t read_limit = SIZE_MAX;
    struct WriteFailure {
        error_code error;
        std::size_t after;
    };
    std::optional<WriteFailure> write_failure;
    std::size_t failing_operation = 0;
    error_code operation_error;
    bool ignores_abort = false;
    bool holds_writes = false;
    Duration pong_delay{};

    // what the sidecar did
    std::vector<std::string> sent;
    std::vector<std::string> trace;
    std::size_t write_count = 0;
    std::size_t connect_count = 0;
    std::optional<std::uint16_t> closed;

    // the connection there is
    std::shared_ptr<mock::Signals> signals;
    boost::asio::any_io_executor executor;
    bool is_dropped = false;

    template <class Change>
    void tell(Change change)
    {
        std::lock_guard lock{mutex};
        change(*this);
        if (signals)
            boost::asio::post(executor, [s = signals] { s->set_all(); });
    }
    template <class Question>
    auto ask(Question question) const
    {
        std::lock_guard lock{mutex};
        return question(*this);
    }
};

} // namespace sidecar
