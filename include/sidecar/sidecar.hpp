// Sidecar<Transport>: a feed over one transport.
#pragma once

#include <sidecar/feed.hpp>

#include <memory>
#include <utility>

namespace sidecar {

/// Runs a transport on a separate thread. The application calls the plain functions of Feed. This
/// class adds the construction only, so that everything but the transport is compiled once.
template <class T>
class Sidecar final : public Feed {
    static_assert(detail::is_transport<T>);

public:
    using TransportOptions = detail::OptionsOf<T>;

    /// Opens no connection and starts no thread; start() does both. `provider`: see Feed::open.
    explicit Sidecar(TransportOptions options, Options settings = {},
                     OptionsProvider<T> provider = {})
        : Feed{std::make_shared<const detail::TransportConfig<T>>(std::move(options),
                                                                  std::move(provider)),
               std::move(settings)}
    {
    }

    /// Starts with other options of the transport (a URL or a token that is new), for this run and
    /// later ones. They and `provider` replace those of the constructor. Otherwise as Feed::start.
    /// Errors: after already_started, stopping, bad_options and bad_address the former options
    /// remain; if the connecting fails, the new ones do.
    [[nodiscard]] Result<void> start(TransportOptions options, Duration timeout,
                                     OptionsProvider<T> provider = {})
    {
        return start_run(std::make_shared<const detail::TransportConfig<T>>(std::move(options),
                                                                            std::move(provider)),
                         timeout);
    }
    using Feed::start;

    /// Adds a further link of the same transport; see Feed::open.
    using Feed::open;
    [[nodiscard]] Result<Link> open(TransportOptions options, Duration timeout,
                                    LinkOptions settings = {}, OptionsProvider<T> provider = {})
    {
        return Feed::open<T>(std::move(options), timeout, std::move(settings), std::move(provider));
    }
};

} // namespace sidecar
