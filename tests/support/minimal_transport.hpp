// A transport of the least kind, on real time: a test derives from it and changes what it is about.
#pragma once

#include <sidecar/loop_event.hpp>
#include <sidecar/sidecar.hpp>

#include <cstddef>
#include <stdexcept>

/// Reads nothing until it is aborted, writes to nowhere, closes at once.
class MinimalTransport {
public:
    struct Options {
        std::size_t max_message_bytes = 1024;
    };
    explicit MinimalTransport(const Options&) {}
    sidecar::Task<> connect(sidecar::Context) { co_return; }
    sidecar::Task<> read(sidecar::Context ctx, sidecar::Sink&)
    {
        co_await ctx.wait(gone_, sidecar::TimePoint::max());
        throw std::runtime_error{"aborted"};
    }
    sidecar::Task<> write(sidecar::Context, sidecar::Batch) { co_return; }
    sidecar::Task<> close(sidecar::Context, sidecar::CloseReason) { co_return; }
    void abort() noexcept { gone_.set(); }

protected:
    sidecar::LoopEvent gone_;
};

/// Always has a message, and never has to wait for one.
struct Firehose : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    sidecar::Task<> read(sidecar::Context, sidecar::Sink& sink)
    {
        (void)sink.put_text("x");
        co_return;
    }
};
