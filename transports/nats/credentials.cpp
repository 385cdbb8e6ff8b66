#include "credentials.hpp"

#include "authorization.hpp"
#include "protocol.hpp"
#include "text.hpp"
#include "tls/ed25519.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

namespace sidecar::nats {
namespace {

constexpr std::size_t max_file_bytes = 64u << 10; // a JWT with many permissions has a few KiB
constexpr std::size_t seed_characters = 58;       // 2 bytes of prefix, 32 of seed, 2 of checksum
constexpr std::string_view base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr char user_prefix = static_cast<char>(20u << 3); // makes 'U' the first character

/// Bytes that are overwritten before their memory is released.
struct Wiped {
    explicit Wiped(std::size_t size) : bytes(size, '\0') {}
    Wiped(const Wiped&) = delete;
    Wiped& operator=(const Wiped&) = delete;
    ~Wiped() { ::explicit_bzero(bytes.data(), bytes.size()); }
    std::string bytes;
};

Failure refuse_file(const std::string& path, std::string_view why, int error = 0)
{
    const bool is_lack = error == EMFILE || error == ENFILE || error == ENOMEM;
    return {is_lack ? Error::no_resources : Error::bad_options,
            {.attempted = "read credentials",
             .explanation = fmt::format("credentials_file {}{}", http::quote_name(path, 256), why),
             .is_passing = true}};
}

/// CRC-16 with the polynomial 0x1021, the lower byte first.
std::string checksum_of(std::string_view bytes)
{
    unsigned crc = 0;
    for (const char c : bytes) {
        crc ^= unsigned{static_cast<unsigned char>(c)} << 8;
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc << 1 ^ (crc & 0x8000 ? 0x1021u : 0u)) & 0xffff;
    }
    return {static_cast<char>(crc & 0xff), static_cast<char>(crc >> 8)};
}

/// Decodes a user's seed into 36 bytes: a prefix of 2 bytes, the seed of 32, a checksum. Returns
/// why it cannot; empty: it could.
std::string_view decode_seed(std::string_view text, Wiped& to)
{
    if (!text.starts_with("SU"))
        return "does not begin with SU, as a user's seed does";
    if (text.size() != seed_characters)
        return "does not have 58 characters";
    std::uint32_t bits = 0;
    int bit_count = 0;
    std::size_t at = 0;
    for (const char c : text) {
        const auto digit = base32.find(c);
        if (digit == base32.npos)
            return "has a character that is not in base32";
        bits = bits << 5 | static_cast<std::uint32_t>(digit);
        if ((bit_count += 5) >= 8)
            to.bytes[at++] = static_cast<char>(bits >> (bit_count -= 8) & 0xff);
    }
    const std::string_view decoded{to.bytes};
    return checksum_of(decoded.substr(0, 34)) == decoded.substr(34) ? "" : "has a wrong checksum";
}

std::string base64url(std::string_view bytes)
{
    auto text = http::base64(bytes);
    std::replace(text.begin(), text.end(), '+', '-');
    std::replace(text.begin(), text.end(), '/', '_');
    text.erase(std::min(text.find('='), text.size()));
    return text;
}

Result<std::vector<ConnectField>> sign(std::string_view seed, std::string_view nonce,
                                       std::string_view jwt)
{
    const auto signature = stream::ed25519_sign(seed, nonce);
    if (!signature)
        return signature.error();
    std::vector<ConnectField> fields;
    if (jwt.empty())
        fields.push_back({"nkey", encode_nkey(user_prefix + signature->public_key)});
    else
        fields.push_back({"jwt", std::string{jwt}});
    if (!nonce.empty())
        fields.push_back({"sig", base64url(signature->signature)});
    return fields;
}

Result<std::vector<ConnectField>> sign_with(std::string_view nkey_seed, std::string_view nonce)
{
    Wiped seed{36};
    if (const auto why = decode_seed(nkey_seed, seed); !why.empty())
        return http::refuse(Error::bad_options, fmt::format("nkey_seed {}", why));
    return sign(std::string_view{seed.bytes}.substr(2, 32), nonce, {});
}

/// Reads at most max_file_bytes. Accepts a regular file only: any other may block.
Result<std::size_t> read_file(const std::string& path, Wiped& to)
{
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat s {};
    const bool is_file = fd >= 0 && ::fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
    std::size_t size = 0;
    ::ssize_t got = is_file ? 1 : fd < 0 ? -1 : 0;
    while (is_file && got > 0 && size < to.bytes.size()) {
        got = ::read(fd, to.bytes.data() + size, to.bytes.size() - size);
        size += got > 0 ? static_cast<std::size_t>(got) : 0;
    }
    const int error = errno;
    if (fd >= 0)
        ::close(fd);
    if (got < 0)
        return refuse_file(path, " cannot be read: " + std::generic_category().message(error),
                           error);
    if (!is_file)
        return refuse_file(path, " is no regular file");
    if (size == to.bytes.size())
        return refuse_file(path, " is too large");
    return size;
}

/// The content of one block of a credentials file: the line between BEGIN and END.
struct Block {
    const std::string_view name;
    std::string_view value{};
    std::size_t line = 0; ///< of `value`, or of its BEGIN; 0: there is no such block
};

struct Blocks {
    Block jwt{"USER JWT"};
    Block seed{"USER NKEY SEED"};
};

/// Returns the blocks. Lifetime: views into `text`.
Result<Blocks> parse_credentials(const std::string& path, std::string_view text)
{
    Blocks found;
    Block* open = nullptr;
    const auto refuse = [&](std::size_t line, std::string_view why) {
        return refuse_file(path, fmt::format(", line {}: {}", line, why));
    };
    for (std::size_t number = 1; !text.empty(); ++number) {
        const auto line = trimmed(http::cut(text, "\n"), " \t\r");
        text.remove_prefix(std::min<std::size_t>(text.size(), 1));
        const bool is_mark = line.starts_with("---");
        if (is_mark && line.find("BEGIN") != line.npos) {
            Block* const begun = line.find(found.jwt.name) != line.npos    ? &found.jwt
                                 : line.find(found.seed.name) != line.npos ? &found.seed
                                                                           : nullptr;
            if (!begun)
                return refuse(number, "begins neither a USER JWT nor a USER NKEY SEED");
            if (open || begun->line != 0)
                return refuse(number, open ? "the block before it has no END"
                                           : "begins a second block of this kind");
            open = begun;
            open->line = number;
        } else if (is_mark && open && line.find("END") != line.npos) {
            if (open->value.empty())
                return refuse(number, "ends an empty block");
            open = nullptr;
        } else if (open && !line.empty()) {
            if (!open->value.empty())
                return refuse(number, "is a second line in a block");
            open->value = line;
            open->line = number;
        }
    }
    if (open)
        return refuse(open->line, "its block has no END");
    for (const auto* block : {&found.jwt, &found.seed})
        if (block->line == 0)
            return refuse_file(path, fmt::format(" has no line \"BEGIN {}\"", block->name));
    if (!std::all_of(found.jwt.value.begin(), found.jwt.value.end(), http::is_unreserved))
        return refuse(found.jwt.line, "the JWT has a character that no JWT has");
    return found;
}

Result<std::vector<ConnectField>> sign_with_file(const std::string& path, std::string_view nonce)
{
    Wiped file{max_file_bytes};
    const auto size = read_file(path, file);
    if (!size)
        return size.error();
    const auto found = parse_credentials(path, std::string_view{file.bytes}.substr(0, *size));
    if (!found)
        return found.error();
    Wiped seed{36};
    if (const auto why = decode_seed(found->seed.value, seed); !why.empty())
        return refuse_file(path, fmt::format(", line {}: the seed {}", found->seed.line, why));
    return sign(std::string_view{seed.bytes}.substr(2, 32), nonce, found->jwt.value);
}

} // namespace

std::string encode_nkey(std::string_view prefixed_key)
{
    const auto bytes = std::string{prefixed_key} + checksum_of(prefixed_key);
    std::string text;
    std::uint32_t bits = 0;
    int bit_count = 0;
    for (const char c : bytes) {
        bits = bits << 8 | static_cast<unsigned char>(c);
        for (bit_count += 8; bit_count >= 5;)
            text += base32[bits >> (bit_count -= 5) & 31];
    }
    if (bit_count > 0)
        text += base32[bits << (5 - bit_count) & 31];
    return text;
}

Result<void> validate(const Credentials& credentials)
{
    const auto refuse = [](std::string_view why) {
        return http::refuse(Error::bad_options, std::string{why});
    };
    const auto& c = credentials;
    if (c.user.empty() && !c.password.empty())
        return refuse("a password needs a user");
    if (!c.user.empty() + !c.token.empty() + !c.nkey_seed.empty() + !c.credentials_file.empty() > 1)
        return refuse("more than one of user, token, nkey_seed and credentials_file is set");
    if (c.credentials_file.find('\0') != c.credentials_file.npos
        || c.credentials_file.find("-----BEGIN") != c.credentials_file.npos)
        return refuse("credentials_file is no path");
    if (c.nkey_seed.empty())
        return {};
    const auto signed_by = sign_with(c.nkey_seed, {});
    return signed_by ? Result<void>{} : signed_by.error();
}

Result<std::vector<ConnectField>> connect_fields(const Credentials& credentials,
                                                 std::string_view nonce)
{
    const auto& c = credentials;
    if (!c.nkey_seed.empty())
        return sign_with(c.nkey_seed, nonce);
    if (!c.credentials_file.empty())
        return sign_with_file(c.credentials_file, nonce);
    std::vector<ConnectField> fields;
    if (!c.token.empty())
        fields.push_back({"auth_token", c.token});
    if (!c.user.empty()) {
        fields.push_back({"user", c.user});
        fields.push_back({"pass", c.password});
    }
    return fields;
}

} // namespace sidecar::nats
