// The compiled core behind Sidecar<Transport>, which knows no transport, and the interface through
// which it sees one.
#pragma once

#include <sidecar/detail/message_handler.hpp>
#include <sidecar/options.hpp>
#include <sidecar/report.hpp>
#include <sidecar/transport.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sidecar::detail {

class Loop;
class LinkImpl;
class NotifyFd;

/// A transport, its type forgotten. Side: sidecar.
class AnyTransport {
public:
    virtual ~AnyTransport() = default;
    virtual Task<> connect(Context ctx) = 0;
    virtual Task<> read(Context ctx, Sink& sink) = 0;
    virtual Task<> write(Context ctx, Batch batch) = 0;
    virtual Task<> close(Context ctx, CloseReason reason) = 0;
    virtual void abort() noexcept = 0;
};

/// What a link is made from; immutable. Side: both.
class LinkConfig {
public:
    virtual ~LinkConfig() = default;
    [[nodiscard]] virtual std::unique_ptr<AnyTransport> make_transport() const = 0;
    [[nodiscard]] virtual std::string endpoint() const = 0;
    [[nodiscard]] virtual std::size_t max_message_bytes() const noexcept = 0;
    [[nodiscard]] virtual Result<void> check() const = 0;
};

/// The library's side of call(): where the coroutine's end is noted. `T` and its value stay in the
/// template.
struct CallState {
    std::atomic<bool> done{false}; // both: atomic; publishes the rest
    std::exception_ptr exception;  // both: written before done
    bool was_stopped = false;      // both: written before done
};

/// A running loop and one of its links, kept alive together.
struct LinkRef {
    std::shared_ptr<Loop> loop;
    LinkImpl* link = nullptr;
    std::uint64_t fork_generation = 0; // whose process it is
};

/// Makes the user's coroutine once its Context is known. Side: sidecar.
using TaskFactory = std::function<Task<>(Context)>;

/// All of Sidecar<T> that does not depend on T. Side: app, any thread, but where Sidecar says
/// otherwise.
class Core {
public:
    Core(std::shared_ptr<const LinkConfig> config, bool is_virtual, Options options);
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;
    ~Core();

    Result<void> start(Duration timeout);
    Result<LinkRef> open(std::shared_ptr<const LinkConfig> config, Duration timeout);
    Result<void> spawn(std::string name, TaskFactory factory);
    /// Runs the coroutine and waits for its end; the state outlives a caller that gave up.
    Result<void> call(std::string name, TaskFactory factory,
                      const std::shared_ptr<CallState>& state, Duration timeout);

    Result<void> send(MessageKind kind, std::span<const std::byte> payload, Duration timeout);
    Result<void> flush(Duration timeout);
    Result<Message> receive(Duration timeout);
    Result<Event> next_event(Duration timeout);
    Result<std::size_t> poll(MessageHandler handler, std::size_t limit);
    void note_refused_send() noexcept;

    void request_stop() noexcept;
    Result<StopReport> wait_stopped(Duration timeout);
    StopReport stop();

    [[nodiscard]] State state() const;
    [[nodiscard]] Stats stats() const;
    [[nodiscard]] std::vector<Failure> errors() const;
    [[nodiscard]] std::string dump() const;
    [[nodiscard]] Result<int> native_handle();

private:
    class Call;
    [[nodiscard]] bool is_forked() const noexcept;
    void stop_in_destructor() noexcept;
    struct Retired {
        std::shared_ptr<Loop> loop;
        std::uint64_t generation; // of the latest calls that may use it
    };
    [[nodiscard]] std::vector<Retired> replace_loop(std::shared_ptr<Loop> loop) noexcept;

    const std::shared_ptr<const LinkConfig> config_; // both: constant
    const bool is_virtual_;                          // both: constant
    const Options options_;                          // both: constant
    const std::uint64_t fork_generation_;            // both: constant
    std::shared_ptr<NotifyFd> readable_;             // app side: guarded by start_mutex_

    mutable std::mutex start_mutex_;           // app side: start(), native_handle()
    std::shared_ptr<Loop> owner_;              // app side: guarded by start_mutex_
    std::vector<Retired> retired_;             // app side: guarded by start_mutex_
    std::atomic<Loop*> loop_{nullptr};         // app side: atomic
    std::atomic<std::uint64_t> generation_{0}; // app side: atomic
    mutable std::atomic<int> calls_[2]{}; // app side: atomic; calls under way, by their generation
};

Result<void> link_send(const LinkRef& ref, MessageKind kind, std::span<const std::byte> payload,
                       Duration timeout);
Result<void> link_flush(const LinkRef& ref, Duration timeout);
void link_note_refused_send(const LinkRef& ref) noexcept;
[[nodiscard]] LinkId link_id(const LinkRef& ref) noexcept;
[[nodiscard]] bool link_is_up(const LinkRef& ref) noexcept;

} // namespace sidecar::detail
