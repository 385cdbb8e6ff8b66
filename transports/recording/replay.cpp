#include "format.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/transports/recording_reader.hpp>
#include <sidecar/transports/replay.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

namespace sidecar {

using recording::failed;
using Kind = RecordingEntry::Kind;

namespace {

constexpr auto play_attempt = "play the recording";
/// The most messages that one read puts.
constexpr std::size_t messages_per_read = 256;
/// With check_sent: how late a message may be sent.
constexpr auto sent_patience = std::chrono::seconds{10};

MessageView view_of(const RecordingEntry& entry)
{
    return {LinkId{}, entry.message_kind, entry.payload};
}

/// The beginning of a message, for a text.
std::string shown(const MessageView& message)
{
    constexpr std::size_t max_bytes = 60;
    std::string text = message.kind() == MessageKind::text ? "\"" : "binary \"";
    for (const char c : message.text().substr(0, max_bytes))
        text += c >= ' ' && c != '"' && c != '\\' && c != 0x7f
                    ? std::string{c}
                    : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    text += '"';
    if (message.size() > max_bytes)
        text += fmt::format("... ({} bytes)", message.size());
    return text;
}

} // namespace

/// Shared by the connections of a link, one at a time; by several links by mistake.
struct detail::ReplayPlace::State {
    std::atomic<bool> is_taken{false};       // both: atomic; by a connection, or by check()
    std::optional<RecordingReader> reader{}; // both: the side that has taken it; so all below
    std::optional<RecordingEntry> next{};    // empty: not read yet, or there is none
    bool is_over = false;                    // `next` is empty because the recording is over
    /// Where time 0 of the recording is on the link's clock.
    std::optional<TimePoint> origin{};
    Duration last{};            // the time of the entry before `next`
    TimePoint seen{};           // the latest time on the link's clock
    std::uint64_t attempts = 0; // begun, of `reader`
    struct Sends {
        explicit Sends(RecordingReader its_reader) : reader{std::move(its_reader)} {}
        RecordingReader reader;
        std::optional<RecordingEntry> next{};
        std::uint64_t attempts = 0;
    };
    std::optional<Sends> sends{}; // for check_sent

    [[nodiscard]] bool take() noexcept { return !is_taken.exchange(true); }
    void release() noexcept { is_taken = false; }
    [[nodiscard]] Result<void> open(const std::string& file)
    {
        if (reader)
            return {};
        auto opened = RecordingReader::open(file);
        if (!opened)
            return opened.error().with_attempt(play_attempt, file);
        reader = std::move(*opened);
        return {};
    }
    /// Returns the next entry; null: the recording is over. Throws the reader's failure.
    [[nodiscard]] const RecordingEntry* peek()
    {
        while (!next && !is_over) {
            auto entry = reader->next();
            if (!entry)
                throw Exception{entry.error()};
            next = std::move(*entry);
            is_over = !next;
        }
        return next ? &*next : nullptr;
    }
    void pop() noexcept
    {
        last = next->time;
        next.reset();
    }
};

detail::ReplayPlace::ReplayPlace() : state_{std::make_shared<State>()} {}

struct Replay::Impl {
    using State = detail::ReplayPlace::State;

    explicit Impl(const Options& its_options) : options{its_options}, state{options.place.state()}
    {
    }

    [[nodiscard]] TimePoint due(Duration time) const
    {
        if (options.speed == 0)
            return TimePoint::min();
        constexpr double never = 1e18; // 30 years; the sum does not overflow
        return *state->origin
               + (options.speed == 1
                      ? time
                      : Duration{static_cast<Duration::rep>(
                          std::min(static_cast<double>(time.count()) / options.speed, never))});
    }
    /// Puts the recording's `time` at the link's `now`.
    void set_origin(Duration time, TimePoint now)
    {
        state->origin = TimePoint{};
        if (options.speed != 0)
            state->origin = now - due(time).time_since_epoch();
    }

    [[nodiscard]] Failure ended(Error code, const char* attempted, std::string why,
                                std::uint16_t close_code = 0) const
    {
        return {code,
                {.attempted = attempted,
                 .endpoint = options.file,
                 .explanation = std::move(why),
                 .close_code = close_code}};
    }
    /// The recording is over; no further attempt can help.
    [[nodiscard]] Failure over(const char* attempted) const
    {
        return {Error::closed_by_peer,
                {.attempted = attempted,
                 .endpoint = options.file,
                 .explanation = "the recording is over",
                 .close_code = 1000,
                 .is_passing = false}};
    }
    /// The link waits for a Retry-After, which is a part of the recorded gap.
    [[nodiscard]] Failure at_speed(const Failure& recorded) const
    {
        if (!recorded.retry_after() || options.speed == 1)
            return recorded;
        const auto wait = static_cast<double>(recorded.retry_after()->count());
        return {recorded.error(),
                {.attempted = recorded.attempted(),
                 .endpoint = recorded.endpoint(),
                 .cause = recorded.cause(),
                 .explanation = recorded.explanation(),
                 .close_code = recorded.close_code(),
                 .close_reason = recorded.close_reason(),
                 .http_status = recorded.http_status(),
                 .retry_after = std::chrono::seconds{static_cast<std::int64_t>(
                     options.speed == 0 ? 0 : std::min(wait / options.speed, 1e9))},
                 .is_passing = recorded.is_passing()}};
    }
    /// The recorded end, as this link sees it.
    [[nodiscard]] Failure failure_of(const RecordingEntry& end, bool was_up) const
    {
        if (end.end == RecordedEnd::failed)
            return at_speed(*end.failure);
        if (!was_up)
            return ended(Error::timed_out, "connect", "the recorded program gave up here");
        if (end.end == RecordedEnd::closed)
            return ended(Error::closed_by_peer, "read", "the recorded program closed here", 1000);
        return ended(Error::disconnected, "read",
                     "the recorded program dropped the connection here");
    }

    void require_not_aborted() const
    {
        if (is_aborted)
            throw boost::system::system_error{boost::asio::error::operation_aborted};
    }
    /// Waits until `when`, or until something else is to be done.
    Task<> wait(Context ctx, TimePoint when)
    {
        require_not_aborted();
        if (ctx.now() < when)
            (void)co_await ctx.wait(changed, when);
        state->seen = ctx.now();
        require_not_aborted();
    }
    Task<> wait_fully(Context ctx, TimePoint when)
    {
        do
            co_await wait(ctx, when);
        while (ctx.now() < when);
    }

    void log_loss(Context ctx, const RecordingEntry& entry) const
    {
        ctx.log(LogLevel::warning, fmt::format("{} entries are missing here in the recording {}",
                                               entry.lost, options.file));
    }

    /// Goes to the next attempt, beyond what this link has not played of the one before.
    [[nodiscard]] const RecordingEntry* next_attempt(Context ctx)
    {
        bool has_skipped = false;
        const auto* entry = state->peek();
        for (; entry && entry->kind != Kind::connecting; entry = state->peek()) {
            if (entry->kind == Kind::lost)
                log_loss(ctx, *entry);
            else
                has_skipped = true;
            state->pop();
        }
        // Virtual time begins again with each start
        if (entry && (!state->origin || has_skipped || ctx.now() < state->seen))
            set_origin(state->origin ? state->last : entry->time, ctx.now());
        state->seen = ctx.now();
        return entry;
    }

    // --- check_sent

    /// Returns the next message that the recorded program sent on this connection; null: none. The
    /// sends are read ahead of the rest, so that a send never waits for its recorded time.
    [[nodiscard]] const RecordingEntry* expected_send()
    {
        auto& sends = state->sends;
        if (!sends)
            sends.emplace(RecordingReader::open(options.file).value());
        for (;; sends->next.reset()) {
            if (!sends->next)
                sends->next = sends->reader.next().value();
            if (!sends->next || sends->attempts > state->attempts)
                return nullptr;
            const auto kind = sends->next->kind;
            if (kind == Kind::connecting && ++sends->attempts > state->attempts)
                return nullptr;
            if (kind == Kind::sent && sends->attempts == state->attempts)
                return &*sends->next;
        }
    }
    void check_send(const MessageView& message)
    {
        const auto* expected = expected_send();
        if (expected && expected->message_kind == message.kind()
            && view_of(*expected).text() == message.text()) {
            state->sends->next.reset();
            ++sent_count;
            return;
        }
        throw Exception{ended(
            Error::protocol_violation, "send",
            fmt::format("message {} is {}; {}", sent_count + 1, shown(message),
                        expected ? "recorded is " + shown(view_of(*expected))
                                 : "the recorded program sent no further one on this connection"))};
    }
    /// Returns whether the application has sent what `sent` says. Throws if it is too late for that.
    [[nodiscard]] bool is_sent(const RecordingEntry& sent, TimePoint now)
    {
        if (!options.check_sent || sent_count > reached_count)
            return true;
        if (!sent_by)
            sent_by = deadline_after(std::max(due(sent.time), now), sent_patience);
        if (now < *sent_by)
            return false;
        throw Exception{ended(Error::protocol_violation, "send",
                              fmt::format("nothing was sent in time; recorded is message {}, {}",
                                          sent_count + 1, shown(view_of(sent))))};
    }

    // --- reading

    /// Answers pings. Returns whether it did.
    bool answer_pings(Sink& sink)
    {
        const auto answers = std::exchange(pongs, {});
        for (const auto& answer : answers) {
            sink.on_bytes();
            sink.on_pong(std::as_bytes(std::span{answer}));
        }
        return !answers.empty();
    }
    /// How a look at the next entry went on.
    enum class Step { put, passed, refused, waits };
    /// Plays one entry. Throws the end of the connection, unless messages were put before it.
    [[nodiscard]] Step play(Context ctx, Sink& sink, const RecordingEntry* entry, bool has_put)
    {
        const bool is_end = !entry || entry->kind == Kind::ended || entry->kind == Kind::connecting;
        if (is_end && has_put)
            return Step::refused; // they are delivered first
        if (!entry)
            throw Exception{over("read")};
        if (entry->kind == Kind::connecting) // a kill, before which no end was recorded
            throw Exception{
                ended(Error::disconnected, "read", "the recording has no end of this connection")};
        if (entry->kind == Kind::ended) {
            auto why = failure_of(*entry, true);
            state->pop();
            throw Exception{std::move(why)};
        }
        const bool is_message = entry->kind == Kind::received;
        if (is_message && !sink.put(entry->message_kind, entry->payload))
            return Step::refused;
        if (entry->kind == Kind::sent) {
            if (!is_sent(*entry, ctx.now()))
                return Step::waits;
            ++reached_count;
            sent_by.reset();
        }
        if (entry->kind == Kind::lost)
            log_loss(ctx, *entry);
        state->pop();
        return is_message ? Step::put : Step::passed;
    }

    const Options options;              // sidecar side
    const std::shared_ptr<State> state; // sidecar side
    LoopEvent changed;                  // sidecar side; a ping, a send or an abort
    std::vector<std::string> pongs{};   // sidecar side; payloads of pings
    ConnectionInfo info{};              // sidecar side
    std::uint64_t sent_count = 0;       // sidecar side; the application's messages
    std::uint64_t reached_count = 0;    // sidecar side; recorded sends that are played
    std::optional<TimePoint> sent_by{}; // sidecar side; for the send that is next
    bool has_place = false;             // sidecar side
    bool is_aborted = false;            // sidecar side
};

Replay::Replay(const Options& options) : impl_{std::make_unique<Impl>(options)} {}

Replay::~Replay()
{
    if (impl_->has_place)
        impl_->state->release();
}

Result<void> Replay::check(const Options& options)
{
    if (options.clock)
        return failed(Error::bad_options, play_attempt, options.file,
                      "the option clock needs VirtualReplay");
    return check_file_and_speed(options);
}

Result<void> Replay::check_file_and_speed(const Options& options)
{
    if (!std::isfinite(options.speed) || options.speed < 0)
        return failed(Error::bad_options, play_attempt, options.file,
                      "the option speed must be a number from 0 on");
    auto& state = *options.place.state();
    if (!state.take())
        return {}; // a connection plays it
    auto opened = state.open(options.file);
    state.release();
    return opened;
}

Task<> Replay::connect(Context ctx)
{
    auto& impl = *impl_;
    auto& state = *impl.state;
    if (!state.take())
        throw Exception{failed(Error::bad_options, "connect", impl.options.file,
                               "another link plays from these options; each needs its own")};
    impl.has_place = true;
    if (auto opened = state.open(impl.options.file); !opened)
        throw Exception{opened.error()};
    const auto* entry = impl.next_attempt(ctx);
    if (!entry)
        throw Exception{impl.over("connect")};
    const auto begin = entry->time;
    ctx.waiting_for("the time of the next recorded connection");
    co_await impl.wait_fully(ctx, impl.due(begin));
    if (impl.due(begin) < ctx.now())
        impl.set_origin(begin, ctx.now()); // this link came back later
    ++state.attempts;
    state.pop();
    for (; (entry = state.peek()) && entry->kind == Kind::lost; state.pop())
        impl.log_loss(ctx, *entry);
    if (!entry || entry->kind == Kind::connecting)
        throw Exception{entry ? impl.ended(Error::connect_failed, "connect",
                                           "the recording has no end of this attempt")
                              : impl.over("connect")};
    co_await impl.wait_fully(ctx, impl.due(entry->time));
    if (entry->kind == Kind::ended) {
        auto why = impl.failure_of(*entry, false);
        state.pop();
        throw Exception{std::move(why)};
    }
    if (entry->kind != Kind::connected)
        co_return;
    impl.info.peer = entry->peer;
    if (!entry->protocol.empty())
        ctx.negotiated(entry->protocol);
    state.pop();
}

Task<> Replay::read(Context ctx, Sink& sink)
{
    auto& impl = *impl_;
    std::size_t count = 0;
    while (count < messages_per_read) {
        impl.require_not_aborted();
        count += impl.answer_pings(sink) ? 1 : 0;
        const RecordingEntry* entry = nullptr;
        try {
            entry = impl.state->peek();
        } catch (const Exception&) {
            if (count == 0)
                throw;
            co_return; // everything before the damage is delivered first
        }
        auto when = entry ? impl.due(entry->time) : TimePoint::min();
        auto step = Impl::Step::waits;
        if (when <= ctx.now()) {
            step = impl.play(ctx, sink, entry, count != 0);
            when = impl.sent_by.value_or(TimePoint::max());
        }
        if (step == Impl::Step::put)
            ++count;
        else if (step == Impl::Step::passed)
            continue;
        else if (step == Impl::Step::refused || count != 0)
            co_return;
        else
            co_await impl.wait(ctx, when);
    }
}

Task<> Replay::write(Context, Batch batch)
{
    auto& impl = *impl_;
    impl.require_not_aborted();
    if (!impl.options.check_sent)
        co_return;
    for (auto at = batch.begin(); at != batch.end();) {
        impl.check_send(*at);
        ++at;
        batch.mark_written(1);
    }
    impl.changed.set();
}

Task<> Replay::ping(Context, std::span<const std::byte> payload)
{
    impl_->require_not_aborted();
    impl_->pongs.emplace_back(reinterpret_cast<const char*>(payload.data()), payload.size());
    impl_->changed.set();
    co_return;
}

Task<> Replay::close(Context, CloseReason) { co_return; }

void Replay::abort() noexcept
{
    impl_->is_aborted = true;
    impl_->changed.set();
}

ConnectionInfo Replay::connection_info() { return impl_->info; }

} // namespace sidecar
