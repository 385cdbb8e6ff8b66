// Wire: the transport of the simulation, and Peer, the program at its other end. Both run on the
// loop's thread, on virtual time; all that they do is drawn from the world's seed.
#pragma once

#include "simulation/model.hpp"
#include "simulation/world.hpp"

#include <sidecar/mock_clock.hpp>
#include <sidecar/sidecar.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace simulation {

class Wire;

/// The other end of one link, over all its connections.
struct Peer {
    Peer(Model& its_model, const LinkPlan& its_plan, std::uint64_t its_seed)
        : model{its_model}, plan{its_plan}, seed{its_seed}, link{its_model.add(its_plan)}
    {
    }

    /// No more faults from now on. Side: sidecar.
    void be_good();

    Model& model;
    const LinkPlan plan;
    const std::uint64_t seed;
    std::shared_ptr<LinkModel> link;     // replaced between runs
    std::atomic<bool> is_good{false};    ///< no more faults, no more messages of its own
    Wire* present = nullptr;             // sidecar side
    std::set<std::string> subscribed;    // sidecar side, and at rest; on the present connection
    std::uint32_t connect_count = 0;     // sidecar side
    std::uint64_t message_count = 0;     // sidecar side
    std::atomic<std::size_t> waiting{0}; ///< messages that the sidecar has not read
    std::atomic<bool> is_connected{false};
    std::atomic<bool> has_failed_to_open{false};
    std::function<void(std::string)> note;            ///< for the trace
    std::function<void(std::string_view)> on_written; ///< for a server's client
};

class Wire {
public:
    using Clock = sidecar::VirtualClock;
    struct Options {
        std::shared_ptr<Peer> peer;
        std::size_t max_message_bytes = 4'096;
        std::optional<sidecar::MockClock> clock{};
    };

    explicit Wire(const Options& options);
    ~Wire();

    [[nodiscard]] static std::optional<sidecar::MockClock> mock_clock(const Options& options)
    {
        return options.clock;
    }
    [[nodiscard]] static std::string endpoint(const Options& options)
    {
        return "wire " + options.peer->link->name;
    }
    [[nodiscard]] static sidecar::Liveness default_liveness()
    {
        return {.ping_interval = {}, .ping_timeout = {}};
    }
    sidecar::Task<> connect(sidecar::Context ctx);
    sidecar::Task<> read(sidecar::Context ctx, sidecar::Sink& sink);
    sidecar::Task<> write(sidecar::Context ctx, sidecar::Batch batch);
    sidecar::Task<> ping(sidecar::Context ctx, std::span<const std::byte> payload);
    sidecar::Task<> close(sidecar::Context ctx, sidecar::CloseReason reason);
    void abort() noexcept;
    void wake() noexcept;
    [[nodiscard]] sidecar::ConnectionInfo connection_info() const { return {.peer = link_->name}; }

private:
    struct Incoming {
        std::string text;
        bool is_pong = false;
    };
    /// A message that is received in the sidecar's memory, over several reads.
    struct InPlace {
        std::span<std::byte> memory;
        std::size_t filled = 0;
        TimePoint goes_on{};
    };

    [[nodiscard]] bool is_good() const { return peer_->is_good; }
    [[nodiscard]] bool is_silent() const { return is_silent_ && !is_good(); }
    void note(const sidecar::Context& ctx, std::string text) const;
    void add(Incoming next, Duration delay, TimePoint now);
    void produce(TimePoint now);
    [[nodiscard]] TimePoint next_production() const;
    [[nodiscard]] std::string make_message();
    void is_written(std::string_view text, TimePoint handed, TimePoint now);
    void answer(std::string_view text, TimePoint now);
    [[nodiscard]] bool give(sidecar::Sink& sink, const std::string& text, TimePoint now);
    [[nodiscard]] bool give_in_place(sidecar::Sink& sink, const std::string& text, TimePoint now);
    [[noreturn]] void fail();
    sidecar::Task<> pass(sidecar::Context ctx, sidecar::LoopEvent& event, int delay,
                         bool ends_with_connection);

    const std::shared_ptr<Peer> peer_;
    const std::shared_ptr<LinkModel> link_;
    const LinkPlan& plan_;
    const std::uint32_t number_;
    Random random_;
    std::deque<Incoming> incoming_;
    std::multimap<TimePoint, Incoming> later_;
    std::optional<InPlace> in_place_;
    TimePoint next_burst_ = TimePoint::max(), ends_at_ = TimePoint::max();
    int produced_ = 0;
    bool is_over_ = false, is_silent_ = false, is_aborted_ = false;
    sidecar::LoopEvent connect_, read_, write_, ping_, close_;
};

static_assert(sidecar::Transport<Wire>);

} // namespace simulation
