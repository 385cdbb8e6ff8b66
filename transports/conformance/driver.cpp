#include "driver.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sys/resource.h>
#include <utility>

namespace sidecar::conformance {
namespace {

/// On real time: the peer's threads do what they have to do without a cause within so long.
constexpr Duration settle_time = std::chrono::milliseconds{3};
/// A handler must not follow another for ever, without the passing of time.
constexpr std::uint64_t max_handlers = 200'000;
/// A coroutine, timer or handler that is still there so long after the end is left over.
constexpr Duration leftover_time = std::chrono::milliseconds{250};
/// An abort() that blocks for so long waits for something.
constexpr Duration abort_time = std::chrono::milliseconds{20};

/// How often this thread went to sleep.
long sleeps()
{
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

} // namespace

Driver::Driver(detail::CheckSubject subject, const TransportCheck& options, Progress& progress)
    : subject_{std::move(subject)},
      options_{options},
      loop_{progress, options.is_virtual.value_or(subject_.config->is_virtual())},
      sink{reading, verdict, subject_.config->max_message_bytes()},
      transport_{subject_.config->make_transport(Attempt{})}
{
    loop_.after_step = [this] { between_handlers(); };
}

Driver::~Driver() = default;

// --- notes and checks

void Driver::note(std::string text)
{
    constexpr std::size_t kept = 60;
    if (steps_.size() == kept)
        steps_.erase(steps_.begin() + 1);
    const std::chrono::duration<double> now = loop_.now().time_since_epoch();
    steps_.push_back(loop_.is_virtual() ? fmt::format("{:.3f} s: {}", now.count(), text)
                                        : std::move(text));
}

std::string Driver::steps() const
{
    std::string text;
    for (const auto& step : steps_)
        text += step + "\n";
    return text;
}

void Driver::need(bool has_ability, int rule, const char* ability)
{
    if (!has_ability)
        throw TrialSkipped{rule, fmt::format("the peer has no {}", ability)};
}

void Driver::between_handlers()
{
    sink.between_handlers();
    if (!batches_.empty() && writing.has_returned())
        batch().end();
}

std::uint64_t Driver::random()
{
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ * 0x2545'f491'4f6c'dd1d >> 11;
}

// --- samples

bool Driver::carries(MessageKind kind, const std::string& payload) const
{
    return subject_.peer->carries(kind, payload)
           && config().check_send(kind, std::as_bytes(std::span{payload})).has_value();
}

Sample Driver::sample(std::size_t bytes)
{
    const auto make = [&](std::size_t size) {
        auto text = fmt::format("{}:", ++samples_);
        static constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789";
        while (text.size() < size)
            text += letters[text.size() % letters.size()];
        text.resize(size);
        return text;
    };
    const auto attempt = [&](std::size_t size) -> std::optional<Sample> {
        auto text = make(size);
        // Each kind in turn, if the protocol has both
        const auto first = samples_ % 2 == 0 ? MessageKind::text : MessageKind::binary;
        const auto second = samples_ % 2 == 0 ? MessageKind::binary : MessageKind::text;
        for (const auto kind : {first, second})
            if (carries(kind, text))
                return Sample{kind, std::move(text)};
        return {};
    };
    ++loop_.progress.turns; // a batch of small messages is much work for the kit
    if (std::find(not_carried_.begin(), not_carried_.end(), bytes) == not_carried_.end()) {
        if (auto made = attempt(bytes))
            return *std::move(made);
        not_carried_.push_back(bytes);
    }
    const auto take_up = [&](std::size_t size) {
        auto made = attempt(size);
        usual_bytes_ = made ? size : 0;
        return made;
    };
    if (usual_bytes_ != 0)
        if (auto made = take_up(usual_bytes_))
            return *std::move(made);
    for (const std::size_t size : {1000u, 255u, 64u, 16u, 8u, 4u, 2u}) // the usual ones first
        if (auto made = take_up(size))
            return *std::move(made);
    for (std::size_t size = 1; size <= 4096; ++size)
        if (auto made = take_up(size))
            return *std::move(made);
    throw TrialSkipped{0, "the peer carries no message of 1 to 4096 letters"};
}

std::vector<Sample> Driver::samples(std::size_t count, std::size_t bytes)
{
    std::vector<Sample> made;
    for (std::size_t i = 0; i < count; ++i)
        made.push_back(sample(bytes));
    return made;
}

// --- calls

void Driver::start(Operation& operation, TimePoint deadline, Operation::Call call, std::string text)
{
    note(std::move(text));
    operation.start(std::move(call), deadline);
}

void Driver::start_connect()
{
    start(
        connecting, deadline_after(loop_.now(), timeout()),
        [this](Context ctx) { return transport_->connect(ctx); }, "connect()");
}

void Driver::start_read()
{
    sink.begin_read();
    start(
        reading, TimePoint::max(), [this](Context ctx) { return transport_->read(ctx, sink); },
        "read()");
}

void Driver::start_write(const std::vector<Sample>& messages)
{
    batches_.push_back(std::make_unique<WitnessBatch>(messages, verdict));
    start(
        writing, TimePoint::max(),
        [this](Context ctx) { return transport_->write(ctx, batch().batch()); },
        fmt::format("write() of {} messages", messages.size()));
}

void Driver::start_ping(std::string payload)
{
    ping_payload_ = std::make_unique<std::string>(std::move(payload));
    start(
        pinging, TimePoint::max(),
        [this](Context ctx) {
            return transport_->ping(ctx, std::as_bytes(std::span{*ping_payload_}));
        },
        "ping()");
}

void Driver::start_close(CloseReason reason)
{
    start(
        closing, deadline_after(loop_.now(), timeout()),
        [this, its_reason = std::move(reason)](Context ctx) {
            return transport_->close(ctx, its_reason);
        },
        "close()");
}

void Driver::cancel(Operation& operation)
{
    note(fmt::format("cancel {}()", operation.name()));
    operation.cancel();
    between_handlers();
}

/// Aborts, and cancels the calls that wait in their context, as the library does.
void Driver::abort()
{
    note("abort()");
    loop_.progress.operation = "abort";
    const auto slept = sleeps();
    const auto began = std::chrono::steady_clock::now();
    transport_->abort();
    const Duration took = std::chrono::steady_clock::now() - began;
    if (took > abort_time && (sleeps() != slept || took > 20 * abort_time))
        fail(16, fmt::format("abort() held the thread for {} ms; it must never wait",
                             std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
    for (auto* operation : operations())
        if (operation->is_running() && operation->waits_in_context())
            operation->cancel();
    between_handlers();
    verdict.check();
}

void Driver::connect()
{
    start_connect();
    expect_end(connecting, 1, timeout(), "the peer accepts");
    expect_success(connecting, 1, "the peer accepts");
    try {
        (void)transport_->connection_info();
    } catch (...) {
        fail(3, "connection_info() threw: "
                    + to_failure(std::current_exception(), Error::misuse, {}, {}).message());
    }
}

// --- waits

bool Driver::run_until(const std::function<bool()>& condition, Duration bound)
{
    const auto until = deadline_after(loop_.now(), bound);
    for (std::uint64_t handlers = loop_.steps(), last = loop_.steps();;) {
        verdict.check();
        if (condition())
            return true;
        const auto before = loop_.now();
        if (!loop_.step(until) || loop_.now() > until) {
            verdict.check();
            return condition();
        }
        if (loop_.now() != before && loop_.steps() == last)
            handlers = loop_.steps();
        last = loop_.steps();
        if (loop_.steps() - handlers > max_handlers)
            fail(19, fmt::format("more than {} handlers ran without a cause", max_handlers));
    }
}

void Driver::settle()
{
    constexpr unsigned max_steps = 50'000;
    for (unsigned i = 0; i < max_steps; ++i) {
        const auto steps = loop_.steps();
        if (!run_until([&] { return loop_.steps() != steps; },
                       loop_.is_virtual() ? Duration{} : settle_time))
            return;
    }
    fail(19, fmt::format("more than {} handlers ran without a cause", max_steps));
}

bool Driver::run_to(const Operation& operation, unsigned resumption)
{
    for (;;) {
        const auto steps = loop_.steps();
        if (!run_until(
                [&] {
                    return !operation.is_running() || operation.resumptions() >= resumption
                           || loop_.steps() != steps;
                },
                loop_.is_virtual() ? Duration{} : settle_time))
            return false;
        if (!operation.is_running())
            return false;
        if (operation.resumptions() >= resumption)
            return true;
    }
}

// --- the end

bool Driver::end_all() noexcept
try {
    if (transport_)
        transport_->abort();
    for (auto* operation : operations())
        if (operation->is_running())
            operation->cancel();
    sink.make_room();
    const auto until = deadline_after(loop_.now(), soon());
    const auto is_idle = [&] {
        const auto all = operations();
        return std::none_of(all.begin(), all.end(),
                            [](const auto* each) { return each->is_running(); });
    };
    for (unsigned i = 0; !is_idle() && i < max_handlers && loop_.now() <= until;)
        if (const auto before = loop_.steps(); loop_.step(until))
            i += loop_.steps() != before;
        else
            break;
    if (!is_idle())
        return false;
    transport_.reset();
    return true;
} catch (...) {
    return false;
}

void Driver::finish(int rule)
{
    abort();
    if (!sink.has_room())
        sink.make_room();
    for (auto* operation : operations()) {
        expect_end(*operation, rule, soon(), "abort() was called");
        expect_error(*operation);
    }
    note("destroy the transport");
    loop_.progress.operation = "its destructor";
    transport_.reset();
    if (!loop_.finish(deadline_after(loop_.now(), leftover_time)))
        fail(20, loop_.timer_count() != 0
                     ? "a coroutine still waits in its Context after the transport's end"
                     : "a coroutine, a timer or a handler is left on the loop after the "
                       "transport's end");
    verdict.check();
}

} // namespace sidecar::conformance
