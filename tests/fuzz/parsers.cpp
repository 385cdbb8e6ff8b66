// Says what our parsers make of the streams on its standard input, one a line; see differential.py.
//   frames DEFLATE SEGMENTS HEX     DEFLATE: none, keeps or forgets the context between messages
//   answer COMPRESSION SEGMENTS HEX COMPRESSION: none or offered; "$ACCEPT" belongs to the key
// SEGMENTS: the sizes of the pieces, "3,1,7", then the rest at once.
#include "../transports/websocket/protocol_driver.hpp"

#include <handshake.hpp>

#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

using namespace sidecar;
using namespace sidecar::websocket;

namespace {

std::string to_hex(std::string_view bytes)
{
    std::string text;
    for (const char c : bytes) {
        constexpr std::string_view digits = "0123456789abcdef";
        text += digits[static_cast<unsigned char>(c) >> 4];
        text += digits[static_cast<unsigned char>(c) & 15];
    }
    return text;
}

std::string from_hex(std::string_view text)
{
    std::string bytes;
    for (std::size_t at = 0; at + 1 < text.size(); at += 2)
        bytes += static_cast<char>(std::stoi(std::string{text.substr(at, 2)}, nullptr, 16));
    return bytes;
}

std::vector<std::string> cut(std::string_view bytes, const std::string& sizes)
{
    std::vector<std::string> pieces;
    std::istringstream in{sizes};
    for (std::string size; std::getline(in, size, ',') && !bytes.empty();) {
        pieces.emplace_back(bytes.substr(0, std::stoul(size)));
        bytes.remove_prefix(pieces.back().size());
    }
    if (!bytes.empty())
        pieces.emplace_back(bytes);
    return pieces;
}

std::string hear_frames(const std::string& compression, const std::vector<std::string>& pieces)
{
    std::optional<Deflation> deflation;
    if (compression != "none")
        deflation = Deflation{.peer_keeps_context = compression == "keeps"};
    Driver driver{static_cast<std::size_t>(-1), Large::collected, deflation};
    for (const auto& piece : pieces)
        driver.feed(piece);
    const auto& heard = driver.heard();
    std::string text;
    for (const auto& [kind, payload] : heard.messages)
        text += (kind == MessageKind::text ? "text:" : "binary:") + to_hex(payload) + ' ';
    text += "ping:" + (heard.last_ping == "none" ? "none" : "0x" + to_hex(heard.last_ping));
    if (!heard.ending)
        return text + " open";
    const auto& end = *heard.ending;
    text += end.error == Error::closed_by_peer ? " closed:" : " failed:";
    text += std::to_string(end.close_code);
    if (end.error == Error::closed_by_peer)
        text += ":" + to_hex(end.reason);
    return text + " #" + end.explanation;
}

std::string hear_answer(const std::string& compression, std::string answer,
                        const std::string& segments)
{
    WebSocket::Options options{.url = "ws://h/"};
    options.subprotocols = {"chat", "superchat"};
    if (compression == "offered")
        options.compression = CompressionOptions{};
    Handshake handshake{parse_url(options.url).value(), options};
    const auto key_at = handshake.request().find("Sec-WebSocket-Key: ") + 19;
    const auto accept = accept_of(std::string_view{handshake.request()}.substr(key_at, 24));
    for (auto at = answer.find("$ACCEPT"); at != answer.npos; at = answer.find("$ACCEPT"))
        answer.replace(at, 7, accept);
    std::size_t taken = 0;
    for (const auto& piece : cut(answer, segments)) {
        const auto verdict = handshake.take(std::as_bytes(std::span{piece}));
        if (verdict && *verdict) {
            const auto& deflation = handshake.deflation();
            return "accepted:" + std::to_string(taken + **verdict) + ":" + handshake.subprotocol()
                   + ":"
                   + (!deflation                      ? "plain"
                      : deflation->peer_keeps_context ? "keeps"
                                                      : "forgets");
        }
        if (verdict)
            return "refused:" + std::to_string(verdict->error().http_status()) + " #"
                   + verdict->error().explanation();
        taken += piece.size();
    }
    return "incomplete";
}

} // namespace

int main()
{
    std::ios::sync_with_stdio(false);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream in{line};
        std::string what, compression, segments, hex;
        in >> what >> compression >> segments >> hex;
        const auto bytes = from_hex(hex);
        std::cout << (what == "frames" ? hear_frames(compression, cut(bytes, segments))
                                       : hear_answer(compression, bytes, segments))
                  << '\n';
    }
}
