// NKeys, JWTs and credentials files, made of seeds that a test chooses.
#pragma once

#include "authorization.hpp"
#include "nats/credentials.hpp"
#include "tls/ed25519.hpp"

#include <algorithm>
#include <string>
#include <string_view>

/// A key pair of NATS. `type`: 'U' for a user, 'A' for an account, 'O' for an operator.
struct NatsKey {
    NatsKey(char type, char fill) : raw_seed(32, fill), prefix{static_cast<char>((type - 'A') << 3)}
    {
    }
    [[nodiscard]] std::string seed() const
    {
        const auto kind = static_cast<unsigned char>(prefix);
        return sidecar::nats::encode_nkey(
            std::string{static_cast<char>(18 << 3 | kind >> 5), static_cast<char>((kind & 31) << 3)}
            + raw_seed);
    }
    [[nodiscard]] std::string public_key() const
    {
        return sidecar::nats::encode_nkey(
            prefix + sidecar::stream::ed25519_sign(raw_seed, "").value().public_key);
    }
    /// Signs a JWT about `subject`; `claims` are the fields of its "nats" object.
    [[nodiscard]] std::string jwt(const NatsKey& subject, const std::string& claims,
                                  long expires = 0) const
    {
        const auto head = base64url(R"({"typ":"JWT","alg":"ed25519-nkey"})");
        const auto body =
            base64url(R"({"jti":"1","iat":1700000000,"exp":)" + std::to_string(expires)
                      + R"(,"name":"test","iss":")" + public_key() + R"(","sub":")"
                      + subject.public_key() + R"(","nats":{"version":2,)" + claims + "}}");
        const auto text = head + "." + body;
        return text + "."
               + base64url(sidecar::stream::ed25519_sign(raw_seed, text).value().signature);
    }
    static std::string base64url(std::string_view bytes)
    {
        auto text = sidecar::http::base64(bytes);
        std::replace(text.begin(), text.end(), '+', '-');
        std::replace(text.begin(), text.end(), '/', '_');
        text.erase(std::min(text.find('='), text.size()));
        return text;
    }

    std::string raw_seed;
    char prefix;
};

/// An operator, its account and a user of it, as `nsc` makes them.
struct NatsOperator {
    NatsKey self{'O', 'o'};
    NatsKey account{'A', 'a'};
    NatsKey user{'U', 'u'};

    /// What a server needs to trust them.
    [[nodiscard]] std::string config() const
    {
        return "operator: " + self.jwt(self, R"("type":"operator")") + "\nresolver: MEMORY\n"
               + "resolver_preload { " + account.public_key() + ": "
               + self.jwt(account,
                          R"("type":"account","limits":{"subs":-1,"data":-1,"payload":-1,)"
                          R"("imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1})")
               + " }\n";
    }
    /// `expires`: seconds since 1970; 0: never.
    [[nodiscard]] std::string user_jwt(long expires = 0) const
    {
        return account.jwt(user, R"("type":"user","subs":-1,"data":-1,"payload":-1)", expires);
    }
    [[nodiscard]] std::string credentials() const
    {
        return credentials_text(user_jwt(), user.seed());
    }
    static std::string credentials_text(const std::string& jwt, const std::string& seed)
    {
        return "-----BEGIN NATS USER JWT-----\n" + jwt
               + "\n------END NATS USER JWT------\n\n"
                 "************************* IMPORTANT *************************\n"
                 "NKEY Seed printed below can be used to sign and prove identity.\n\n"
                 "-----BEGIN USER NKEY SEED-----\n"
               + seed + "\n------END USER NKEY SEED------\n\n*****\n";
    }
};
