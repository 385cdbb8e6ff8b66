// See io_context.hpp.
#pragma once

#include <boost/asio/io_context.hpp>

namespace boost::asio {

template <class Handler>
void post(io_context& io, Handler handler)
{
    io.post(std::move(handler));
}

} // namespace boost::asio
