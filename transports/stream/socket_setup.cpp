#include "socket_setup.hpp"

#include "text.hpp"

#include <fmt/format.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <limits>

namespace sidecar::stream {
namespace {

using boost::asio::ip::tcp;

constexpr int largest_int = std::numeric_limits<int>::max();
constexpr std::int64_t max_keep_alive_seconds = 32767; // MAX_TCP_KEEPIDLE of Linux
constexpr unsigned max_keep_alive_probes = 127;        // MAX_TCP_KEEPCNT

/// What one option is to be.
struct Setting {
    const char* name;
    int level;
    int option;
    std::int64_t value;
    const char* unit = "";
};

template <class Unit>
std::int64_t rounded_up(Duration duration)
{
    return std::chrono::ceil<Unit>(duration).count();
}

std::optional<Refused> set(int socket, const Setting& setting)
{
    const auto value = static_cast<int>(setting.value);
    if (::setsockopt(socket, setting.level, setting.option, &value, sizeof value) == 0)
        return {};
    Refused refused{error_code{errno, boost::system::system_category()}, {}};
    refused.what = fmt::format("{} of {}{} was refused", setting.name, value, setting.unit);
    if (setting.option == SO_BUSY_POLL && refused.ec.value() == EPERM)
        refused.what += " (to raise it above the sysctl net.core.busy_read needs CAP_NET_ADMIN)";
    return refused;
}

/// Zero: the system's.
std::optional<Refused> set_given(int socket, std::initializer_list<Setting> settings)
{
    for (const auto& setting : settings)
        if (setting.value != 0)
            if (auto refused = set(socket, setting))
                return refused;
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
    // The port is chosen with the connection, so that many connections may share it
    const int on = 1;
    (void)::setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (::bind(socket, local.data(), static_cast<socklen_t>(local.size())) == 0)
        return {};
    const error_code ec{errno, boost::system::system_category()};
    return Refused{ec, fmt::format("bind_address {} was refused", text)};
}

Failure bad_option(std::string why) { return http::refuse(Error::bad_options, std::move(why)); }

template <class Unit>
Result<void> validate_duration(const char* name, Duration value, std::int64_t max, const char* unit)
{
    if (value < Duration{})
        return bad_option(fmt::format("{} is negative", name));
    if (rounded_up<Unit>(value) > max)
        return bad_option(fmt::format("{} is above {} {}", name, max, unit));
    return {};
}

Result<void> validate_values(const SocketOptions& o)
{
    using std::chrono::microseconds, std::chrono::milliseconds, std::chrono::seconds;
    if (o.receive_buffer_bytes > static_cast<std::size_t>(largest_int))
        return bad_option(fmt::format("receive_buffer_bytes is above {}", largest_int));
    if (o.send_buffer_bytes > static_cast<std::size_t>(largest_int))
        return bad_option(fmt::format("send_buffer_bytes is above {}", largest_int));
    if (o.keep_alive_probes > max_keep_alive_probes)
        return bad_option(fmt::format("keep_alive_probes is above {}", max_keep_alive_probes));
    for (const auto& valid :
         {validate_duration<milliseconds>("user_timeout", o.user_timeout, largest_int, "ms"),
          validate_duration<seconds>("keep_alive_idle", o.keep_alive_idle, max_keep_alive_seconds,
                                     "s"),
          validate_duration<seconds>("keep_alive_interval", o.keep_alive_interval,
                                     max_keep_alive_seconds, "s"),
          validate_duration<microseconds>("busy_poll", o.busy_poll, largest_int, "us")})
        if (!valid)
            return valid;
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
    } else if (!setup.keep_alive && has_keep_alive_periods(o)) {
        return bad_option("keep_alive is off, but a period of keep-alive is given");
    }
    return {};
}

std::optional<Refused> set_up_unix(int socket, const SocketSetup& setup)
{
    const auto& o = setup.options;
    return set_given(socket, {{"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF,
                               static_cast<std::int64_t>(o.receive_buffer_bytes), " bytes"},
                              {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF,
                               static_cast<std::int64_t>(o.send_buffer_bytes), " bytes"}});
}

std::optional<Refused> set_up_tcp(int socket, const SocketSetup& setup, const tcp::endpoint& peer)
{
    using std::chrono::microseconds, std::chrono::milliseconds, std::chrono::seconds;
    const auto& o = setup.options;
    if (auto refused = bind_to(socket, o.bind_address, peer))
        return refused;
    if (auto refused = set_up_unix(socket, setup)) // what every socket has
        return refused;
    // Every socket of TCP takes these two
    (void)set(socket, {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, setup.no_delay});
    (void)set(socket, {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, setup.keep_alive});
    return set_given(
        socket,
        {{"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT,
          rounded_up<milliseconds>(o.user_timeout), " ms"},
         {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, rounded_up<seconds>(o.keep_alive_idle), " s"},
         {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, rounded_up<seconds>(o.keep_alive_interval),
          " s"},
         {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, o.keep_alive_probes},
         {"SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, rounded_up<microseconds>(o.busy_poll), " us"}});
}

} // namespace sidecar::stream
