// Clients: the clients of a listener.
#pragma once

#include "link/services.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/listener.hpp>
#include <sidecar/options.hpp>
#include <sidecar/stats.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sidecar::detail {

class LinkImpl;
class Links;

/// Makes a link of each accepted client, and sends broadcasts to those that are up. The listener's
/// link and its clients' links share it. A link adds itself when it comes up and removes itself when
/// it goes down.
class Clients final : public std::enable_shared_from_this<Clients> {
public:
    /// `settings`: those of the listener's config. Lifetime: `services` and `links` outlive it.
    Clients(LinkServices& services, Links& links, std::shared_ptr<const LinkConfig> listener,
            std::shared_ptr<const LinkOptions> options);
    Clients(const Clients&) = delete;
    Clients& operator=(const Clients&) = delete;

    // --- app side, any thread
    /// Queues the message for the chosen clients, and returns for how many. Throws bad_alloc, and
    /// exceptions of the application's functions.
    [[nodiscard]] std::size_t broadcast(const std::shared_ptr<SharedMessage>& message,
                                        const BroadcastOptions& options);
    void retain(std::string key, const std::shared_ptr<SharedMessage>& message);
    bool forget(std::string_view key);
    /// Returns false if the link is not up.
    bool join(LinkImpl& link, std::string group);
    bool leave(LinkImpl& link, std::string_view group);

    // --- both
    [[nodiscard]] std::vector<std::shared_ptr<LinkImpl>> all() const;
    [[nodiscard]] std::size_t count() const;
    /// Adds the counters of the clients' coming and going.
    void add_to(Stats& stats) const;
    [[nodiscard]] const LinkConfig& listener() const noexcept { return *listener_; }
    [[nodiscard]] const ClientSettings& settings() const noexcept
    {
        return *listener_->client_settings();
    }
    /// Closes all clients, also those that do not come up yet, and waits until they are down. The
    /// listener must accept no more. Errors: timed_out; stopping.
    [[nodiscard]] Result<void> close(TimePoint deadline, const CloseReason& reason);
    /// The bounds of each client's outbox.
    [[nodiscard]] QueueLimits outbox_limits() const;
    /// The options of each client's link.
    [[nodiscard]] const std::shared_ptr<const LinkOptions>& options() const noexcept
    {
        return options_;
    }
    /// Lets the loop end a client that does not keep up.
    void end_slow(LinkImpl& link);

    // --- sidecar side
    /// Makes the link of a client that was accepted.
    void admit(std::shared_ptr<const LinkConfig> config);
    /// The client is up: it gets what is kept, and all later broadcasts.
    void add(LinkImpl& link);
    void remove(LinkImpl& link);
    /// A client's opening failed.
    void count_refused(const Failure& why);

private:
    using Targets = std::vector<LinkImpl*>;
    struct Member {
        std::size_t place = 0; // in members_
        std::vector<std::string> groups{};
    };
    struct Retained {
        std::string key;
        std::shared_ptr<SharedMessage> message;
        std::optional<std::string> conflation_key;
    };

    [[nodiscard]] const Targets& targets_of(std::string_view group) const;
    [[nodiscard]] std::size_t push(const Targets& targets,
                                   const std::shared_ptr<SharedMessage>& message,
                                   std::optional<std::string_view> key);
    [[nodiscard]] std::optional<std::string> key_of(const SharedMessage& message) const;
    void keep(std::string key, std::shared_ptr<SharedMessage> message,
              std::optional<std::string> conflation_key);
    void wake_soon() noexcept;
    void run_wakes();
    void leave_group(LinkImpl& link, const std::string& group);

    LinkServices& services_;                           // both
    Links& links_;                                     // both
    const std::shared_ptr<const LinkConfig> listener_; // both: constant
    const std::shared_ptr<const LinkOptions> options_; // both: constant; of each client's link

    mutable std::mutex mutex_;
    // both: guarded by mutex_, all to the next empty line
    Targets members_;
    std::unordered_map<const LinkImpl*, Member> places_;
    std::map<std::string, Targets, std::less<>> groups_;
    std::vector<Retained> retained_;
    Targets to_wake_; // their writers sleep
    Targets too_slow_;
    bool is_waking_ = false; // run_wakes() is posted

    std::atomic<std::uint64_t> accepted_{0}, refused_{0}, served_{0}, slow_{0}; // both: atomic
};

} // namespace sidecar::detail
