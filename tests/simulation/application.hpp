// Application: the program of the simulation. It makes the calls that the world lists, and tells the
// model what it gave and got.
#pragma once

#include "simulation/model.hpp"
#include "simulation/wire.hpp"
#include "simulation/world.hpp"

#include <sidecar/sidecar.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace simulation {

class Application {
public:
    Application(const World& world, Model& model, bool traces);
    ~Application();

    /// All steps, the quiet time, and the end.
    void run();

private:
    struct Opened {
        std::shared_ptr<Peer> peer;
        std::optional<sidecar::Link> link;
    };

    // --- options
    [[nodiscard]] sidecar::Options make_options();
    [[nodiscard]] sidecar::LinkOptions make_link_options(const std::shared_ptr<Peer>& peer);
    [[nodiscard]] Wire::Options make_wire(const std::shared_ptr<Peer>& peer) const;
    [[nodiscard]] std::shared_ptr<Peer> make_peer(int index);

    // --- steps
    void run_thread(int thread);
    void run_step(const Step& step);
    void start(const Step& step);
    void begin_run();
    void open(const Step& step);
    void close(const Step& step);
    void send(const Step& step);
    void send_on(const std::shared_ptr<LinkModel>& model, const sidecar::Link* link,
                 const Step& step);
    void flush(const Step& step);
    void subscribe(const Step& step);
    void unsubscribe(const Step& step);
    void feed_subscribe(const Step& step);
    void spawn(const Step& step);
    void call(const Step& step);
    void look(const Step& step);
    void handle();
    void move();
    void stop(int reason);
    void wait_stopped(int timeout);
    void is_over(const sidecar::StopReport& report);
    bool receive(Duration timeout);
    /// Returns Error{} for an event.
    sidecar::Error next_event(Duration timeout);
    bool poll(std::size_t limit, int how);
    void take(const sidecar::MessageView& message);
    void failed(const sidecar::Failure& failure);
    void read_all();
    [[nodiscard]] bool is_waiting();
    void probe(int index);
    void rest();
    void finish();

    [[nodiscard]] sidecar::Sidecar<Wire>& feed() const { return *feed_.load(); }
    [[nodiscard]] TimePoint now() const { return clock_.now(); }
    [[nodiscard]] Opened opened(int index);
    void note(std::string text);
    /// Makes a call that may take `limit` at most, and exactly so long if it times out.
    template <class Call>
    auto timed(const char* what, Duration limit, Duration more, Call make_call);

    const World& world_;
    Model& model_;
    const bool traces_;
    const sidecar::MockClock clock_;
    std::vector<std::unique_ptr<sidecar::Sidecar<Wire>>>
        feeds_; // app side; all but the last moved from
    std::atomic<sidecar::Sidecar<Wire>*> feed_{nullptr};
    std::mutex mutex_;
    std::vector<Opened> opened_;               // app side: guarded by mutex_; by the plan's number
    std::vector<std::shared_ptr<Peer>> peers_; // app side: guarded by mutex_; all
    std::atomic<bool> is_running_{false}, is_stop_asked_{false};
    bool has_feed_subscriptions_ = false; // app side
    int run_count_ = 0;                   // app side
    std::atomic<std::uint64_t> send_count_{0};
    std::atomic<bool> is_lost_{
        false}; ///< a thread of the library did not end: nothing more is checked
};

} // namespace simulation
