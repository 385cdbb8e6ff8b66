#include <sidecar/loop_event.hpp>

#include <sidecar/error.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <new>
#include <utility>

namespace sidecar {

namespace asio = boost::asio;

/// The suspended coroutine's handler, its type forgotten.
struct LoopEvent::Waiter {
    virtual ~Waiter() = default;
    virtual void complete(boost::system::error_code ec) = 0; // moves the handler out and posts it
    virtual void disarm() = 0; // no cancellation reaches this wait any more
};

LoopEvent::LoopEvent() noexcept = default;

LoopEvent::~LoopEvent()
{
    if (has_waiter_)
        std::launder(reinterpret_cast<Waiter*>(storage_))->~Waiter();
}

void LoopEvent::set()
{
    if (!has_waiter_) {
        is_set_ = true;
        return;
    }
    std::launder(reinterpret_cast<Waiter*>(storage_))->disarm();
    finish({});
}

void LoopEvent::finish(boost::system::error_code ec)
{
    has_waiter_ = false;
    auto* waiter = std::launder(reinterpret_cast<Waiter*>(storage_));
    waiter->complete(ec);
    waiter->~Waiter();
}

boost::asio::awaitable<void> LoopEvent::wait()
{
    if (has_waiter_)
        throw Exception{Failure{
            Error::misuse,
            {.attempted = "wait for an event", .explanation = "a coroutine waits for it already"}}};
    if (std::exchange(is_set_, false))
        co_return;
    co_await asio::async_initiate<const asio::use_awaitable_t<>&, void(boost::system::error_code)>(
        [this](auto handler) {
            using Handler = decltype(handler);
            struct Op final : Waiter {
                explicit Op(Handler h) : handler{std::move(h)} {}
                void complete(boost::system::error_code ec) override
                {
                    auto executor = asio::get_associated_executor(handler);
                    asio::post(executor,
                               [h = std::move(handler), ec]() mutable { std::move(h)(ec); });
                }
                void disarm() override { asio::get_associated_cancellation_slot(handler).clear(); }
                Handler handler;
            };
            static_assert(sizeof(Op) <= sizeof(storage_));
            auto slot = asio::get_associated_cancellation_slot(handler);
            ::new (static_cast<void*>(storage_)) Op{std::move(handler)};
            has_waiter_ = true;
            if (slot.is_connected()) {
                slot.assign([this](asio::cancellation_type) {
                    if (has_waiter_)
                        finish(asio::error::operation_aborted);
                });
            }
        },
        asio::use_awaitable);
}

} // namespace sidecar
