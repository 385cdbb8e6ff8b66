// CheckedMockPeer: the peer of a Mock, for check_transport().
#pragma once

#include <sidecar/check_transport.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace sidecar {

/// The other end of a Mock, and an example of a peer in memory. Side: see TransportPeer.
class CheckedMockPeer : public TransportPeer {
public:
    [[nodiscard]] Mock::Options options() const
    {
        return {.peer = peer_, .max_message_bytes = 100'000};
    }

    bool refuse_connect() override
    {
        return peer_.refuse_connect(boost::asio::error::connection_refused), true;
    }
    bool hold_connect() override { return peer_.delay_connect(Duration::max()), true; }
    bool deliver(MessageKind kind, std::string_view payload) override
    {
        if (kind == MessageKind::text)
            peer_.deliver(payload);
        else
            peer_.deliver(std::as_bytes(std::span{payload}));
        return true;
    }
    std::optional<std::vector<PeerMessage>> received() override
    {
        std::vector<PeerMessage> messages;
        for (auto& payload : peer_.sent())
            messages.push_back({.payload = std::move(payload)});
        return messages;
    }
    std::optional<std::size_t> hold() override { return peer_.hold_writes(), std::size_t{0}; }
    void release() override { peer_.release_writes(); }
    bool reset() override { return peer_.drop(), true; }
    bool reset_after(std::size_t messages) override
    {
        return peer_.fail_write(boost::asio::error::connection_reset, messages), true;
    }
    bool close() override { return peer_.close(1000, "bye"), true; }
    bool hold_close() override { return peer_.delay_close(Duration::max()), true; }
    std::optional<bool> was_closed() override { return peer_.was_closed(); }
    std::optional<CloseReason> close_reason() override
    {
        return CloseReason{.code = peer_.close_code(), .reason = peer_.close_reason()};
    }

private:
    MockPeer peer_; // sidecar side
};

} // namespace sidecar
