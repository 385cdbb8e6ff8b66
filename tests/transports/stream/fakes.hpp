// What a Reader and a Writer are tried on: a stream, a sink, a context and a batch of the test's
// own, on a loop that the test runs.
#pragma once

#include "stream.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/context.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/sink.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fakes {

using namespace sidecar;

inline std::span<const std::byte> bytes_of(std::string_view text)
{
    return std::as_bytes(std::span{text});
}
inline std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Bytes come when the test says so, in pieces as it says; bytes are taken as the test allows.
class FakeStream final : public stream::Stream {
public:
    explicit FakeStream(boost::asio::io_context& io) : io_{io} {}

    // --- the test's
    void come(std::string_view bytes)
    {
        incoming_ += bytes;
        readable_.set();
    }
    void end_with(error_code ec)
    {
        end = ec;
        readable_.set();
    }
    void take(std::size_t bytes)
    {
        window = bytes;
        writable_.set();
    }
    void fail_writing(error_code ec)
    {
        write_error = ec;
        writable_.set();
    }
    [[nodiscard]] std::string_view left() const
    {
        return std::string_view{incoming_}.substr(read_);
    }
    std::size_t max_per_read = std::numeric_limits<std::size_t>::max();
    error_code end;
    std::size_t waits = 0, reads = 0, writes = 0;
    std::string taken;
    std::size_t window = std::numeric_limits<std::size_t>::max();
    error_code write_error;
    bool can_try = false; // try_write() takes bytes
    std::size_t tries = 0;
    bool is_shut = false;
    std::vector<const void*> addresses; // of what was written

    // --- Stream
    Task<std::size_t> read_some(stream::ReadBuffers into, error_code& ec) override
    {
        ++waits;
        while (left().empty() && !end && !is_aborted_)
            co_await readable_.wait();
        co_return fill(into, ec);
    }
    std::size_t try_read(stream::ReadBuffers into, error_code& ec) override
    {
        if (left().empty() && !end && !is_aborted_) {
            is_drained_ = true;
            return 0;
        }
        return fill(into, ec);
    }
    bool is_drained() const noexcept override { return is_drained_; }
    Task<std::size_t> write_some(std::span<const boost::asio::const_buffer> from,
                                 error_code& ec) override
    {
        while (window == 0 && !write_error && !is_aborted_)
            co_await writable_.wait();
        ++writes;
        co_return take_from(from, ec);
    }
    std::size_t try_write(std::span<const boost::asio::const_buffer> from, error_code& ec) override
    {
        if (!can_try)
            return 0;
        ++tries;
        return take_from(from, ec);
    }
    Task<> shutdown(error_code&) override
    {
        is_shut = true;
        co_return;
    }
    void abort() noexcept override
    {
        is_aborted_ = true;
        readable_.set();
        writable_.set();
    }
    bool is_aborted() const noexcept override { return is_aborted_; }
    boost::asio::any_io_executor executor() override { return io_.get_executor(); }
    std::string peer() const override { return "a fake"; }

private:
    std::size_t take_from(std::span<const boost::asio::const_buffer> from, error_code& ec)
    {
        ec = is_aborted_ ? error_code{boost::asio::error::operation_aborted} : write_error;
        std::size_t total = 0;
        for (const auto& piece : from) {
            if (ec || window == 0)
                break;
            const auto size = std::min(window, piece.size());
            addresses.push_back(piece.data());
            taken.append(static_cast<const char*>(piece.data()), size);
            window -= size;
            total += size;
        }
        return total;
    }
    std::size_t fill(stream::ReadBuffers into, error_code& ec)
    {
        ++reads;
        if (is_aborted_)
            ec = boost::asio::error::operation_aborted;
        else if (left().empty())
            ec = end;
        const auto asked = boost::asio::buffer_size(into);
        const auto got =
            boost::asio::buffer_copy(into, boost::asio::buffer(left()), ec ? 0 : max_per_read);
        read_ += got;
        is_drained_ = left().empty() && got < asked;
        return got;
    }

    boost::asio::io_context& io_;
    std::string incoming_;
    std::size_t read_ = 0;
    LoopEvent readable_, writable_;
    bool is_drained_ = false;
    bool is_aborted_ = false;
};

/// Takes so many messages, then none.
class FakeSink final : public Sink {
public:
    std::size_t room = std::numeric_limits<std::size_t>::max();
    std::size_t buffer_bytes = 0; // for receive_buffer(); 0: has none
    bool has_blocks = false;      // for prepare()
    std::vector<std::string> messages;
    std::size_t in_place = 0;
    std::size_t in_buffer = 0;

    bool put(MessageKind, std::span<const std::byte> payload) override
    {
        if (room == 0)
            return false;
        --room;
        const auto offset = reinterpret_cast<std::uintptr_t>(payload.data())
                            - reinterpret_cast<std::uintptr_t>(buffer_.data());
        in_buffer += offset < buffer_.size() ? 1 : 0;
        messages.push_back(text_of(payload));
        return true;
    }
    std::span<std::byte> receive_buffer(std::size_t at_least) override
    {
        if (buffer_bytes < at_least)
            return {};
        buffer_.assign(buffer_bytes, std::byte{0xee}); // what was there belongs to others now
        return buffer_;
    }
    std::span<std::byte> prepare(std::size_t payload_bytes) override
    {
        if (!has_blocks)
            return {};
        block_.assign(payload_bytes, std::byte{0xdd});
        return block_;
    }
    void commit(MessageKind) override
    {
        ++in_place;
        messages.push_back(text_of(block_));
    }

private:
    std::vector<std::byte> buffer_, block_;
};

class FakeContext final : public ContextBase {
public:
    explicit FakeContext(boost::asio::io_context& io) : io_{io} {}
    boost::asio::any_io_executor executor() override { return io_.get_executor(); }
    TimePoint now() const override { return std::chrono::steady_clock::now() + ahead; }
    Task<> sleep_until(TimePoint when) override
    {
        boost::asio::steady_timer timer{io_, when - ahead};
        co_await timer.async_wait(boost::asio::use_awaitable);
    }
    Task<bool> wait(LoopEvent& event, TimePoint deadline) override
    {
        boost::asio::steady_timer timer{io_};
        bool is_late = false;
        if (deadline != TimePoint::max()) {
            timer.expires_at(deadline - ahead);
            timer.async_wait([&](error_code ec) {
                if (ec)
                    return;
                is_late = true;
                event.set();
            });
        }
        co_await event.wait();
        co_return !is_late;
    }
    Task<std::vector<boost::asio::ip::address>> resolve(std::string host) override
    {
        co_return std::vector{boost::asio::ip::make_address(host)};
    }
    void phase(Phase, std::string_view) override {}
    void negotiated(std::string_view) override {}
    void waiting_for(const char*) override {}
    void log(LogLevel level, std::string_view text) override { logs.emplace_back(level, text); }

    Duration ahead{0}; // of the real clock
    std::vector<std::pair<LogLevel, std::string>> logs;

private:
    boost::asio::io_context& io_;
};

/// A batch of these messages; marked ones are overwritten, as an outbox would.
class FakeOutbox final : public BatchSource {
public:
    explicit FakeOutbox(std::vector<std::string> m) : messages{std::move(m)} {}
    MessageView read(std::uint64_t& position) const override
    {
        return {LinkId{}, MessageKind::binary, bytes_of(messages.at(position++))};
    }
    void mark_written(std::size_t count, std::uint64_t) override
    {
        for (; count != 0; --count)
            std::fill(messages.at(marked).begin(), messages.at(marked).end(), '#'), ++marked;
    }
    void mark_rest_unwritten() noexcept override { is_rest_unwritten = true; }
    [[nodiscard]] Batch batch() { return {*this, 0, messages.size()}; }

    std::vector<std::string> messages;
    std::size_t marked = 0;
    bool is_rest_unwritten = false;
};

/// A coroutine on the test's loop, and how it ended.
class Run {
public:
    Run(boost::asio::io_context& io, Task<> task)
    {
        boost::asio::co_spawn(io, std::move(task), [state = state_](std::exception_ptr e) {
            state->is_over = true;
            state->exception = e;
        });
    }
    [[nodiscard]] bool is_over() const { return state_->is_over; }
    [[nodiscard]] bool is_good() const { return state_->is_over && !state_->exception; }
    [[nodiscard]] error_code error() const
    {
        try {
            if (state_->exception)
                std::rethrow_exception(state_->exception);
        } catch (const boost::system::system_error& e) {
            return e.code();
        }
        return {};
    }

private:
    struct State {
        bool is_over = false;
        std::exception_ptr exception;
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// Runs all there is to run now.
inline void run_until_idle(boost::asio::io_context& io)
{
    io.restart();
    (void)io.poll();
}

} // namespace fakes
