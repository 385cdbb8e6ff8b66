// getaddrinfo cannot be interrupted, so it runs on a thread that nobody waits for.
#include "loop/lookup.hpp"

#include "loop/event_loop.hpp"

#include <sidecar/detail/signals_blocked.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <netdb.h>
#include <netinet/in.h>
#include <new>
#include <pthread.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace sidecar::detail {
namespace {

namespace ip = boost::asio::ip;

/// Bounds the look-ups under way in this process: an unresponsive name server must not cost a
/// thread per attempt. A forked child has none of the threads, and begins at zero.
constexpr int max_outstanding = 32;
std::atomic<int> outstanding{0};

/// Returns a place that counts as a look-up under way while it lives; null: there are too many.
std::shared_ptr<void> take_place()
{
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] { outstanding = 0; });
    (void)registered;
    if (outstanding.fetch_add(1) < max_outstanding)
        return {&outstanding, [](std::atomic<int>* count) { count->fetch_sub(1); }};
    outstanding.fetch_sub(1);
    return nullptr;
}

struct Answer {
    // Written by the helper before it posts, read on the loop after
    std::vector<ip::address> addresses;
    std::exception_ptr exception; // likewise
    LoopEvent ready;              // sidecar side
};

ip::address to_address(const sockaddr& from)
{
    if (from.sa_family == AF_INET) {
        ip::address_v4::bytes_type bytes;
        std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in&>(from).sin_addr,
                    bytes.size());
        return ip::address_v4{bytes};
    }
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
    ip::address_v6::bytes_type bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return ip::address_v6{bytes, v6.sin6_scope_id};
}

[[noreturn]] void fail(Error error, const std::string& host, std::string explanation,
                       error_code cause = {})
{
    throw Exception{Failure{error,
                            {.attempted = "resolve",
                             .endpoint = host,
                             .cause = cause,
                             .explanation = std::move(explanation)}}};
}

/// Returns 0 if the process can open another descriptor, else the error. The resolver reports a
/// shortage only sometimes; at other times it finds no name server, or no such name.
int descriptor_shortage() noexcept
{
    const int fd = ::eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return errno;
    ::close(fd);
    return 0;
}

[[noreturn]] void fail_lookup(const std::string& host, int code, int system_error)
{
    int shortage = code == EAI_MEMORY ? ENOMEM : 0;
    if (code == EAI_SYSTEM
        && (system_error == EMFILE || system_error == ENFILE || system_error == ENOMEM))
        shortage = system_error;
    if (shortage == 0)
        shortage = descriptor_shortage();
    if (shortage != 0)
        fail(Error::no_resources, host, {}, {shortage, boost::system::system_category()});
    fail(Error::lookup_failed, host, ::gai_strerror(code),
         code == EAI_SYSTEM ? error_code{system_error, boost::system::system_category()}
                            : error_code{});
}

std::vector<ip::address> system_lookup(const std::string& host)
{
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    // No AI_ADDRCONFIG: it does not count the loopback as configured, so "localhost" might lose the
    // family that the server listens on. An address of a family that the machine lacks fails at
    // once, and the transport tries the next.
    addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); code != 0)
        fail_lookup(host, code, errno);
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner{found, &::freeaddrinfo};
    std::vector<ip::address> addresses;
    for (const auto* at = found; at; at = at->ai_next)
        addresses.push_back(to_address(*at->ai_addr));
    return addresses;
}

void start_helper(EventLoop& loop, const std::string& host, const std::shared_ptr<Answer>& answer,
                  std::shared_ptr<void> place)
{
    const SignalsBlocked signals_blocked;
    std::thread{[&loop, weak = loop.keeper(), answer, host, lookup = loop.settings().lookup,
                 p = std::move(place)]() mutable {
        try {
            answer->addresses = lookup ? lookup(host) : system_lookup(host);
        } catch (...) {
            answer->exception = std::current_exception();
        }
        p.reset();
        try {
            if (const auto alive = weak.lock())
                loop.post([answer] { answer->ready.set(); });
        } catch (const std::bad_alloc&) { // the attempt then ends at its deadline
        }
    }}.detach();
}

} // namespace

Task<std::vector<ip::address>> look_up(EventLoop& loop, std::string host)
{
    if (host.empty() || host.find('\0') != host.npos) // getaddrinfo ignores the rest
        fail(Error::bad_address, host.substr(0, host.find('\0')), "it is no name of a host");
    boost::system::error_code not_literal;
    const auto literal = ip::make_address(host, not_literal);
    if (!not_literal)
        co_return std::vector{literal};

    auto answer = std::make_shared<Answer>();
    try {
        auto place = take_place();
        if (!place)
            fail(Error::lookup_busy, host, fmt::format("{} are outstanding", max_outstanding));
        start_helper(loop, host, answer, std::move(place));
    } catch (const std::system_error& e) {
        fail(Error::no_resources, host, e.what());
    }
    co_await answer->ready.wait();
    if (answer->exception)
        throw Exception{to_failure(answer->exception, Error::lookup_failed, "resolve", host)};
    if (answer->addresses.empty())
        fail(Error::lookup_failed, host, "it has no address");
    co_return std::move(answer->addresses);
}

} // namespace sidecar::detail
