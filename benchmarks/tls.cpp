#include "tls.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdexcept>

#include <sys/socket.h>

namespace bench {
namespace {

void require(bool is_done)
{
    if (!is_done)
        throw std::runtime_error{"OpenSSL failed"};
}

template <class Write>
std::string pem_of(Write write)
{
    const std::unique_ptr<BIO, decltype(&::BIO_free)> bio{::BIO_new(::BIO_s_mem()), ::BIO_free};
    require(bio && write(bio.get()) == 1);
    char* data = nullptr;
    const auto size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

void add_extension(X509* x509, int kind, const char* value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x509, x509, nullptr, nullptr, 0);
    auto* const extension = ::X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    require(extension && ::X509_add_ext(x509, extension, -1) == 1);
    ::X509_EXTENSION_free(extension);
}

Certificate make_certificate()
{
    const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> key{EVP_EC_gen("P-256"),
                                                                    ::EVP_PKEY_free};
    const std::unique_ptr<X509, decltype(&::X509_free)> x509{::X509_new(), ::X509_free};
    require(key && x509);
    ::X509_set_version(x509.get(), 2);
    ::ASN1_INTEGER_set(::X509_get_serialNumber(x509.get()), 1);
    ::X509_gmtime_adj(X509_getm_notBefore(x509.get()), -3600);
    ::X509_gmtime_adj(X509_getm_notAfter(x509.get()), 86400);
    auto* const name = ::X509_get_subject_name(x509.get());
    ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>("benchmarks"), -1, -1, 0);
    ::X509_set_issuer_name(x509.get(), name);
    ::X509_set_pubkey(x509.get(), key.get());
    add_extension(x509.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(x509.get(), NID_subject_alt_name, "IP:127.0.0.1");
    require(::X509_sign(x509.get(), key.get(), ::EVP_sha256()) != 0);
    return {.pem = pem_of([&](BIO* bio) { return ::PEM_write_bio_X509(bio, x509.get()); }),
            .key_pem = pem_of([&](BIO* bio) {
                return ::PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr,
                                                  nullptr);
            })};
}

template <class Read>
auto read_pem(const std::string& pem, Read read)
{
    const std::unique_ptr<BIO, decltype(&::BIO_free)> bio{
        ::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), ::BIO_free};
    auto* const result = read(bio.get(), nullptr, nullptr, nullptr);
    require(result != nullptr);
    return result;
}

void use_certificate(SSL_CTX* context)
{
    auto* const x509 = read_pem(certificate().pem, ::PEM_read_bio_X509);
    auto* const key = read_pem(certificate().key_pem, ::PEM_read_bio_PrivateKey);
    require(::SSL_CTX_use_certificate(context, x509) == 1
            && ::SSL_CTX_use_PrivateKey(context, key) == 1);
    ::X509_free(x509);
    ::EVP_PKEY_free(key);
}

void trust_certificate(SSL_CTX* context)
{
    auto* const x509 = read_pem(certificate().pem, ::PEM_read_bio_X509);
    require(::X509_STORE_add_cert(::SSL_CTX_get_cert_store(context), x509) == 1);
    ::X509_free(x509);
    ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
}

} // namespace

const Certificate& certificate()
{
    static const auto made = make_certificate();
    return made;
}

TlsEnd::TlsEnd(int fd, Side side) : fd_{fd}
{
    context_.reset(
        ::SSL_CTX_new(side == Side::client ? ::TLS_client_method() : ::TLS_server_method()));
    require(context_ != nullptr);
    if (side == Side::client)
        trust_certificate(context_.get());
    else
        use_certificate(context_.get());
    // Reads as much as possible with one system call, not a record's head and its rest separately
    ::SSL_CTX_set_read_ahead(context_.get(), 1);
    ::SSL_CTX_set_default_read_buffer_len(context_.get(), 64u << 10);
    ssl_.reset(::SSL_new(context_.get()));
    require(ssl_ && ::SSL_set_fd(ssl_.get(), fd) == 1);
    const int result = side == Side::client ? ::SSL_connect(ssl_.get()) : ::SSL_accept(ssl_.get());
    if (result != 1)
        throw std::runtime_error{"no TLS handshake"};
}

std::size_t TlsEnd::read(std::byte* into, std::size_t size)
{
    std::size_t got = 0;
    return ::SSL_read_ex(ssl_.get(), into, size, &got) == 1 ? got : 0;
}

void TlsEnd::write(std::string_view bytes)
{
    std::size_t written = 0;
    if (!bytes.empty() && ::SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &written) != 1)
        throw std::runtime_error{"send failed"};
}

void TlsEnd::write_records(std::string_view parts, std::size_t part_bytes)
{
    auto* const socket = ::SSL_get_wbio(ssl_.get());
    ::BIO_up_ref(socket);
    ::SSL_set0_wbio(ssl_.get(), ::BIO_new(::BIO_s_mem()));
    for (; !parts.empty(); parts.remove_prefix(part_bytes))
        write(parts.substr(0, part_bytes));
    char* data = nullptr;
    auto left = BIO_get_mem_data(::SSL_get_wbio(ssl_.get()), &data);
    while (left > 0) {
        const auto n = ::send(fd_, data, static_cast<std::size_t>(left), MSG_NOSIGNAL);
        if (n <= 0)
            break;
        data += n;
        left -= n;
    }
    ::SSL_set0_wbio(ssl_.get(), socket);
    if (left > 0)
        throw std::runtime_error{"send failed"};
}

} // namespace bench
