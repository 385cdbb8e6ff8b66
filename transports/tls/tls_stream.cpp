#include "tls_stream.hpp"

#include "tls.hpp"
#include "uri.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

/// A record with its head and the bytes that encryption adds.
constexpr std::size_t whole_record_bytes = 17u << 10;

/// A waiting read has room for at most this much; the next pull() takes the rest. The ciphertext
/// arrives in the caller's memory for plaintext, so that a waiting link needs no other memory.
constexpr std::size_t max_in_one_wait = 4096;

/// One loop iteration takes at most this much from a peer that sends tickets or KeyUpdates without
/// pause.
constexpr std::size_t max_without_plaintext = 256u << 10;

/// First bytes of the peer that are kept for the text about a peer without TLS.
constexpr std::size_t max_heard_bytes = 128;

std::span<std::byte> span_of(asio::mutable_buffer buffer)
{
    return {static_cast<std::byte*>(buffer.data()), buffer.size()};
}

template <class Function>
struct OnExit {
    ~OnExit() { function(); }
    Function function;
};
template <class Function>
OnExit(Function) -> OnExit<Function>;

/// Removes the parts that no certificate has: an address's zone, the dot behind a name.
std::string wanted_name(std::string name)
{
    if (!http::address_bytes(name).empty())
        return name.substr(0, name.find('%'));
    if (name.ends_with('.'))
        name.pop_back();
    return name;
}

/// Returns the name to verify; may be empty without verification. Throws Exception: bad_options.
std::string name_to_verify(const TlsOptions& options, const std::string& host,
                           const std::string& endpoint)
{
    auto name = wanted_name(options.server_name.empty() ? host : options.server_name);
    const auto refuse = [&](const char* why) {
        throw Exception{
            Failure{Error::bad_options,
                    {.attempted = "prepare TLS", .endpoint = endpoint, .explanation = why}}};
    };
    if (name.empty() && !options.insecure_skip_verification)
        refuse("there is no host whose name could be verified: server_name is needed");
    if (!name.empty() && !http::validate_host_name(name)) // ".x" would match every name below x
        refuse("the host is neither a name nor an address");
    return name;
}

} // namespace

// --- the handshake

TlsStream::TlsStream(std::shared_ptr<Stream> below, std::vector<std::byte> early,
                     TlsContextPtr context, std::string wanted, std::string session_key)
    : below_{std::move(below)},
      engine_{std::move(context), std::move(wanted), std::move(session_key)},
      early_{std::move(early)}
{
}

Task<std::optional<FailureDetails>> TlsStream::shake_hands()
{
    for (;;) {
        const auto step = engine_.shake_hands();
        // This also sends our alert. If sending fails, the peer may have said why
        co_await flush();
        if (below_->is_aborted())
            throw boost::system::system_error{asio::error::operation_aborted};
        if (step == TlsEngine::Step::done)
            break;
        if (step == TlsEngine::Step::failed || step == TlsEngine::Step::closed)
            co_return why_failed();
        if (step == TlsEngine::Step::wants_output) {
            if (!send_error_)
                continue;
            below_end_ = send_error_;
        }
        if (auto why = co_await hear_more())
            co_return why;
    }
    is_shaking_hands_ = false;
    heard_ = {};
    co_return std::nullopt;
}

/// Waits for more of the handshake. Returns why it ends here; empty: it continues.
Task<std::optional<FailureDetails>> TlsStream::hear_more()
{
    const auto role = engine_.role();
    do {
        error_code ec;
        if (!below_end_)
            co_await wait_below(ec);
        if (ec)
            throw boost::system::system_error{ec};
        const bool is_over = below_end_ || heard_.size() == max_heard_bytes;
        const bool is_known = role == TlsRole::client ? heard_.find('\n') != heard_.npos
                                                      : !http_method_of(heard_).empty();
        if (!can_be_tls(heard_) && (is_over || is_known || !can_be_http(heard_, role)))
            speaks_tls_ = false;
        if (!speaks_tls_)
            co_return FailureDetails{.explanation = describe_not_tls(heard_, role),
                                     .http_status = http_status_of(heard_)};
    } while (!can_be_tls(heard_)); // HTTP: wait for its first line, or its method
    if (!below_end_)
        co_return std::nullopt;
    co_return FailureDetails{.cause = below_end_ == asio::error::eof ? error_code{} : below_end_,
                             .explanation = describe_early_end(role, !heard_.empty())};
}

FailureDetails TlsStream::why_failed() const
{
    if (const auto& refusal = engine_.refusal())
        return {.explanation = describe(*refusal), .is_passing = false};
    FailureDetails details{.explanation = describe(engine_.fault())};
    if (is_permanent(engine_.fault()))
        details.is_passing = false;
    return details;
}

// --- reading

Task<std::size_t> TlsStream::read_some(ReadBuffers into, error_code& ec)
{
    for (;;) {
        if (is_aborted_) {
            ec = asio::error::operation_aborted;
            co_return 0;
        }
        if (!is_drained_) {
            const auto got = pull(into, !below_->is_drained(), ec);
            if (got != 0 || ec)
                co_return got;
        }
        if (is_stuck_) {
            co_await flush();
            if (send_error_) {
                ec = send_error_;
                co_return 0;
            }
            is_stuck_ = false;
        } else {
            engine_.release_memory();
            co_await wait_below(into, ec);
            if (ec)
                co_return 0;
        }
        is_drained_ = false;
    }
}

std::size_t TlsStream::try_read(ReadBuffers into, error_code& ec)
{
    if (is_aborted_) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    return pull(into, true, ec);
}

/// Takes plaintext from OpenSSL, then from the stream below while there is room. Asks the stream
/// below at least once if `may_ask_below`.
std::size_t TlsStream::pull(ReadBuffers into, bool may_ask_below, error_code& ec)
{
    const auto room = asio::buffer_size(into);
    std::size_t got = 0, taken_in = 0;
    auto step = TlsEngine::Step::done;
    for (bool is_first = true;; is_first = false) {
        step = decrypt(into, got);
        if (step != TlsEngine::Step::wants_input || below_end_ || !may_ask_below
            || is_waiting_below_)
            break;
        if ((!is_first && below_->is_drained()) || taken_in >= max_without_plaintext)
            break;
        const auto more = ask_below(room - got);
        if (more == 0 && !below_end_)
            break;
        taken_in += more;
    }
    is_stuck_ = step == TlsEngine::Step::wants_output;
    is_drained_ = is_stuck_
                  || (step == TlsEngine::Step::wants_input && !below_end_
                      && (is_waiting_below_ || below_->is_drained()));
    has_read_ = has_read_ || got != 0;
    send_in_background(); // an answer, or the alert that names the peer's fault
    if (got == 0)
        ec = end_code(step);
    return got;
}

TlsEngine::Step TlsStream::decrypt(ReadBuffers into, std::size_t& got)
{
    auto step = TlsEngine::Step::done;
    std::size_t before = 0; // end of the buffers before this one
    for (const auto& buffer : into) {
        const auto rest = span_of(buffer + (got - before));
        before += buffer.size();
        if (rest.empty())
            continue;
        step = engine_.read(rest, got);
        if (got < before)
            break;
    }
    if (!engine_.has_input())
        release(std::move(input_));
    return step;
}

/// Receives from below without waiting, once all input is used. Returns the number of bytes.
std::size_t TlsStream::ask_below(std::size_t wanted)
{
    if (!input_)
        input_ = acquire_input();
    const auto size = std::clamp(wanted, whole_record_bytes, input_->size());
    error_code ec;
    const auto got = below_->try_read({asio::buffer(*input_, size)}, ec);
    engine_.set_input(std::span{*input_}.first(got));
    if (ec)
        below_end_ = ec;
    return got;
}

/// Waits for the peer's next bytes and passes them to the engine, or waits until another caller has
/// done so. `ec`: operation_aborted; then nothing was received.
Task<> TlsStream::wait_below(ReadBuffers into, error_code& ec)
{
    if (is_waiting_below_) {
        co_await came_.wait();
        co_return;
    }
    is_waiting_below_ = true;
    const OnExit wake_other{[this] { is_waiting_below_ = false, came_.set(); }};
    const auto first = std::min(into[0].size(), max_in_one_wait);
    const ReadBuffers landing{asio::buffer(into[0], first)};
    error_code end;
    auto got = asio::buffer_copy(landing, asio::buffer(std::exchange(early_, {})));
    if (got == 0)
        got = co_await below_->read_some(landing, end);
    below_->on_read(first, got);
    if (is_aborted_ || below_->is_aborted() || end == asio::error::operation_aborted) {
        ec = asio::error::operation_aborted;
        co_return;
    }
    if (end)
        below_end_ = end;
    const auto bytes = span_of(into[0]).first(got);
    if (is_shaking_hands_ && heard_.size() < max_heard_bytes)
        heard_.append(reinterpret_cast<const char*>(bytes.data()),
                      std::min(got, max_heard_bytes - heard_.size()));
    is_drained_ = false;
    if (got == 0)
        co_return;
    if (!input_)
        input_ = acquire_input();
    std::copy(bytes.begin(), bytes.end(), input_->begin());
    engine_.set_input(std::span{*input_}.first(got));
}

/// Does the same for callers without memory.
Task<> TlsStream::wait_below(error_code& ec)
{
    std::array<std::byte, max_in_one_wait> memory;
    const ReadBuffers into{asio::buffer(memory)};
    co_await wait_below(into, ec);
}

/// Returns the error of a read that found no plaintext.
error_code TlsStream::end_code(TlsEngine::Step step) const
{
    switch (step) {
    case TlsEngine::Step::closed: return asio::error::eof;
    case TlsEngine::Step::failed: return engine_.read_error(!has_read_);
    case TlsEngine::Step::wants_input:
        return below_end_ == asio::error::eof ? make_error_code(TlsEnd::truncated) : below_end_;
    default: return {};
    }
}

// --- writing

Task<std::size_t> TlsStream::write_some(std::span<const asio::const_buffer> from, error_code& ec)
{
    SealedRecords sealed;
    while (sealed.count == 0) {
        if (is_aborted_ || send_error_) {
            ec = is_aborted_ ? error_code{asio::error::operation_aborted} : send_error_;
            co_return 0;
        }
        const auto step = engine_.seal(from, sealed);
        if (sealed.count == 0 && (step != TlsEngine::Step::wants_input || below_end_))
            ec = below_end_ ? end_code(step) : make_error_code(TlsEnd::local);
        else if (sealed.count == 0)
            co_await wait_below(ec);
        if (ec)
            co_return 0;
    }
    auto taken = sealed.plain_bytes(engine_.put_bytes());
    co_await flush();
    engine_.release_memory();
    if (send_error_) {
        taken = sealed.plain_bytes(sent_bytes_);
        if (taken == 0 || is_aborted_)
            ec = send_error_;
    }
    co_return taken;
}

Task<> TlsStream::shutdown(error_code& ec)
{
    engine_.close_notify();
    co_await flush();
    ec = send_error_;
    if (!ec)
        co_await below_->shutdown(ec);
}

void TlsStream::abort() noexcept
{
    is_aborted_ = true;
    below_->abort();
    if (!send_error_)
        send_error_ = asio::error::operation_aborted;
    waiters_.wake();
}

// --- sending

/// Waits until all output so far is sent, or sending has failed. Any number of coroutines may wait.
Task<> TlsStream::flush()
{
    const auto self = shared_from_this();
    const auto put_bytes = engine_.put_bytes();
    while (!send_error_ && sent_bytes_ < put_bytes) {
        if (is_sending_) {
            co_await waiters_.wait();
        } else {
            is_sending_ = true;
            const OnExit end_turn{[this] { is_sending_ = false, waiters_.wake(); }};
            while (!send_error_ && sent_bytes_ < put_bytes)
                co_await send_some();
        }
    }
    send_in_background(); // output of the meantime
}

void TlsStream::send_in_background()
{
    if (is_sending_ || send_error_ || !has_more())
        return;
    is_sending_ = true;
    asio::co_spawn(below_->executor(), send_all(shared_from_this()),
                   [](std::exception_ptr) {}); // failures are in send_error_
}

Task<> TlsStream::send_all(std::shared_ptr<TlsStream> self)
{
    const OnExit end_turn{[&] { self->is_sending_ = false, self->waiters_.wake(); }};
    while (!self->send_error_ && self->has_more())
        co_await self->send_some();
}

bool TlsStream::has_more() noexcept { return at_ != sending_.size() || !engine_.output().empty(); }

Task<> TlsStream::send_some()
{
    if (at_ == sending_.size()) {
        at_ = 0;
        release(sending_);
        sending_ = std::exchange(engine_.output(), {});
    }
    const asio::const_buffer rest = asio::buffer(sending_) + at_;
    const std::span<const asio::const_buffer> from{&rest, 1};
    error_code ec;
    const auto sent = co_await below_->write_some(from, ec);
    if (below_->is_aborted())
        ec = asio::error::operation_aborted;
    at_ += sent;
    sent_bytes_ += sent;
    if (ec && !send_error_)
        send_error_ = ec;
    if (at_ == sending_.size() || send_error_) {
        at_ = 0;
        release(sending_);
    }
    waiters_.wake();
}

// --- for the transports

Task<std::shared_ptr<Stream>> secure(Context ctx, std::shared_ptr<Stream> below,
                                     TlsContextPtr context, std::string host, std::string endpoint,
                                     std::vector<std::byte> early, std::string hint)
{
    const auto& options = context->options;
    const auto name = name_to_verify(options, host, endpoint);
    if (options.insecure_skip_verification)
        ctx.log(LogLevel::warning,
                fmt::format("TLS to {} is not secure: the certificate is not verified "
                            "(insecure_skip_verification), so that anybody in between can read and "
                            "change everything",
                            endpoint));
    const auto session_key = fmt::format("{} {}", name, endpoint);
    const auto tls =
        std::make_shared<TlsStream>(below, std::move(early), context, name, session_key);
    auto why = co_await tls->shake_hands();
    if (!why && !options.insecure_skip_verification && !tls->is_verified()) // should be impossible
        why = FailureDetails{.explanation = "the peer showed no certificate that could be verified",
                             .is_passing = false};
    if (!why)
        co_return tls;
    if (!tls->speaks_tls() && !hint.empty())
        why->explanation += "; " + hint;
    context->sessions.forget(session_key);
    error_code gone;                // ignored: the peer may be gone
    co_await below->shutdown(gone); // lets the peer read our alert before the socket closes
    throw Exception{insecure(*std::move(why), endpoint)};
}

bool is_truncated(error_code ec) noexcept { return ec == make_error_code(TlsEnd::truncated); }

std::optional<Failure> tls_refusal(error_code ec, const std::string& endpoint)
{
    if (ec.category() != tls_category() || ec.value() < static_cast<int>(TlsEnd::refusal))
        return std::nullopt;
    return insecure(
        {.explanation = "the peer refused the handshake with the " + alert_text(ec.value() % 1000),
         .is_passing = false},
        endpoint);
}

} // namespace sidecar::stream
