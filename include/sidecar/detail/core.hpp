// The compiled core behind Feed, which knows no transport.
#pragma once

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/detail/call.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/detail/message_handler.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/send_options.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/sticky.hpp>
#include <sidecar/stop_report.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::detail {

class LinkImpl;
class NotifyFd;
class Run;
class Runs;

/// A run and one of its links, kept alive together. The link is always let go of before its run, of
/// which it has references: in the destructor by the order of the members, and so in an assignment
/// too, which leaves what was there before to a destructor.
struct LinkRef {
    LinkRef(std::shared_ptr<Run> its_run, std::shared_ptr<LinkImpl> its_link,
            std::uint64_t its_fork_generation) noexcept
        : run{std::move(its_run)}, link{std::move(its_link)}, fork_generation{its_fork_generation}
    {
    }
    LinkRef(const LinkRef&) = default;
    LinkRef(LinkRef&&) = default;
    LinkRef& operator=(LinkRef other) noexcept
    {
        std::swap(run, other.run);
        std::swap(link, other.link);
        std::swap(fork_generation, other.fork_generation);
        return *this;
    }
    ~LinkRef() = default;

    std::shared_ptr<Run> run;
    std::shared_ptr<LinkImpl> link;
    std::uint64_t fork_generation; // whose process it is
};

/// Makes the user's coroutine once its Context is known. Side: sidecar.
using TaskFactory = std::function<Task<>(Context)>;

/// What Feed does: checks who calls, finds the run that is meant, and waits where there is something
/// to wait for. Owned by the Feed. Side: app, any thread, but where Feed says otherwise.
class SIDECAR_API Core {
public:
    Core(std::shared_ptr<const LinkConfig> config, Options options);
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;
    ~Core();

    Result<void> start(Duration timeout);
    Result<LinkRef> open(std::shared_ptr<const LinkConfig> config, LinkOptions options,
                         Duration timeout);
    Result<LinkRef> first_link();
    Result<void> spawn(std::string name, TaskFactory factory);
    /// Runs the coroutine and waits for its end; the state outlives a caller that gave up.
    Result<void> call(std::string name, TaskFactory factory,
                      const std::shared_ptr<CallState>& state, Duration timeout);

    Result<void> send(MessageKind kind, std::span<const std::byte> payload, Duration timeout);
    Result<void> send(MessageKind kind, std::span<const std::byte> payload,
                      const SendOptions& options);
    Result<void> flush(Duration timeout);
    Result<Message> receive(Duration timeout);
    Result<Event> next_event(Duration timeout);
    Result<std::size_t> poll(MessageHandler handler, std::size_t limit);

    void request_stop() noexcept;
    Result<StopReport> wait_stopped(Duration timeout);
    StopReport stop();

    [[nodiscard]] State state() const;
    [[nodiscard]] Stats stats() const;
    [[nodiscard]] std::vector<Failure> errors() const;
    [[nodiscard]] ErrorLog error_log() const;
    [[nodiscard]] std::string dump() const;
    [[nodiscard]] Result<int> native_handle();

private:
    class SIDECAR_LOCAL Call;
    [[nodiscard]] bool is_forked() const noexcept;
    [[nodiscard]] Result<void> check_start() const;
    void stop_in_destructor() noexcept;

    const std::shared_ptr<const LinkConfig> config_; // both: constant
    const Options options_;                          // both: constant
    const std::uint64_t fork_generation_;            // both: constant
    std::unique_ptr<Runs> runs_;                     // app side
};

SIDECAR_API Result<void> link_send(const LinkRef& ref, MessageKind kind,
                                   std::span<const std::byte> payload, Duration timeout);
SIDECAR_API Result<void> link_send(const LinkRef& ref, MessageKind kind,
                                   std::span<const std::byte> payload, const SendOptions& options);
SIDECAR_API Result<void> link_flush(const LinkRef& ref, Duration timeout);
[[nodiscard]] SIDECAR_API LinkId link_id(const LinkRef& ref) noexcept;
[[nodiscard]] SIDECAR_API bool link_is_up(const LinkRef& ref) noexcept;
[[nodiscard]] SIDECAR_API std::string link_protocol(const LinkRef& ref);
[[nodiscard]] SIDECAR_API Stats link_stats(const LinkRef& ref);
[[nodiscard]] SIDECAR_API std::uint32_t link_connection(const LinkRef& ref) noexcept;
SIDECAR_API Result<void> link_stick(const LinkRef& ref, std::string key, MessageKind kind,
                                    std::span<const std::byte> payload, IsAnswer is_answer);
SIDECAR_API Result<bool> link_unstick(const LinkRef& ref, std::string_view key, MessageKind kind,
                                      std::span<const std::byte> payload, IsAnswer is_answer);
[[nodiscard]] SIDECAR_API std::optional<StickyState> link_sticky_state(const LinkRef& ref,
                                                                       std::string_view key);
[[nodiscard]] SIDECAR_API StickyCounts link_sticky_counts(const LinkRef& ref);
SIDECAR_API Result<void> link_close(const LinkRef& ref, Duration timeout);

} // namespace sidecar::detail
