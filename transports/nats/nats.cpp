#include <sidecar/transports/nats.hpp>

#include "connector.hpp"
#include "jetstream_link.hpp"
#include "options.hpp"
#include "protocol.hpp"
#include "reader.hpp"
#include "server_pool.hpp"
#include "subjects.hpp"
#include "text.hpp"
#include "tls/tls.hpp"
#include "uri.hpp"
#include "writer.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <utility>

namespace sidecar {

namespace asio = boost::asio;

namespace {

/// While there are others to try, a server has this long to let us in.
constexpr Duration server_time = std::chrono::seconds{2};

/// A connection logs so many errors that do not end it.
constexpr unsigned max_logged_errors = 16;

/// Above Options::max_message_bytes: for a subject, a reply, and what headers cost in the inbox.
constexpr std::size_t max_envelope_bytes = 16u << 10;

/// Returns how long one of the servers that are left may take.
Duration time_for(TimePoint now, TimePoint deadline, std::size_t left)
{
    return left <= 1 ? Duration::max()
                     : std::min(server_time, (deadline - now) / static_cast<int>(left));
}

} // namespace

namespace nats {

std::shared_ptr<Cluster> make_cluster() { return std::make_shared<Cluster>(); }

namespace {

/// A server that is being tried or used. Its timer may outlive the transport, so it is shared.
struct Way {
    explicit Way(const Attempt& attempt) : connector{attempt} {}
    void abort() noexcept
    {
        connector.abort();
        if (below)
            below->abort();
    }
    void be_late() noexcept
    {
        is_late = true;
        abort();
    }

    stream::Connector connector;             // sidecar side
    std::shared_ptr<stream::Stream> below{}; // sidecar side; null until dialled
    std::string endpoint{};                  // sidecar side
    std::string tls_host{};                  // sidecar side; the name of its certificate
    bool is_late = false;                    // sidecar side
};

} // namespace
} // namespace nats

/// One connection, owned by its Nats. Side: the loop's thread. Invariants: no read succeeds once
/// `end_` is set; `pongs_` has an entry for each PING that goes to the server, in order.
class Nats::Impl final : public nats::Control {
public:
    Impl(const Options& options, const Attempt& attempt)
        : options_{options},
          attempt_{attempt},
          urls_{nats::parse_urls(options.url).value()},
          order_{options.keep_order ? nats::ServerOrder::given : nats::ServerOrder::random},
          encoder_{std::string{nats::subject_of(options, urls_)},
                   fmt::format("{}.{:016x}{:016x}.", options.inbox_prefix, nats::draw_seed(),
                               nats::draw_seed()),
                   subscriber_}
    {
        const auto credentials = nats::credentials_of(options, urls_);
        for (const auto* secret :
             {&credentials.password, &credentials.token, &credentials.nkey_seed})
            secrets_.add(*secret);
        if (!options_.cluster)
            options_.cluster = nats::make_cluster();
        if (nats::JetStreamLink::is_used(options)) // these options, not the copy: see Position
            jetstream_ = std::make_unique<nats::JetStreamLink>(options, attempt,
                                                               encoder_.reply_prefix(), encoder_);
    }

    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Context ctx, Batch batch)
    {
        return jetstream_ ? jetstream_->write(ctx, batch, *writer_, encoder_)
                          : writer_->write(batch, encoder_);
    }
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(Context ctx);
    void abort() noexcept
    {
        is_aborted_ = true;
        if (way_)
            way_->abort();
        if (jetstream_)
            jetstream_->end({});
        over_.wake();
    }
    [[nodiscard]] ConnectionInfo connection_info();
    [[nodiscard]] std::string failure_note() const
    {
        return way_ ? way_->connector.failure_note() : std::string{};
    }

    void on_ping() override;
    void on_pong(Sink& sink) override;
    void on_info(nats::ServerInfo info) override;
    void on_error(std::string_view text) override;

private:
    using PingPayload = std::array<std::byte, 8>;

    Task<> connect_to(Context ctx, std::string address, Duration time);
    Task<> greet(Context ctx, std::vector<std::byte> bytes);
    Task<> hear_until(const bool& is_heard, std::vector<std::byte>& bytes);
    [[nodiscard]] Failure failure_of(const std::exception_ptr& exception) const;
    void demand_greeted() const;
    [[nodiscard]] bool is_before_tls(const nats::ServerInfo& info) const
    {
        return !has_info_ && !options_.tls_first && (urls_.is_secure || info.is_tls_required);
    }
    void flush();

    Options options_;                                // sidecar side
    const Attempt attempt_;                          // sidecar side
    const nats::Urls urls_;                          // sidecar side
    const nats::ServerOrder order_;                  // sidecar side
    http::Secrets secrets_;                          // sidecar side
    std::shared_ptr<nats::Way> way_;                 // sidecar side; null until connecting
    nats::ServerInfo info_;                          // sidecar side; the first of the connection
    nats::Subscriber subscriber_;                    // sidecar side
    std::optional<nats::Decoder> decoder_;           // sidecar side; empty until dialled
    nats::Encoder encoder_;                          // sidecar side
    std::unique_ptr<nats::JetStreamLink> jetstream_; // sidecar side; null: it is not used
    stream::Reader reader_;                          // sidecar side
    std::shared_ptr<stream::Writer> writer_;         // sidecar side; null until we answer the INFO
    std::deque<std::optional<PingPayload>> pongs_;   // sidecar side; without payload: of flush()
    std::optional<Context> reading_;                 // sidecar side; of the latest read
    std::optional<Failure> end_;                     // sidecar side; why reads fail from now on
    stream::Waiters over_;                           // sidecar side; close() waits for it
    unsigned logged_errors_ = 0;                     // sidecar side
    bool has_info_ = false;                          // sidecar side; info_ is of this server
    bool is_in_ = false;                             // sidecar side; the server has let us in
    bool is_aborted_ = false;                        // sidecar side
    bool is_leaving_ = false;                        // sidecar side; the server is a lame duck
    bool is_flushing_ = false;                       // sidecar side; nothing more is sent
    bool is_flushed_ = false;                        // sidecar side; the server has all
};

// --- connecting

Task<> Nats::Impl::connect(Context ctx)
{
    reading_ = ctx; // a server may refuse subscriptions in the same breath that lets us in
    for (std::size_t tried = 0;; ++tried) {
        auto [address, count] = options_.cluster->next(urls_.addresses, order_);
        const auto left = count - std::min(count, tried);
        const auto time = time_for(ctx.now(), ctx.deadline(), left);
        std::optional<Failure> failure;
        try {
            co_await connect_to(ctx, std::move(address), time);
        } catch (...) {
            failure = failure_of(std::current_exception());
        }
        if (!failure)
            break;
        way_->abort();
        if (left <= 1 || is_aborted_ || !is_retryable(*failure) || *failure == Error::cancelled)
            throw Exception{*failure};
        ctx.log(LogLevel::info, failure->message());
    }
}

Task<> Nats::Impl::connect_to(Context ctx, std::string address, Duration time)
{
    const auto way = std::make_shared<nats::Way>(attempt_);
    way_ = way;
    if (is_aborted_) // before this coroutine began
        way->abort();
    auto target = nats::target_of(options_, urls_, address);
    way->endpoint = target.endpoint;
    // A cluster names its servers by address; their certificates are for the name that was given
    way->tls_host = http::address_bytes(target.host).empty() ? target.host : urls_.host;
    if (target.tls && target.tls->server_name.empty())
        target.tls->server_name = way->tls_host;
    asio::steady_timer timer{ctx.executor()};
    if (time != Duration::max()) {
        timer.expires_after(time);
        timer.async_wait([way](error_code ec) {
            if (!ec)
                way->be_late();
        });
    }
    auto connected = co_await way->connector.connect(ctx, std::move(target));
    way->below = std::move(connected.stream);
    co_await greet(ctx, std::move(connected.early));
}

/// Does everything from the server's INFO to its PONG. `bytes` have already arrived.
Task<> Nats::Impl::greet(Context ctx, std::vector<std::byte> bytes)
{
    auto& below = way_->below;
    const auto shown = "of NATS with " + below->peer();
    ctx.phase(Phase::handshaking, shown);
    decoder_.emplace(max_message_bytes(options_), *this);
    writer_.reset();
    has_info_ = false;
    co_await hear_until(has_info_, bytes);
    if (!options_.tls_first && (urls_.is_secure || info_.is_tls_required)) {
        if (!info_.is_tls_required && !info_.is_tls_available)
            throw Exception{
                Failure{Error::tls_failed,
                        {.attempted = "connect",
                         .endpoint = way_->endpoint,
                         .explanation = "the URL demands TLS, and the server offers none"}}};
        if (!bytes.empty()) // anybody on the way could have put them there
            throw Exception{nats::violation("bytes before TLS began", {})};
        ctx.phase(Phase::securing, "with " + below->peer());
        auto tls = stream::prepare_tls(options_.tls, way_->endpoint).value();
        below = co_await stream::secure(ctx, below, std::move(tls), way_->tls_host, way_->endpoint);
        ctx.phase(Phase::handshaking, shown);
    }
    writer_ = std::make_shared<stream::Writer>(below);
    // The subscriptions follow the PING, so no message comes before its PONG
    auto text = nats::connect_line(options_, urls_, info_).append(nats::ping_line);
    for (const auto& [subject, queue] : options_.subscriptions)
        subscriber_.append(text, {.subject = subject, .queue = queue});
    if (jetstream_)
        jetstream_->begin(text, subscriber_, ctx.now());
    writer_->ask(std::as_bytes(std::span{text}));
    co_await hear_until(is_in_, bytes);
    reader_.push(bytes);
}

/// Obeys the server's lines until `is_heard`. Leaves the bytes behind them, which may be messages.
/// Lifetime: both outlive it.
Task<> Nats::Impl::hear_until(const bool& is_heard, std::vector<std::byte>& bytes)
{
    struct NoRoom final : Sink {
        bool put(MessageKind, std::span<const std::byte>) override { return false; }
    } no_room;
    for (;;) {
        const auto pass = decoder_->decode(bytes, no_room);
        bytes.erase(bytes.begin(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(pass.consumed_bytes));
        if (is_heard)
            co_return;
        if (pass.refused)
            throw Exception{nats::violation("a message before it let us in", {})};
        const auto old = bytes.size();
        bytes.resize(old + 4096);
        error_code ec;
        const stream::ReadBuffers into{asio::buffer(bytes) + old};
        bytes.resize(old + co_await way_->below->read_some(into, ec));
        if (way_->below->is_aborted())
            ec = asio::error::operation_aborted;
        if (ec)
            throw boost::system::system_error{ec};
    }
}

ConnectionInfo Nats::Impl::connection_info()
{
    return {.peer = way_->below->peer(),
            .headers = std::move(info_.facts),
            .tls = way_->below->tls_info(),
            .max_send_bytes = info_.max_payload,
            .reply_prefix = encoder_.reply_prefix()};
}

// --- reading

Task<> Nats::Impl::read(Context ctx, Sink& sink)
{
    std::exception_ptr exception;
    reading_ = ctx;
    try {
        if (jetstream_)
            co_await jetstream_->read(ctx, reader_, *way_->below, sink, *decoder_, writer_);
        else
            co_await reader_.read(*way_->below, sink, *decoder_);
    } catch (...) {
        exception = std::current_exception();
    }
    if (!exception)
        co_return;
    end_ = failure_of(exception);
    if (jetstream_)
        jetstream_->end(end_);
    over_.wake();
    throw Exception{*end_};
}

/// Before that nothing comes but one INFO, so nobody can put lines of his before TLS.
void Nats::Impl::demand_greeted() const
{
    if (!writer_)
        throw Exception{nats::violation("a line that is not one INFO before ours", {})};
}

void Nats::Impl::on_ping()
{
    demand_greeted();
    writer_->answer(std::as_bytes(std::span{nats::pong_line}));
}

void Nats::Impl::on_pong(Sink& sink)
{
    demand_greeted();
    if (!std::exchange(is_in_, true) || pongs_.empty())
        return;
    const auto payload = pongs_.front();
    pongs_.pop_front();
    if (payload)
        return sink.on_pong(*payload);
    is_flushed_ = true;
    over_.wake();
    if (is_leaving_)
        throw Exception{
            Failure{Error::closed_by_peer,
                    {.attempted = "read",
                     .endpoint = way_->endpoint,
                     .explanation = "the server is about to shut down (lame duck mode)"}}};
}

void Nats::Impl::on_info(nats::ServerInfo info)
{
    if (has_info_)
        demand_greeted();
    // Before TLS anybody on the way could name a server that has a certificate. Those that are
    // addresses need one for the host that was given.
    if (is_before_tls(info))
        std::erase_if(info.connect_urls, nats::has_name);
    const auto count = options_.cluster->learn(urls_.addresses, order_, info.connect_urls);
    if (info.is_lame_duck && count > 1 && has_info_ && !is_flushing_) {
        is_leaving_ = true;
        flush();
    }
    if (!std::exchange(has_info_, true))
        info_ = std::move(info);
}

void Nats::Impl::on_error(std::string_view text)
{
    const auto said =
        fmt::format("the server says {}", secrets_.redact(http::quote(text, text.size())));
    if (auto error = nats::judge_error(text)) {
        if (!is_in_ && *error != Error::login_refused)
            error = Error::connect_failed;
        throw Exception{Failure{*error,
                                {.attempted = is_in_ ? "read" : "connect",
                                 .endpoint = way_->endpoint,
                                 .explanation = said}}};
    }
    if (!reading_ || logged_errors_ == max_logged_errors)
        return;
    const bool is_last = ++logged_errors_ == max_logged_errors;
    reading_->log(LogLevel::error,
                  fmt::format("{}: {}{}", way_->endpoint, said,
                              is_last ? "; this connection logs no more of these" : ""));
}

/// Of connecting or of a read.
Failure Nats::Impl::failure_of(const std::exception_ptr& exception) const
{
    const auto* const attempted = is_in_ ? "read" : "connect";
    try {
        std::rethrow_exception(exception);
    } catch (const Exception& e) {
        return e.failure().endpoint().empty()
                   ? e.failure().with_attempt(e.failure().attempted(), way_->endpoint)
                   : e.failure();
    } catch (const boost::system::system_error& e) {
        if (auto refusal = stream::tls_refusal(e.code(), way_->endpoint))
            return *refusal;
        FailureDetails details{
            .attempted = attempted, .endpoint = way_->endpoint, .cause = e.code()};
        if (!is_in_)
            details.explanation = way_->is_late ? "it took too long beside others"
                                                : "the server had not let us in yet";
        else if (stream::is_truncated(e.code()))
            details.explanation = "truncated";
        const bool is_cancelled = e.code() == asio::error::operation_aborted && !way_->is_late;
        return {is_cancelled ? Error::cancelled
                : is_in_     ? Error::disconnected
                             : Error::connect_failed,
                std::move(details)};
    } catch (...) {
        return to_failure(exception, Error::protocol_violation, attempted, way_->endpoint);
    }
}

// --- writing and closing

Task<> Nats::Impl::ping(Context ctx, std::span<const std::byte> payload)
{
    if (is_flushing_)
        co_return;
    PingPayload copy{};
    std::copy_n(payload.begin(), std::min(payload.size(), copy.size()), copy.begin());
    pongs_.emplace_back(copy);
    writer_->ask(std::as_bytes(std::span{nats::ping_line}));
    (void)co_await writer_->wait_written(ctx, TimePoint::max());
}

/// Ends the subscriptions, so that other members of a queue group get what comes from now on. Sends
/// a last PING; its PONG says that the server has all that went before, and that we have all of it.
void Nats::Impl::flush()
{
    is_flushing_ = true;
    if (writer_->has_question()) // it is dropped now
        pongs_.pop_back();
    pongs_.emplace_back();
    std::string text;
    subscriber_.append_end(text);
    text += nats::ping_line;
    writer_->finish(std::as_bytes(std::span{text}));
}

Task<> Nats::Impl::close(Context ctx)
{
    if (!is_flushing_)
        flush();
    while (!is_flushed_ && !end_ && !is_aborted_)
        co_await over_.wait();
    if (is_flushed_) {
        try {
            (void)co_await writer_->shut_down(ctx, ctx.deadline());
        } catch (const boost::system::system_error&) { // the server has all
        }
        co_return;
    }
    if (!end_)
        throw boost::system::system_error{asio::error::operation_aborted};
    throw Exception{*end_};
}

// --- the transport

std::string Nats::endpoint(const Options& options) { return http::redact_text(options.url); }

std::size_t Nats::max_message_bytes(const Options& options)
{
    return options.max_message_bytes + max_envelope_bytes;
}

Result<void> Nats::check(const Options& options) { return nats::validate(options); }

Result<void> Nats::check_send(const Options& options, const MessageView& message)
{
    return nats::validate_send(options, message);
}

Nats::Nats(const Options& options, const Attempt& attempt)
    : impl_{std::make_unique<Impl>(options, attempt)}
{
}
Nats::~Nats() = default;

Task<> Nats::connect(Context ctx) { return impl_->connect(ctx); }
Task<> Nats::read(Context ctx, Sink& sink) { return impl_->read(ctx, sink); }
Task<> Nats::write(Context ctx, Batch batch) { return impl_->write(ctx, batch); }
Task<> Nats::ping(Context ctx, std::span<const std::byte> payload)
{
    return impl_->ping(ctx, payload);
}
Task<> Nats::close(Context ctx, CloseReason) { return impl_->close(ctx); }
void Nats::abort() noexcept { impl_->abort(); }
ConnectionInfo Nats::connection_info() { return impl_->connection_info(); }
std::string Nats::failure_note() const { return impl_->failure_note(); }

} // namespace sidecar
