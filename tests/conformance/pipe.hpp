// A transport in memory with deliberate faults, and its peer.
#pragma once

#include <sidecar/check_transport.hpp>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What a Pipe does wrong.
enum class Fault {
    none,
    connect_hangs,
    connects_despite_refusal,
    check_refuses,
    accepts_bad_options,
    loses_empty_message,
    splits_message,
    changes_order,
    changes_kind,
    puts_after_wait,
    waits_after_put,
    loses_refused,
    puts_refused_twice,
    puts_on_after_refusal,
    puts_without_read,
    puts_on_other_thread,
    cuts_at_limit,
    drops_above_limit,
    keeps_lent_memory,
    changes_lent_memory,
    commits_unprepared,
    writes_twice,
    writes_half,
    keeps_batch,
    reads_marked_message,
    marks_before_writing,
    marks_too_many,
    marks_less,
    ping_never_ends,
    pong_is_lost,
    pong_has_other_payload,
    close_says_nothing,
    close_never_ends,
    writes_after_close,
    read_survives_reset,
    write_survives_reset,
    abort_waits,
    abort_forgets_close,
    abort_once_only,
    read_ignores_cancellation,
    close_ignores_cancellation,
    throws_int,
    throws_success,
    spins,
    never_returns_from_read,
    holds_thread,
    leaves_coroutine,
    leaves_timer,
    leaves_memory,
    leaves_descriptor,
    leaves_thread,
};

/// Ends the threads of Fault::leaves_thread.
extern std::atomic<bool> threads_may_end;

struct PipeState {
    struct Signals {
        sidecar::LoopEvent connect, read, write, ping, close;
        void set()
        {
            for (auto* event : {&connect, &read, &write, &ping, &close})
                event->set();
        }
    };
    struct Incoming {
        enum { message, part, pong, close } what = message;
        sidecar::MessageKind kind = sidecar::MessageKind::text;
        std::string payload{};
    };

    std::shared_ptr<Signals> signals = std::make_shared<Signals>();
    std::deque<Incoming> incoming{};
    std::vector<sidecar::PeerMessage> received{};
    std::optional<std::size_t> resets_after{};
    std::optional<sidecar::CloseReason> closed{};
    bool refuses = false, holds_connect = false, holds = false, holds_close = false;
    bool is_reset = false;
};

/// All calls of the concept. Without a fault it keeps every rule.
class Pipe {
public:
    using Clock = sidecar::VirtualClock;
    struct Options {
        std::shared_ptr<PipeState> state{};
        Fault fault = Fault::none;
        std::size_t max_message_bytes = 100'000;
    };

    explicit Pipe(const Options& options);
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe();

    static sidecar::Result<void> check(const Options& options);

    sidecar::Task<> connect(sidecar::Context ctx);
    sidecar::Task<> read(sidecar::Context ctx, sidecar::Sink& sink);
    sidecar::Task<> write(sidecar::Context ctx, sidecar::Batch batch);
    sidecar::Task<> ping(sidecar::Context ctx, std::span<const std::byte> payload);
    sidecar::Task<> close(sidecar::Context ctx, sidecar::CloseReason reason);
    void abort() noexcept;

private:
    template <class Condition>
    sidecar::Task<> wait(sidecar::Context ctx, sidecar::LoopEvent& event, Condition condition,
                         bool heeds_cancellation = true, bool heeds_abort = true);
    sidecar::Task<bool> put_all(sidecar::Context ctx, sidecar::Sink& sink);
    bool put(sidecar::Sink& sink, const PipeState::Incoming& message);
    void take(const sidecar::MessageView& message);
    [[nodiscard]] bool has(Fault fault) const noexcept { return options_.fault == fault; }

    const Options options_;
    PipeState& state_;
    std::optional<PipeState::Incoming> kept_;
    std::span<std::byte> lent_;
    sidecar::Sink* sink_ = nullptr;
    bool is_aborted_ = false;
    bool is_closing_ = false;
    unsigned aborts_ = 0;
};
static_assert(sidecar::Transport<Pipe>);

class PipePeer : public sidecar::TransportPeer {
public:
    explicit PipePeer(Fault fault) : fault_{fault} {}
    [[nodiscard]] Pipe::Options options() const { return {.state = state_, .fault = fault_}; }
    [[nodiscard]] std::vector<Pipe::Options> bad_options() const
    {
        return {{.state = nullptr, .fault = fault_}};
    }
    bool refuse_connect() override { return state_->refuses = true; }
    bool hold_connect() override { return state_->holds_connect = true; }
    bool deliver(sidecar::MessageKind kind, std::string_view payload) override
    {
        return add({.kind = kind, .payload = std::string{payload}});
    }
    bool deliver_part(sidecar::MessageKind kind, std::string_view payload, std::size_t index,
                      std::size_t count) override
    {
        const auto begin = payload.size() * index / count;
        const auto end = payload.size() * (index + 1) / count;
        return add(
            {.what = index + 1 == count ? PipeState::Incoming::message : PipeState::Incoming::part,
             .kind = kind,
             .payload = std::string{payload.substr(begin, end - begin)}});
    }
    std::optional<std::vector<sidecar::PeerMessage>> received() override
    {
        return state_->received;
    }
    std::optional<std::size_t> hold() override { return state_->holds = true, std::size_t{0}; }
    void release() override { state_->holds = false, state_->signals->set(); }
    bool reset() override { return state_->is_reset = true, state_->signals->set(), true; }
    bool reset_after(std::size_t messages) override
    {
        return state_->resets_after = messages, true;
    }
    bool close() override { return add({.what = PipeState::Incoming::close}); }
    bool hold_close() override { return state_->holds_close = true; }
    std::optional<bool> was_closed() override { return state_->closed.has_value(); }
    std::optional<sidecar::CloseReason> close_reason() override { return state_->closed; }

private:
    bool add(PipeState::Incoming incoming)
    {
        state_->incoming.push_back(std::move(incoming));
        state_->signals->set();
        return true;
    }

    std::shared_ptr<PipeState> state_ = std::make_shared<PipeState>();
    Fault fault_;
};
