#include "prefixed.hpp"

#include <boost/asio/error.hpp>

namespace sidecar::stream {

namespace asio = boost::asio;

std::size_t Prefixed::take(const ReadBuffers& into, error_code& ec)
{
    if (is_aborted()) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    ec = {};
    const auto got = asio::buffer_copy(into, asio::buffer(prefix_));
    prefix_.erase(prefix_.begin(), prefix_.begin() + static_cast<std::ptrdiff_t>(got));
    if (prefix_.empty())
        prefix_ = {};
    return got;
}

Task<std::size_t> Prefixed::read_some(ReadBuffers into, error_code& ec)
{
    if (prefix_.empty())
        return below_->read_some(into, ec);
    return [](Prefixed& self, ReadBuffers to, error_code& result) -> Task<std::size_t> {
        co_return self.take(to, result);
    }(*this, into, ec);
}

std::size_t Prefixed::try_read(ReadBuffers into, error_code& ec)
{
    return prefix_.empty() ? below_->try_read(into, ec) : take(into, ec);
}

} // namespace sidecar::stream
