// A mock on real time: its loop runs beside the application's threads, as with a real transport.
#pragma once

#include <sidecar/transports/mock.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <utility>

class RealMock {
public:
    using Options = sidecar::Mock::Options;

    explicit RealMock(const Options& options) : mock_{options} {}
    [[nodiscard]] static std::string endpoint(const Options& options)
    {
        return sidecar::Mock::endpoint(options);
    }
    [[nodiscard]] static sidecar::Liveness default_liveness()
    {
        return sidecar::Mock::default_liveness();
    }
    [[nodiscard]] static bool carries_topics(const Options& options) { return options.topics; }
    [[nodiscard]] static sidecar::Result<void> check_send(const Options& options,
                                                          const sidecar::MessageView& message)
    {
        return sidecar::Mock::check_send(options, message);
    }
    [[nodiscard]] sidecar::ConnectionInfo connection_info() { return mock_.connection_info(); }
    sidecar::Task<> connect(sidecar::Context ctx) { return mock_.connect(ctx); }
    sidecar::Task<> read(sidecar::Context ctx, sidecar::Sink& sink)
    {
        return mock_.read(ctx, sink);
    }
    sidecar::Task<> write(sidecar::Context ctx, sidecar::Batch batch)
    {
        return mock_.write(ctx, batch);
    }
    sidecar::Task<> ping(sidecar::Context ctx, std::span<const std::byte> payload)
    {
        return mock_.ping(ctx, payload);
    }
    sidecar::Task<> close(sidecar::Context ctx, sidecar::CloseReason reason)
    {
        return mock_.close(ctx, std::move(reason));
    }
    void abort() noexcept { mock_.abort(); }

private:
    sidecar::Mock mock_;
};

static_assert(sidecar::Transport<RealMock>);
