// Server<T>: a feed that listens.
#pragma once

#include <sidecar/detail/any_acceptor.hpp>
#include <sidecar/feed.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar {

/// Listens on a separate thread for clients of a transport: `Server<WebSocket>`,
/// `Server<Tcp<Lines>>`, or of an Acceptor of your own. The application calls the plain functions
/// of Feed: each client is a Link that comes `up` and goes `down`; its messages name it
/// (Message::link), and `link(id)` sends to it or closes it. start() returns once it listens.
/// Link 0 is the listener; send(), flush() and subscribe(), which are for the first link, return
/// misuse.
/// `settings`: the options of a link are those of each client. `reconnect` and `subscriptions` are
/// bad_options.
template <class T>
class Server final : public Feed {
    static_assert(detail::is_acceptor<detail::AcceptorOf<T>>);

public:
    using ListenOptions = typename detail::AcceptorOf<T>::Options;

    /// Opens nothing and starts no thread; start() does both.
    explicit Server(ListenOptions options, Options settings = {})
        : Feed{std::make_shared<const detail::AcceptorConfig<detail::AcceptorOf<T>>>(
                   std::move(options)),
               std::move(settings)}
    {
    }

    /// Starts with other options, for this run and later ones; otherwise as Feed::start.
    [[nodiscard]] Result<void> start(ListenOptions options, Duration timeout)
    {
        return start_run(std::make_shared<const detail::AcceptorConfig<detail::AcceptorOf<T>>>(
                             std::move(options)),
                         timeout);
    }
    using Feed::start;

    /// Returns the listener that start() opened. Errors: not_started.
    [[nodiscard]] Result<Listener> listener() { return first_listener(); }
    /// The port that it is bound to; 0 before start() and without a port.
    [[nodiscard]] std::uint16_t port()
    {
        const auto listener = first_listener();
        return listener ? listener->port() : std::uint16_t{0};
    }
    [[nodiscard]] std::vector<Link> clients()
    {
        const auto listener = first_listener();
        return listener ? listener->clients() : std::vector<Link>{};
    }
    [[nodiscard]] std::size_t client_count()
    {
        const auto listener = first_listener();
        return listener ? listener->client_count() : 0;
    }
    /// See Listener::retain and forget. Errors: also not_started.
    Result<void> retain(std::string key, const Payload& payload)
    {
        auto listener = first_listener();
        return listener ? listener->retain(std::move(key), payload)
                        : Result<void>{listener.error()};
    }
    bool forget(std::string_view key)
    {
        auto listener = first_listener();
        return listener && listener->forget(key);
    }
};

} // namespace sidecar
