// How a client proves to a server who it is.
#include "nats/credentials.hpp"

#include "support/nats_keys.hpp"
#include "support/nats_server.hpp"
#include "support/unix_places.hpp"

#include <doctest/doctest.h>

#include <sys/stat.h>

#include <fstream>
#include <string>

namespace credentials_test {

using namespace sidecar;
using namespace sidecar::nats;

/// A seed and its public key as the documentation of NATS shows them.
constexpr char seed[] = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
constexpr char public_key[] = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

std::string from_hex(const std::string& hex)
{
    std::string bytes;
    for (std::size_t at = 0; at < hex.size(); at += 2)
        bytes += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
    return bytes;
}

std::string text_of(const Result<std::vector<ConnectField>>& fields)
{
    if (!fields)
        return fields.error().explanation();
    std::string text;
    for (const auto& field : *fields)
        text += std::string{text.empty() ? "" : " "}.append(field.name) + "=" + field.value;
    return text;
}

TEST_CASE("ed25519: signs as RFC 8032 section 7.1 shows")
{
    struct Row {
        const char* seed;
        const char* public_key;
        const char* message;
        const char* signature;
    };
    const Row rows[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "c"
         "f9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0"
         "f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7609"
         "8"
         "4dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (const auto& row : rows) {
        const auto made = stream::ed25519_sign(from_hex(row.seed), from_hex(row.message)).value();
        CHECK(made.public_key == from_hex(row.public_key));
        CHECK(made.signature == from_hex(row.signature));
    }
}

TEST_CASE("ed25519: refuses a seed of another size")
{
    const auto made = stream::ed25519_sign("too short", "message");
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().message().find("too short") == std::string::npos);
}

TEST_CASE("credentials: user, password and token become the fields of CONNECT")
{
    struct Row {
        Credentials credentials;
        const char* fields;
    };
    const Row rows[] = {
        {{}, ""},
        {{.user = "me"}, "user=me pass="},
        {{.user = "me", .password = "\"pass\""}, "user=me pass=\"pass\""},
        {{.token = "t0ken"}, "auth_token=t0ken"},
        {{.nkey_seed = seed}, "nkey=UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"},
    };
    for (const auto& row : rows) {
        CHECK(validate(row.credentials).has_value());
        CHECK(text_of(connect_fields(row.credentials, "")) == row.fields);
    }
}

TEST_CASE("credentials: a seed signs the nonce with its key")
{
    const NatsKey user{'U', 'x'};
    CHECK(user.seed().starts_with("SU"));
    CHECK(user.public_key().starts_with("U"));
    const auto fields = connect_fields({.nkey_seed = user.seed()}, "a nonce").value();
    REQUIRE(fields.size() == 2);
    CHECK(fields[0].value == user.public_key());
    const auto signature = stream::ed25519_sign(user.raw_seed, "a nonce").value().signature;
    CHECK(fields[1].name == "sig");
    CHECK(fields[1].value == NatsKey::base64url(signature));
    CHECK(connect_fields({.nkey_seed = seed}, "").value()[0].value == public_key);
}

TEST_CASE("credentials: what cannot work is refused before a connection, and shows no secret")
{
    auto changed = std::string{seed};
    changed[20] = changed[20] == 'A' ? 'B' : 'A';
    struct Row {
        Credentials credentials;
        const char* explanation;
    };
    const Row rows[] = {
        {{.password = "hidden"}, "a password needs a user"},
        {{.user = "me", .token = "hidden"},
         "more than one of user, token, nkey_seed and credentials_file is set"},
        {{.token = "hidden", .nkey_seed = seed},
         "more than one of user, token, nkey_seed and credentials_file is set"},
        {{.nkey_seed = seed, .credentials_file = "/x"},
         "more than one of user, token, nkey_seed and credentials_file is set"},
        {{.credentials_file = std::string{"a\0b", 3}}, "credentials_file is no path"},
        {{.credentials_file = "-----BEGIN NATS USER JWT-----\nhidden"},
         "credentials_file is no path"},
        {{.nkey_seed = "hidden"}, "nkey_seed does not begin with SU, as a user's seed does"},
        {{.nkey_seed = public_key}, "nkey_seed does not begin with SU, as a user's seed does"},
        {{.nkey_seed = NatsKey{'A', 'x'}.seed()},
         "nkey_seed does not begin with SU, as a user's seed does"},
        {{.nkey_seed = std::string{seed} + "A"}, "nkey_seed does not have 58 characters"},
        {{.nkey_seed = "SU1" + std::string(55, 'A')},
         "nkey_seed has a character that is not in base32"},
        {{.nkey_seed = "SU" + std::string(56, 'a')},
         "nkey_seed has a character that is not in base32"},
        {{.nkey_seed = changed}, "nkey_seed has a wrong checksum"},
    };
    for (const auto& row : rows) {
        const auto valid = validate(row.credentials);
        REQUIRE_FALSE(valid.has_value());
        CHECK(valid.error() == Error::bad_options);
        CHECK(valid.error().explanation() == row.explanation);
    }
}

TEST_CASE("credentials: a file is read anew for each connection, and its faults name the line")
{
    const Directory directory;
    const auto path = directory.at("user.creds");
    const auto good = NatsOperator::credentials_text("a.b.c", seed);
    const auto write = [&](const std::string& text) { std::ofstream{path} << text; };
    const auto fields = [&] { return text_of(connect_fields({.credentials_file = path}, "")); };
    const auto without = [](std::string text, const std::string& part) {
        return text.erase(text.find(part), part.size());
    };

    write(good);
    CHECK(fields() == "jwt=a.b.c");
    write(NatsOperator::credentials_text("  d.e.f \t\r", std::string{"\n "} + seed + "\r"));
    CHECK(fields() == "jwt=d.e.f");

    struct Row {
        std::string text;
        const char* fault;
    };
    const Row rows[] = {
        {"", " has no line \"BEGIN USER JWT\""},
        {"nothing\n", " has no line \"BEGIN USER JWT\""},
        {"-----BEGIN NATS USER JWT-----\na.b.c\n-----END NATS USER JWT-----",
         " has no line \"BEGIN USER NKEY SEED\""},
        {"-----BEGIN USER NKEY SEED-----\nSU\n-----END-----", " has no line \"BEGIN USER JWT\""},
        {without(good, "------END NATS USER JWT------"), ", line 5: is a second line in a block"},
        {without(good, "------END USER NKEY SEED------"), ", line 12: is a second line in a block"},
        {"-----BEGIN NATS USER JWT-----\na.b.c", ", line 2: its block has no END"},
        {"-----BEGIN NATS USER JWT-----\na.b.c\n-----BEGIN USER NKEY SEED-----",
         ", line 3: the block before it has no END"},
        {"-----BEGIN NATS USER JWT-----\n", ", line 1: its block has no END"},
        {without(good, "a.b.c"), ", line 3: ends an empty block"},
        {good + good, ", line 13: begins a second block of this kind"},
        {"-----BEGIN PRIVATE KEY-----\n",
         ", line 1: begins neither a USER JWT nor a USER NKEY SEED"},
        {NatsOperator::credentials_text("a.b.c\nd", seed), ", line 3: is a second line in a block"},
        {NatsOperator::credentials_text("a b", seed),
         ", line 2: the JWT has a character that no JWT has"},
        {NatsOperator::credentials_text("a.b", "hidden"),
         ", line 9: the seed does not begin with SU, as a user's seed does"},
        {NatsOperator::credentials_text("a.b", "SU" + std::string(56, 'A')),
         ", line 9: the seed has a wrong checksum"},
        {std::string(70'000, 'x'), " is too large"},
    };
    for (const auto& row : rows) {
        write(row.text);
        const auto result = connect_fields({.credentials_file = path}, "");
        REQUIRE_FALSE(result.has_value());
        CHECK(result.error() == Error::bad_options);
        CHECK(result.error().is_passing() == true);
        CHECK(result.error().explanation() == "credentials_file \"" + path + "\"" + row.fault);
    }
    write(good);
    CHECK(fields() == "jwt=a.b.c");
}

TEST_CASE("credentials: a file that cannot be read is named with the reason")
{
    const Directory directory;
    const auto why = [](const std::string& path) {
        return connect_fields({.credentials_file = path}, "").error().explanation();
    };
    const auto name = [&](const char* file) {
        return "credentials_file \"" + directory.at(file) + "\"";
    };
    CHECK(why(directory.at("none")) == name("none") + " cannot be read: No such file or directory");
    CHECK(why(directory.path) == "credentials_file \"" + directory.path + "\" is no regular file");
    REQUIRE(::mkfifo(directory.at("pipe").c_str(), 0600) == 0);
    CHECK(why(directory.at("pipe")) == name("pipe") + " is no regular file");
}

/// What a server answers to these fields and a PING: PONG, or -ERR.
std::string answer_of(const NatsServer& server, const Credentials& credentials)
{
    NatsWire wire{server.port()};
    const auto info = wire.line();
    constexpr std::string_view key = "\"nonce\":\"";
    const auto at = info.find(key);
    const auto nonce =
        at == info.npos
            ? std::string{}
            : info.substr(at + key.size(), info.find('"', at + key.size()) - at - key.size());
    std::string connect = "CONNECT {\"verbose\":false";
    const auto fields = connect_fields(credentials, nonce).value();
    for (const auto& field : fields)
        connect += ",\"" + std::string{field.name} + "\":\"" + field.value + "\"";
    wire.send(connect + "}\r\nPING\r\n");
    return wire.line();
}

TEST_CASE("credentials: a real server takes what is right, and refuses what is not")
{
    constexpr char refused[] = "-ERR 'Authorization Violation'";
    const NatsKey other{'U', 'y'};
    {
        const NatsServer server;
        CHECK(answer_of(server, {}) == "PONG");
        CHECK(answer_of(server, {.nkey_seed = seed}) == "PONG");
    }
    {
        const NatsServer server{"authorization { user: me, password: sesame }"};
        CHECK(answer_of(server, {.user = "me", .password = "sesame"}) == "PONG");
        CHECK(answer_of(server, {.user = "me", .password = "other"}) == refused);
        CHECK(answer_of(server, {}) == refused);
    }
    {
        const NatsServer server{"authorization { token: \"t0ken\" }"};
        CHECK(answer_of(server, {.token = "t0ken"}) == "PONG");
        CHECK(answer_of(server, {.token = "other"}) == refused);
    }
    {
        const NatsServer server{std::string{"authorization { users: [ { nkey: "} + public_key
                                + " } ] }"};
        CHECK(answer_of(server, {.nkey_seed = seed}) == "PONG");
        CHECK(answer_of(server, {.nkey_seed = other.seed()}) == refused);
    }
    {
        const NatsOperator nats_operator;
        const NatsServer server{nats_operator.config()};
        const auto path = server.directory() + "/user.creds";
        std::ofstream{path} << nats_operator.credentials();
        CHECK(answer_of(server, {.credentials_file = path}) == "PONG");
        std::ofstream{path} << NatsOperator::credentials_text(nats_operator.user_jwt(),
                                                              other.seed());
        CHECK(answer_of(server, {.credentials_file = path}) == refused);
    }
}

} // namespace credentials_test
