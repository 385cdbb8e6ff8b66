// Real NATS servers, each with its configuration and its data in a directory that goes at the end.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

/// A port of the loopback that nobody else takes: this process has bound it, and does not listen.
/// The server binds it too, since both ask for SO_REUSEADDR.
class ReservedPort {
public:
    ReservedPort() : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}
    {
        const int on = 1;
        auto at = address(0);
        socklen_t size = sizeof at;
        if (::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
            || ::bind(fd_, reinterpret_cast<sockaddr*>(&at), size) != 0
            || ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
            throw std::runtime_error{"no free port"};
        number_ = ntohs(at.sin_port);
    }
    ReservedPort(const ReservedPort&) = delete;
    ReservedPort& operator=(const ReservedPort&) = delete;
    ~ReservedPort() { ::close(fd_); }
    [[nodiscard]] std::uint16_t number() const { return number_; }
    static sockaddr_in address(std::uint16_t port)
    {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(port);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return at;
    }

private:
    int fd_;
    std::uint16_t number_ = 0;
};

/// A client without a library: its texts go out as they are. Waits 20 s at most.
class NatsWire {
public:
    explicit NatsWire(std::uint16_t port) : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}
    {
        const timeval patience{.tv_sec = 20, .tv_usec = 0};
        const auto at = ReservedPort::address(port);
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        is_connected = ::connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
    }
    NatsWire(const NatsWire&) = delete;
    NatsWire& operator=(const NatsWire&) = delete;
    ~NatsWire() { ::close(fd_); }

    void send(const std::string& text)
    {
        (void)::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    }
    /// Returns the next line, without its end; empty: the connection ended.
    std::string line()
    {
        std::string text;
        char c = 0;
        while (::recv(fd_, &c, 1, 0) == 1 && c != '\n')
            if (c != '\r')
                text += c;
        return text;
    }
    bool is_connected;

private:
    int fd_;
};

class NatsServer {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr auto patience = std::chrono::seconds{20};

    /// Starts a server and waits until it answers. `config` is added to the configuration; "$DIR"
    /// in it is its directory.
    explicit NatsServer(const std::string& config = {}) : NatsServer{Parts{config}} {}
    NatsServer(const NatsServer&) = delete;
    NatsServer& operator=(const NatsServer&) = delete;
    ~NatsServer() { kill(); }

    [[nodiscard]] std::uint16_t port() const { return port_->number(); }
    /// "127.0.0.1:port"
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
    [[nodiscard]] std::string url(const std::string& scheme = "nats") const
    {
        return scheme + "://" + address();
    }
    [[nodiscard]] const std::string& directory() const { return directory_.path; }
    [[nodiscard]] std::string log() const
    {
        std::ifstream in{directory() + "/log"};
        return {std::istreambuf_iterator<char>{in}, {}};
    }

    /// Ends it with SIGKILL, even if it is paused.
    void kill()
    {
        if (pid_ < 0)
            return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
    /// Starts it again on the same ports, with the data that it has.
    void restart()
    {
        kill();
        launch();
        wait_for([this] { return answers(); }, "does not answer");
    }
    /// Does the same with another configuration.
    void restart(const std::string& config)
    {
        config_ = config;
        restart();
    }
    /// SIGSTOP: the kernel takes its bytes, and the server does nothing.
    void pause()
    {
        ::kill(pid_, SIGSTOP);
        ::waitpid(pid_, nullptr, WUNTRACED);
    }
    void resume() { ::kill(pid_, SIGCONT); }
    /// Lame duck mode: it accepts nobody, says so to its clients, and closes them after
    /// lame_duck_grace_period.
    void enter_lame_duck() { ::kill(pid_, SIGUSR2); }
    /// Reads the configuration again: SIGHUP.
    void reload(const std::string& config)
    {
        config_ = config;
        write_configuration();
        ::kill(pid_, SIGHUP);
        wait_for(
            [this] { return log().find("Reloaded server configuration") != std::string::npos; },
            "does not reload");
    }

    /// Waits until the log of this start has the text.
    void wait_for_log(const std::string& text)
    {
        wait_for([&] { return log().find(text) != std::string::npos; },
                 ("no log \"" + text + "\"").c_str());
    }
    /// Waits until the server names so many addresses of its cluster to its clients.
    void wait_for_servers(std::size_t count)
    {
        wait_for(
            [&] {
                const auto info = first_line();
                std::size_t found = 0;
                for (auto at = info.find("127.0.0.1:"); at != info.npos;
                     at = info.find("127.0.0.1:", at + 1))
                    ++found;
                return found == count;
            },
            "misses a server of its cluster");
    }
    /// The INFO that it greets with; empty: it accepts no connection.
    [[nodiscard]] std::string first_line() const
    {
        NatsWire wire{port()};
        return wire.is_connected ? wire.line() : std::string{};
    }

private:
    friend class NatsCluster;

    struct Temporary {
        Temporary()
        {
            if (!::mkdtemp(path.data()))
                throw std::runtime_error{"no directory for a NATS server"};
        }
        Temporary(const Temporary&) = delete;
        Temporary& operator=(const Temporary&) = delete;
        ~Temporary()
        {
            std::error_code ignored;
            std::filesystem::remove_all(path, ignored);
        }
        std::string path = std::filesystem::temp_directory_path() / "sidecar-nats-XXXXXX";
    };
    struct Parts {
        std::string config;
        std::string name = "alone";
        std::shared_ptr<ReservedPort> cluster_port{};
    };

    explicit NatsServer(Parts parts, bool waits = true)
        : config_{std::move(parts.config)},
          name_{std::move(parts.name)},
          cluster_port_{std::move(parts.cluster_port)}
    {
        launch();
        if (waits)
            wait_for([this] { return answers(); }, "does not answer");
    }

    void write_configuration() const
    {
        std::string text = "host: 127.0.0.1\nport: " + std::to_string(port())
                           + "\nserver_name: " + name_ + "\n" + config_ + "\n";
        for (auto at = text.find("$DIR"); at != text.npos; at = text.find("$DIR", at))
            text.replace(at, 4, directory());
        std::ofstream{directory() + "/server.conf"} << text;
    }

    void launch()
    {
        write_configuration();
        const auto config = directory() + "/server.conf";
        const auto log = directory() + "/log";
        const auto parent = ::getpid();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent)
                ::_exit(1);
            const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            ::dup2(fd, 1);
            ::dup2(fd, 2);
            sigset_t none; // the library's threads block signals, and a child would inherit that
            ::sigemptyset(&none);
            ::sigprocmask(SIG_SETMASK, &none, nullptr);
            for (const char* path : {"nats-server", "/usr/sbin/nats-server"})
                ::execlp(path, "nats-server", "-c", config.c_str(), nullptr);
            static constexpr char missing[] =
                "nats-server is missing. Debian: apt install nats-server\n";
            (void)!::write(2, missing, sizeof missing - 1);
            ::_exit(127);
        }
        if (pid_ < 0)
            throw std::runtime_error{"no process for a NATS server"};
    }

    [[nodiscard]] bool answers() const { return first_line().starts_with("INFO "); }

    /// Asks again and again; throws with the log when the server has ended, or after 20 s.
    template <class Condition>
    void wait_for(Condition condition, const char* failure)
    {
        for (const auto give_up = Clock::now() + patience; !condition();) {
            const bool has_ended = pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_;
            if (has_ended)
                pid_ = -1;
            if (!has_ended && Clock::now() <= give_up) {
                ::poll(nullptr, 0, 2);
                continue;
            }
            kill();
            throw std::runtime_error{"the NATS server " + name_ + " "
                                     + (has_ended ? "ended" : failure) + ": " + log()};
        }
    }

    std::string config_;
    std::string name_;
    std::shared_ptr<ReservedPort> cluster_port_;
    std::shared_ptr<ReservedPort> port_ = std::make_shared<ReservedPort>();
    const Temporary directory_{};
    pid_t pid_ = -1;
};

/// Servers of one cluster, "n0" and so on. Each knows the routes to all.
class NatsCluster {
public:
    /// Waits until each server names all others. `config` is added to the configuration of each.
    explicit NatsCluster(const std::string& config = {}, std::size_t count = 3)
    {
        std::vector<std::shared_ptr<ReservedPort>> ports;
        std::string routes;
        for (std::size_t i = 0; i < count; ++i) {
            ports.push_back(std::make_shared<ReservedPort>());
            routes += std::string{i == 0 ? "" : ", "}
                      + "\"nats://127.0.0.1:" + std::to_string(ports.back()->number()) + "\"";
        }
        for (std::size_t i = 0; i < count; ++i)
            servers_.push_back(std::unique_ptr<NatsServer>{
                new NatsServer{{.config = "cluster { name: test, host: 127.0.0.1, port: "
                                          + std::to_string(ports[i]->number()) + ", routes: ["
                                          + routes + " ] }\n" + config,
                                .name = "n" + std::to_string(i),
                                .cluster_port = ports[i]},
                               false}});
        for (auto& server : servers_)
            server->wait_for_servers(count);
    }
    NatsServer& operator[](std::size_t i) { return *servers_.at(i); }
    [[nodiscard]] std::size_t size() const { return servers_.size(); }
    /// The index of the server with this port.
    [[nodiscard]] std::size_t index_of(std::uint16_t port) const
    {
        for (std::size_t i = 0; i < servers_.size(); ++i)
            if (servers_[i]->port() == port)
                return i;
        throw std::runtime_error{"no server has this port"};
    }

private:
    std::vector<std::unique_ptr<NatsServer>> servers_;
};
