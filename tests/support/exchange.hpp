// A server in memory, on virtual time, that answers: what reconnecting and restoring are tested with.
#pragma once

#include "next_text.hpp"

#include <sidecar/sidecar.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// A transport whose peer is a script: what it is told by Server's hooks, on the loop's thread.
class Exchange {
public:
    using Clock = sidecar::VirtualClock;

    /// The other side of all its connections. Hooks are set before the start.
    struct Server {
        /// Called for each connect, counted from 1; what it throws is how that fails.
        std::function<void(std::uint32_t)> on_connect = [](std::uint32_t) {};
        /// Called for each message that is written.
        std::function<void(Exchange&, std::string_view)> on_message = [](Exchange&,
                                                                         std::string_view) {};
        sidecar::Duration connect_delay{}; ///< of each connect
        bool answers_close = true;
        std::size_t fails_write_after = SIZE_MAX; ///< messages; the next one is written half

        [[nodiscard]] std::vector<std::string> written() const
        {
            std::lock_guard lock{mutex};
            return log;
        }
        [[nodiscard]] std::size_t count(std::string_view entry) const
        {
            const auto all = written();
            return static_cast<std::size_t>(std::count(all.begin(), all.end(), entry));
        }
        void note(std::string text)
        {
            std::lock_guard lock{mutex};
            log.push_back(std::move(text));
        }
        mutable std::mutex mutex;
        std::vector<std::string> log; // guarded by mutex; "1:login": on which connection
        Exchange* present = nullptr;  // the loop's thread
        std::atomic<std::uint32_t> connect_count{0};
    };
    struct Options {
        std::shared_ptr<Server> server = std::make_shared<Server>();
        std::string token{};
        std::size_t max_message_bytes = 64u << 10;
    };

    explicit Exchange(const Options& options) : server_{options.server}, token_{options.token} {}
    ~Exchange()
    {
        if (server_->present == this)
            server_->present = nullptr;
    }

    sidecar::Task<> connect(sidecar::Context ctx)
    {
        number_ = ++server_->connect_count;
        if (!token_.empty())
            server_->note(fmt::format("{}:token {}", number_, token_));
        if (server_->connect_delay != sidecar::Duration{})
            co_await wait(ctx, sidecar::deadline_after(ctx.now(), server_->connect_delay));
        server_->on_connect(number_);
        server_->present = this;
    }
    sidecar::Task<> read(sidecar::Context ctx, sidecar::Sink& sink)
    {
        while (incoming_.empty() && !failure_)
            co_await wait(ctx, sidecar::TimePoint::max());
        while (!incoming_.empty()) {
            if (!sink.put_text(incoming_.front()))
                co_return;
            incoming_.pop_front();
        }
        if (failure_)
            throw sidecar::Exception{*failure_};
    }
    sidecar::Task<> write(sidecar::Context ctx, sidecar::Batch batch)
    {
        while (holds_writes && !failure_ && !is_aborted_) {
            ctx.waiting_for("the test to release the write");
            co_await ctx.wait(released_, sidecar::TimePoint::max());
        }
        for (auto at = batch.begin(); at != batch.end();) {
            if (failure_ || is_aborted_)
                throw boost::system::system_error{boost::asio::error::broken_pipe};
            if (server_->fails_write_after-- == 0) {
                server_->note(fmt::format("{}:half of {}", number_, at->text()));
                fail({sidecar::Error::disconnected, {.attempted = "read"}});
                throw boost::system::system_error{boost::asio::error::broken_pipe};
            }
            const std::string text{at->text()};
            server_->note(fmt::format("{}:{}", number_, text));
            server_->on_message(*this, text);
            ++at;
            batch.mark_written(1);
        }
    }
    sidecar::Task<> close(sidecar::Context ctx, sidecar::CloseReason)
    {
        server_->note(fmt::format("{}:close", number_));
        while (!server_->answers_close && !is_aborted_)
            co_await ctx.wait(closed_, sidecar::TimePoint::max());
    }
    void abort() noexcept
    {
        is_aborted_ = true;
        if (!failure_)
            failure_ = sidecar::Failure{sidecar::Error::disconnected};
        wake();
    }

    // --- what the peer does. Side: the loop's thread
    void deliver(std::string text)
    {
        incoming_.push_back(std::move(text));
        arrived_.set();
    }
    /// After what was delivered before.
    void fail(sidecar::Failure why)
    {
        failure_ = std::move(why);
        wake();
    }
    void drop() { fail({sidecar::Error::disconnected, {.attempted = "read"}}); }
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
    [[nodiscard]] bool has_failed() const noexcept { return failure_ || is_aborted_; }
    void release_writes()
    {
        holds_writes = false;
        released_.set();
    }
    bool holds_writes = false;

private:
    sidecar::Task<> wait(sidecar::Context ctx, sidecar::TimePoint deadline)
    {
        const bool is_in_time = co_await ctx.wait(arrived_, deadline);
        if (is_in_time && is_aborted_ && incoming_.empty())
            throw boost::system::system_error{boost::asio::error::operation_aborted};
    }
    void wake()
    {
        arrived_.set();
        released_.set();
        closed_.set();
    }

    const std::shared_ptr<Server> server_;
    const std::string token_;
    std::uint32_t number_ = 0;
    std::deque<std::string> incoming_;
    std::optional<sidecar::Failure> failure_;
    bool is_aborted_ = false;
    sidecar::LoopEvent arrived_, released_, closed_;
};

/// Runs `action` on the present connection, on the loop's thread, and waits for it.
inline void on_connection(sidecar::Feed& feed, const std::shared_ptr<Exchange::Server>& server,
                          std::function<void(Exchange&)> action)
{
    (void)feed.call("the test's peer", [server, action](sidecar::Context) -> sidecar::Task<> {
        if (server->present)
            action(*server->present);
        co_return;
    });
}
