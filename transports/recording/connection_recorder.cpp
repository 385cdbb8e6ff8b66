#include "file_writer.hpp"

#include <sidecar/transports/detail/connection_recorder.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

namespace sidecar {

// --- the counts

RecordingCounts::RecordingCounts() : state_{std::make_shared<State>()} {}

std::uint64_t RecordingCounts::entries() const noexcept { return state_->entries; }
std::uint64_t RecordingCounts::bytes() const noexcept { return state_->bytes; }
std::uint64_t RecordingCounts::lost() const noexcept { return state_->lost; }

std::optional<Failure> RecordingCounts::failure() const
{
    const std::lock_guard lock{state_->mutex};
    return state_->failure;
}

// --- one connection

namespace detail {

using recording::Bytes;
using recording::Encoder;
using recording::FileWriter;
using Kind = RecordingEntry::Kind;

namespace {

/// Forwards everything, and keeps the protocol that the transport agrees on.
class WatchedContext final : public ContextBase {
public:
    explicit WatchedContext(Context inner) noexcept : inner_{inner} {}
    boost::asio::any_io_executor executor() override { return inner_.executor(); }
    TimePoint now() const override { return inner_.now(); }
    std::optional<MockClock> mock_clock() const override { return inner_.mock_clock(); }
    Task<> sleep_until(TimePoint when) override { return inner_.sleep_until(when); }
    Task<bool> wait(LoopEvent& event, TimePoint deadline) override
    {
        return inner_.wait(event, deadline);
    }
    Task<std::vector<boost::asio::ip::address>> resolve(std::string host) override
    {
        return inner_.resolve(std::move(host));
    }
    void phase(Phase phase, std::string_view detail) override { inner_.phase(phase, detail); }
    void negotiated(std::string_view its_protocol) override
    {
        protocol = its_protocol;
        inner_.negotiated(its_protocol);
    }
    void tried(std::string_view address, std::string_view outcome, Duration elapsed) override
    {
        inner_.tried(address, outcome, elapsed);
    }
    void waiting_for(const char* what) override { inner_.waiting_for(what); }
    void log(LogLevel level, std::string_view text) override { inner_.log(level, text); }
    [[nodiscard]] const Context& inner() const noexcept { return inner_; }

    std::string protocol{}; // sidecar side

private:
    const Context inner_; // sidecar side
};

} // namespace

struct ConnectionRecorder::Impl final : Sink, BatchSource {
    explicit Impl(RecordingTarget its_target) : target{std::move(its_target)} {}

    /// Calls the link's sink. Its failures are the program's, except too_big.
    template <class Call>
    auto guarded(Call call)
    {
        try {
            return call();
        } catch (const Exception& exception) {
            is_program_failing = exception.failure() != Error::too_big;
            throw;
        } catch (...) {
            is_program_failing = true;
            throw;
        }
    }

    // Sink: records what the link's sink has taken
    bool put(MessageKind kind, std::span<const std::byte> payload) override
    {
        const bool is_taken = guarded([&] { return sink->put(kind, payload); });
        if (is_taken)
            record_message(Kind::received, kind, payload);
        return is_taken;
    }
    /// The recording has no place for the envelope.
    bool put_envelope(MessageKind kind, std::span<const std::byte> payload,
                      const Envelope& envelope) override
    {
        const bool is_taken = guarded([&] { return sink->put(kind, payload, envelope); });
        if (is_taken)
            record_message(Kind::received, kind, payload);
        return is_taken;
    }
    void put_gap(std::uint64_t missing) override { sink->put_gap(missing); }
    std::span<std::byte> receive_buffer(std::size_t at_least) override
    {
        return sink->receive_buffer(at_least);
    }
    std::span<std::byte> prepare(std::size_t payload_bytes) override
    {
        return prepared = guarded([&] { return sink->prepare(payload_bytes); });
    }
    void commit(MessageKind kind) override
    {
        record_message(Kind::received, kind, prepared); // after it the memory is the link's
        guarded([&] { sink->commit(kind); });
    }
    void on_bytes() override { sink->on_bytes(); }
    void on_pong(std::span<const std::byte> payload) override
    {
        record(Kind::pong, {}, payload);
        sink->on_pong(payload);
    }
    Task<bool> wait_for_room(Context ctx, TimePoint deadline) override
    {
        return sink->wait_for_room(ctx, deadline);
    }

    // BatchSource: records what is marked as written, before that ends its lifetime
    MessageView read(std::uint64_t& position) const override { return source->read(position); }
    void mark_written(std::size_t count, std::uint64_t end) override
    {
        record_sent(count, end);
        source->mark_written(count, end);
    }
    void mark_rest_unwritten() noexcept override { source->mark_rest_unwritten(); }
    void record_sent(std::size_t count, std::uint64_t end) noexcept
    {
        for (; count != 0 && unmarked < end; --count) {
            const auto message = source->read(unmarked);
            record_message(Kind::sent, message.kind(), message.bytes());
        }
    }

    void record(Kind kind, Bytes head, Bytes payload = {}, bool flushes = false) noexcept
    {
        if (is_unrecorded) {
            ++target.counts.state()->lost;
            ++target.counts.state()->unreported;
        }
        if (!writer)
            return;
        const auto now = context->now() - begin;
        last = std::max(last, now);
        writer->append(kind, last, head, payload, flushes);
        look_at_counts();
    }
    void record_message(Kind kind, MessageKind message_kind, Bytes payload) noexcept
    {
        const std::byte head{message_kind == MessageKind::text ? std::uint8_t{0} : std::uint8_t{1}};
        record(kind, {&head, 1}, payload);
    }
    /// `encode` puts the entry's fields into an Encoder. Without memory it is lost.
    template <class Encode>
    void record_fields(Kind kind, bool flushes, Encode encode) noexcept
    {
        try {
            std::vector<std::byte> bytes;
            Encoder out{bytes};
            encode(out);
            record(kind, bytes, {}, flushes);
        } catch (const std::bad_alloc&) {
        }
    }
    void record_end(RecordedEnd end, const Failure* why) noexcept
    {
        if (std::exchange(has_ended, true))
            return;
        record_fields(Kind::ended, true, [&](Encoder& out) {
            out.number(static_cast<std::uint8_t>(end));
            if (end == RecordedEnd::failed)
                recording::encode(out, *why);
        });
    }
    /// The end that is not the peer's doing, if it is none.
    [[nodiscard]] std::optional<RecordedEnd> own_end() const noexcept
    {
        if (is_closing)
            return RecordedEnd::closed;
        if (is_aborted || is_program_failing)
            return RecordedEnd::dropped;
        return std::nullopt;
    }
    void record_failed_end(Error code, const char* attempted) noexcept
    {
        const auto why = to_failure(std::current_exception(), code, attempted, target.endpoint);
        auto own = own_end();
        if (!own && why == Error::cancelled)
            own = RecordedEnd::dropped;
        // Only the peer's close explains more than a write that failed before
        if (write_failure && !is_closing && why != Error::closed_by_peer)
            record_end(RecordedEnd::failed, &*write_failure);
        else
            record_end(own.value_or(RecordedEnd::failed), &why);
    }

    /// Logs a failure of the recording, and the first loss, once for each connection.
    void look_at_counts() noexcept
    {
        if (is_loss_logged || (target.counts.lost() == lost_before && !writer->has_failed()))
            return;
        is_loss_logged = true;
        try {
            const auto failure = target.counts.failure();
            context->log(LogLevel::warning,
                         failure ? fmt::format("{}; the recording ends, the link goes on",
                                               failure->message())
                                 : fmt::format("the disk is too slow for the recording {}: entries "
                                               "are lost",
                                               target.file));
        } catch (const std::bad_alloc&) {
        }
    }

    const RecordingTarget target;            // sidecar side
    std::shared_ptr<FileWriter> writer{};    // sidecar side; null: nothing is recorded
    std::optional<WatchedContext> watched{}; // sidecar side
    std::optional<Context> context{};        // sidecar side
    TimePoint begin{};                       // sidecar side
    Duration last{};                         // sidecar side; the time of the last entry
    Sink* sink = nullptr;                    // sidecar side; the link's
    std::span<std::byte> prepared{};         // sidecar side; memory of a message that is not whole
    BatchSource* source = nullptr;           // sidecar side; the link's
    std::uint64_t unmarked = 0;  // sidecar side; position of the first message not recorded
    std::uint64_t batch_end = 0; // sidecar side; position behind the batch
    std::optional<Failure> write_failure{}; // sidecar side
    std::uint64_t lost_before = 0;          // sidecar side
    bool is_unrecorded = false;             // sidecar side; its entries are lost
    bool is_loss_logged = false;            // sidecar side
    bool is_closing = false;                // sidecar side
    bool is_aborted = false;                // sidecar side
    bool is_program_failing = false;        // sidecar side
    bool has_ended = true;                  // sidecar side; until begin()
};

Result<void> check_recording(const RecordingTarget& target) { return FileWriter::check(target); }

ConnectionRecorder::ConnectionRecorder(RecordingTarget target)
    : impl_{std::make_unique<Impl>(std::move(target))}
{
}

ConnectionRecorder::~ConnectionRecorder()
{
    auto& impl = *impl_;
    if (impl.write_failure && !impl.is_closing)
        impl.record_end(RecordedEnd::failed, &*impl.write_failure);
    else
        impl.record_end(impl.own_end().value_or(RecordedEnd::dropped), nullptr);
    if (!impl.writer)
        return;
    impl.writer->finish();
    impl.look_at_counts();
}

Context ConnectionRecorder::begin(Context ctx)
{
    auto& impl = *impl_;
    impl.context = ctx;
    impl.begin = ctx.now();
    impl.watched.emplace(ctx);
    impl.lost_before = impl.target.counts.lost();
    auto opened = FileWriter::open(impl.target);
    if (!opened && opened.error().is_passing() == false)
        throw Exception{opened.error()};
    impl.has_ended = false;
    impl.is_unrecorded = !opened;
    if (opened) {
        impl.writer = *opened;
        if (const auto bytes = impl.writer->cut_bytes(); bytes != 0)
            ctx.log(LogLevel::info,
                    fmt::format("the recording {} ended in a half block of {} bytes, which is cut "
                                "off",
                                impl.target.file, bytes));
    } else {
        ctx.log(LogLevel::warning, opened.error().message() + "; this connection is not recorded");
        auto& counts = *impl.target.counts.state();
        const std::lock_guard lock{counts.mutex};
        counts.failure = opened.error();
    }
    using std::chrono::system_clock;
    // On virtual time one run's recording is like another's
    const auto wall =
        impl.target.is_virtual
            ? ctx.now().time_since_epoch()
            : std::chrono::duration_cast<Duration>(system_clock::now().time_since_epoch());
    impl.record_fields(Kind::connecting, false, [&](Encoder& out) {
        out.number(wall.count());
        out.text(impl.target.endpoint);
    });
    return {*impl.watched, ctx.deadline()};
}

void ConnectionRecorder::connected(const ConnectionInfo& info) noexcept
{
    impl_->record_fields(Kind::connected, false, [&](Encoder& out) {
        out.text(info.peer);
        out.text(impl_->watched->protocol);
    });
}

void ConnectionRecorder::connect_failed() noexcept
{
    impl_->record_failed_end(Error::connect_failed, "connect");
}

void ConnectionRecorder::read_failed() noexcept
{
    impl_->record_failed_end(Error::disconnected, "read");
}

void ConnectionRecorder::write_failed() noexcept
{
    if (!impl_->write_failure && !impl_->own_end())
        impl_->write_failure = to_failure(std::current_exception(), Error::disconnected, "write",
                                          impl_->target.endpoint);
}

void ConnectionRecorder::closing(const CloseReason& reason) noexcept
{
    impl_->is_closing = true;
    impl_->record_fields(Kind::closing, false, [&](Encoder& out) {
        out.number(reason.code);
        out.text(reason.reason);
    });
}

void ConnectionRecorder::aborted() noexcept { impl_->is_aborted = true; }

void ConnectionRecorder::pinged(std::span<const std::byte> payload) noexcept
{
    impl_->record(Kind::ping, {}, payload);
}

Sink& ConnectionRecorder::watch(Sink& sink) noexcept
{
    impl_->sink = &sink;
    return *impl_;
}

Batch ConnectionRecorder::watch(Batch batch)
{
    impl_->source = &batch.source();
    impl_->unmarked = batch.begin_position();
    impl_->batch_end = batch.end_position();
    return {*impl_, batch.begin_position(), batch.end_position()};
}

void ConnectionRecorder::written() noexcept { impl_->record_sent(SIZE_MAX, impl_->batch_end); }

} // namespace detail
} // namespace sidecar
