// The offer of compression, and each answer to it.
#include <extensions.hpp>

#include <doctest/doctest.h>

namespace extensions_test {

using namespace sidecar;
using namespace sidecar::websocket;

std::string told(const CompressionOptions& options, std::string_view answer)
{
    const auto agreed = agree(options, answer);
    if (!agreed)
        return agreed.error().explanation();
    if (!*agreed)
        return "plain";
    const auto& deflation = **agreed;
    return std::string{deflation.peer_keeps_context ? "peer keeps, " : "peer forgets, "}
           + (deflation.keeps_context ? "keeps, " : "forgets, ")
           + std::to_string(deflation.window_bits);
}

/// Empty: the options are good.
std::string why(const CompressionOptions& options)
{
    const auto valid = websocket::validate(options);
    return valid ? std::string{} : valid.error().explanation();
}

TEST_CASE("compression: what is offered")
{
    CHECK(offer_of({}) == "permessage-deflate; client_max_window_bits");
    CHECK(offer_of({.client_max_window_bits = 9})
          == "permessage-deflate; client_max_window_bits=9");
    CHECK(offer_of({.server_max_window_bits = 8,
                    .client_max_window_bits = 10,
                    .server_no_context_takeover = true,
                    .client_no_context_takeover = true})
          == "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
             "server_max_window_bits=8; client_max_window_bits=10");
}

TEST_CASE("compression: options that cannot be are named")
{
    CHECK(why({}).empty());
    CHECK(why({.server_max_window_bits = 8, .level = 0, .mem_level = 1}).empty());
    CHECK(why({.server_max_window_bits = 7})
          == "compression.server_max_window_bits is 7, and must be 8 to 15");
    CHECK(why({.client_max_window_bits = 16})
          == "compression.client_max_window_bits is 16, and must be 8 to 15");
    CHECK(why({.level = 10}) == "compression.level is 10, and must be 0 to 9");
    CHECK(why({.level = -1}) == "compression.level is -1, and must be 0 to 9");
    CHECK(why({.mem_level = 0}) == "compression.mem_level is 0, and must be 1 to 9");
}

TEST_CASE("compression: answers that agree")
{
    const CompressionOptions any{};
    CHECK(told(any, "") == "plain");
    CHECK(told(any, " ,, ") == "plain");
    CHECK(told(any, "permessage-deflate") == "peer keeps, keeps, 15");
    CHECK(told(any, "Permessage-Deflate , ") == "peer keeps, keeps, 15");
    CHECK(told(any, "permessage-deflate; server_no_context_takeover") == "peer forgets, keeps, 15");
    CHECK(told(any, "permessage-deflate;client_no_context_takeover") == "peer keeps, forgets, 15");
    CHECK(told(any, "permessage-deflate; server_max_window_bits=10") == "peer keeps, keeps, 15");
    for (int bits = 8; bits <= 15; ++bits) {
        const auto value = std::to_string(bits);
        const auto expected = "peer keeps, keeps, " + value;
        CHECK(told(any, "permessage-deflate; client_max_window_bits=" + value) == expected);
        CHECK(told(any, "permessage-deflate; client_max_window_bits = \"" + value + "\"")
              == expected);
        CHECK(told({.server_max_window_bits = bits},
                   "permessage-deflate; server_max_window_bits=" + value)
              == "peer keeps, keeps, 15");
    }
    CHECK(told(any, "permessage-deflate; client_max_window_bits=\"1\\2\"")
          == "peer keeps, keeps, 12");
    // ours stays as we said where the peer does not
    CHECK(told({.client_max_window_bits = 9}, "permessage-deflate") == "peer keeps, keeps, 9");
    CHECK(told({.client_no_context_takeover = true}, "permessage-deflate")
          == "peer keeps, forgets, 15");
    CHECK(told({.server_max_window_bits = 12, .server_no_context_takeover = true},
               "permessage-deflate; SERVER_MAX_WINDOW_BITS=9; Server_No_Context_Takeover;"
               "client_no_context_takeover; client_max_window_bits=8")
          == "peer forgets, forgets, 8");
}

TEST_CASE("compression: answers that refuse the handshake, each with its text")
{
    struct Case {
        CompressionOptions offered;
        const char* answer;
        const char* fault;
    };
    const Case cases[] = {
        {{}, "foo", "it chose an extension that was not offered: \"foo\""},
        {{},
         "permessage-deflate, x-webkit-deflate-frame",
         "it chose an extension that was not offered: \"x-webkit-deflate-frame\""},
        {{}, "permessage-deflate, permessage-deflate", "it chose permessage-deflate twice"},
        {{},
         "permessage-deflate; level=9",
         "it has a parameter of permessage-deflate that is not known: \"level\""},
        {{},
         "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
         "it has server_no_context_takeover twice"},
        {{},
         "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
         "it has client_no_context_takeover twice"},
        {{},
         "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
         "it has server_max_window_bits twice"},
        {{},
         "permessage-deflate; client_max_window_bits=15; client_max_window_bits=15",
         "it has client_max_window_bits twice"},
        {{},
         "permessage-deflate; server_no_context_takeover=true",
         "server_no_context_takeover has a value (\"true\"), and may have none"},
        {{},
         "permessage-deflate; client_no_context_takeover=\"\"",
         "client_no_context_takeover has a value (\"\"), and may have none"},
        {{}, "permessage-deflate; client_max_window_bits", "client_max_window_bits has no value"},
        {{}, "permessage-deflate; server_max_window_bits", "server_max_window_bits has no value"},
        {{.client_max_window_bits = 10},
         "permessage-deflate; client_max_window_bits=11",
         "client_max_window_bits is 11, and no more than 10 was offered"},
        {{.server_max_window_bits = 10},
         "permessage-deflate; server_max_window_bits=15",
         "server_max_window_bits is 15, and no more than 10 was offered"},
        {{.server_max_window_bits = 10},
         "permessage-deflate",
         "it takes up permessage-deflate without the server_max_window_bits that was asked for"},
        {{.server_no_context_takeover = true},
         "permessage-deflate",
         "it takes up permessage-deflate without the server_no_context_takeover that was asked "
         "for"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.answer);
        CHECK(told(one.offered, one.answer) == one.fault);
    }
    for (const auto* value : {"7", "16", "0", "08", "+9", "-9", "9.0", "1e1", "0x9", "\"\"",
                              "\" 9\"", "99999999999999999999"}) {
        CAPTURE(value);
        for (const std::string name : {"client_max_window_bits", "server_max_window_bits"}) {
            const auto fault = told({}, "permessage-deflate; " + name + "=" + value);
            CHECK(fault.starts_with(name + " is \""));
            CHECK(fault.ends_with("\", and must be a number from 8 to 15"));
        }
    }
    for (const auto* answer :
         {"permessage-deflate;", "permessage-deflate; ;", "; client_max_window_bits=9", "=",
          "permessage-deflate; =9", "permessage-deflate; client_max_window_bits=",
          "permessage-deflate; client_max_window_bits=\"9", "permessage-deflate; a=\"\\",
          "permessage-deflate client_max_window_bits=9", "permessage-deflate; a=b c",
          "\"permessage-deflate\"", "permessage-deflate/", "permessage-deflate; a=\"",
          "permessage-deflate; client_max_window_bits=9;"}) {
        CAPTURE(answer);
        CHECK(told({}, answer).starts_with("its Sec-WebSocket-Extensions cannot be read: "));
    }
}

std::string accepted(const CompressionOptions& options, std::string_view offers)
{
    const auto accepted = websocket::accept(options, offers);
    if (!accepted)
        return accepted.error().explanation();
    if (!*accepted)
        return "none";
    const auto& deflation = (*accepted)->deflation;
    return std::string{deflation.peer_keeps_context ? "peer keeps, " : "peer forgets, "}
           + (deflation.keeps_context ? "keeps, " : "forgets, ")
           + std::to_string(deflation.window_bits) + ": " + (*accepted)->answer;
}

TEST_CASE("compression: the offers that a server takes, and its answers")
{
    const CompressionOptions any{};
    const CompressionOptions strict{.server_max_window_bits = 11,
                                    .client_max_window_bits = 10,
                                    .server_no_context_takeover = true,
                                    .client_no_context_takeover = true};
    struct Case {
        CompressionOptions options;
        const char* offers;
        const char* told;
    };
    const Case cases[] = {
        {any, "", "none"},
        {any, "x-webkit-deflate-frame, foo; a=1", "none"},
        {any, "permessage-deflate", "peer keeps, keeps, 15: permessage-deflate"},
        {any, "foo, PerMessage-Deflate; client_max_window_bits",
         "peer keeps, keeps, 15: permessage-deflate"},
        {any, "permessage-deflate; client_max_window_bits=9",
         "peer keeps, keeps, 15: permessage-deflate; client_max_window_bits=9"},
        {any, "permessage-deflate; server_max_window_bits=10",
         "peer keeps, keeps, 10: permessage-deflate; server_max_window_bits=10"},
        {any, "permessage-deflate; server_max_window_bits=\"8\"",
         "peer keeps, keeps, 8: permessage-deflate; server_max_window_bits=8"},
        {any, "permessage-deflate; server_max_window_bits=15",
         "peer keeps, keeps, 15: permessage-deflate; server_max_window_bits=15"},
        {any, "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
         "peer forgets, forgets, 15: permessage-deflate; server_no_context_takeover; "
         "client_no_context_takeover"},
        {strict, "permessage-deflate",
         "peer forgets, forgets, 11: permessage-deflate; server_no_context_takeover; "
         "client_no_context_takeover; server_max_window_bits=11"},
        {strict, "permessage-deflate; client_max_window_bits; server_max_window_bits=14",
         "peer forgets, forgets, 11: permessage-deflate; server_no_context_takeover; "
         "client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=10"},
        {strict, "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
         "peer forgets, forgets, 9: permessage-deflate; server_no_context_takeover; "
         "client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9"},
        // invalid offers are declined, a later valid one is taken
        {any, "permessage-deflate; unknown", "none"},
        {any, "permessage-deflate; server_no_context_takeover=1", "none"},
        {any, "permessage-deflate; server_max_window_bits", "none"},
        {any, "permessage-deflate; server_max_window_bits=7", "none"},
        {any, "permessage-deflate; server_max_window_bits=16", "none"},
        {any, "permessage-deflate; client_max_window_bits=08", "none"},
        {any, "permessage-deflate; client_max_window_bits; client_max_window_bits", "none"},
        {any,
         "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12, "
         "permessage-deflate",
         "peer keeps, keeps, 12: permessage-deflate; server_max_window_bits=12"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.offers);
        CHECK(accepted(one.options, one.offers) == one.told);
        // our own client agrees to each answer to its own offer
        const auto own = websocket::accept(one.options, offer_of(any));
        CHECK(agree(any, (*own)->answer)->has_value());
        CHECK_FALSE(websocket::accept(std::nullopt, one.offers).value());
    }
    CHECK(accepted(any, "permessage-deflate; a=\"\n")
          == "its Sec-WebSocket-Extensions cannot be read: \"permessage-deflate; a=\"\\n\"");
}

TEST_CASE("compression: whatever stands in an answer, the text for it is short and fit for a line")
{
    const auto long_name = "permessage-deflate; " + std::string(10'000, 'x');
    CHECK(told({}, long_name).size() < 300);
    CHECK(told({}, std::string(10'000, '\n')).size() < 600);
    CHECK(told({}, "\r\n\x1b[31m").find('\x1b') == std::string::npos);
}

} // namespace extensions_test
