// websocketpp 0.8 compiles as C++17 only, and wants what BOOST_ASIO_NO_DEPRECATED takes away: it
// stands in a library of its own, whose symbols stay inside, and this is all that others see.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace bench {

class __attribute__((visibility("default"))) WebSocketPpLink {
public:
    /// Connected when it returns. `on_message` is called on the library's thread.
    WebSocketPpLink(const std::string& url, std::function<void(std::string)> on_message);
    ~WebSocketPpLink();
    void send(const void* data, std::size_t bytes);
    void close();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace bench
