#include "engine.hpp"

#include "certificate.hpp"
#include "sessions.hpp"
#include "tls_memory.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

void require(bool is_done)
{
    if (!is_done)
        throw std::bad_alloc{};
}

void demand_name(SSL* ssl, const TlsName& name)
{
    auto* const parameters = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
                                                    | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!name.address.empty())
        require(X509_VERIFY_PARAM_set1_ip(
                    parameters, reinterpret_cast<const unsigned char*>(name.address.data()),
                    name.address.size())
                == 1);
    if (!name.name.empty())
        require(X509_VERIFY_PARAM_set1_host(parameters, name.name.data(), name.name.size()) == 1
                && SSL_set_tlsext_host_name(ssl, name.name.c_str()) == 1);
}

/// Bytes of several pieces, in order.
class Pieces {
public:
    explicit Pieces(std::span<const asio::const_buffer> from) : from_{from} {}

    /// The next record's worth. Where one piece has it, from there; else collected in `staging`.
    std::span<const std::byte> next(std::span<std::byte> staging)
    {
        skip_empty();
        if (from_.empty())
            return {};
        if (front().size() >= staging.size() || from_.size() == 1)
            return take(staging.size());
        std::size_t filled = 0;
        while (filled < staging.size() && !from_.empty()) {
            const auto bytes = take(staging.size() - filled);
            std::copy(bytes.begin(), bytes.end(), staging.begin() + filled);
            filled += bytes.size();
            skip_empty();
        }
        return staging.first(filled);
    }

private:
    [[nodiscard]] asio::const_buffer front() const { return from_.front() + at_; }
    void skip_empty()
    {
        while (!from_.empty() && front().size() == 0) {
            from_ = from_.subspan(1);
            at_ = 0;
        }
    }
    std::span<const std::byte> take(std::size_t most)
    {
        const auto rest = front();
        const auto size = std::min(most, rest.size());
        at_ += size;
        return {static_cast<const std::byte*>(rest.data()), size};
    }

    std::span<const asio::const_buffer> from_;
    std::size_t at_ = 0; // of the first
};

} // namespace

TlsEngine::TlsEngine(std::shared_ptr<const TlsContext> context, const TlsName& name,
                     std::string session_key)
    : context_{std::move(context)},
      session_key_{std::move(session_key)},
      wanted_{name.text},
      ssl_{SSL_new(context_->get())}
{
    require(ssl_ != nullptr);
    SSL_set_app_data(ssl_.get(), this);
    auto* const bio = BIO_new(bio_method());
    require(bio != nullptr);
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    demand_name(ssl_.get(), name);
    SSL_set_connect_state(ssl_.get());
    if (const auto session = tls_sessions().take(session_key_))
        SSL_set_session(ssl_.get(), session.get());
    ERR_clear_error();
}

/// OpenSSL takes its session back from a connection that ends in any other way.
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
    // Those of TLS 1.2 serve again, and no new one is told
    if (is_resumed && SSL_version(ssl_.get()) == TLS1_2_VERSION)
        tls_sessions().put(session_key_, SSL_get0_session(ssl_.get()));
    return step;
}

TlsEngine::Step TlsEngine::read(std::span<std::byte> into, std::size_t& got)
{
    ERR_clear_error();
    most_output_ = most_unsent_bytes;
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
    most_output_ = std::numeric_limits<std::size_t>::max();
    return step;
}

std::size_t TlsEngine::seal(std::span<const asio::const_buffer> from, SealedRecords& sealed)
{
    static thread_local std::array<std::byte, most_record_bytes> staging;
    if (has_failed_ || has_said_goodbye_)
        return 0;
    ERR_clear_error();
    Pieces pieces{from};
    std::size_t total = 0;
    while (sealed.count < SealedRecords::most && !has_failed_) {
        const auto record = pieces.next(staging);
        if (record.empty())
            break;
        total += record.size();
        seal_record(record, total, sealed);
    }
    return sealed.count == 0 ? 0 : sealed.records[sealed.count - 1].plain_end;
}

void TlsEngine::seal_record(std::span<const std::byte> record, std::size_t plain_end,
                            SealedRecords& sealed)
{
    std::size_t written = 0;
    const int result = SSL_write_ex(ssl_.get(), record.data(), record.size(), &written);
    if (result == 1)
        sealed.records[sealed.count++] = {plain_end, put_bytes_};
    else if (step_after(result) != Step::failed)
        note_fault(); // there is room for all, so there is nothing to wait for
}

void TlsEngine::say_goodbye()
{
    ERR_clear_error();
    if (!has_failed_ && !has_said_goodbye_)
        (void)SSL_shutdown(ssl_.get()); // 0 and an error alike: the answer is not there yet
    has_said_goodbye_ = true;
    ERR_clear_error();
}

/// OpenSSL itself looks only for ciphertext in them, not for plaintext that nobody has read yet.
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
    default: note_fault(); return Step::failed;
    }
}

/// The first fault counts: OpenSSL has no more to say later. Of what it says then the last is what
/// its ssl library made of what other parts said.
void TlsEngine::note_fault()
{
    const auto last = ERR_peek_last_error();
    const auto code = ERR_GET_LIB(last) == ERR_LIB_SSL ? last : ERR_peek_error();
    if (!std::exchange(has_failed_, true)) {
        fault_.is_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
        fault_.reason = ERR_GET_REASON(code);
        fault_.reason_text = error_text(code);
        fault_.minimum = context_->minimum();
    }
    ERR_clear_error();
}

std::string TlsEngine::application_protocol() const
{
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &chosen, &size);
    return {reinterpret_cast<const char*>(chosen), size};
}

bool TlsEngine::is_verified() const
{
    return SSL_get_verify_result(ssl_.get()) == X509_V_OK
           && SSL_get0_peer_certificate(ssl_.get()) != nullptr;
}

// --- what OpenSSL calls

BIO_METHOD* TlsEngine::bio_method()
{
    static BIO_METHOD* const method = [] {
        auto* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "sidecar");
        require(made != nullptr);
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
    if (self.has_said_goodbye_)
        return 1;
    if (self.output_.size() >= self.most_output_) {
        BIO_set_retry_write(bio);
        return 0;
    }
    try {
        if (self.output_.capacity() == 0)
            self.output_ = lend_output();
        const auto* const bytes = reinterpret_cast<const std::byte*>(from);
        self.output_.insert(self.output_.end(), bytes, bytes + size);
    } catch (const std::bad_alloc&) { // not through OpenSSL, which is C
        return 0;
    }
    self.put_bytes_ += size;
    return 1;
}

/// Verifies as OpenSSL would, and notes what it found.
int TlsEngine::verify(X509_STORE_CTX* store, void*)
{
    auto* const ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto& self = *static_cast<TlsEngine*>(SSL_get_app_data(ssl));
    if (!self.context_->verifies())
        return 1;
    const int result = X509_verify_cert(store);
    if (result == 1)
        return 1;
    try {
        auto& refusal = self.refusal_.emplace();
        refusal.code = X509_STORE_CTX_get_error(store);
        refusal.depth = X509_STORE_CTX_get_error_depth(store);
        if (const auto* certificate = X509_STORE_CTX_get_current_cert(store))
            refusal.certificate = facts_of(certificate);
        refusal.wanted = self.wanted_;
        refusal.is_system_trust = self.context_->is_system_trust();
        refusal.now = utc_now();
        refusal.code_text = X509_verify_cert_error_string(refusal.code);
    } catch (const std::bad_alloc&) { // not through OpenSSL
    }
    return 0;
}

int TlsEngine::new_session(SSL* ssl, SSL_SESSION* session)
{
    auto& self = *static_cast<TlsEngine*>(SSL_get_app_data(ssl));
    try {
        tls_sessions().put(self.session_key_, session);
    } catch (const std::bad_alloc&) { // not through OpenSSL
    }
    return 0; // OpenSSL's reference stays its own
}

void TlsEngine::install_callbacks(SSL_CTX* context)
{
    SSL_CTX_set_cert_verify_callback(context, verify, nullptr);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, new_session);
}

} // namespace sidecar::stream
