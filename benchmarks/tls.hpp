// TLS for the load generator and the floor, by OpenSSL on blocking sockets.
#pragma once

#include "harness.hpp"

#include <openssl/ssl.h>

#include <memory>
#include <string>

namespace bench {

/// A self-signed certificate for 127.0.0.1, with its key, both as PEM. Made once. The runner of a
/// secure job asks for it before its processes fork, so that both have the same one.
struct Certificate {
    std::string pem, key_pem;
};
[[nodiscard]] const Certificate& certificate();

/// One end of a connection on a blocking socket, after its handshake.
class TlsEnd {
public:
    enum class Side { client, server };
    TlsEnd(int fd, Side side);

    /// Reads at least a byte, at most a record; zero at the end.
    [[nodiscard]] std::size_t read(std::byte* into, std::size_t size);
    void write(std::string_view bytes);
    /// Writes each of the parts, which have equal sizes, as a record; sends all at once.
    void write_records(std::string_view parts, std::size_t part_bytes);

private:
    struct Free {
        void operator()(SSL* ssl) const noexcept { ::SSL_free(ssl); }
        void operator()(SSL_CTX* context) const noexcept { ::SSL_CTX_free(context); }
    };
    std::unique_ptr<SSL_CTX, Free> context_;
    std::unique_ptr<SSL, Free> ssl_;
    int fd_;
};

} // namespace bench
