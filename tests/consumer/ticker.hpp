// A transport of the application's own: numbers, one each millisecond.
#pragma once

#include <sidecar/transport.hpp>

#include <string>

class Ticker {
public:
    struct Options {
        unsigned first = 0;
    };

    explicit Ticker(const Options& options) : next_{options.first} {}

    sidecar::Task<> connect(sidecar::Context) { co_return; }
    sidecar::Task<> read(sidecar::Context ctx, sidecar::Sink& sink)
    {
        using namespace std::chrono_literals;
        co_await ctx.sleep_for(1ms);
        const auto text = std::to_string(next_);
        if (sink.put(sidecar::MessageKind::text, std::as_bytes(std::span{text})))
            ++next_; // else there is no room, and read() is called again when there is
    }
    sidecar::Task<> write(sidecar::Context, sidecar::Batch) { co_return; }
    sidecar::Task<> close(sidecar::Context, sidecar::CloseReason) { co_return; }
    void abort() noexcept {}

private:
    unsigned next_;
};
