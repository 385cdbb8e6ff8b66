#include <sidecar/error.hpp>
#include <sidecar/format.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

namespace error_test {

using sidecar::Error;
using sidecar::Failure;

TEST_CASE("Failure: the message names what was attempted, on what, and why it failed")
{
    const Failure failure{Error::connect_failed,
                          {.attempted = "connect",
                           .endpoint = "host:1",
                           .cause = boost::asio::error::connection_refused}};
    CHECK(failure.message()
          == "cannot connect (host:1): the connection could not be made: Connection refused");
    CHECK(fmt::format("{}", failure) == failure.message());
    CHECK(failure == Error::connect_failed);
    CHECK(failure.code().category().name() == doctest::String{"sidecar"});
}

TEST_CASE("Failure: tells the peer's close code and reason")
{
    const Failure failure{Error::closed_by_peer,
                          {.close_code = 1001, .close_reason = "going away"}};
    CHECK(failure.message() == "the peer closed the connection, close code 1001 \"going away\"");
}

TEST_CASE(
    "Failure: control characters of the peer's stand in no text, but in what a program asks for")
{
    const std::string reason = "\x1b[31mred\n\x7f\xc2\x9b \xc3\xa4\xc2\xa0\xe2\x82\xac";
    const Failure failure{Error::closed_by_peer, {.close_code = 4000, .close_reason = reason}};
    CHECK(failure.message()
          == "the peer closed the connection, close code 4000 "
             "\"\\x1b[31mred\\x0a\\x7f\\x9b \xc3\xa4\xc2\xa0\xe2\x82\xac\"");
    CHECK(failure.close_reason() == reason);
}

TEST_CASE("every Error has a text of its own")
{
    for (int value = 1; value <= 35; ++value)
        CHECK(make_error_code(static_cast<Error>(value)).message() != "unknown error");
    CHECK(make_error_code(static_cast<Error>(36)).message() == "unknown error");
}

TEST_CASE("Result: value() throws an Exception that keeps the failure")
{
    const sidecar::Result<int> result = Failure{Error::full};
    try {
        (void)result.value();
        FAIL("did not throw");
    } catch (const sidecar::Exception& e) {
        CHECK(e.failure() == Error::full);
        CHECK(std::string{e.what()} == "the outbox is full");
    }
}

TEST_CASE("to_failure: keeps an Exception's own, makes a cancellation of operation_aborted, keeps "
          "a what()")
{
    const auto of = [](auto exception) {
        return to_failure(std::make_exception_ptr(exception), Error::disconnected, "read", "x");
    };
    CHECK(of(sidecar::Exception{Failure{Error::too_big}}) == Error::too_big);
    CHECK(of(boost::system::system_error{boost::asio::error::operation_aborted})
          == Error::cancelled);
    CHECK(of(boost::system::system_error{boost::asio::error::eof}).cause()
          == boost::asio::error::eof);
    CHECK(of(std::runtime_error{"why"}).message() == "cannot read (x): the connection broke: why");
    CHECK(of(1).message() == "cannot read (x): the connection broke: an exception of unknown type");
}

} // namespace error_test
