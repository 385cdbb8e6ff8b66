// ServerApplication: the program of a world that serves. Its links are plans of clients that come and
// go; it broadcasts to them, and checks what each of them got.
#pragma once

#include "simulation/model.hpp"
#include "simulation/wire.hpp"
#include "simulation/world.hpp"

#include <sidecar/server.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace simulation {

/// Hands out the clients that the application lets come.
class WireAcceptor {
public:
    using Client = Wire;
    using Clock = sidecar::VirtualClock;
    /// Side: any thread.
    struct Backlog {
        std::mutex mutex;
        std::deque<Wire::Options> clients;           // guarded by mutex
        std::shared_ptr<sidecar::LoopEvent> changed; // guarded by mutex; null: nobody listens
        boost::asio::any_io_executor executor;       // guarded by mutex
        void add(Wire::Options client);
    };
    struct Options {
        std::shared_ptr<Backlog> backlog;
        std::optional<sidecar::MockClock> clock{};
        sidecar::Duration handshake_timeout{};
        std::size_t max_message_bytes = 4'096;
        sidecar::QueueLimits outbox{};
        sidecar::ClientOverflow overflow{};
    };

    explicit WireAcceptor(const Options& options) : backlog_{options.backlog} {}
    WireAcceptor(const WireAcceptor&) = delete;
    WireAcceptor& operator=(const WireAcceptor&) = delete;
    ~WireAcceptor() { close(); }
    [[nodiscard]] static std::optional<sidecar::MockClock> mock_clock(const Options& options)
    {
        return options.clock;
    }
    sidecar::Task<> bind(sidecar::Context ctx);
    sidecar::Task<Wire::Options> accept(sidecar::Context ctx);
    void close() noexcept;
    void abort() noexcept { close(); }

private:
    const std::shared_ptr<Backlog> backlog_;
    const std::shared_ptr<sidecar::LoopEvent> event_ = std::make_shared<sidecar::LoopEvent>();
};

static_assert(sidecar::Acceptor<WireAcceptor>);

class ServerApplication {
public:
    ServerApplication(const World& world, Model& model, bool traces);
    ~ServerApplication();

    /// All steps, the quiet time, and the end.
    void run();

private:
    /// One client, from its coming to its end, as the application and its peer see it.
    struct Client {
        std::shared_ptr<Peer> peer;
        std::optional<sidecar::Link> link; ///< once it was up
        enum Phase { coming, up, gone } phase = coming;
        bool is_closing = false;         ///< the application closes it
        std::set<std::uint64_t> pushed;  ///< the numbers of the texts for it; guarded by mutex_
        std::set<std::uint64_t> written; ///< guarded by mutex_
        std::map<std::string, std::uint64_t> last_of; ///< by key, "" is none; guarded by mutex_
        std::uint64_t accepted = 0;                   ///< since it was known
        std::uint64_t accepted_before = 0;            ///< before, as its stats said
        std::uint64_t known_from = UINT64_MAX;        ///< texts up to here may be for it
        std::uint64_t gaps = 0; ///< messages that the texts said are missing; guarded by mutex_
    };

    [[nodiscard]] sidecar::Options make_options() const;
    [[nodiscard]] WireAcceptor::Options make_acceptor();
    [[nodiscard]] std::string make_text(const Step& step);
    void note(std::string text) const;
    void run_step(const Step& step);
    void start();
    void come(int plan);
    void broadcast(const Step& step);
    void send(const Step& step);
    void close(const Step& step);
    void close_listener(int timeout);
    void join(const Step& step);
    void look();
    bool next_event(Duration timeout);
    void sees(const sidecar::Event& event);
    void is_written(Client& client, std::string_view text);
    void rest();
    void stop();
    [[nodiscard]] Client* find(const sidecar::Link& link);
    [[nodiscard]] std::vector<Client*> members();
    [[nodiscard]] Client* one_of(const Step& step);
    void check(Client& client);
    [[nodiscard]] bool drops_oldest() const;
    [[nodiscard]] std::size_t max_bytes() const;
    [[nodiscard]] TimePoint now() const { return clock_.now(); }

    const World& world_;
    Model& model_;
    const bool traces_;
    const sidecar::MockClock clock_;
    const std::shared_ptr<WireAcceptor::Backlog> backlog_;
    std::unique_ptr<sidecar::Server<WireAcceptor>> server_;
    std::recursive_mutex mutex_;
    std::vector<std::unique_ptr<Client>> clients_; // app side; and at rest
    std::set<std::uint64_t> retained_;             // guarded by mutex_; all that ever were
    std::uint64_t text_count_ = 0;
    std::map<sidecar::LinkId, Client*> by_id_; // guarded by mutex_; those whose `up` was seen
    bool is_running_ = false, is_stopping_ = false, is_listening_ = false, is_lost_ = false;
};

} // namespace simulation
