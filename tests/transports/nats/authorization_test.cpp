// Each way to log in, against real servers.
#include "nats_feed.hpp"
#include "support/nats_keys.hpp"

#include <fstream>

namespace nats_authorization_test {

using namespace nats_tests;

const NatsKey me{'U', 'm'};
const NatsKey other{'U', 'n'};

/// A refusal ends the link for good, and no text shows a secret.
void check_refused(Nats::Options options, const std::vector<std::string>& secrets)
{
    const Log log;
    NatsFeed feed{std::move(options),
                  log.options({.reconnect = Reconnect{.window = 10ms, .at_start = true}})};
    const auto started = feed.start(20s);
    REQUIRE_FALSE(started.has_value());
    CHECK(started.error() == Error::login_refused);
    CHECK(feed.stats().failed_attempts == 1);
    const auto texts = started.error().message() + log.text() + feed.dump();
    CHECK(started.error().message().find("Authorization Violation") != std::string::npos);
    for (const auto& secret : secrets)
        CHECK(texts.find(secret) == std::string::npos);
}

void check_accepted(Nats::Options options)
{
    NatsFeed feed{std::move(options), silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_MESSAGE(started.has_value(), started.error().message());
    wait_for_echo(feed);
    CHECK(feed.stop().joined);
}

TEST_CASE("NATS: user and password, in the options and in the URL")
{
    const NatsServer server{"authorization { user: me, password: \"se$ame/1\" }"};
    check_accepted({.url = server.url(), .user = "me", .password = "se$ame/1"});
    check_accepted({.url = "nats://me:se$ame%2F1@" + server.address()});
    check_refused({.url = server.url(), .user = "me", .password = "wr0ng-password"},
                  {"wr0ng-password"});
    check_refused({.url = "nats://me:wr0ng-password@" + server.address()}, {"wr0ng-password"});
    check_refused({.url = server.url()}, {});
}

TEST_CASE("NATS: a token, in the options and in the URL")
{
    const NatsServer server{"authorization { token: \"t0ken-of-mine\" }"};
    check_accepted({.url = server.url(), .token = "t0ken-of-mine"});
    check_accepted({.url = "nats://t0ken-of-mine@" + server.address()});
    check_refused({.url = "nats://wr0ng-token@" + server.address()}, {"wr0ng-token"});
}

TEST_CASE("NATS: an NKey")
{
    const NatsServer server{"authorization { users: [ { nkey: " + me.public_key() + " } ] }"};
    check_accepted({.url = server.url(), .nkey_seed = me.seed()});
    check_refused({.url = server.url(), .nkey_seed = other.seed()}, {other.seed()});
}

TEST_CASE("NATS: a credentials file, read again for each connection")
{
    const NatsOperator first;
    NatsServer server{first.config()};
    const auto path = server.directory() + "/user.creds";
    const auto write = [&](const std::string& text) { std::ofstream{path} << text; };
    write(NatsOperator::credentials_text(first.user_jwt(), other.seed()));
    check_refused({.url = server.url(), .credentials_file = path},
                  {other.seed(), first.user_jwt()});

    write(first.credentials());
    NatsFeed feed{{.url = server.url(), .credentials_file = path}, coming_back()};
    REQUIRE(feed.start(20s).has_value());
    (void)next(feed, Event::Kind::up);
    const NatsOperator second{.user = NatsKey{'U', 'v'}};
    server.kill();
    (void)next(feed, Event::Kind::down);
    write("-----BEGIN NATS USER JWT-----\n"); // half of it is written
    server.restart(second.config());
    std::string failure;
    while (failure.find("user.creds") == failure.npos) // before it the server is not there yet
        failure = next(feed, Event::Kind::retry).failure->message();
    write(second.credentials());
    CHECK(next(feed, Event::Kind::up).continuity == Continuity::unknown);
    wait_for_echo(feed);
}

TEST_CASE("NATS: a JWT that expires ends the connection, and a renewed one heals it")
{
    const NatsOperator self;
    const NatsServer server{self.config()};
    const auto path = server.directory() + "/user.creds";
    const auto soon = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() + 2s);
    std::ofstream{path} << NatsOperator::credentials_text(self.user_jwt(soon), self.user.seed());
    NatsFeed feed{{.url = server.url(), .credentials_file = path}, coming_back()};
    REQUIRE(feed.start(20s).has_value());
    std::ofstream{path} << self.credentials();
    const auto down = next(feed, Event::Kind::down);
    CHECK(down.failure->message().find("User Authentication Expired") != std::string::npos);
    CHECK(down.failure->will_retry());
    (void)next(feed, Event::Kind::up);
    wait_for_echo(feed);
}

TEST_CASE("NATS: a user that the server no longer knows ends the link for good")
{
    NatsServer server{"authorization { user: me, password: sesame }"};
    NatsFeed feed{{.url = server.url(), .user = "me", .password = "sesame"}, coming_back()};
    REQUIRE(feed.start(20s).has_value());
    server.reload("authorization { user: me, password: changed }");
    // This server cuts without a word, and refuses the next login
    auto last = *next(feed, Event::Kind::down).failure;
    if (last.will_retry())
        last = *next(feed, Event::Kind::retry).failure;
    CHECK(last == Error::login_refused);
    CHECK_FALSE(last.will_retry());
    CHECK(last.message().find("sesame") == std::string::npos);
}

} // namespace nats_authorization_test
