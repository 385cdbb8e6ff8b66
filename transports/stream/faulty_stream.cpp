#include "faulty_stream.hpp"

#include <sidecar/detail/random.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

constexpr std::size_t memory_bytes = 16u << 10;

/// The most buffers of one write_some().
constexpr std::size_t max_buffers = 64;

constexpr std::array<std::string_view, 3> kinds{"connect", "read", "write"};

Duration part_of(Duration max, double fraction) noexcept
{
    return Duration{static_cast<Duration::rep>(static_cast<double>(max.count()) * fraction)};
}

} // namespace

// --- the draws

ConnectionFaults::ConnectionFaults(const Faults& faults, const Attempt& attempt)
    : faults_{faults},
      origin_{fmt::format("seed {}, link {}, connection {}, attempt {}", faults.seed,
                          static_cast<std::uint32_t>(attempt.link), attempt.connection,
                          attempt.number)}
{
    for (std::size_t kind = 0; kind < states_.size(); ++kind) {
        auto state = faults.seed;
        for (const std::uint64_t number :
             {static_cast<std::uint64_t>(attempt.link),
              static_cast<std::uint64_t>(attempt.connection),
              static_cast<std::uint64_t>(attempt.number), static_cast<std::uint64_t>(kind)}) {
            state ^= number;
            state = sidecar::detail::next_random(state);
        }
        states_.at(kind) = state;
    }
}

void ConnectionFaults::announce(Context ctx, const std::string& endpoint)
{
    if (!std::exchange(is_announced_, true))
        ctx.log(LogLevel::warning, fmt::format("Faults are injected into the connection to {}: {}",
                                               endpoint, to_string(faults_)));
}

/// Makes the same draws for each kind and whatever the rates are.
ConnectionFaults::Operation ConnectionFaults::next(Kind kind)
{
    auto& state = states_.at(index(kind));
    const auto hits = [&](double rate) { return sidecar::detail::next_fraction(state) < rate; };
    const bool is_late = hits(faults_.latency);
    const auto latency = part_of(faults_.max_latency, sidecar::detail::next_fraction(state));
    const bool pauses = hits(faults_.pause);
    const auto pause = part_of(faults_.max_pause, sidecar::detail::next_fraction(state));
    const bool is_short = hits(kind == Kind::read ? faults_.short_read : faults_.short_write);
    const auto part = sidecar::detail::next_fraction(state);
    Operation operation{.delay = is_late ? latency : Duration{},
                        .part = is_short ? part : 1,
                        .fails = hits(kind == Kind::connect ? faults_.refuse : faults_.reset),
                        .stalls = hits(faults_.stall)};
    if (kind == Kind::read && pauses)
        operation.delay += pause;
    ++counts_.at(index(kind));
    waits_.at(index(kind)) = operation.delay;
    return operation;
}

void ConnectionFaults::happened(Context ctx, std::string_view fault, Kind kind)
{
    if (lasting_.empty()) // the first one is the cause
        lasting_ = fmt::format("{} {} {}", fault, kinds.at(index(kind)), counts_.at(index(kind)));
    ctx.log(LogLevel::info, note());
}

std::string ConnectionFaults::note() const
{
    auto text = lasting_;
    for (std::size_t kind = 0; kind < waits_.size() && text.empty(); ++kind)
        if (waits_.at(kind) > Duration{})
            text = fmt::format(
                "{} {} is late by {} ms", kinds.at(kind), counts_.at(kind),
                std::chrono::duration_cast<std::chrono::milliseconds>(waits_.at(kind)).count());
    return text.empty() ? text : fmt::format("injected by Faults: {} ({})", text, origin_);
}

// --- reading

FaultyStream::FaultyStream(Context ctx, std::shared_ptr<SocketStream> below,
                           std::shared_ptr<ConnectionFaults> faults)
    : ctx_{ctx}, below_{std::move(below)}, faults_{std::move(faults)}, memory_(memory_bytes)
{
}

Task<std::size_t> FaultyStream::read_some(ReadBuffers into, error_code& ec)
{
    ec = ended();
    while (!ec) {
        if (is_stalled_) {
            ctx_.waiting_for("the end of a stall injected by Faults");
            co_await wait_until(TimePoint::max(), ec);
        } else if (!has_arrived()) {
            co_await receive(ec);
        } else if (!is_due()) {
            co_await wait_until(due_at_, ec);
        } else {
            co_return take(into, ec);
        }
    }
    co_return 0;
}

std::size_t FaultyStream::try_read(ReadBuffers into, error_code& ec)
{
    ec = ended();
    if (ec || is_stalled_)
        return 0;
    if (!has_arrived())
        arrived_ = std::span{memory_}.first(below_->try_read({asio::buffer(memory_)}, end_));
    return has_arrived() && is_due() ? take(into, ec) : 0;
}

Task<> FaultyStream::receive(error_code& ec)
{
    const ReadBuffers room{asio::buffer(memory_)};
    error_code end;
    const auto got = co_await below_->read_some(room, end);
    below_->on_read(memory_.size(), got);
    ec = ended();
    if (!ec && end == asio::error::operation_aborted) // cancelled
        ec = end;
    if (ec)
        co_return;
    arrived_ = std::span{memory_}.first(got);
    end_ = end;
}

/// Whether the bytes that arrived may be read now; draws the read's faults once.
bool FaultyStream::is_due()
{
    if (!read_) {
        read_ = faults_->next(Kind::read);
        due_at_ = deadline_after(ctx_.now(), read_->delay);
    }
    return ctx_.now() >= due_at_;
}

std::size_t FaultyStream::take(ReadBuffers into, error_code& ec)
{
    const auto operation = *std::exchange(read_, std::nullopt);
    faults_->delay_ended(Kind::read);
    if (operation.fails) {
        reset(Kind::read);
        ec = ended();
        return 0;
    }
    if (arrived_.empty())
        ec = end_;
    const auto part = arrived_.first(operation.part_of(arrived_.size()));
    const auto got = asio::buffer_copy(into, asio::buffer(part.data(), part.size()));
    arrived_ = arrived_.subspan(got);
    if (operation.stalls)
        stall(Kind::read);
    return got;
}

// --- writing

Task<std::size_t> FaultyStream::write_some(std::span<const asio::const_buffer> from, error_code& ec)
{
    const auto operation = faults_->next(Kind::write);
    const auto due_at = deadline_after(ctx_.now(), operation.delay);
    ec = ended();
    while (!ec && (is_stalled_ || ctx_.now() < due_at))
        co_await wait_until(is_stalled_ ? TimePoint::max() : due_at, ec);
    faults_->delay_ended(Kind::write);
    if (!ec && operation.fails) {
        reset(Kind::write);
        ec = ended();
    }
    if (ec)
        co_return 0;
    std::array<asio::const_buffer, max_buffers> pieces;
    std::size_t count = 0, total = 0;
    for (const auto& buffer : from)
        total += buffer.size();
    for (auto left = operation.part_of(total); left != 0; left -= pieces.at(count++).size())
        pieces.at(count) = asio::buffer(from[count], left);
    const auto got = co_await below_->write_some(std::span{pieces}.first(count), ec);
    if (const auto end = ended())
        ec = end;
    else if (operation.stalls)
        stall(Kind::write);
    co_return got;
}

Task<> FaultyStream::shutdown(error_code& ec)
{
    ec = {};
    if (!is_stalled_ && !is_reset_)
        co_await below_->shutdown(ec);
}

// --- the ends

error_code FaultyStream::ended() const noexcept
{
    if (is_aborted_)
        return asio::error::operation_aborted;
    return is_reset_ ? asio::error::connection_reset : error_code{};
}

/// Waits until then, or until abort() or a reset. `ec`: ended(), or operation_aborted if the
/// awaiting coroutine is cancelled.
Task<> FaultyStream::wait_until(TimePoint when, error_code& ec)
{
    try {
        (void)co_await waiters_.wait(ctx_, when);
        ec = ended();
    } catch (const boost::system::system_error& e) {
        ec = e.code();
    }
}

void FaultyStream::reset(Kind kind)
{
    faults_->happened(ctx_, "a reset at", kind);
    is_reset_ = true;
    below_->reset();
    waiters_.wake();
}

void FaultyStream::stall(Kind kind)
{
    faults_->happened(ctx_, "a stall after", kind);
    is_stalled_ = true;
}

void FaultyStream::abort() noexcept
{
    is_aborted_ = true;
    below_->abort();
    waiters_.wake();
}

} // namespace sidecar::stream
