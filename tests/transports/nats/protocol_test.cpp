// The protocol of NATS without I/O: every line, cut at every byte; what is malformed; what is sent.
#include "nats/protocol.hpp"

#include <sidecar/format.hpp>
#include <sidecar/transports/nats.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

using namespace sidecar;
using namespace sidecar::nats;
using namespace std::string_literals;

namespace {

std::span<const std::byte> bytes_of(std::string_view text)
{
    return std::as_bytes(std::span{text});
}
std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Writes down what a decoder finds, a line each.
class Witness final : public Sink, public Control {
public:
    bool put(MessageKind, std::span<const std::byte>) override { return false; }
    bool put_envelope(MessageKind kind, std::span<const std::byte> payload,
                      const Envelope& envelope) override
    {
        if (refusals != 0) {
            --refusals;
            return false;
        }
        CHECK(kind == MessageKind::binary);
        auto& line = heard.emplace_back(envelope.topic);
        if (!envelope.reply_to.empty())
            line.append(" <").append(envelope.reply_to);
        for (const auto& [name, value] : envelope.headers)
            line += fmt::format(" {}={}", name, value);
        line += ": " + text_of(payload);
        return true;
    }
    void on_pong(std::span<const std::byte>) override {}
    void on_ping() override { heard.emplace_back("ping"); }
    void on_pong(Sink&) override { heard.emplace_back("pong"); }
    void on_info(ServerInfo info) override
    {
        heard.push_back(fmt::format("info {}", info.max_payload));
    }
    void on_error(std::string_view text) override
    {
        heard.push_back(fmt::format("error {}", text));
    }

    std::vector<std::string> heard;
    int refusals = 0;
};

/// Drives the decoder as a reader does. A refused message is put again.
std::vector<std::string> hear(std::string_view stream, std::size_t segment_bytes,
                              std::size_t limit = 1000, int refusals = 0)
{
    Witness witness;
    Decoder decoder{limit, witness};
    std::string unread;
    while (!stream.empty()) {
        unread += stream.substr(0, segment_bytes);
        stream.remove_prefix(std::min(segment_bytes, stream.size()));
        for (bool again = true; again;) {
            again = false;
            std::string shown{unread}; // moved, as a reader may
            witness.refusals = refusals;
            const auto pass = decoder.decode(bytes_of(shown), witness);
            witness.refusals = 0;
            REQUIRE(pass.consumed_bytes <= shown.size());
            unread.erase(0, pass.consumed_bytes);
            if (!pass.refused)
                continue;
            REQUIRE(pass.refused->envelope);
            const auto payload = text_of(pass.refused->payload);
            shown.assign(shown.size(), '?'); // the envelope must not be in it
            CHECK(witness.put_envelope(pass.refused->kind, bytes_of(payload),
                                       *pass.refused->envelope));
            unread.erase(0, pass.refused_bytes);
            again = true;
        }
    }
    return witness.heard;
}

Failure failure_of(std::string_view stream, std::size_t limit = 1000)
{
    std::optional<Failure> first;
    for (const std::size_t segment_bytes : {stream.size(), 1 + stream.size() / 4096}) {
        try {
            const auto heard = hear(stream, segment_bytes, limit);
            FAIL("no failure, but ", heard.size(), " lines");
        } catch (const Exception& e) {
            if (!first)
                first = e.failure();
            CHECK(first->error() == e.failure().error());
        }
    }
    return *first;
}

const std::string whole_stream = "INFO {\"server_id\":\"X\",\"max_payload\":1024}\r\n"
                                 "+OK\r\n"
                                 "MSG prices.ACME 1 5\r\nhello\r\n"
                                 "PING\r\n"
                                 "MSG a 22 _INBOX.1.2 0\r\n\r\n"
                                 "HMSG b 3 23 25\r\nNATS/1.0\r\nx: 1\r\nY:2\r\n\r\nhi\r\n"
                                 "HMSG c 3 back 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
                                 "PONG\r\n"
                                 "-ERR 'Permissions Violation for Publish to \"x\"'\r\n";

const std::vector<std::string> all_of_it{
    "info 1024",     "prices.ACME: hello",
    "ping",          "a <_INBOX.1.2: ",
    "b x=1 Y=2: hi", "c <back Status=503: ",
    "pong",          "error Permissions Violation for Publish to \"x\""};

} // namespace

TEST_CASE("nats protocol: every line is understood, cut at every byte and whole")
{
    const std::string_view stream = whole_stream;
    for (std::size_t segment_bytes = 1; segment_bytes <= stream.size(); ++segment_bytes) {
        CAPTURE(segment_bytes);
        CHECK(hear(stream, segment_bytes) == all_of_it);
    }
}

TEST_CASE("nats protocol: a message that the sink refuses keeps its envelope, wherever it was cut")
{
    const std::string_view stream = whole_stream;
    for (std::size_t segment_bytes = 1; segment_bytes <= stream.size(); ++segment_bytes) {
        CAPTURE(segment_bytes);
        CHECK(hear(stream, segment_bytes, 1000, 1) == all_of_it);
    }
}

TEST_CASE("nats protocol: the reader learns how much of a message is missing")
{
    Witness witness;
    Decoder decoder{1000, witness};
    const auto pass = decoder.decode(bytes_of("PING\r\nMSG a 1 100\r\nabc"), witness);
    CHECK(pass.consumed_bytes == 6);
    CHECK(pass.missing_bytes == 97 + 2);
    CHECK(!pass.begun);
}

TEST_CASE("nats protocol: headers of other clients are never the end of a connection")
{
    const auto message = [](std::string block) {
        return fmt::format("HMSG a 1 {0} {1}\r\n{2}hi\r\n", block.size(), block.size() + 2, block);
    };
    const auto heard = [&](std::string block) { return hear(message(block), 1000).at(0); };
    CHECK(heard("NATS/1.0\r\n\r\n") == "a: hi");
    CHECK(heard("NATS/1.0 100 Idle Heartbeat\r\nA:  b \r\n\r\n")
          == "a Status=100 Description=Idle Heartbeat A=b: hi");
    CHECK(heard("NATS/1.0\r\nno colon\r\n: no name\r\ngood: 1\r\nempty:\r\n\r\n")
          == "a good=1 empty=: hi");
    CHECK(heard("HTTP/1.1 200\r\nA: b\r\n\r\n") == "a: hi");
    CHECK(heard("") == "a: hi");
    CHECK(heard("NATS/1.0") == "a: hi");
    CHECK(heard("NATS/1.0\r\nA: cut") == "a A=cut: hi");
    std::string many = "NATS/1.0\r\n";
    for (int i = 0; i < 5000; ++i)
        many += "h:\r\n";
    const auto all = hear(message(many + "\r\n"), 4096, 1 << 20).at(0);
    CHECK(all.size() == 1000 * 3 + "a: hi"s.size());
}

TEST_CASE("nats protocol: malformed input is a violation that names a part of it")
{
    for (const auto& row : std::initializer_list<std::pair<std::string, std::string>>{
             {"HELLO\r\n", "an unknown line: \"HELLO\""},
             {"\r\n", "an unknown line"},
             {"\n", "does not end in CR LF"},
             {"PING\n", "does not end in CR LF: \"PING\\n\""},
             {"MSG a 1\r\n", "too few or too many words: \"MSG a 1\""},
             {"MSG a 1 2 3 4\r\n", "too few or too many words"},
             {"MSG a 1 2 3 4 5\r\n", "too many words"},
             {"MSG a 1 -1\r\n", "wrong sizes"},
             {"MSG a 1 1x\r\n", "wrong sizes"},
             {"MSG a 1 99999999999\r\n", "wrong sizes"},
             {"HMSG a 1 5\r\n", "too few or too many words"},
             {"HMSG a 1 6 5\r\n", "wrong sizes"},
             {"MSG a 1 2\r\nabcd", "no CR LF behind a message's payload"},
             {"INFO [1]\r\n", "no JSON object: \"[1]\""},
             {"INFO {\"a\r\n", "no JSON object"},
             {"INFO\r\n", "no JSON object"},
             {std::string(20'000, 'x'), "a line that is too long: \"xxxx"},
             {"MSG " + std::string(20'000, 'x') + " 1 1\r\na\r\n", "a line that is too long"},
             {"INFO " + std::string(300'000, ' '), "a line that is too long"},
             {"\x1b[31m\xff\r\n", "an unknown line"},
         }) {
        const auto& stream = row.first; // a structured binding cannot be captured by clang 14
        const auto& part = row.second;
        CAPTURE(stream.substr(0, 50));
        const auto failure = failure_of(stream);
        CHECK(failure == Error::protocol_violation);
        CHECK(failure.explanation().find(part) != std::string::npos);
        CHECK(failure.explanation().size() < 500);
        for (const char c : failure.explanation())
            CHECK((c >= 0x20 && c < 0x7f));
    }
}

TEST_CASE("nats protocol: a message above the limit is too_big, before it has arrived")
{
    CHECK(hear("MSG a 1 1000\r\n" + std::string(1000, 'x') + "\r\n", 64).size() == 1);
    const auto failure = failure_of("MSG a 1 1001\r\n");
    CHECK(failure == Error::too_big);
    CHECK(failure.explanation().find("1001") != std::string::npos);
}

TEST_CASE("nats protocol: INFO gives what the client needs")
{
    const auto info =
        parse_info(
            R"({"server_id":"NX","server_name":"n1","version":"2.9.10","proto":1,)"
            R"("headers":true,"max_payload":1048576,"tls_required":true,"tls_available":true,)"
            R"("nonce":"secret-nonce","ldm":true,"unknown":{"a":[1,2]},"client_id":7,)"
            R"("connect_urls":["10.0.0.1:4222","[::1]:4223",5]})")
            .value();
    CHECK(info.nonce == "secret-nonce");
    CHECK(info.max_payload == 1048576);
    CHECK(info.has_headers);
    CHECK(info.is_tls_required);
    CHECK(info.is_tls_available);
    CHECK(info.is_lame_duck);
    CHECK(info.connect_urls == std::vector<std::string>{"10.0.0.1:4222", "[::1]:4223"});
    using Fact = std::pair<std::string, std::string>;
    const std::vector<Fact> facts{{"server_id", "NX"},      {"server_name", "n1"},
                                  {"version", "2.9.10"},    {"proto", "1"},
                                  {"headers", "true"},      {"max_payload", "1048576"},
                                  {"tls_required", "true"}, {"tls_available", "true"},
                                  {"ldm", "true"},          {"client_id", "7"}};
    CHECK(info.facts == facts);
    CHECK(parse_info("{}").value().max_payload == 0);
    CHECK(parse_info(R"({"max_payload":-5,"headers":"yes"})").value().max_payload == 0);
}

TEST_CASE("nats protocol: an error has one of three consequences")
{
    for (const auto* text : {"Permissions Violation for Publish to \"x\"",
                             "Permissions Violation for Subscription to \"x\"", "Invalid Subject",
                             "Invalid Publish Subject", "maximum subscriptions exceeded"})
        CHECK_FALSE(judge_error(text));
    CHECK(judge_error("Authorization Violation") == Error::login_refused);
    CHECK(judge_error("authorization violation") == Error::login_refused);
    CHECK(judge_error("User Authentication Revoked") == Error::login_refused);
    CHECK(judge_error("Maximum Payload Violation") == Error::too_big);
    for (const auto* text : {"Slow Consumer", "Stale Connection", "maximum connections exceeded",
                             "User Authentication Expired", "Server Shutdown", "Parser Error", ""})
        CHECK(judge_error(text) == Error::closed_by_peer);
}

TEST_CASE("nats protocol: subjects")
{
    using enum SubjectUse;
    for (const auto* good :
         {"a", "a.b.c", "$JS.API.INFO", "_INBOX.x.1", "a*b", "a>b", "preise.größe"}) {
        CAPTURE(std::string{good});
        CHECK(!fault_of_subject(good, publish));
        CHECK(!fault_of_subject(good, subscribe));
    }
    for (const auto* wild : {"*", ">", "a.*", "*.b", "a.*.c.>", "*.*"}) {
        CAPTURE(std::string{wild});
        CHECK(fault_of_subject(wild, publish));
        CHECK(!fault_of_subject(wild, subscribe));
    }
    for (const std::string bad :
         {"", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPING", "a\x01", ">.a", "a.>.b"}) {
        CAPTURE(bad);
        CHECK(fault_of_subject(bad, publish));
        CHECK(fault_of_subject(bad, subscribe));
    }
    CHECK(fault_of_subject("a\0b"s, publish));
    CHECK(!fault_of_subject(std::string(1900, 'a'), publish));
    CHECK(fault_of_subject(std::string(1901, 'a'), publish));
    CHECK(!fault_of_queue("workers"));
    CHECK(fault_of_queue("two words"));
    CHECK(!fault_of_header({"Nats-Msg-Id", "a: b"}));
    CHECK(fault_of_header({"", "a"}));
    CHECK(fault_of_header({"a:b", "a"}));
    CHECK(fault_of_header({"a b", "a"}));
    CHECK(fault_of_header({"a", "x\r\nevil: 1"}));
}

TEST_CASE("nats protocol: a subscription is a message that only this process can make")
{
    const auto made = subscription("prices.>", {.queue = "workers", .max_messages = 7});
    CHECK(made.key == "prices.> workers");
    CHECK(subscription("prices.>").key == "prices.>");
    const auto command = parse_command(bytes_of(made.message)).value();
    CHECK(!command.removes);
    CHECK(command.subject == "prices.>");
    CHECK(command.queue == "workers");
    CHECK(command.max_messages == 7);
    const auto text = unsubscription("a b", {});
    const auto removal = parse_command(bytes_of(text)).value();
    CHECK(removal.removes);
    CHECK(removal.subject == "a b"); // which no subject may be
    CHECK(removal.queue.empty());
    CHECK(!parse_command(bytes_of("+0 prices.> workers")));
    CHECK(!parse_command(bytes_of("")));
    CHECK(!parse_command(bytes_of(made.message.substr(0, 16))));
}

TEST_CASE("nats protocol: lines of the client")
{
    Subscriber subscriber;
    std::string out;
    subscriber.append(out, {.subject = "a.*"});
    subscriber.append(out, {.max_messages = 5, .subject = "a.*", .queue = "q"});
    for (const auto* queue : {"", "", "q"})
        subscriber.append(out, {.removes = true, .subject = "a.*", .queue = queue});
    CHECK(out == "SUB a.* 1\r\nSUB a.* q 2\r\nUNSUB 2 5\r\nUNSUB 1\r\nUNSUB 0\r\nUNSUB 2\r\n");
    std::string value;
    append_json(value, "a\"b\\c\n");
    CHECK(value == R"("a\"b\\c\u000a")");
}
