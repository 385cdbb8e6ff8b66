// The program of with_sidecar.cpp with blocking Beast: no thread, no deadline, no stop.
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <cstdio>

int main(int, char** argv)
{
    boost::asio::io_context io;
    boost::beast::websocket::stream<boost::asio::ip::tcp::socket> stream{io};
    boost::asio::ip::tcp::resolver resolver{io};
    boost::asio::connect(stream.next_layer(), resolver.resolve(argv[1], argv[2]));
    stream.handshake(argv[1], "/");
    boost::beast::flat_buffer buffer;
    for (;;) {
        const auto size = stream.read(buffer);
        std::printf("%.*s\n", static_cast<int>(size),
                    static_cast<const char*>(buffer.cdata().data()));
        buffer.clear();
    }
}
