// Links: all links of a run.
#pragma once

#include "link/link.hpp"

#include <sidecar/stats.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sidecar::detail {

/// The registry of a run's links; owned by the run. It keeps a link while one of its tasks runs.
/// The first link stays until the run ends. Any other link that has ended is freed when nothing
/// refers to it; its counters are added to a sum.
class Links {
public:
    explicit Links(LinkServices& services) noexcept : services_{services} {}

    // --- app side
    /// Adds a link and lets the loop begin it. `deadline`: of the call that opens it.
    /// `options`: of the link; of an acceptor's config, those of its clients' links. `of`: the
    /// listener that accepted it, whose options for clients then count; null: none did. Side: both.
    [[nodiscard]] std::shared_ptr<LinkImpl> add(std::shared_ptr<const LinkConfig> config,
                                                LinkOptions options, TimePoint deadline,
                                                std::shared_ptr<Clients> of = nullptr);

    // --- both
    /// Returns the first link; null before the first add(). Lifetime: the run's.
    [[nodiscard]] LinkImpl* first() const noexcept
    {
        return first_.load(std::memory_order_acquire);
    }
    /// Null: there is no such link, or it has ended.
    [[nodiscard]] std::shared_ptr<LinkImpl> find(LinkId id) const;
    /// The clients of each listener.
    [[nodiscard]] std::vector<std::shared_ptr<Clients>> listeners() const;
    void release_senders();
    /// Wakes the writers of all links: a sender had no memory to wake its own. Side: sidecar.
    void wake_writers();
    /// Counts, over all links, messages that send() accepted and that were never written.
    [[nodiscard]] std::uint64_t unsent_messages() const;
    [[nodiscard]] bool has_link_up() const;
    [[nodiscard]] bool is_connecting() const;
    /// Sums up all links, ended ones too. Counters of the run itself are zero.
    [[nodiscard]] Stats stats() const;
    [[nodiscard]] static Stats stats_of(LinkImpl& link);
    /// Adds a link's counters and gauges.
    static void add_all(Stats& stats, LinkImpl& link)
    {
        add(stats, link);
        add_present(stats, link);
    }
    /// Returns one line for each of the first `limit` links. `more`: how many links follow.
    [[nodiscard]] std::vector<std::string> describe(std::size_t limit, std::size_t& more) const;

    // --- sidecar side
    /// A link is about to go down for good; call it before its last event. Returns whether another
    /// link is up or tries to be.
    [[nodiscard]] bool link_goes_down() noexcept;
    /// A link is down for good, for this reason. The last link's reason becomes the inbox's
    /// terminal failure.
    void link_went_down(const Failure& why);
    /// A link is down and none of its tasks runs: its memory may be freed.
    void link_ended(const LinkImpl& link);
    /// Lets no link begin from now on.
    void refuse_new() noexcept { refuses_new_ = true; }
    [[nodiscard]] std::vector<std::shared_ptr<LinkImpl>> all() const;
    void destroy_transports() noexcept;

private:
    [[nodiscard]] std::shared_ptr<const LinkConfig> shared_config(
        std::shared_ptr<const LinkConfig> config);
    void begin(LinkImpl& link, TimePoint deadline);
    void remove(LinkId id);
    static void add(Stats& stats, LinkImpl& link);
    static void add_present(Stats& stats, LinkImpl& link);

    LinkServices& services_;                // both
    std::atomic<LinkImpl*> first_{nullptr}; // both: atomic
    std::size_t live_count_ = 0;            // sidecar side; links begun and not down
    bool refuses_new_ = false;              // sidecar side
    /// Of a first link that never came up: the end of the feed, unless another link follows.
    std::optional<Failure> first_end_; // sidecar side

    mutable std::mutex mutex_;
    std::map<LinkId, std::shared_ptr<LinkImpl>> links_; // both: guarded by mutex_
    std::vector<std::shared_ptr<Clients>> listeners_;   // both: guarded by mutex_
    std::weak_ptr<const LinkConfig> latest_;            // both: guarded by mutex_; of add()
    std::uint32_t next_id_ = 0;                         // both: guarded by mutex_
    Stats ended_;                                       // both: guarded by mutex_; of ended links
    LatencyHistogram ended_round_trips_;                // both: guarded by mutex_; of ended links
};

} // namespace sidecar::detail
