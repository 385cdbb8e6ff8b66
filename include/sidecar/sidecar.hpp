// Sidecar<Transport>: a feed over one transport.
#pragma once

#include <sidecar/feed.hpp>

#include <memory>
#include <utility>

namespace sidecar {

/// Runs a transport on a thread of its own and gives the application plain calls: those of Feed. It
/// adds the construction and nothing else, so that everything but the transport is compiled once.
template <class T>
class Sidecar final : public Feed {
    static_assert(detail::is_transport<T>);

public:
    using TransportOptions = detail::OptionsOf<T>;

    /// Makes no connection and no thread; start() does.
    /// `fresh`: see Feed::open.
    explicit Sidecar(TransportOptions options, Options settings = {}, FreshOptions<T> fresh = {})
        : Feed{std::make_shared<const detail::TransportConfig<T>>(std::move(options),
                                                                  std::move(fresh)),
               std::move(settings)}
    {
    }

    /// Adds a further link of the same transport; see Feed::open.
    using Feed::open;
    [[nodiscard]] Result<Link> open(TransportOptions options, Duration timeout,
                                    LinkOptions settings = {}, FreshOptions<T> fresh = {})
    {
        return Feed::open<T>(std::move(options), timeout, std::move(settings), std::move(fresh));
    }
};

} // namespace sidecar
