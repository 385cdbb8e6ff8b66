// A stream behind bytes that came before it. Private to the transports.
#pragma once

#include "stream.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace sidecar::stream {

/// Gives `prefix` first and then what `below`, which it owns, gives. Made where bytes were read with
/// an answer to which they do not belong. Invariant: once the prefix is taken, every call is that of
/// `below`.
class Prefixed final : public Stream {
public:
    Prefixed(std::vector<std::byte> prefix, std::shared_ptr<Stream> below)
        : prefix_{std::move(prefix)}, below_{std::move(below)}
    {
    }

    Task<std::size_t> read_some(ReadBuffers into, error_code& ec) override;
    std::size_t try_read(ReadBuffers into, error_code& ec) override;
    bool is_drained() const noexcept override { return prefix_.empty() && below_->is_drained(); }
    Task<std::size_t> write_some(std::span<const boost::asio::const_buffer> from,
                                 error_code& ec) override
    {
        return below_->write_some(from, ec);
    }
    Task<> shutdown(error_code& ec) override { return below_->shutdown(ec); }
    void abort() noexcept override { below_->abort(); }
    bool is_aborted() const noexcept override { return below_->is_aborted(); }
    boost::asio::any_io_executor executor() override { return below_->executor(); }
    std::string peer() const override { return below_->peer(); }

private:
    [[nodiscard]] std::size_t take(const ReadBuffers& into, error_code& ec);

    std::vector<std::byte> prefix_;       // sidecar side; what of it is not taken
    const std::shared_ptr<Stream> below_; // sidecar side
};

} // namespace sidecar::stream
