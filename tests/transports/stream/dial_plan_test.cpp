// The order of addresses, when attempts begin, and what their failure says: without a socket.
#include "dial.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <cerrno>

namespace dial_plan_test {

using namespace sidecar;
using namespace sidecar::stream;
using namespace std::chrono_literals;

constexpr TimePoint start{};
using Texts = std::vector<std::string>;

std::vector<Endpoint> endpoints(const Texts& addresses)
{
    std::vector<boost::asio::ip::address> parsed;
    for (const auto& text : addresses)
        parsed.push_back(boost::asio::ip::make_address(text));
    return alternate_families(parsed, 80);
}

Texts order(const Texts& addresses)
{
    Texts texts;
    for (const auto& endpoint : endpoints(addresses))
        texts.push_back(endpoint.address().to_string());
    return texts;
}

error_code system_error(int value) { return {value, boost::system::system_category()}; }
const error_code refused = boost::asio::error::connection_refused;

TEST_CASE("dial plan: the families take turns, the resolver's first one begins")
{
    CHECK(order({}) == Texts{});
    CHECK(order({"10.0.0.1"}) == Texts{"10.0.0.1"});
    CHECK(order({"10.0.0.1", "10.0.0.2"}) == Texts{"10.0.0.1", "10.0.0.2"});
    CHECK(order({"fd00::1", "fd00::2", "fd00::3", "10.0.0.1"})
          == Texts{"fd00::1", "10.0.0.1", "fd00::2", "fd00::3"});
    CHECK(order({"10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"})
          == Texts{"10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2"});
}

TEST_CASE("dial plan: the next attempt begins after 250 ms")
{
    DialPlan plan{endpoints({"10.0.0.1", "10.0.0.2", "10.0.0.3"}), start};
    CHECK(plan.next(start) == 0);
    CHECK_FALSE(plan.next(start));
    CHECK(plan.next_at() == start + 250ms);
    CHECK_FALSE(plan.next(start + 249ms));
    CHECK(plan.next(start + 251ms) == 1);
    CHECK(plan.next_at() == start + 501ms);
    CHECK(plan.next(start + 600ms) == 2);
    CHECK(plan.next_at() == TimePoint::max());
    CHECK_FALSE(plan.next(start + 1h));
    CHECK_FALSE(plan.is_over());
}

TEST_CASE("dial plan: the next attempt begins at once when one fails, whichever it is")
{
    DialPlan plan{endpoints({"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}), start};
    CHECK(plan.next(start) == 0);
    plan.failed(0, refused, start + 10ms);
    CHECK(plan.next_at() == start + 10ms);
    CHECK(plan.next(start + 10ms) == 1);
    CHECK(plan.next(start + 260ms) == 2);
    plan.failed(1, refused, start + 270ms); // not the latest
    CHECK(plan.next(start + 270ms) == 3);
    plan.failed(2, refused, start + 280ms);
    CHECK_FALSE(plan.is_over());
    CHECK_FALSE(plan.next(start + 1h));
    plan.failed(3, refused, start + 290ms);
    CHECK(plan.is_over());
}

TEST_CASE("dial plan: says where it hangs, and how the others have failed")
{
    DialPlan plan{endpoints({"10.0.0.1", "fd00::1", "10.0.0.2"}), start};
    CHECK(plan.next(start) == 0);
    CHECK(plan.describe() == "10.0.0.1:80");
    CHECK(plan.next(start + 1s) == 1);
    CHECK(plan.describe() == "10.0.0.1:80 and [fd00::1]:80");
    plan.failed(1, system_error(ENETUNREACH), start + 1s);
    CHECK(plan.next(start + 1s) == 2);
    CHECK(plan.describe() == "10.0.0.1:80 and 10.0.0.2:80; [fd00::1]:80: Network is unreachable");
}

TEST_CASE("dial plan: one address that fails gives its own cause, several are listed")
{
    DialPlan one{endpoints({"10.0.0.1"}), start};
    CHECK(one.next(start) == 0);
    one.failed(0, refused, start);
    CHECK(one.failure("x:80") == Error::connect_failed);
    CHECK(one.failure("x:80").cause() == refused);
    CHECK(one.failure("x:80").endpoint() == "x:80");

    DialPlan two{endpoints({"10.0.0.1", "10.0.0.2"}), start};
    CHECK(two.next(start) == 0);
    two.failed(0, refused, start);
    CHECK(two.next(start) == 1);
    two.failed(1, refused, start, "it met itself");
    CHECK(two.failure("x:80") == Error::connect_failed);
    CHECK(two.failure("x:80").explanation()
          == "10.0.0.1:80: Connection refused; 10.0.0.2:80: it met itself");
}

TEST_CASE("dial plan: an attempt without a descriptor or memory makes the failure no_resources")
{
    for (const int value : {EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC}) {
        CAPTURE(value);
        DialPlan plan{endpoints({"10.0.0.1", "10.0.0.2"}), start};
        CHECK(plan.next(start) == 0);
        plan.failed(0, refused, start);
        CHECK(plan.next(start) == 1);
        plan.failed(1, system_error(value), start);
        CHECK(plan.failure("x:80") == Error::no_resources);
        CHECK(plan.failure("x:80").cause() == system_error(value));
    }
    CHECK_FALSE(is_without_resources(refused));
    CHECK_FALSE(is_without_resources(boost::asio::error::eof)); // another category
    CHECK_FALSE(is_without_resources({}));
}

} // namespace dial_plan_test
