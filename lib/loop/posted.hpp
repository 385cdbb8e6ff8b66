// What is to run on a loop's thread soon, for one run.
#pragma once

#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

namespace sidecar::detail {

/// Who runs what was posted.
class PostedRunner {
public:
    /// Called on the loop's thread; calls take() and done(), or close(). It may free the Posted as the
    /// last thing it does.
    virtual void run_posted() = 0;

protected:
    ~PostedRunner() = default;
};

/// The functions that were posted for one run, in order. Of all that is queued one handler at most
/// stands in the loop's own queue; so a run that leaves the loop leaves none behind, and what was
/// posted is freed while the run is there. Posting takes a lock for some instructions and, apart from
/// the function's own memory, allocates nothing. Owned by the run's part of the loop.
class Posted {
public:
    /// Lifetime: `io` outlives it, `runner` owns it.
    Posted(boost::asio::io_context& io, PostedRunner& runner) noexcept : io_{io}, runner_{runner} {}
    Posted(const Posted&) = delete;
    Posted& operator=(const Posted&) = delete;

    /// Side: any. Once closed: not queued.
    void post(std::function<void()> function);
    /// From now on the loop runs what is posted, and what was posted before. Side: sidecar.
    void open();
    /// Has the loop call the runner once more, soon. Side: sidecar.
    void wake();

    /// What was posted since the last time, to be run in this order and then given to done(). Side:
    /// sidecar.
    [[nodiscard]] std::vector<std::function<void()>>& take();
    /// What take() gave has run. Side: sidecar.
    void done();
    /// Nothing runs from here any more; frees what was to run. Called from within
    /// run_posted(), or where it cannot be called any more.
    void close() noexcept;

private:
    struct Handler;
    template <class T>
    struct Allocator;
    enum class State { waiting, idle, scheduled, closed };

    void schedule();

    /// Where the loop keeps its one handler.
    struct Storage {
        alignas(std::max_align_t) std::byte bytes[160];
    };

    boost::asio::io_context& io_;              // both: app side only posts
    PostedRunner& runner_;                     // sidecar side
    Storage storage_;                          // both: who scheduled it, then the loop
    std::vector<std::function<void()>> taken_; // sidecar side
    std::mutex mutex_;
    std::vector<std::function<void()>> queued_; // both: guarded by mutex_
    State state_ = State::waiting;              // both: guarded by mutex_
};

} // namespace sidecar::detail
