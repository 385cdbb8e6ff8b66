// Name resolution that can be walked away from: getaddrinfo cannot be interrupted, so it runs on a
// thread that nobody waits for.
#include "loop/lookup.hpp"

#include "loop/event_loop.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <netdb.h>
#include <netinet/in.h>

namespace sidecar::detail {
namespace {

namespace ip = boost::asio::ip;

/// Look-ups under way in this process; an unresponsive name server must not cost a thread per
/// attempt.
constexpr int max_outstanding = 32;
std::atomic<int> outstanding{0};

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

std::vector<ip::address> system_lookup(const std::string& host)
{
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); code != 0)
        throw std::runtime_error{::gai_strerror(code)};
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner{found, &::freeaddrinfo};
    std::vector<ip::address> addresses;
    for (const auto* at = found; at; at = at->ai_next)
        addresses.push_back(to_address(*at->ai_addr));
    return addresses;
}

[[noreturn]] void fail(Error error, const std::string& host, std::string explanation)
{
    throw Exception{Failure{
        error, {.attempted = "resolve", .endpoint = host, .explanation = std::move(explanation)}}};
}

void start_helper(EventLoop& loop, const std::string& host, const std::shared_ptr<Answer>& answer)
{
    std::thread{[&loop, weak = loop.keeper(), answer, host, lookup = loop.settings().lookup] {
        try {
            answer->addresses = lookup ? lookup(host) : system_lookup(host);
        } catch (...) {
            answer->exception = std::current_exception();
        }
        outstanding.fetch_sub(1);
        if (const auto alive = weak.lock())
            loop.post([answer] { answer->ready.set(); });
    }}.detach();
}

} // namespace

Task<std::vector<ip::address>> look_up(EventLoop& loop, std::string host)
{
    boost::system::error_code not_literal;
    const auto literal = ip::make_address(host, not_literal);
    if (!not_literal)
        co_return std::vector{literal};

    if (outstanding.fetch_add(1) >= max_outstanding) {
        outstanding.fetch_sub(1);
        fail(Error::lookup_busy, host, fmt::format("{} are outstanding", max_outstanding));
    }
    auto answer = std::make_shared<Answer>();
    try {
        start_helper(loop, host, answer);
    } catch (const std::system_error& e) {
        outstanding.fetch_sub(1);
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
