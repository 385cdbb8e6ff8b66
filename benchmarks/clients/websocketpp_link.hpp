// The interface to websocketpp 0.8, which compiles as C++17 only, and needs functions that
// BOOST_ASIO_NO_DEPRECATED removes. So it is in a separate library that hides its symbols.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace bench {

class __attribute__((visibility("default"))) WebSocketPpLink {
public:
    /// Connected when it returns. The library's thread calls `on_message`.
    WebSocketPpLink(const std::string& url, std::function<void(std::string)> on_message);
    ~WebSocketPpLink();
    void send(const void* data, std::size_t bytes);
    void close();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace bench
