#include "files.hpp"

#include "text.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace sidecar::stream {
namespace {

/// The system's bundle has a few hundred KiB.
constexpr std::size_t max_file_bytes = 64u << 20;

using DirectoryPtr = std::unique_ptr<DIR, FreeWith<::closedir>>;

struct Descriptor {
    explicit Descriptor(const std::string& path)
        : fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)}
    {
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { fd < 0 ? 0 : ::close(fd); }
    const int fd;
};

Failure unreadable(const std::string& name, int error)
{
    return unusable(
        fmt::format("{} cannot be read: {}", name, std::generic_category().message(error)), error);
}

/// Accepts regular files only: any other kind may block until another process acts.
Result<void> validate_kind(const std::string& name, int fd)
{
    struct stat s {};
    if (::fstat(fd, &s) != 0)
        return unreadable(name, errno);
    if (S_ISDIR(s.st_mode))
        return unreadable(name, EISDIR);
    if (!S_ISREG(s.st_mode))
        return unusable(name + " is no regular file");
    return {};
}

BioPtr memory_bio(const std::string& text)
{
    return BioPtr{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

/// Whether parsing stopped only because no further block follows.
bool is_at_end()
{
    const auto code = ERR_peek_last_error();
    return code == 0
           || (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE);
}

struct Password {
    const std::string& text;
    bool was_asked = false;
};

int give_password(char* to, int size, int, void* user)
{
    auto& password = *static_cast<Password*>(user);
    password.was_asked = true;
    if (password.text.empty() || password.text.size() > static_cast<std::size_t>(size))
        return -1;
    std::memcpy(to, password.text.data(), password.text.size());
    return static_cast<int>(password.text.size());
}

/// Whether OpenSSL would look for this name in a directory: "5ed36f99.0".
bool is_hashed_name(std::string_view name)
{
    const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
    return name.size() > 9 && name[8] == '.'
           && std::all_of(name.begin(), name.begin() + 8,
                          [](unsigned char c) { return std::isxdigit(c) != 0; })
           && std::all_of(name.begin() + 9, name.end(), is_digit);
}

} // namespace

Failure unusable(std::string why, int error)
{
    const bool is_lack = error == EMFILE || error == ENFILE || error == ENOMEM;
    return {is_lack ? Error::no_resources : Error::bad_options,
            {.attempted = "prepare TLS", .explanation = std::move(why), .is_passing = true}};
}

std::string named(const char* option, const std::string& path)
{
    return fmt::format("{} {}", option, http::quote_name(path, 256));
}

Result<std::string> read_file(const char* option, const std::string& path)
{
    const auto name = named(option, path);
    if (path.find('\0') != path.npos)
        return unusable(name + " is no path");
    const Descriptor file{path};
    if (file.fd < 0)
        return unreadable(name, errno);
    if (auto valid = validate_kind(name, file.fd); !valid)
        return valid.error();
    std::string text;
    for (std::size_t at = 0;;) {
        text.resize(std::max<std::size_t>(2 * at, 64u << 10));
        const auto got = ::read(file.fd, text.data() + at, text.size() - at);
        if (got < 0)
            return unreadable(name, errno);
        at += static_cast<std::size_t>(got);
        text.resize(at);
        if (got == 0)
            return text;
        if (at > max_file_bytes)
            return unusable(name + " is too large");
    }
}

Result<Certificates> parse_certificates(const std::string& where, const std::string& pem)
{
    ERR_clear_error();
    const auto bio = memory_bio(pem);
    Certificates found;
    if (bio)
        while (CertificatePtr next{PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr)})
            found.push_back(std::move(next));
    if (!is_at_end())
        return unusable(fmt::format("{}: its certificate number {} cannot be read: {}", where,
                                    found.size() + 1, take_error_text()));
    ERR_clear_error();
    if (found.empty())
        return unusable(where + " holds no certificate in PEM form");
    return found;
}

Result<Certificates> read_certificates(const char* option, const std::string& path)
{
    const auto text = read_file(option, path);
    return text ? parse_certificates(named(option, path), *text) : text.error();
}

Result<KeyPtr> parse_key(const std::string& where, const std::string& pem,
                         const std::string& password)
{
    ERR_clear_error();
    const auto bio = memory_bio(pem);
    Password state{password};
    KeyPtr key{bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, give_password, &state) : nullptr};
    if (!key && state.was_asked) {
        ERR_clear_error();
        return unusable(where
                        + (password.empty() ? ": the key is encrypted, and key_password is empty"
                                            : ": key_password does not decrypt the key"));
    }
    // OpenSSL's decoders call another kind of PEM block "unsupported"
    if (!key && (is_at_end() || ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_UNSUPPORTED)) {
        ERR_clear_error();
        return unusable(where + " holds no private key in PEM form");
    }
    if (!key)
        return unusable(fmt::format("{}: the key cannot be read: {}", where, take_error_text()));
    ERR_clear_error();
    return key;
}

Result<Identity> read_identity(const std::string& prefix, const TlsServerOptions::Certificate& from)
{
    const auto option = prefix + "certificate_file", key_option = prefix + "key_file";
    const bool has_file = !from.certificate_file.empty(), has_key_file = !from.key_file.empty();
    auto name =
        has_file ? named(option.c_str(), from.certificate_file) : prefix + "certificate_pem";
    const auto key_name =
        has_key_file ? named(key_option.c_str(), from.key_file) : prefix + "key_pem";
    auto chain = has_file ? read_certificates(option.c_str(), from.certificate_file)
                          : parse_certificates(name, from.certificate_pem);
    if (!chain)
        return chain.error();
    auto key_text = has_key_file ? read_file(key_option.c_str(), from.key_file) : from.key_pem;
    if (!key_text)
        return key_text.error();
    auto key = parse_key(key_name, *key_text, from.key_password);
    OPENSSL_cleanse(key_text->data(), key_text->size());
    if (!key)
        return key.error();
    if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
        ERR_clear_error();
        return unusable(fmt::format("{} is not the key of {}", key_name, name));
    }
    Identity identity{.name = std::move(name),
                      .chain = *std::move(chain),
                      .issuers = CertificatesPtr{sk_X509_new_null()},
                      .key = *std::move(key)};
    for (auto at = identity.chain.begin() + 1; at != identity.chain.end(); ++at)
        if (sk_X509_push(identity.issuers.get(), at->get()) == 0)
            throw std::bad_alloc{};
    return identity;
}

Result<Certificates> read_directory(const char* option, const std::string& path)
{
    const auto name = named(option, path);
    if (path.find('\0') != path.npos)
        return unusable(name + " is no path");
    const DirectoryPtr directory{::opendir(path.c_str())};
    if (!directory)
        return unreadable(name, errno);
    Certificates all;
    while (const auto* entry = ::readdir(directory.get())) {
        if (!is_hashed_name(entry->d_name))
            continue;
        const auto text = read_file(option, path + "/" + entry->d_name);
        if (!text && text.error() == Error::no_resources)
            return text.error();
        if (auto found = text ? parse_certificates(name, *text) : text.error(); found)
            std::move(found->begin(), found->end(), std::back_inserter(all));
    }
    ERR_clear_error();
    return all;
}

std::string file_stamps(const std::vector<std::string>& paths)
{
    std::string stamps;
    for (const auto& path : paths) {
        struct stat s {};
        stamps += path;
        if (!path.empty() && ::stat(path.c_str(), &s) == 0)
            stamps += fmt::format(" {} {} {} {}.{}", s.st_dev, s.st_ino, s.st_size,
                                  s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
        stamps += '\n';
    }
    return stamps;
}

} // namespace sidecar::stream
