#include "sessions.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

namespace sidecar::stream {
namespace {

bool is_worth_keeping(SSL_SESSION* session)
{
    const unsigned char* ticket = nullptr;
    std::size_t ticket_bytes = 0;
    SSL_SESSION_get0_ticket(session, &ticket, &ticket_bytes);
    return SSL_SESSION_is_resumable(session) == 1 && ticket_bytes <= TlsSessions::most_ticket_bytes;
}

/// A handshake that resumes shows no certificate, so its dates are looked at here.
bool is_over(SSL_SESSION* session)
{
    const auto now = std::time(nullptr);
    if (now > static_cast<std::time_t>(SSL_SESSION_get_time(session)
                                       + SSL_SESSION_get_timeout(session)))
        return true;
    const auto* certificate = SSL_SESSION_get0_peer(session);
    return certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
}

} // namespace

void TlsSessions::put(const std::string& key, SSL_SESSION* session)
{
    if (!is_worth_keeping(session))
        return;
    // A copy: OpenSSL forbids to resume its own once the connection ends without close_notify
    SessionPtr copy{SSL_SESSION_dup(session)};
    if (!copy)
        return;
    std::lock_guard lock{mutex_};
    const auto has_key = [&](const Kept& kept) { return kept.key == key; };
    if (std::count_if(kept_.begin(), kept_.end(), has_key)
        >= static_cast<std::ptrdiff_t>(most_per_key))
        kept_.erase(std::find_if(kept_.begin(), kept_.end(), has_key));
    else if (kept_.size() == most_sessions)
        kept_.erase(kept_.begin());
    kept_.push_back({key, std::move(copy)});
}

SessionPtr TlsSessions::take(const std::string& key)
{
    std::lock_guard lock{mutex_};
    for (auto at = kept_.size(); at-- > 0;) {
        if (kept_[at].key != key)
            continue;
        auto session = std::move(kept_[at].session);
        kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(at));
        if (!is_over(session.get()))
            return session;
    }
    return nullptr;
}

void TlsSessions::forget(const std::string& key)
{
    std::lock_guard lock{mutex_};
    std::erase_if(kept_, [&](const Kept& kept) { return kept.key == key; });
}

std::size_t TlsSessions::size() const
{
    std::lock_guard lock{mutex_};
    return kept_.size();
}

TlsSessions& tls_sessions()
{
    // Never destroyed: a thread that a stop left alone may use it when the process ends
    static auto& all = *new TlsSessions;
    return all;
}

} // namespace sidecar::stream
