// A context and a sink of the test's own: drive a transport without a sidecar.
#pragma once

#include <sidecar/transport.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <string>
#include <utility>
#include <vector>

/// Runs on an io_context that the test runs itself.
class OwnContext final : public sidecar::ContextBase {
public:
    boost::asio::any_io_executor executor() override { return io.get_executor(); }
    sidecar::TimePoint now() const override { return std::chrono::steady_clock::now(); }
    sidecar::Task<> sleep_until(sidecar::TimePoint when) override
    {
        boost::asio::steady_timer timer{io, when};
        co_await timer.async_wait(boost::asio::use_awaitable);
    }
    sidecar::Task<bool> wait(sidecar::LoopEvent& event, sidecar::TimePoint deadline) override
    {
        bool is_late = false;
        boost::asio::steady_timer timer{io, deadline};
        if (deadline != sidecar::TimePoint::max())
            timer.async_wait([&](sidecar::error_code ec) {
                if (ec)
                    return;
                is_late = true;
                event.set();
            });
        co_await event.wait();
        co_return !is_late;
    }
    sidecar::Task<std::vector<boost::asio::ip::address>> resolve(std::string host) override
    {
        co_return std::vector{boost::asio::ip::make_address(host)};
    }
    void phase(sidecar::Phase phase, std::string_view) override { phases.push_back(phase); }
    void negotiated(std::string_view what) override { protocol = what; }
    void waiting_for(const char*) override {}
    void log(sidecar::LogLevel, std::string_view text) override { logs.emplace_back(text); }

    /// Runs the coroutine to its end; what it throws is thrown here.
    void run(sidecar::Task<> task)
    {
        std::exception_ptr exception;
        boost::asio::co_spawn(io, std::move(task), [&](std::exception_ptr e) { exception = e; });
        io.restart();
        io.run();
        if (exception)
            std::rethrow_exception(exception);
    }
    [[nodiscard]] sidecar::Context context() { return {*this, sidecar::TimePoint::max()}; }

    boost::asio::io_context io;
    std::vector<sidecar::Phase> phases;
    std::string protocol;
    std::vector<std::string> logs;
};

/// Keeps what is put; refuses when it holds `limit`.
class OwnSink final : public sidecar::Sink {
public:
    bool put(sidecar::MessageKind kind, std::span<const std::byte> payload) override
    {
        if (messages.size() == limit)
            return false;
        messages.emplace_back(sidecar::MessageView{{}, kind, payload}.text());
        kinds.push_back(kind);
        return true;
    }
    std::size_t limit = SIZE_MAX;
    std::vector<std::string> messages;
    std::vector<sidecar::MessageKind> kinds;
};

/// Messages to be written, in a batch of the test's own.
class OwnBatch final : public sidecar::BatchSource {
public:
    explicit OwnBatch(std::vector<std::string> messages) : messages_{std::move(messages)} {}
    sidecar::MessageView read(std::uint64_t& position) const override
    {
        return {{}, sidecar::MessageKind::text, std::as_bytes(std::span{messages_[position++]})};
    }
    void mark_written(std::size_t count, std::uint64_t end) override
    {
        written = count > end - written ? end : written + count;
    }
    [[nodiscard]] sidecar::Batch batch() { return {*this, 0, messages_.size()}; }
    std::uint64_t written = 0;

private:
    std::vector<std::string> messages_;
};
