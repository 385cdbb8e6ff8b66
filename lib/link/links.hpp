// All links of a run.
#pragma once

#include "link/link.hpp"

#include <sidecar/stats.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sidecar::detail {

/// The registry of a run's links; owned by the run. It keeps a link for as long as anything of it
/// runs. The first one stays until the run ends; of the others what has ended goes, and its counters
/// are added to those of all that went before.
class Links {
public:
    explicit Links(LinkServices& services) noexcept : services_{services} {}

    // --- app side
    /// Adds a link and has the loop begin it.
    [[nodiscard]] std::shared_ptr<LinkImpl> add(std::shared_ptr<const LinkConfig> config,
                                                const LinkOptions& options, TimePoint deadline);

    // --- both
    /// Null before the first add(). Lifetime: the run's.
    [[nodiscard]] LinkImpl* first() const noexcept
    {
        return first_.load(std::memory_order_acquire);
    }
    void release_senders();
    /// Of all links, where a sender found no memory to wake one. Side: sidecar.
    void wake_writers();
    /// Accepted by send() and never written, over all links.
    [[nodiscard]] std::uint64_t unsent_messages() const;
    [[nodiscard]] bool has_link_up() const;
    [[nodiscard]] bool is_connecting() const;
    /// Of all links, gone or present; what the run counts is zero.
    [[nodiscard]] Stats stats() const;
    [[nodiscard]] static Stats stats_of(LinkImpl& link);
    /// One line for each of the first `limit` links, and how many there are more.
    [[nodiscard]] std::vector<std::string> describe(std::size_t limit, std::size_t& more) const;

    // --- sidecar side
    /// One is down for good, for this reason.
    void link_went_down(const Failure& why);
    /// One is down, and nothing of it runs now: its memory may go.
    void link_ended(const LinkImpl& link);
    /// From now on no link begins.
    void refuse_new() noexcept { refuses_new_ = true; }
    [[nodiscard]] std::vector<std::shared_ptr<LinkImpl>> all() const;
    void destroy_transports() noexcept;

private:
    void begin(LinkImpl& link, TimePoint deadline);
    void remove(LinkId id);
    static void add(Stats& stats, LinkImpl& link);
    static void add_present(Stats& stats, LinkImpl& link);

    LinkServices& services_;                // both
    std::atomic<LinkImpl*> first_{nullptr}; // both: atomic
    std::size_t live_count_ = 0;            // sidecar side; links that may still bring something
    bool refuses_new_ = false;              // sidecar side

    mutable std::mutex mutex_;
    std::map<LinkId, std::shared_ptr<LinkImpl>> links_; // both: guarded by mutex_
    std::uint32_t next_id_ = 0;                         // both: guarded by mutex_
    Stats ended_;                                       // both: guarded by mutex_; of those gone
    LatencyHistogram ended_round_trips_;                // both: guarded by mutex_; of those gone
};

} // namespace sidecar::detail
