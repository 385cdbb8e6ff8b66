#include "socket_stream.hpp"

#include "dial.hpp"
#include "text.hpp"

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

namespace asio = boost::asio;

namespace sidecar::stream {

/// The memory of a socket's pending read. Asio would reuse the memory of any ended operation of the
/// thread, so an idle link's read would hold a block that a handshake or another link needed. Side:
/// the loop's thread.
class HandlerMemory {
public:
    HandlerMemory() = default;
    HandlerMemory(const HandlerMemory&) = delete;
    HandlerMemory& operator=(const HandlerMemory&) = delete;

    [[nodiscard]] void* take(std::size_t bytes)
    {
        if (bytes > bytes_.size() || in_use_)
            return ::operator new(bytes);
        in_use_ = true;
        return bytes_.data();
    }
    void release(void* memory) noexcept
    {
        if (memory == bytes_.data())
            in_use_ = false;
        else
            ::operator delete(memory);
    }

private:
    alignas(std::max_align_t) std::array<std::byte, 288> bytes_;
    bool in_use_ = false;
};

/// The allocator for bind_allocator(). It shares the memory, since an operation may outlive its
/// connection in the loop's queue.
template <class T>
class HandlerAllocator {
public:
    using value_type = T;
    explicit HandlerAllocator(std::shared_ptr<HandlerMemory> memory) noexcept
        : memory_{std::move(memory)}
    {
    }
    template <class U>
    HandlerAllocator(const HandlerAllocator<U>& other) noexcept : memory_{other.memory_}
    {
    }
    [[nodiscard]] T* allocate(std::size_t count)
    {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        return static_cast<T*>(memory_->take(count * sizeof(T)));
    }
    void deallocate(T* memory, std::size_t) noexcept { memory_->release(memory); }
    template <class U>
    friend bool operator==(const HandlerAllocator& a, const HandlerAllocator<U>& b) noexcept
    {
        return a.memory_ == b.memory_;
    }

private:
    template <class U>
    friend class HandlerAllocator;
    std::shared_ptr<HandlerMemory> memory_;
};

namespace {

using Generic = asio::generic::stream_protocol::endpoint;

/// Converts the system's address to the endpoint of one protocol.
template <class Endpoint>
Endpoint endpoint_of(const Generic& generic)
{
    Endpoint endpoint;
    std::memcpy(endpoint.data(), generic.data(), std::min(generic.size(), endpoint.capacity()));
    endpoint.resize(std::min(generic.size(), endpoint.capacity()));
    return endpoint;
}

/// Returns "192.0.2.1:80", "unix:/run/feed.sock", "unix:@abstract"; empty: another family.
std::string name_of(const Generic& generic)
{
    const auto family = generic.protocol().family();
    if (family == AF_UNIX) {
        auto path = endpoint_of<asio::local::stream_protocol::endpoint>(generic).path();
        if (path.starts_with('\0'))
            path.front() = '@';
        return "unix:" + http::escape(path);
    }
    if (family != AF_INET && family != AF_INET6)
        return {};
    auto tcp = to_tcp(generic);
    if (const auto address = tcp.address(); address.is_v6() && address.to_v6().is_v4_mapped())
        tcp.address(asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()));
    return to_text(tcp);
}

} // namespace

Endpoint to_tcp(const Generic& generic) { return endpoint_of<Endpoint>(generic); }

std::string peer_name(int socket, const Generic& peer)
{
    ucred process{};
    socklen_t size = sizeof process;
    auto name = name_of(peer);
    if (name == "unix:" && ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &process, &size) == 0)
        name += fmt::format("pid={},uid={}", process.pid, process.uid);
    return name;
}

std::string local_name(int socket)
{
    Generic local;
    auto size = static_cast<socklen_t>(local.capacity());
    if (::getsockname(socket, local.data(), &size) != 0)
        return {};
    local.resize(size);
    return name_of(local);
}

SocketStream::SocketStream(Socket socket)
    : socket_{std::move(socket)}, read_memory_{std::make_shared<HandlerMemory>()}
{
    socket_.non_blocking(true);
}

/// No coroutine: its frame would cost memory for each waiting link.
Task<std::size_t> SocketStream::read_some(ReadBuffers into, error_code& ec)
{
    is_drained_ = false;
    auto token = asio::bind_allocator(HandlerAllocator<void>{read_memory_},
                                      asio::redirect_error(asio::use_awaitable, ec));
    if (into[1].size() == 0)
        return socket_.async_read_some(into[0], std::move(token));
    return socket_.async_read_some(into, std::move(token));
}

std::size_t SocketStream::try_read(ReadBuffers into, error_code& ec)
{
    if (is_aborted_) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    const auto got =
        into[1].size() == 0 ? socket_.read_some(into[0], ec) : socket_.read_some(into, ec);
    if (ec == asio::error::would_block)
        ec = {};
    on_read(asio::buffer_size(into), got);
    return got;
}

Task<std::size_t> SocketStream::write_some(std::span<const asio::const_buffer> from, error_code& ec)
{
    // Not async_write: it passes at most 64 KiB to each call
    if (from.size() == 1)
        return socket_.async_write_some(from[0], asio::redirect_error(asio::use_awaitable, ec));
    return socket_.async_write_some(from, asio::redirect_error(asio::use_awaitable, ec));
}

std::size_t SocketStream::try_write(std::span<const asio::const_buffer> from, error_code& ec)
{
    if (is_aborted_) {
        ec = asio::error::operation_aborted;
        return 0;
    }
    const auto taken =
        from.size() == 1 ? socket_.write_some(from[0], ec) : socket_.write_some(from, ec);
    if (ec == asio::error::would_block)
        ec = {};
    return taken;
}

Task<> SocketStream::shutdown(error_code& ec)
{
    socket_.shutdown(Socket::shutdown_send, ec);
    co_return;
}

std::string SocketStream::peer() const
{
    error_code ec;
    const auto generic = socket_.remote_endpoint(ec);
    // The cast: Asio gives no access to the descriptor of a const object
    return ec ? std::string{} : peer_name(const_cast<Socket&>(socket_).native_handle(), generic);
}

void SocketStream::abort() noexcept
{
    is_aborted_ = true;
    error_code ec; // ignored: the socket may already be gone
    // A child process may hold the socket too; this ends it for the peer now
    socket_.shutdown(Socket::shutdown_both, ec);
    socket_.close(ec);
}

void SocketStream::reset() noexcept
{
    error_code ec; // ignored: the socket may already be gone
    socket_.set_option(asio::socket_base::linger{true, 0}, ec);
    socket_.close(ec);
}

} // namespace sidecar::stream
