#include <sidecar/loop_event.hpp>

#include "loop/wake_up.hpp"

#include <sidecar/error.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <cstddef>
#include <new>
#include <utility>

namespace sidecar {

namespace asio = boost::asio;

/// A waiting coroutine. Lives in the frame of its wait().
struct LoopEvent::Waiter {
    explicit Waiter(Resumer& its_resumer) noexcept : resumer{its_resumer} {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    virtual void resume() = 0; // if it throws before Resumer::begin(), nothing was resumed
    virtual void destroy() noexcept = 0;
    virtual void disarm() noexcept = 0; // no cancellation reaches this wait after that

    Resumer& resumer;
    Waiter* next = nullptr;

protected:
    ~Waiter() = default;
};

/// Resumes the coroutines of one loop whose wait is over, in the order in which it ended. Allocates
/// nothing: all its memory is in their frames and in itself. Owned by the loop's io_context. Side:
/// sidecar.
class LoopEvent::Resumer final : public asio::execution_context::service {
public:
    using key_type = Resumer;
    static asio::execution_context::id id;

    explicit Resumer(asio::execution_context& context)
        : service{context},
          wake_up_{static_cast<asio::io_context&>(context), [this] { resume_all(); }}
    {
    }

    void add(Waiter& waiter) noexcept
    {
        if (is_shut_down_)
            return waiter.destroy();
        *end_ = &waiter;
        end_ = &waiter.next;
        ++count_;
        wake_up_.schedule();
    }
    /// Records that this waiter is resumed now.
    void begin(const Waiter& waiter) noexcept
    {
        if (resuming_ == &waiter)
            resuming_ = nullptr;
    }

private:
    /// A waiter that is added meanwhile waits for the next call, so that the loop continues in
    /// between.
    void resume_all()
    {
        try {
            for (auto count = count_; count != 0; --count) {
                resuming_ = &take();
                resuming_->resume();
            }
        } catch (...) {
            auto* const again = std::exchange(resuming_, nullptr);
            if (again)
                add(*again); // no memory: it was not resumed
            if (first_)
                wake_up_.schedule();
            if (!again)
                throw;
        }
    }
    Waiter& take() noexcept
    {
        auto& waiter = *std::exchange(first_, first_->next);
        if (--count_ == 0)
            end_ = &first_;
        waiter.next = nullptr;
        return waiter;
    }
    void shutdown() override
    {
        is_shut_down_ = true;
        while (count_ != 0)
            take().destroy();
    }

    detail::WakeUp wake_up_;     // sidecar side
    Waiter* first_ = nullptr;    // sidecar side
    Waiter** end_ = &first_;     // sidecar side
    std::size_t count_ = 0;      // sidecar side
    Waiter* resuming_ = nullptr; // sidecar side; until it begins
    bool is_shut_down_ = false;  // sidecar side
};

asio::execution_context::id LoopEvent::Resumer::id;

LoopEvent::~LoopEvent()
{
    if (auto* const waiter = std::exchange(waiter_, nullptr)) {
        waiter->disarm();
        waiter->destroy();
    }
}

void LoopEvent::set() noexcept
{
    if (!waiter_) {
        is_set_ = true;
        return;
    }
    waiter_->disarm();
    finish();
}

void LoopEvent::finish() noexcept
{
    auto& waiter = *std::exchange(waiter_, nullptr);
    waiter.resumer.add(waiter);
}

boost::asio::awaitable<void> LoopEvent::wait()
{
    if (waiter_)
        throw Exception{Failure{
            Error::misuse,
            {.attempted = "wait for an event", .explanation = "a coroutine waits for it already"}}};
    if (std::exchange(is_set_, false))
        co_return;
    const auto executor = co_await asio::this_coro::executor;
    auto& resumer = asio::use_service<Resumer>(asio::query(executor, asio::execution::context));
    alignas(std::max_align_t) std::byte storage[96];
    // Thrown below: Asio's handler would lose the coroutine if it found no memory for an exception
    bool is_cancelled = false, lacks_memory = false;
    co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
        [this, &resumer, &storage, &is_cancelled, &lacks_memory](auto handler) {
            using Handler = decltype(handler);
            struct Op final : Waiter {
                Op(Resumer& its_resumer, Handler its_handler)
                    : Waiter{its_resumer}, handler{std::move(its_handler)}
                {
                }
                void resume() override
                {
                    asio::dispatch(asio::get_associated_executor(handler), [this] {
                        this->resumer.begin(*this);
                        disarm();
                        auto its_handler = std::move(handler);
                        std::move(its_handler)(); // frees the frame, and this Op in it
                    });
                }
                void destroy() noexcept override { const auto gone = std::move(handler); }
                void disarm() noexcept override
                {
                    asio::get_associated_cancellation_slot(handler).clear();
                }
                Handler handler;
            };
            static_assert(sizeof(Op) <= sizeof(storage));
            auto& op = *::new (static_cast<void*>(storage)) Op{resumer, std::move(handler)};
            waiter_ = &op;
            auto slot = asio::get_associated_cancellation_slot(op.handler);
            if (!slot.is_connected())
                return;
            try {
                slot.assign([this, &is_cancelled](asio::cancellation_type) {
                    if (!waiter_)
                        return;
                    is_cancelled = true;
                    finish();
                });
            } catch (...) { // no memory; an exception here would lose the coroutine
                lacks_memory = true;
                finish();
            }
        },
        asio::use_awaitable);
    if (is_cancelled)
        throw boost::system::system_error{asio::error::operation_aborted};
    if (lacks_memory)
        throw std::bad_alloc{};
}

} // namespace sidecar
