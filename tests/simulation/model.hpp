// Model: what must be true of a feed, from outside. It hears what the peers put on the wire and got
// from it, and what the application's calls returned. It knows nothing of the library's inside.
#pragma once

#include "simulation/world.hpp"

#include <sidecar/event.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace simulation {

using sidecar::Duration, sidecar::TimePoint;

inline Duration milliseconds(int count) { return std::chrono::milliseconds{count}; }
inline double seconds(Duration duration) { return std::chrono::duration<double>{duration}.count(); }
inline double seconds(TimePoint time) { return seconds(time.time_since_epoch()); }

/// One link of one run: what its peer gave and got, and what the application saw of it.
struct LinkModel {
    LinkModel(LinkPlan its_plan, std::string its_name)
        : plan{std::move(its_plan)}, name{std::move(its_name)}
    {
        has_subscriptions = plan.subscriptions > 0;
    }

    /// A message that the library accepted from the peer.
    struct Arrived {
        std::string text;
        std::uint32_t connect = 0; ///< which connect of the peer, counted from 1
        TimePoint at{};
        bool is_in_session = false; ///< on_connected had not ended
        bool is_taken = false;      ///< by on_connected, or hidden as a heartbeat's answer
        bool is_passed_on = false;  ///< by on_connected, to the application
        bool is_seen = false;       ///< by the application
    };
    /// A message of the application to the peer.
    struct Sent {
        std::string text;
        bool is_high = false;
        std::uint32_t connection = 0; ///< 0: not bound
        std::uint64_t began = 0, ended = 0;
        TimePoint too_late = TimePoint::max();
        enum Outcome { trying, accepted, refused } outcome = trying;
        bool is_written = false;
        bool is_doubtful = false;  ///< its write failed: the peer may have it, in part
        bool is_overtaken = false; ///< a later one was written before it
        bool is_flushed = false;   ///< a flush() after it said that all is written
    };

    const LinkPlan plan;
    const std::string name;
    std::vector<Arrived> arrived;
    std::vector<Sent> sent;
    std::size_t cursor = 0; ///< into arrived: all before it is seen, missing or taken
    std::uint64_t seen = 0, missing = 0, replaced = 0, written = 0;
    std::uint64_t pending_missing = 0;              ///< in gaps since the last entry
    std::map<std::uint32_t, std::uint32_t> numbers; ///< the connection's number of each connect
    std::uint32_t session_good = 0;                 ///< the latest one whose on_connected returned
    std::uint32_t connect_over = 0;                 ///< the latest one that has ended
    std::uint32_t session_over = 0;                 ///< the latest connect whose on_connected ended
    std::uint32_t closing = 0;                      ///< the connect that is being closed
    std::vector<TimePoint> written_at;              ///< what counts for the rate limit
    std::map<char, std::size_t> last_of_key;        ///< conflation: the latest seen, by key
    bool is_ending = false;                         ///< the application closes it, or stops all

    // the grammar of its events
    enum Phase { never_up, up, away, over } phase = never_up;
    std::uint32_t connection = 0, skipped_before = 0, events_in_a_row = 0;
    TimePoint last_at{}, next_attempt{};
    bool is_high = false, is_stale = false, is_ready = false;
    int refused_for_room = 0; ///< sends with `full`, less the events `writable`
    bool has_subscriptions = false, has_more_subscriptions = false;
};

/// All links of one run. Side: any thread.
class Model {
public:
    explicit Model(const World& world) : world_{world} {}

    /// Records the first complaint.
    template <class... Args>
    void complain(fmt::format_string<Args...> form, Args&&... args)
    {
        complain_text(fmt::format(form, std::forward<Args>(args)...));
    }
    template <class... Args>
    void require(bool holds, fmt::format_string<Args...> form, Args&&... args)
    {
        if (!holds)
            complain_text(fmt::format(form, std::forward<Args>(args)...));
    }
    /// Checks that a stop was in time, and that no task is stuck. Returns whether the thread ended.
    [[nodiscard]] bool stop_ended(const sidecar::StopReport& report);
    [[nodiscard]] std::string complaint() const
    {
        std::lock_guard lock{mutex_};
        return complaint_;
    }
    [[nodiscard]] bool has_complaint() const
    {
        std::lock_guard lock{mutex_};
        return !complaint_.empty();
    }

    /// A new run: forgets the links of the one before.
    void begin_run(bool is_stop_requested);
    /// A link that start() or open() is about to make.
    [[nodiscard]] std::shared_ptr<LinkModel> add(const LinkPlan& plan);
    /// Its number is known.
    void name(const std::shared_ptr<LinkModel>& link, sidecar::LinkId id);
    /// The application ends one link, or all.
    void ends(LinkModel* link);

    // --- the peer's side
    std::size_t arrives(LinkModel& link, std::string_view text, std::uint32_t connect,
                        TimePoint now);
    /// The library refused it: it stays on the wire.
    void not_arrived(LinkModel& link);
    void hides(LinkModel& link, std::string_view text);
    void session_takes(LinkModel& link, std::string_view text, std::uint32_t connect);
    /// `passes`: false: that failed.
    void session_passes_on(LinkModel& link, std::string_view text, bool passes);
    void session_ends(LinkModel& link, std::uint32_t connect, bool is_good);
    void connect_ends(LinkModel& link, std::uint32_t connect);
    void closes(LinkModel& link, std::uint32_t connect);
    /// The transport gets a batch.
    void is_handed(LinkModel& link, std::uint32_t connect);
    /// `handed`: when the transport was given it.
    void writes(LinkModel& link, std::string_view text, std::uint32_t connect, TimePoint handed,
                TimePoint now);

    /// A write failed that may have written this message in part.
    void doubts(LinkModel& link, std::string_view text);

    // --- the application's side
    [[nodiscard]] std::size_t send_begins(LinkModel& link, std::string text,
                                          std::uint32_t connection, bool is_high);
    void send_ends(LinkModel& link, std::size_t number, const sidecar::Result<void>& result,
                   TimePoint too_late);
    [[nodiscard]] std::uint64_t flush_begins() { return ++sequence_; }
    void flushed(LinkModel& link, std::uint64_t began);
    void takes(const sidecar::MessageView& message);
    void sees_gap(sidecar::LinkId id, std::uint64_t missing, bool is_conflated);
    void sees(const sidecar::Event& event, TimePoint now);
    /// The queue is empty.
    void sees_nothing();
    void subscribes(LinkModel& link);

    // --- at rest
    /// Whether something that arrived waits for the application, on a link that may not drop it.
    [[nodiscard]] bool has_waiting() const;
    /// After a stop: all counts agree. `unsent`: as the report says.
    void balance(const sidecar::Stats& stats, std::uint64_t unsent);

private:
    void complain_text(std::string text);
    [[nodiscard]] LinkModel* find(sidecar::LinkId id);
    [[nodiscard]] int count_answers(const LinkModel& link, std::uint32_t connection) const;
    void take_in_order(LinkModel& link, const sidecar::MessageView& message);
    void take_by_key(LinkModel& link, const sidecar::MessageView& message);
    void match_connection(LinkModel& link, std::uint32_t connect, std::uint32_t connection,
                          std::string_view text);

    const World& world_;
    mutable std::recursive_mutex mutex_; // guards all below
    std::string complaint_;
    std::vector<std::shared_ptr<LinkModel>> links_;
    std::map<std::uint32_t, std::shared_ptr<LinkModel>> by_id_;
    std::uint64_t sequence_ = 0, taken_ = 0;
    std::uint64_t link_count_ = 0;
    bool is_stop_requested_ = false, is_stopped_seen_ = false;
};

} // namespace simulation
