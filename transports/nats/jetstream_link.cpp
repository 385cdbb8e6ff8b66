#include "jetstream_link.hpp"

#include "jetstream_sink.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <utility>

namespace sidecar::nats {

namespace asio = boost::asio;

namespace {

/// A stream has this long to confirm the next message.
constexpr Duration confirm_time = std::chrono::seconds{5};

/// A batch whose messages count as written when JetStreamLink says so, not when the system has them.
class Unmarked final : public BatchSource {
public:
    explicit Unmarked(const BatchSource& source) noexcept : source_{source} {}
    MessageView read(std::uint64_t& position) const override { return source_.read(position); }
    void mark_written(std::size_t, std::uint64_t) override {}

private:
    const BatchSource& source_; // sidecar side
};

void answer(stream::Writer& writer, std::string_view lines)
{
    if (!lines.empty())
        writer.answer(std::as_bytes(std::span{lines}));
}

} // namespace

JetStreamLink::JetStreamLink(const Nats::Options& options, const Attempt& attempt,
                             std::string_view inbox, Encoder& encoder)
{
    inbox.remove_suffix(1);
    if (options.publish_to_stream)
        encoder.set_publications(publications_.emplace(fmt::format("{}-published.", inbox)));
    if (!options.consumer)
        return;
    const auto& position = options.position.state();
    if (attempt.connection <= 1) // another run may have used it
        *position = {};
    puller_.emplace(*options.consumer, position, fmt::format("{}-consumer.", inbox));
}

JetStreamLink::~JetStreamLink()
{
    if (!ticker_)
        return;
    ticker_->of = nullptr;
    ticker_->timer.cancel();
}

void JetStreamLink::begin(std::string& out, Subscriber& subscriber, TimePoint now)
{
    if (publications_)
        subscriber.append(out, {.subject = publications_->inbox() + '*'});
    if (!puller_)
        return;
    subscriber.append(out, {.subject = puller_->inbox() + '*'});
    puller_->begin(out, now);
}

void JetStreamLink::Ticker::arm(const std::shared_ptr<Ticker>& ticker)
{
    ticker->timer.expires_after(Puller::tick_time);
    ticker->timer.async_wait([ticker](error_code ec) {
        if (ec || !ticker->of)
            return;
        if (ticker->of->is_reading_) { // else the inbox is full, and nothing more should come
            std::string lines;
            ticker->of->puller_->tick(lines, ticker->ctx.now());
            answer(*ticker->writer, lines);
        }
        arm(ticker);
    });
}

Task<> JetStreamLink::read(Context ctx, stream::Reader& reader, stream::Stream& from, Sink& sink,
                           Decoder& decoder, std::shared_ptr<stream::Writer> writer)
{
    if (puller_ && !ticker_) {
        ticker_.reset(new Ticker{asio::steady_timer{ctx.executor()}, this, ctx, writer});
        Ticker::arm(ticker_);
    }
    std::string lines;
    JetStreamSink sorted{sink, puller_ ? &*puller_ : nullptr,
                         publications_ ? &*publications_ : nullptr, lines, ctx};
    struct Reading {
        bool& is_reading;
        ~Reading() { is_reading = false; }
    };
    const Reading until_it_ends{is_reading_ = true};
    co_await reader.read(from, sorted, decoder);
    answer(*writer, lines);
    confirmed_.wake();
}

Task<> JetStreamLink::write(Context ctx, Batch batch, stream::Writer& writer, Encoder& encoder)
{
    if (!publications_)
        co_return co_await writer.write(batch, encoder);
    bool is_refused = false;
    try {
        Unmarked source{batch.source()};
        co_await writer.write({source, batch.begin_position(), batch.end_position()}, encoder);
        for (auto until = deadline_after(ctx.now(), confirm_time);;) {
            const auto taken = publications_->take_acknowledged();
            if (taken.count != 0)
                until = deadline_after(ctx.now(), confirm_time);
            is_refused = taken.refusal.has_value();
            // Also for none: then the first one behind is lost, and no other
            batch.mark_written(taken.count);
            if (is_refused)
                throw Exception{*taken.refusal};
            if (publications_->empty())
                co_return;
            throw_if_over();
            const bool is_in_time = co_await confirmed_.wait(ctx, until);
            if (!is_in_time && !is_reading_) // the inbox is full, and the answers are behind it
                until = deadline_after(ctx.now(), confirm_time);
            else if (!is_in_time)
                throw Exception{
                    Failure{Error::disconnected,
                            {.attempted = "publish to a stream",
                             .explanation = "no stream has confirmed a message in time"}}};
        }
    } catch (...) {
        if (!is_refused)
            batch.mark_rest_unwritten();
        throw;
    }
}

void JetStreamLink::throw_if_over() const
{
    if (end_)
        throw Exception{*end_};
    if (is_over_)
        throw boost::system::system_error{asio::error::operation_aborted};
}

void JetStreamLink::end(std::optional<Failure> why) noexcept
{
    is_over_ = true;
    if (!end_)
        end_ = std::move(why);
    confirmed_.wake();
}

} // namespace sidecar::nats
