// Nats: subjects of a NATS server, or of a cluster of them.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/faults.hpp>
#include <sidecar/payload.hpp>
#include <sidecar/reconnect.hpp>
#include <sidecar/subscription.hpp>
#include <sidecar/transport.hpp>
#include <sidecar/transports/nats_jetstream.hpp>
#include <sidecar/transports/proxy_options.hpp>
#include <sidecar/transports/socket_options.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

namespace nats {

class Cluster;
[[nodiscard]] SIDECAR_API std::shared_ptr<Cluster> make_cluster();

/// How to subscribe.
struct SubscribeOptions {
    /// The queue group: of its members each message goes to one. Empty (default): no group.
    std::string queue{};
    /// The server ends the subscription after so many messages, counted anew on each connection;
    /// 0 (default): it does not.
    std::uint64_t max_messages = 0;
};

/// Makes a subscription for LinkOptions::subscriptions. The subject may have wildcards; the key is
/// the subject, with a queue group "subject queue". It counts as acknowledged once it is written: a
/// server that refuses it for want of permission says so later, and the link logs that.
/// Side: any thread. Blocks: never. start() and subscribe() refuse a subject or a queue that
/// cannot be: bad_message.
[[nodiscard]] SIDECAR_API Subscription subscription(std::string_view subject,
                                                    const SubscribeOptions& options = {});
/// Makes the message that ends it: `link.unsubscribe(key, unsubscription(subject, options))`.
/// Side: any thread. Blocks: never.
[[nodiscard]] SIDECAR_API std::string unsubscription(std::string_view subject,
                                                     const SubscribeOptions& options = {});

/// Subscribes now and on each later connection. `to`: a Link, or a Feed with Nats.
/// Side, blocks, errors: as Link::subscribe() or Feed::subscribe(). Lifetime: copied.
template <class LinkOrFeed>
[[nodiscard]] Result<void> subscribe(LinkOrFeed& to, std::string_view subject,
                                     const SubscribeOptions& options = {})
{
    const auto made = subscription(subject, options);
    return to.subscribe(made.key, made.message);
}
/// Ends that. Returns whether the subscription existed.
template <class LinkOrFeed>
Result<bool> unsubscribe(LinkOrFeed& to, std::string_view subject,
                         const SubscribeOptions& options = {})
{
    return to.unsubscribe(subscription(subject, options).key, unsubscription(subject, options));
}

} // namespace nats

/// A client of a NATS server, or of a cluster. A message's topic is its subject, its payload is
/// bytes. A link publishes to the topic of each message, and receives what it has subscribed to.
///
/// Core NATS delivers at most once: what others publish while the link is down is lost, so each
/// connection after the first comes with Continuity::unknown.
///
/// A refused login ends the link (login_refused), and so does a message that is larger than the
/// server takes (too_big). The link logs a violation of permissions, and goes on. After any
/// other -ERR the link connects again. A server in lame duck mode is left before it ends the
/// connection: the link sends no further message, waits until the server has all that was written,
/// and connects to another. close() succeeds only if the server has confirmed that it has all.
class SIDECAR_API Nats {
public:
    /// Each attempt to connect tries the servers of the cluster in turn, each at most once.
    ///
    /// At most one way to log in is set, here or in the URL. None of them appears in a text.
    struct Options {
        /// "nats://[user:password@]host[:4222][/subject]", or "nats://token@host"; "tls://" demands
        /// TLS. Several servers of one cluster are separated by commas. The subject is `subject`.
        std::string url{};
        /// Messages without a topic are published to this subject. Empty (default): there is none.
        std::string subject{};
        /// Subscriptions of each connection: subject and queue group. A link's own subscriptions
        /// may be added (nats::subscription).
        struct Topic {
            std::string subject{};
            std::string queue{}; ///< empty: no queue group
        };
        std::vector<Topic> subscriptions{};
        /// Messages of a JetStream stream too. Empty (default): none.
        std::optional<nats::Consumer> consumer{};
        nats::Position position{}; ///< of that consumer, if it is ordered; leave it as it is
        /// True: each message goes to a stream, and counts as written once the stream has it, so
        /// flush() waits for that. A header "Nats-Msg-Id" lets the stream drop doubles. A message that
        /// no stream takes ends the connection and counts as unsent. One that is not confirmed within
        /// 5 s ends it too; OnDisconnect::keep sends it again. One with a reply_to is not confirmed.
        bool publish_to_stream = false;
        std::string name{}; ///< of this client, for the server's reports
        bool echo = true;   ///< false: the server does not send our messages back to us
        std::string user{};
        std::string password{};
        std::string token{};
        std::string nkey_seed{}; ///< "SU..."; signs the server's nonce
        std::string
            credentials_file{}; ///< path of a file with a JWT and a seed; read for each connection
        /// The subjects of answers begin so; a random part follows. Default: "_INBOX".
        std::string inbox_prefix = "_INBOX";
        /// True: the servers are tried in the given order, and learnt ones follow. Default: in
        /// random order, so that clients spread over the cluster.
        bool keep_order = false;
        /// A larger message from the server ends the link with too_big; bytes of headers and
        /// payload. A subject, a reply and so on may take 16 KiB more. Zero: bad_options.
        std::size_t max_message_bytes = 1u << 20;
        /// Used if the URL is tls://, or if the server demands TLS.
        TlsOptions tls{};
        /// Begins TLS before the server's first word, for servers with handshake_first.
        bool tls_first = false;
        bool no_delay = true;      ///< TCP_NODELAY
        bool tcp_keepalive = true; ///< SO_KEEPALIVE; the periods are in `socket`
        SocketOptions socket{};
        ProxyOptions proxy{};
        /// Faults that the library injects into the connection, for tests. Empty (default): none.
        std::optional<Faults> faults{};
        /// Takes the faults from the environment variable SIDECAR_FAULTS if `faults` is empty; see
        /// parse_faults(). Read as ProxyOptions says of its environment. Default: false.
        bool faults_from_environment = false;
        /// Addresses of the cluster that links with these options have learnt. Copies share it, which
        /// is safe from any thread; a copy with another `url` makes it begin anew.
        std::shared_ptr<nats::Cluster> cluster = nats::make_cluster();
    };

    /// Copies the options, which must have passed check(). Does no I/O.
    explicit Nats(const Options& options, const Attempt& attempt = {});
    Nats(const Nats&) = delete;
    Nats& operator=(const Nats&) = delete;
    ~Nats();

    /// Returns the URL without user information.
    [[nodiscard]] static std::string endpoint(const Options& options);
    /// Side: both. Blocks: while it reads the files of TLS. Errors: bad_address for an invalid URL;
    /// bad_options for subjects and queues that cannot be, for several ways to log in, and for any
    /// option that the socket, the proxy, TLS or Faults cannot use; no_resources and tls_failed of TLS.
    [[nodiscard]] static Result<void> check(const Options& options);
    /// Errors: bad_message for subjects and headers that cannot be sent, and without a topic unless
    /// Options::subject is set.
    [[nodiscard]] static Result<void> check_send(const Options& options,
                                                 const MessageView& message);

    /// Options::max_message_bytes, and room for subject and headers as the inbox stores them.
    [[nodiscard]] static std::size_t max_message_bytes(const Options& options);

    // --- the calls of Transport; the link makes them on the loop's thread
    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Context ctx, Batch batch);
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(Context ctx, CloseReason reason);
    void abort() noexcept;
    /// The headers are the facts of the server's INFO: "server_name", "server_id", "version"...
    [[nodiscard]] ConnectionInfo connection_info();
    [[nodiscard]] std::string failure_note() const;

private:
    class SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

static_assert(Transport<Nats>);

} // namespace sidecar
