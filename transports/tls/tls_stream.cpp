#include "tls_stream.hpp"

#include "error.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

/// A record with its head and what encryption adds.
constexpr std::size_t whole_record_bytes = 17u << 10;

/// What a read that has to wait makes room for; it lands where the plaintext is to stand, so that a
/// link that waits needs no memory. If more has come, the next look takes it.
constexpr std::size_t most_in_one_wait = 4096;

/// A peer that sends without pause what is no plaintext (tickets, KeyUpdate) gets no more than this
/// of one turn.
constexpr std::size_t most_without_plaintext = 256u << 10;

/// Of the peer's first bytes, for the text that says what it speaks instead of TLS.
constexpr std::size_t most_heard_bytes = 128;

std::span<std::byte> span_of(asio::mutable_buffer buffer)
{
    return {static_cast<std::byte*>(buffer.data()), buffer.size()};
}

error_code code_of(const HandshakeFault& fault, bool has_read)
{
    if (!fault.is_ssl)
        return make_error_code(TlsEnd::local);
    if (const int alert = fault.reason - SSL_AD_REASON_OFFSET; alert >= 0 && alert < 256)
        return alert_code(has_read ? TlsEnd::alert : TlsEnd::refusal, alert);
    switch (fault.reason) {
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_LENGTH_MISMATCH: return make_error_code(TlsEnd::bad_record);
    default: return make_error_code(TlsEnd::protocol);
    }
}

} // namespace

Tls::Tls(std::shared_ptr<Stream> below, std::shared_ptr<TlsEngine> engine)
    : below_{std::move(below)},
      engine_{std::move(engine)},
      pump_{std::make_shared<TlsPump>(below_, engine_)}
{
}

// --- the handshake

Task<std::string> Tls::shake_hands(error_code& ec)
{
    for (;;) {
        const auto step = engine_->shake_hands();
        // Also the alert with which we refuse. Where it fails, the peer may have said why
        co_await pump_->flush(engine_->put_bytes());
        if (below_->is_aborted()) {
            ec = asio::error::operation_aborted;
            co_return "aborted";
        }
        if (step == TlsEngine::Step::done)
            break;
        if (step == TlsEngine::Step::failed || step == TlsEngine::Step::closed)
            co_return why_failed();
        if (step == TlsEngine::Step::wants_output) {
            if (pump_->error())
                ended_below(pump_->error());
            else
                continue;
        }
        auto why = co_await hear_more(ec);
        if (!why.empty())
            co_return why;
    }
    is_shaking_hands_ = false;
    heard_ = {};
    co_return std::string{};
}

/// Gives why that was the end; empty: it was not.
Task<std::string> Tls::hear_more(error_code& ec)
{
    std::array<std::byte, most_in_one_wait> memory;
    const ReadBuffers into{asio::buffer(memory)};
    do {
        if (!below_end_)
            co_await wait_below(into, ec);
        if (ec)
            co_return "aborted";
        const bool is_over = below_end_ || heard_.size() == most_heard_bytes;
        if (!can_be_tls(heard_)
            && (is_over || !can_be_http(heard_) || heard_.find('\n') != heard_.npos))
            co_return describe_not_tls(heard_);
    } while (!can_be_tls(heard_)); // the first line of an answer is waited for
    if (!below_end_)
        co_return std::string{};
    if (below_end_ != asio::error::eof)
        ec = below_end_;
    co_return heard_.empty() ? "the peer ended the connection before it answered in the handshake"
                             : "the peer ended the connection in the middle of the handshake";
}

std::string Tls::why_failed() const
{
    return engine_->refusal() ? describe(*engine_->refusal()) : describe(engine_->fault());
}

// --- reading

Task<std::size_t> Tls::read_some(ReadBuffers into, error_code& ec)
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
            co_await pump_->flush(engine_->put_bytes());
            if (pump_->error()) {
                ec = pump_->error();
                co_return 0;
            }
            is_stuck_ = false;
        } else {
            engine_->release_memory();
            co_await wait_below(into, ec);
            if (ec)
                co_return 0;
        }
        is_drained_ = false;
    }
}

std::size_t Tls::try_read(ReadBuffers into, error_code& ec)
{
    if (is_aborted_) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    return pull(into, true, ec);
}

/// What OpenSSL holds, and as long as there is room what the stream below has; the latter is asked
/// at least once if it may be.
std::size_t Tls::pull(ReadBuffers into, bool may_ask_below, error_code& ec)
{
    const auto room = asio::buffer_size(into);
    std::size_t got = 0, taken_in = 0;
    auto step = TlsEngine::Step::done;
    for (bool is_first = true;; is_first = false) {
        step = decrypt(into, got);
        if (step != TlsEngine::Step::wants_input || below_end_ || !may_ask_below)
            break;
        if ((!is_first && below_->is_drained()) || taken_in >= most_without_plaintext)
            break;
        const auto more = ask_below(room - got);
        if (more == 0 && !below_end_)
            break;
        taken_in += more;
    }
    is_stuck_ = step == TlsEngine::Step::wants_output;
    is_drained_ =
        is_stuck_ || (step == TlsEngine::Step::wants_input && !below_end_ && below_->is_drained());
    has_read_ = has_read_ || got != 0;
    pump_->start(); // an answer, or the alert that tells the peer what it did wrong
    if (got == 0)
        ec = end_code(step);
    return got;
}

TlsEngine::Step Tls::decrypt(ReadBuffers into, std::size_t& got)
{
    auto step = TlsEngine::Step::done;
    std::size_t before = 0; // of this buffer
    for (const auto& buffer : into) {
        const auto rest = span_of(buffer + (got - before));
        before += buffer.size();
        if (rest.empty())
            continue;
        step = engine_->read(rest, got);
        if (got < before)
            break;
    }
    if (!engine_->has_input())
        give_back(std::move(input_));
    return step;
}

/// Takes in what is there, if all before was used; gives how much.
std::size_t Tls::ask_below(std::size_t wanted)
{
    if (!input_)
        input_ = lend_input();
    const auto size = std::clamp(wanted, whole_record_bytes, input_->size());
    error_code ec;
    const auto got = below_->try_read({asio::buffer(*input_, size)}, ec);
    engine_->set_input(std::span{*input_}.first(got));
    if (ec)
        ended_below(ec);
    return got;
}

/// Waits for the first of what comes next, and takes it in. `ec`: operation_aborted, of which
/// nothing stays.
Task<> Tls::wait_below(ReadBuffers into, error_code& ec)
{
    const auto first = std::min(into[0].size(), most_in_one_wait);
    const ReadBuffers landing{asio::buffer(into[0], first)};
    error_code end;
    const auto got = co_await below_->read_some(landing, end);
    if (is_aborted_ || below_->is_aborted() || end == asio::error::operation_aborted) {
        ec = asio::error::operation_aborted;
        co_return;
    }
    if (end)
        ended_below(end);
    const auto bytes = span_of(into[0]).first(got);
    if (is_shaking_hands_ && heard_.size() < most_heard_bytes)
        heard_.append(reinterpret_cast<const char*>(bytes.data()),
                      std::min(got, most_heard_bytes - heard_.size()));
    if (got == 0)
        co_return;
    if (!input_)
        input_ = lend_input();
    std::copy(bytes.begin(), bytes.end(), input_->begin());
    engine_->set_input(std::span{*input_}.first(got));
}

void Tls::ended_below(error_code ec) { below_end_ = ec; }

/// What is told where no plaintext came.
error_code Tls::end_code(TlsEngine::Step step) const
{
    switch (step) {
    case TlsEngine::Step::closed: return asio::error::eof;
    case TlsEngine::Step::failed: return code_of(engine_->fault(), has_read_);
    case TlsEngine::Step::wants_input:
        return below_end_ == asio::error::eof ? make_error_code(TlsEnd::truncated) : below_end_;
    default: return {};
    }
}

// --- writing

Task<std::size_t> Tls::write_some(std::span<const asio::const_buffer> from, error_code& ec)
{
    if (is_aborted_ || pump_->error()) {
        ec = is_aborted_ ? error_code{asio::error::operation_aborted} : pump_->error();
        co_return 0;
    }
    SealedRecords sealed;
    auto taken = engine_->seal(from, sealed);
    if (taken == 0) {
        ec = make_error_code(TlsEnd::local);
        co_return 0;
    }
    co_await pump_->flush(engine_->put_bytes());
    engine_->release_memory();
    if (pump_->error()) {
        taken = sealed.plain_bytes(pump_->sent_bytes());
        if (taken == 0 || is_aborted_)
            ec = pump_->error();
    }
    co_return taken;
}

Task<> Tls::shutdown(error_code& ec)
{
    engine_->say_goodbye();
    co_await pump_->flush(engine_->put_bytes());
    ec = pump_->error();
    if (!ec)
        co_await below_->shutdown(ec);
}

void Tls::abort() noexcept
{
    is_aborted_ = true;
    below_->abort();
    pump_->abort();
}

} // namespace sidecar::stream
