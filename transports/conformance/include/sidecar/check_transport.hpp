// check_transport(): checks in a test whether a transport keeps the rules of the concept.
#pragma once

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar {

/// A message that a TransportPeer received. `kind` is empty if the peer cannot see it.
struct PeerMessage {
    std::optional<MessageKind> kind{};
    std::string payload{};
};

/// The other end of a transport under test: it does what the network and the peer would do.
/// A test derives its peer from it, adds `T::Options options() const`, which lead to this peer, and
/// overrides the abilities that the peer has. The kit skips rules for which it has none, and
/// reports that. Optional: `std::vector<T::Options> bad_options() const`; T::check() must refuse each
/// of them.
/// Side: the kit's thread, on which the transport runs too. Blocks: no call may wait for the
/// transport. Lifetime: one object serves one connection.
class SIDECAR_API TransportPeer {
public:
    TransportPeer() = default;
    TransportPeer(const TransportPeer&) = delete;
    TransportPeer& operator=(const TransportPeer&) = delete;
    virtual ~TransportPeer();

    // --- the protocol
    /// Whether this message arrives unchanged, in both directions. The kit also asks
    /// T::check_send().
    [[nodiscard]] virtual bool carries(MessageKind kind, std::string_view payload) const
    {
        (void)kind, (void)payload;
        return true;
    }
    /// False: a message may arrive in pieces or together with others, since the protocol is a
    /// stream of bytes.
    [[nodiscard]] virtual bool keeps_borders() const { return true; }
    /// Whether each ping gets an answer; asked only for a transport with ping().
    [[nodiscard]] virtual bool answers_pings() const { return true; }

    // --- abilities; false or empty: the peer cannot do it
    /// Called before connect: refuses it.
    virtual bool refuse_connect() { return false; }
    /// Called before connect: never answers it.
    virtual bool hold_connect() { return false; }

    /// Sends a message to the transport.
    virtual bool deliver(MessageKind kind, std::string_view payload)
    {
        (void)kind, (void)payload;
        return false;
    }
    /// Sends the part `index` of `count` parts of a message; the kit calls it for each in turn, and
    /// waits between.
    virtual bool deliver_part(MessageKind kind, std::string_view payload, std::size_t index,
                              std::size_t count)
    {
        (void)kind, (void)payload, (void)index, (void)count;
        return false;
    }

    /// Returns all whole messages that arrived from the transport, oldest first.
    [[nodiscard]] virtual std::optional<std::vector<PeerMessage>> received() { return {}; }
    /// Takes nothing from the transport until release(). Returns how many bytes may leave a write()
    /// nevertheless, for the buffers of the system; 0: none at all, as in memory.
    virtual std::optional<std::size_t> hold() { return {}; }
    virtual void release() {}

    /// Breaks the connection, without a close.
    virtual bool reset() { return false; }
    /// Breaks the connection after so many more messages from the transport arrived.
    virtual bool reset_after(std::size_t messages)
    {
        (void)messages;
        return false;
    }
    /// Closes the connection as the protocol provides, after the messages delivered before.
    virtual bool close() { return false; }
    /// Never answers a close of the transport.
    virtual bool hold_close() { return false; }
    /// Whether the transport closed the connection as the protocol provides.
    [[nodiscard]] virtual std::optional<bool> was_closed() { return {}; }
    /// The code and the reason of that close; empty: the protocol has none.
    [[nodiscard]] virtual std::optional<CloseReason> close_reason() { return {}; }
};

/// Options of check_transport().
struct TransportCheck {
    /// Whether the kit runs the transport on virtual time; empty: as T::Clock says. A transport
    /// that takes all time from its Context can be checked so in milliseconds.
    std::optional<bool> is_virtual{};
    Duration timeout = std::chrono::seconds{5}; ///< for an operation that should succeed
    Duration soon = std::chrono::seconds{1};    ///< for an operation to end after its abort
    /// Of the whole check, in real time; trials beyond it are reported as skipped.
    Duration total = std::chrono::seconds{60};
    unsigned random_trials = 20; ///< how many trials are drawn from seeds
    std::uint64_t seed = 1;      ///< of the first of these
    /// The name of one trial, as a report has it: repeats this one alone. Empty: all.
    std::string only{};
};

/// The result of check_transport(), for any test framework: `CHECK_MESSAGE(report.passed(),
/// report.text())`.
class SIDECAR_API TransportReport {
public:
    /// One rule that the transport broke.
    struct Broken {
        int rule = 0;        ///< the number in docs/conformance.md; 0: the peer failed
        std::string trial{}; ///< what the kit did; repeats it as TransportCheck::only
        std::string saw{};   ///< what it saw
        std::string steps{}; ///< the calls of this trial with their times, one per line
    };
    /// A rule that was not checked, or not in all ways.
    struct Skipped {
        int rule = 0;
        std::string why{};
    };

    /// Whether no rule is broken. Rules may be skipped.
    [[nodiscard]] bool passed() const noexcept { return broken.empty(); }
    [[nodiscard]] bool has_broken(int rule) const noexcept;
    [[nodiscard]] bool has_skipped(int rule) const noexcept;
    /// Returns the number of trials that checked this rule.
    [[nodiscard]] std::size_t trials_of(int rule) const noexcept;
    /// Everything, a line each: the broken rules with their trials, then the skipped ones.
    [[nodiscard]] std::string text() const;
    /// Returns a rule in words.
    [[nodiscard]] static std::string_view rule_text(int rule) noexcept;
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const TransportReport& report)
    {
        stream << report.text();
        return stream;
    }

    static constexpr int rule_count = 20;

    std::vector<Broken> broken{};
    std::vector<Skipped> skipped{};
    std::vector<std::size_t> trials{}; ///< by rule
};

namespace detail {

/// One transport and its peer, before the connection.
struct CheckSubject {
    std::shared_ptr<TransportPeer> peer{};
    std::shared_ptr<const LinkConfig> config{};
    std::vector<std::shared_ptr<const LinkConfig>> bad{};
};
[[nodiscard]] SIDECAR_API TransportReport check_transport(std::function<CheckSubject()> make,
                                                          const TransportCheck& options);

} // namespace detail

/// Checks whether T keeps the rules of the concept, which docs/conformance.md lists: it connects T
/// many times to peers from `make_peer`, and makes the calls that the library would make, in every
/// order and with every end. `make_peer()` returns a pointer (std::unique_ptr) to an object of a
/// class that is derived from TransportPeer, and makes a new one for each trial.
/// Side: any thread. Blocks: at most about `options.total`, also if the transport hangs; a thread
/// that the transport holds for ever is left behind, with the objects of its trial. Errors: what
/// `make_peer` and the peer throw is in the report, as rule 0.
template <class T, class MakePeer>
[[nodiscard]] TransportReport check_transport(MakePeer make_peer,
                                              const TransportCheck& options = {})
{
    static_assert(detail::is_transport<T>);
    return detail::check_transport(
        [make_peer = std::move(make_peer)] {
            auto peer = make_peer();
            if (!peer)
                throw Exception{
                    Failure{Error::misuse, {.explanation = "make_peer() returned a null pointer"}}};
            using Config = detail::TransportConfig<T>;
            detail::CheckSubject subject{.peer = {},
                                         .config = std::make_shared<Config>(peer->options())};
            if constexpr (requires { peer->bad_options(); })
                for (auto& bad : peer->bad_options())
                    subject.bad.push_back(std::make_shared<Config>(std::move(bad)));
            subject.peer = std::move(peer);
            return subject;
        },
        options);
}

} // namespace sidecar
