#include "engine.hpp"

#include <boost/beast/core/buffers_prefix.hpp>
#include <boost/beast/core/buffers_suffix.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;
namespace beast = boost::beast;

namespace {

using Pieces = std::span<const asio::const_buffer>;

/// Larger output is not kept: only a handshake with a very long client chain needs it.
constexpr std::size_t max_spare_output_bytes = 128u << 10;

// One of each, on the heap: a large thread_local would take stack of every thread. TLS within TLS,
// or a link with leftovers, allocates its own
thread_local std::unique_ptr<TlsInput> spare_input;
thread_local std::vector<std::byte> spare_output;

/// Returns the content of the next record: from the first piece if it has all of it, else collected
/// in `staging`.
std::span<const std::byte> next_record(const beast::buffers_suffix<Pieces>& rest,
                                       std::span<std::byte> staging)
{
    const auto first = asio::buffer(beast::buffers_front(rest), staging.size());
    if (first.size() == staging.size() || first.size() == asio::buffer_size(rest))
        return {static_cast<const std::byte*>(first.data()), first.size()};
    return staging.first(asio::buffer_copy(asio::buffer(staging.data(), staging.size()), rest));
}

void on_renegotiation(const SSL* ssl, int where, int alert)
{
    constexpr int is_ours = SSL_CB_ALERT | SSL_CB_WRITE;
    if ((where & is_ours) == is_ours && (alert & 0xff) == SSL_AD_NO_RENEGOTIATION)
        static_cast<PeerCheck*>(SSL_get_app_data(ssl))->has_declined_renegotiation = true;
}

} // namespace

std::unique_ptr<TlsInput> acquire_input()
{
    if (spare_input)
        return std::move(spare_input);
    return std::unique_ptr<TlsInput>{new TlsInput}; // not make_unique, which would zero it
}

void release(std::unique_ptr<TlsInput> input) noexcept
{
    if (input)
        spare_input = std::move(input);
}

void release(std::vector<std::byte>& output) noexcept
{
    output.clear();
    if (output.capacity() <= max_spare_output_bytes && output.capacity() > spare_output.capacity())
        spare_output = std::move(output);
    output = {};
}

TlsEngine::TlsEngine(std::shared_ptr<const TlsContext> context, std::string wanted,
                     std::string session_key)
    : peer_{.context = std::move(context),
            .wanted = std::move(wanted),
            .session_key = std::move(session_key)},
      ssl_{SSL_new(peer_.context->ssl.get())},
      fault_{.minimum = peer_.context->options.minimum, .role = role()}
{
    BioPtr bio{ssl_ ? BIO_new(bio_method()) : nullptr};
    if (!bio || !demand_name(ssl_.get(), peer_.wanted))
        throw Exception{openssl_failed()};
    SSL_set_app_data(ssl_.get(), &peer_);
    SSL_set_info_callback(ssl_.get(), on_renegotiation);
    BIO_set_data(bio.get(), this);
    BIO_set_init(bio.get(), 1);
    SSL_set_bio(ssl_.get(), bio.get(), bio.get());
    (void)bio.release();
    if (role() == TlsRole::server)
        SSL_set_accept_state(ssl_.get());
    else
        SSL_set_connect_state(ssl_.get());
    if (const auto session = peer_.context->sessions.take(peer_.session_key)) // a server has none
        SSL_set_session(ssl_.get(), session.get());
    ERR_clear_error();
}

/// OpenSSL withdraws the session of a connection that ends in any other way.
TlsEngine::~TlsEngine()
{
    if (!has_failed_)
        SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

TlsEngine::Step TlsEngine::shake_hands()
{
    ERR_clear_error();
    const auto step = step_after(SSL_do_handshake(ssl_.get()));
    const bool is_resumed = step == Step::done && SSL_session_reused(ssl_.get()) == 1;
    // TLS 1.2 sessions can be used again, and OpenSSL reports no new one
    if (is_resumed && role() == TlsRole::client && SSL_version(ssl_.get()) == TLS1_2_VERSION)
        peer_.context->sessions.put(peer_.session_key, SSL_get0_session(ssl_.get()));
    return step;
}

TlsEngine::Step TlsEngine::read(std::span<std::byte> into, std::size_t& got)
{
    ERR_clear_error();
    max_output_ = max_unsent_bytes;
    auto step = Step::done;
    for (std::size_t at = 0; at < into.size();) {
        std::size_t bytes = 0;
        const int result = SSL_read_ex(ssl_.get(), into.data() + at, into.size() - at, &bytes);
        if (result != 1) {
            step = step_after(result);
            break;
        }
        at += bytes;
        got += bytes;
    }
    max_output_ = std::numeric_limits<std::size_t>::max();
    return step;
}

TlsEngine::Step TlsEngine::seal(std::span<const asio::const_buffer> from, SealedRecords& sealed)
{
    if (has_failed_ || has_notified_)
        return Step::failed;
    ERR_clear_error();
    auto staging = acquire_input();
    beast::buffers_suffix<Pieces> rest{from};
    std::size_t total = 0;
    auto step = Step::done;
    while (sealed.count < SealedRecords::max) {
        const auto record = next_record(rest, std::span{*staging}.first(max_record_bytes));
        if (record.empty())
            break;
        std::size_t written = 0;
        step = step_after(SSL_write_ex(ssl_.get(), record.data(), record.size(), &written));
        if (step != Step::done)
            break;
        rest.consume(record.size());
        sealed.records[sealed.count++] = {total += record.size(), put_bytes_};
    }
    release(std::move(staging));
    return sealed.count == 0 ? step : Step::done;
}

void TlsEngine::close_notify()
{
    ERR_clear_error();
    if (!has_failed_ && !has_notified_)
        (void)SSL_shutdown(ssl_.get()); // 0 and an error alike: the peer's answer is not needed
    has_notified_ = true;
    ERR_clear_error();
}

/// Checks for unread plaintext first: OpenSSL itself checks only for ciphertext.
void TlsEngine::release_memory() noexcept
{
    if (SSL_has_pending(ssl_.get()) == 0)
        (void)SSL_free_buffers(ssl_.get());
}

TlsEngine::Step TlsEngine::step_after(int result)
{
    if (result == 1)
        return Step::done;
    switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return Step::wants_input;
    case SSL_ERROR_WANT_WRITE: return Step::wants_output;
    case SSL_ERROR_ZERO_RETURN: return Step::closed;
    default: record_fault(); return Step::failed;
    }
}

/// Records the first fault only: OpenSSL knows no more later. Prefers the queue's last error if it
/// is from the ssl library, which sums up the errors of other parts.
void TlsEngine::record_fault()
{
    const auto last = ERR_peek_last_error();
    const auto code = ERR_GET_LIB(last) == ERR_LIB_SSL ? last : ERR_peek_error();
    if (!std::exchange(has_failed_, true)) {
        fault_.is_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
        fault_.reason = ERR_GET_REASON(code);
        fault_.reason_text = error_text(code);
    }
    ERR_clear_error();
}

error_code TlsEngine::read_error(bool is_first) const
{
    if (!fault_.is_ssl)
        return make_error_code(TlsEnd::local);
    const int alert = fault_.reason - SSL_AD_REASON_OFFSET;
    if (peer_.has_declined_renegotiation && alert == SSL_AD_HANDSHAKE_FAILURE)
        return make_error_code(TlsEnd::renegotiation);
    if (alert >= 0 && alert < 256)
        return alert_code(is_first && is_verdict(alert) ? TlsEnd::refusal : TlsEnd::alert, alert);
    switch (fault_.reason) {
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

std::string TlsEngine::application_protocol() const
{
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &chosen, &size);
    return {reinterpret_cast<const char*>(chosen), size};
}

TlsInfo TlsEngine::info() const
{
    TlsInfo info{.version = SSL_get_version(ssl_.get()),
                 .cipher = SSL_get_cipher_name(ssl_.get()),
                 .alpn = application_protocol(),
                 .is_verified = !peer_.context->options.insecure_skip_verification && is_verified(),
                 .is_resumed = SSL_session_reused(ssl_.get()) == 1};
    if (const auto* certificate = SSL_get0_peer_certificate(ssl_.get()))
        info.certificate = info_of(certificate);
    return info;
}

bool TlsEngine::is_verified() const
{
    return SSL_get_verify_result(ssl_.get()) == X509_V_OK
           && SSL_get0_peer_certificate(ssl_.get()) != nullptr;
}

// --- callbacks of OpenSSL

BIO_METHOD* TlsEngine::bio_method()
{
    static BIO_METHOD* const method = [] {
        auto* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "sidecar");
        if (!made)
            throw Exception{openssl_failed()};
        BIO_meth_set_read_ex(made, bio_read);
        BIO_meth_set_write_ex(made, bio_write);
        BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) -> long {
            return command == BIO_CTRL_FLUSH ? 1 : 0;
        });
        return made;
    }();
    return method;
}

int TlsEngine::bio_read(BIO* bio, char* to, std::size_t size, std::size_t* got)
{
    auto& input = static_cast<TlsEngine*>(BIO_get_data(bio))->input_;
    BIO_clear_retry_flags(bio);
    if (input.empty()) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *got = std::min(size, input.size());
    std::memcpy(to, input.data(), *got);
    input = input.subspan(*got);
    return 1;
}

int TlsEngine::bio_write(BIO* bio, const char* from, std::size_t size, std::size_t* taken)
{
    auto& self = *static_cast<TlsEngine*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    *taken = size;
    if (self.has_notified_)
        return 1;
    if (self.output_.size() >= self.max_output_) {
        BIO_set_retry_write(bio);
        return 0;
    }
    try {
        if (self.output_.capacity() == 0)
            self.output_ = std::exchange(spare_output, {});
        const auto* const bytes = reinterpret_cast<const std::byte*>(from);
        self.output_.insert(self.output_.end(), bytes, bytes + size);
    } catch (const std::bad_alloc&) { // must not pass through OpenSSL, which is C
        return 0;
    }
    self.put_bytes_ += size;
    return 1;
}

} // namespace sidecar::stream
