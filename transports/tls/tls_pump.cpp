#include "tls_pump.hpp"

#include "tls_memory.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>

#include <exception>
#include <span>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

struct TlsPump::Waiter {
    explicit Waiter(TlsPump& p) : pump{p} { pump.waiters_.push_back(this); }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { std::erase(pump.waiters_, this); }
    TlsPump& pump;
    LoopEvent event;
};

/// While it is there its owner is the one who sends.
struct TlsPump::Turn {
    explicit Turn(TlsPump& p) : pump{p} { pump.is_pumping_ = true; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { pump.end_turn(); }
    TlsPump& pump;
};

TlsPump::TlsPump(std::shared_ptr<Stream> below, std::shared_ptr<TlsEngine> engine)
    : below_{std::move(below)}, engine_{std::move(engine)}
{
}

TlsPump::~TlsPump() = default;

Task<> TlsPump::flush(std::uint64_t put_bytes)
{
    const auto self = shared_from_this();
    while (!error_ && sent_bytes_ < put_bytes) {
        if (is_pumping_) {
            Waiter waiter{*this};
            co_await waiter.event.wait();
        } else {
            Turn turn{*this};
            while (!error_ && sent_bytes_ < put_bytes)
                co_await send_some();
        }
    }
    start(); // what came meanwhile
}

void TlsPump::start()
{
    if (is_pumping_ || error_ || !has_more())
        return;
    is_pumping_ = true;
    asio::co_spawn(below_->executor(), run(shared_from_this()),
                   [](std::exception_ptr) {}); // error_ tells
}

Task<> TlsPump::run(std::shared_ptr<TlsPump> self)
{
    Turn turn{*self};
    while (!self->error_ && self->has_more())
        co_await self->send_some();
}

void TlsPump::abort() noexcept
{
    if (!error_)
        error_ = asio::error::operation_aborted;
    for (auto* waiter : waiters_)
        waiter->event.set();
}

bool TlsPump::has_more() const noexcept
{
    return at_ != sending_.size() || !engine_->output().empty();
}

Task<> TlsPump::send_some()
{
    if (at_ == sending_.size()) {
        at_ = 0;
        give_back(sending_);
        sending_ = std::exchange(engine_->output(), {});
    }
    const asio::const_buffer rest = asio::buffer(sending_) + at_;
    const std::span<const asio::const_buffer> from{&rest, 1};
    error_code ec;
    const auto sent = co_await below_->write_some(from, ec);
    if (below_->is_aborted())
        ec = asio::error::operation_aborted;
    at_ += sent;
    sent_bytes_ += sent;
    if (ec && !error_)
        error_ = ec;
    if (at_ == sending_.size() || error_) {
        at_ = 0;
        give_back(sending_);
    }
    for (auto* waiter : waiters_)
        waiter->event.set();
}

void TlsPump::end_turn()
{
    is_pumping_ = false;
    for (auto* waiter : waiters_)
        waiter->event.set();
}

} // namespace sidecar::stream
