#include "listening.hpp"

#include "dial.hpp"
#include "last_read.hpp"
#include "socket_setup.hpp"
#include "text.hpp"
#include "uri.hpp"

#include <sidecar/detail/library_thread.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>

namespace sidecar::stream {
namespace {

using ListeningSocket = boost::asio::posix::stream_descriptor;

constexpr int first_activated = 3; // SD_LISTEN_FDS_START
/// Attempts to find a port that is free for all addresses of a name.
constexpr int max_port_attempts = 16;
/// While it opens a socket at a path, a listener keeps a lock on the directory, for microseconds.
/// Another program may keep such a lock for ever.
constexpr auto lock_patience = std::chrono::seconds{1};
constexpr auto lock_pause = std::chrono::milliseconds{5};

error_code last_error() { return {errno, boost::system::system_category()}; }

SocketSetup setup_of(const ListenTarget& target)
{
    return {.no_delay = target.no_delay,
            .tcp_keepalive = target.tcp_keepalive,
            .options = target.socket};
}

[[noreturn]] void fail(const ListenTarget& target, error_code ec, std::string why)
{
    throw Exception{Failure{is_without_resources(ec) ? Error::no_resources : Error::connect_failed,
                            {.attempted = "listen",
                             .endpoint = target.endpoint,
                             .cause = ec,
                             .explanation = std::move(why)}}};
}

// --- TCP

/// Opens a socket that listens at the endpoint. Errors: in `refused`.
ListeningSocket listen_at(Context ctx, const ListenTarget& target, const Endpoint& at,
                          Refused& refused)
{
    ListeningSocket socket{ctx.executor()};
    const int fd = ::socket(at.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return refused.ec = last_error(), std::move(socket);
    if (socket.assign(fd, refused.ec); refused.ec)
        return ::close(fd), std::move(socket);
    const int on = 1, off = 0;
    // A port whose last connections wait for their end (TIME_WAIT) is free
    (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at.address().is_v6() && at.address().is_unspecified())
        (void)::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    // Accepted sockets inherit the options
    if (auto failed = set_up_tcp(fd, setup_of(target), at))
        refused = *std::move(failed);
    else if (::bind(fd, at.data(), static_cast<socklen_t>(at.size())) != 0
             || ::listen(fd, SOMAXCONN) != 0)
        refused.ec = last_error();
    return socket;
}

std::uint16_t port_of(const ListeningSocket& socket)
{
    Endpoint at;
    auto size = static_cast<socklen_t>(at.capacity());
    // The cast: Asio gives no access to the descriptor of a const object
    const int fd = const_cast<ListeningSocket&>(socket).native_handle();
    return ::getsockname(fd, at.data(), &size) == 0 ? at.port() : 0;
}

std::string explain(const Endpoint& at, const Refused& refused)
{
    std::string why = refused.what;
    if (refused.ec == boost::system::errc::address_in_use)
        why = "another socket listens there";
    else if (refused.ec == boost::system::errc::address_not_available)
        why = "this machine does not have the address";
    else if (refused.ec == boost::system::errc::permission_denied)
        why = "a low port needs the capability CAP_NET_BIND_SERVICE";
    else if (refused.ec == boost::system::errc::invalid_argument && at.address().is_v6()
             && at.address().to_v6().is_link_local())
        why = "its zone names no interface";
    return why.empty() ? to_text(at) : fmt::format("{}: {}", to_text(at), why);
}

/// Whether the machine lacks the address or its family: then the other addresses of a name do.
bool is_missing_here(error_code ec)
{
    return ec == boost::system::errc::address_not_available
           || ec == boost::system::errc::address_family_not_supported;
}

std::vector<ListeningSocket> listen_at_all(Context ctx, const ListenTarget& target,
                                           const std::vector<boost::asio::ip::address>& addresses)
{
    for (int attempt = 1;; ++attempt) {
        std::vector<ListeningSocket> sockets;
        auto port = target.port;
        Endpoint failed_at;
        Refused failed;
        for (const auto& address : addresses) {
            const Endpoint at{address, port};
            Refused refused;
            auto socket = listen_at(ctx, target, at, refused);
            if (!refused.ec) {
                port = port_of(socket);
                sockets.push_back(std::move(socket));
            } else if (!failed.ec || !is_missing_here(refused.ec)) {
                failed = std::move(refused);
                failed_at = at;
            }
        }
        if (!failed.ec || (is_missing_here(failed.ec) && !sockets.empty()))
            return sockets;
        const bool is_other_port_better = target.port == 0 && !sockets.empty()
                                          && failed.ec == boost::system::errc::address_in_use;
        if (!is_other_port_better || attempt == max_port_attempts)
            fail(target, failed.ec, explain(failed_at, failed));
    }
}

Task<std::vector<boost::asio::ip::address>> addresses_of(Context ctx, const ListenTarget& target)
{
    using namespace boost::asio::ip;
    if (target.address == "localhost") // RFC 6761 section 6.3
        co_return std::vector<address>{address_v4::loopback(), address_v6::loopback()};
    std::vector<address> addresses;
    for (const auto& one : co_await ctx.resolve(target.address))
        if (std::find(addresses.begin(), addresses.end(), one) == addresses.end())
            addresses.push_back(one);
    co_return addresses;
}

// --- Unix-domain sockets

/// An exclusive lock on the directory of a socket, so that of several listeners that start at once
/// none removes the file of another. A directory that refuses it, or keeps it too long, has none.
class DirectoryLock {
public:
    explicit DirectoryLock(const std::string& path)
        : fd_{::open(std::filesystem::path{path}.parent_path().c_str(),
                     O_RDONLY | O_DIRECTORY | O_CLOEXEC)}
    {
    }
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;
    ~DirectoryLock()
    {
        if (fd_ >= 0)
            ::close(fd_);
    }
    /// False: another process holds it.
    [[nodiscard]] bool take() const
    {
        return fd_ < 0 || ::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    }

private:
    const int fd_;
};

/// Empty if nobody listens there, so that the file may go; else why it must stay.
std::string why_in_use(const std::string& path, const UnixAddress& at)
{
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0)
        return {}; // bind() says more
    if (!S_ISSOCK(status.st_mode))
        return "a file that is no socket is there";
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return "cannot find out whether anybody listens there";
    const bool is_connected = ::connect(fd, at.data(), static_cast<socklen_t>(at.size())) == 0;
    const auto ec = last_error();
    ::close(fd);
    if (is_connected || ec.value() == EAGAIN) // its backlog is full
        return "another program listens there";
    return ec.value() == ECONNREFUSED ? std::string{} : "a socket is there: " + ec.message();
}

/// Removes the file at its end if it is still the same.
struct SocketFile {
    std::string path;
    struct stat made {};
    ~SocketFile()
    {
        struct stat now {};
        if (::lstat(path.c_str(), &now) == 0 && now.st_ino == made.st_ino
            && now.st_dev == made.st_dev)
            ::unlink(path.c_str());
    }
};

Task<Listening> listen_at_path(Context ctx, const ListenTarget& target)
{
    const bool is_abstract = target.unix_path.starts_with('@');
    std::error_code ignored;
    // The program may change its directory before the file is removed
    const auto file =
        is_abstract ? std::string{} : std::filesystem::absolute(target.unix_path, ignored).string();
    const auto at = unix_address(target.unix_path);

    std::optional<DirectoryLock> lock;
    if (!is_abstract)
        lock.emplace(file);
    const auto until = deadline_after(ctx.now(), lock_patience);
    while (lock && !lock->take() && ctx.now() < until)
        co_await ctx.sleep_for(lock_pause);

    Listening listening;
    auto& socket = listening.sockets.emplace_back(ctx.executor());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error_code ec;
    if (fd < 0)
        fail(target, last_error(), {});
    if (socket.assign(fd, ec); ec)
        ::close(fd), fail(target, ec, {});
    const auto bind = [&] {
        return ::bind(fd, at.data(), static_cast<socklen_t>(at.size())) == 0 ? error_code{}
                                                                             : last_error();
    };
    ec = bind();
    if (ec.value() == EADDRINUSE) {
        const auto why = is_abstract ? "another program listens there" : why_in_use(file, at);
        if (!why.empty())
            fail(target, ec, why);
        ::unlink(file.c_str());
        ec = bind();
    }
    if (ec)
        fail(target, ec, {});
    if (!is_abstract) {
        auto made = std::make_shared<SocketFile>(SocketFile{file});
        if (::lstat(file.c_str(), &made->made) != 0 || ::chmod(file.c_str(), target.unix_mode) != 0)
            fail(target, last_error(), "cannot set the mode of the file");
        listening.file = std::move(made);
    }
    // Nobody can connect before this, so nobody could while the file had another mode
    if (::listen(fd, SOMAXCONN) != 0)
        fail(target, last_error(), {});
    co_return listening;
}

// --- sockets of systemd

struct Activation {
    pid_t pid;
    std::vector<std::string> names;
};
/// Empty: no application thread has found any. A later start finds them again, even if the
/// application has removed the variables.
using LastActivation = http::LastRead<std::optional<Activation>>;

Failure refuse_activation(const ListenTarget& target, std::string why)
{
    return {Error::bad_options,
            {.attempted = "listen", .endpoint = target.endpoint, .explanation = std::move(why)}};
}

Result<void> read_activation(const ListenTarget& target)
{
    const auto known = LastActivation::get();
    if (known && known->pid == ::getpid())
        return {};
    auto names = parse_activation(std::getenv("LISTEN_PID"), std::getenv("LISTEN_FDS"),
                                  std::getenv("LISTEN_FDNAMES"), ::getpid());
    if (!names)
        return refuse_activation(target, names.error().explanation());
    for (std::size_t i = 0; i < names->size(); ++i)
        (void)::fcntl(first_activated + static_cast<int>(i), F_SETFD, FD_CLOEXEC);
    LastActivation::set(Activation{::getpid(), *std::move(names)});
    return {};
}

/// Returns the descriptors of the target's name.
Result<std::vector<int>> find_activated(const ListenTarget& target)
{
    const auto activation = LastActivation::get();
    if (!activation || activation->pid != ::getpid())
        return refuse_activation(target, "the environment is read when options are checked on a "
                                         "thread of the application");
    std::vector<int> found;
    std::string others;
    for (std::size_t i = 0; i < activation->names.size(); ++i) {
        const auto& name = activation->names[i];
        if (name == target.activated)
            found.push_back(first_activated + static_cast<int>(i));
        else
            others += (others.empty() ? "" : ", ") + http::quote_name(name);
    }
    if (found.empty())
        return refuse_activation(
            target, fmt::format("systemd passed no socket of this name; it passed {}", others));
    return found;
}

template <class T>
T option_of(int fd, int option)
{
    T value{};
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : T{-1};
}

Listening listen_at_activated(Context ctx, const ListenTarget& target)
{
    Listening listening;
    for (const int passed : find_activated(target).value()) {
        const int family = option_of<int>(passed, SO_DOMAIN);
        if (option_of<int>(passed, SO_ACCEPTCONN) != 1
            || option_of<int>(passed, SO_TYPE) != SOCK_STREAM
            || (family != AF_INET && family != AF_INET6 && family != AF_UNIX))
            throw Exception{refuse_activation(
                target, fmt::format("descriptor {} is no listening stream socket; the unit needs "
                                    "ListenStream= and Accept=no",
                                    passed))};
        // The passed socket stays open, for the next start in this process
        const int fd = ::fcntl(passed, F_DUPFD_CLOEXEC, first_activated);
        error_code ec;
        if (fd < 0)
            fail(target, last_error(), {});
        if (listening.sockets.emplace_back(ctx.executor()).assign(fd, ec); ec)
            ::close(fd), fail(target, ec, {});
        (void)::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
        if (family == AF_UNIX)
            continue;
        const Endpoint of_family{
            family == AF_INET ? boost::asio::ip::tcp::v4() : boost::asio::ip::tcp::v6(), 0};
        if (const auto refused = set_up_tcp(fd, setup_of(target), of_family))
            fail(target, refused->ec, refused->what);
    }
    return listening;
}

} // namespace

Result<std::vector<std::string>> parse_activation(const char* pid, const char* fds,
                                                  const char* names, pid_t self)
{
    const auto refuse = [](std::string why) {
        return http::refuse(Error::bad_options, std::move(why));
    };
    const auto number = [](std::string_view text) {
        int value = -1;
        const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
        return ec == std::errc{} && end == text.data() + text.size() ? value : -1;
    };
    if (!pid || !fds)
        return refuse("systemd passed no socket: LISTEN_PID or LISTEN_FDS is not set");
    if (number(pid) != self)
        return refuse("systemd passed its sockets to another process: LISTEN_PID is not ours");
    constexpr int max_count = 4096;
    const int count = number(fds);
    if (count <= 0 || count > max_count)
        return refuse("systemd passed no socket: LISTEN_FDS is no number of sockets");
    if (!names)
        return std::vector<std::string>(static_cast<std::size_t>(count), "unknown");
    std::vector<std::string> all;
    for (std::string_view rest{names};; rest.remove_prefix(all.back().size() + 1)) {
        all.emplace_back(rest.substr(0, rest.find(':')));
        if (all.back().size() == rest.size())
            break;
    }
    if (all.size() != static_cast<std::size_t>(count))
        return refuse(fmt::format("LISTEN_FDS says {} sockets, LISTEN_FDNAMES has {} names", count,
                                  all.size()));
    return all;
}

Task<Listening> open_listening(Context ctx, const ListenTarget& target)
{
    if (!target.activated.empty())
        co_return listen_at_activated(ctx, target);
    if (!target.unix_path.empty())
        co_return co_await listen_at_path(ctx, target);
    const auto addresses = co_await addresses_of(ctx, target);
    Listening listening;
    listening.sockets = listen_at_all(ctx, target, addresses);
    co_return listening;
}

std::string listener_name(const ListenTarget& target)
{
    if (!target.activated.empty())
        return "systemd's socket " + http::quote_name(target.activated);
    if (!target.unix_path.empty())
        return "unix:" + http::escape(target.unix_path);
    constexpr std::size_t max_shown_bytes = 64;
    const auto shown = http::escape(target.address, max_shown_bytes);
    return shown.find(':') == shown.npos ? fmt::format("{}:{}", shown, target.port)
                                         : fmt::format("[{}]:{}", shown, target.port);
}

namespace {

Result<void> validate_where(const ListenTarget& target)
{
    const auto refuse = [](Error error, std::string why) {
        return http::refuse(error, std::move(why));
    };
    const bool has_address = target.address != ListenTarget{}.address || target.port != 0;
    if (!target.activated.empty())
        return has_address || !target.unix_path.empty() ? refuse(
                   Error::bad_options, "a socket of systemd has its address already: give no other")
                                                        : Result<void>{};
    if (!target.unix_path.empty()) {
        constexpr unsigned all_permissions = 0777;
        if (has_address)
            return refuse(Error::bad_options, "a Unix-domain socket has no address and no port");
        if (target.unix_mode > all_permissions)
            return refuse(Error::bad_options, "unix_mode is above 0777");
        return http::validate_socket_path(target.unix_path);
    }
    if (target.address.empty() || target.address == "*")
        return refuse(Error::bad_address, "there is no address; \"::\" is all of IPv6 and IPv4, "
                                          "\"0.0.0.0\" all of IPv4");
    return http::validate_host(target.address, "address");
}

} // namespace

Result<void> validate(const ListenTarget& target)
{
    const auto named = [&](const Failure& failure) {
        return failure.with_attempt("listen", target.endpoint);
    };
    const auto refuse = [&](std::string why) {
        return named(http::refuse(Error::bad_options, std::move(why)));
    };
    if (auto valid = validate_where(target); !valid)
        return named(valid.error());
    if (!target.socket.bind_address.empty())
        return refuse("the socket's option bind_address is for connecting; a listener has address");
    if (auto valid = validate(setup_of(target), !target.unix_path.empty()); !valid)
        return refuse("the socket's option " + valid.error().explanation());
    if (!std::isfinite(target.max_connections_per_second) || target.max_connections_per_second < 0)
        return refuse("max_connections_per_second is no number of connections");
    if (target.faults)
        if (const auto valid = check_faults(*target.faults); !valid)
            return refuse("faults: " + valid.error().explanation());
    if (target.activated.empty())
        return {};
    if (!detail::is_library_thread())
        if (auto valid = read_activation(target); !valid)
            return valid;
    const auto found = find_activated(target);
    return found ? Result<void>{} : found.error();
}

} // namespace sidecar::stream
