#include "socket_setup.hpp"

#include "text.hpp"

#include <fmt/format.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <span>

namespace sidecar::stream {
namespace {

using boost::asio::ip::tcp;

constexpr int largest_int = std::numeric_limits<int>::max();
constexpr std::int64_t max_keep_alive_seconds = 32767; // MAX_TCP_KEEPIDLE of Linux
constexpr unsigned max_keep_alive_probes = 127;        // MAX_TCP_KEEPCNT

/// A socket option and the value that SocketOptions has for it.
struct Setting {
    const char* name; ///< of the field in SocketOptions
    const char* system_name;
    int level;
    int option;
    std::int64_t value; ///< zero: the system's default
    std::int64_t max;
    const char* unit = "";
};

/// Rounds up to the unit; a negative duration stays negative.
template <class Unit>
std::int64_t in(Duration duration)
{
    return duration < Duration{} ? -1 : std::chrono::ceil<Unit>(duration).count();
}

/// Lists all options; the first two are valid for every socket.
std::array<Setting, 7> settings_of(const SocketOptions& o)
{
    using std::chrono::microseconds, std::chrono::milliseconds, std::chrono::seconds;
    const auto bytes = [](std::size_t count) {
        return static_cast<std::int64_t>(std::min<std::size_t>(count, largest_int + 1ull));
    };
    return {{{"receive_buffer_bytes", "SO_RCVBUF", SOL_SOCKET, SO_RCVBUF,
              bytes(o.receive_buffer_bytes), largest_int, " bytes"},
             {"send_buffer_bytes", "SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, bytes(o.send_buffer_bytes),
              largest_int, " bytes"},
             {"user_timeout", "TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT,
              in<milliseconds>(o.user_timeout), largest_int, " ms"},
             {"keep_alive_idle", "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE,
              in<seconds>(o.keep_alive_idle), max_keep_alive_seconds, " s"},
             {"keep_alive_interval", "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL,
              in<seconds>(o.keep_alive_interval), max_keep_alive_seconds, " s"},
             {"keep_alive_probes", "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, o.keep_alive_probes,
              max_keep_alive_probes},
             {"busy_poll", "SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, in<microseconds>(o.busy_poll),
              largest_int, " us"}}};
}

void switch_on(int socket, int level, int option, bool is_on)
{
    const int value = is_on;
    (void)::setsockopt(socket, level, option, &value, sizeof value);
}

std::optional<Refused> set_all(int socket, std::span<const Setting> settings)
{
    for (const auto& setting : settings) {
        const auto value = static_cast<int>(setting.value);
        if (value == 0
            || ::setsockopt(socket, setting.level, setting.option, &value, sizeof value) == 0)
            continue;
        const error_code ec{errno, boost::system::system_category()};
        const bool is_about_right = setting.option == SO_BUSY_POLL && ec.value() == EPERM;
        return Refused{
            ec, fmt::format("{} of {}{} was refused{}", setting.system_name, value, setting.unit,
                            is_about_right ? " (to raise it above the sysctl net.core.busy_read "
                                             "needs CAP_NET_ADMIN)"
                                           : "")};
    }
    return {};
}

std::optional<Refused> bind_to(int socket, const std::string& text, const tcp::endpoint& peer)
{
    if (text.empty())
        return {};
    const tcp::endpoint local{boost::asio::ip::make_address(text), 0};
    if (local.address().is_v4() != peer.address().is_v4())
        return Refused{boost::asio::error::address_family_not_supported,
                       fmt::format("bind_address {} is of the other family", text)};
    // The system chooses the port at connect, so that many connections can share it
    switch_on(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, true);
    if (::bind(socket, local.data(), static_cast<socklen_t>(local.size())) == 0)
        return {};
    const error_code ec{errno, boost::system::system_category()};
    return Refused{ec, fmt::format("bind_address {} was refused", text)};
}

Failure bad_option(std::string why) { return http::refuse(Error::bad_options, std::move(why)); }

Result<void> validate_values(const SocketOptions& o)
{
    for (const auto& setting : settings_of(o)) {
        if (setting.value < 0)
            return bad_option(fmt::format("{} is negative", setting.name));
        if (setting.value > setting.max)
            return bad_option(
                fmt::format("{} is above {}{}", setting.name, setting.max, setting.unit));
    }
    error_code ec;
    if (!o.bind_address.empty())
        (void)boost::asio::ip::make_address(o.bind_address, ec);
    if (ec)
        return bad_option("bind_address is no IPv4 or IPv6 address");
    return {};
}

bool has_keep_alive_periods(const SocketOptions& o)
{
    return o.keep_alive_idle != Duration{} || o.keep_alive_interval != Duration{}
           || o.keep_alive_probes != 0;
}

} // namespace

Result<void> validate(const SocketSetup& setup, bool is_unix)
{
    const auto& o = setup.options;
    if (auto valid = validate_values(o); !valid)
        return valid;
    if (is_unix) {
        const char* const name = o.user_timeout != Duration{} ? "user_timeout"
                                 : has_keep_alive_periods(o)
                                     ? "keep_alive_idle (or _interval, or _probes)"
                                 : !o.bind_address.empty()   ? "bind_address"
                                 : o.busy_poll != Duration{} ? "busy_poll"
                                                             : nullptr;
        if (name)
            return bad_option(fmt::format("{} has no meaning for a Unix-domain socket", name));
    } else if (!setup.tcp_keepalive && has_keep_alive_periods(o)) {
        return bad_option("tcp_keepalive is off, but a period of keep-alive is given");
    }
    return {};
}

std::optional<Refused> set_up_unix(int socket, const SocketSetup& setup)
{
    const auto settings = settings_of(setup.options);
    return set_all(socket, std::span{settings}.first(2));
}

std::optional<Refused> set_up_tcp(int socket, const SocketSetup& setup, const tcp::endpoint& peer)
{
    if (auto refused = bind_to(socket, setup.options.bind_address, peer))
        return refused;
    // Every TCP socket accepts these two
    switch_on(socket, IPPROTO_TCP, TCP_NODELAY, setup.no_delay);
    switch_on(socket, SOL_SOCKET, SO_KEEPALIVE, setup.tcp_keepalive);
    return set_all(socket, settings_of(setup.options));
}

} // namespace sidecar::stream
