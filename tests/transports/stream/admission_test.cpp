// Which connections a listener admits, and what systemd passes, by table.
#include "admission.hpp"
#include "listening.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace admission_test {

using namespace sidecar;
using namespace sidecar::stream;
using namespace std::chrono_literals;

AddressKey key(const char* address) { return key_of(boost::asio::ip::make_address(address)); }

TEST_CASE("admission: an IPv6 address counts by its /64, a mapped one as IPv4")
{
    CHECK(key("2001:db8:1:2:3:4:5:6") == key("2001:db8:1:2:ffff::1"));
    CHECK(key("2001:db8:1:2::1") != key("2001:db8:1:3::1"));
    CHECK(key("192.0.2.1") != key("192.0.2.2"));
    CHECK(key("::ffff:192.0.2.1") == key("192.0.2.1"));
    CHECK(key("fe80::1%1") == key("fe80::2%1"));
}

TEST_CASE("admission: each limit refuses by its name, and a release makes room")
{
    AdmissionControl control{{.max_clients = 3, .max_clients_per_address = 2}};
    const auto a = key("192.0.2.1"), b = key("192.0.2.2");
    const struct {
        std::optional<AddressKey> key;
        Admission admission;
    } table[] = {
        {a, Admission::admitted}, {a, Admission::admitted}, {a, Admission::too_many_of_address},
        {b, Admission::admitted}, {b, Admission::too_many}, {std::nullopt, Admission::too_many}};
    for (const auto& row : table)
        CHECK(control.admit(row.key, {}) == row.admission);
    control.release(Admission::admitted, a);
    CHECK(control.admit(std::nullopt, {}) == Admission::admitted);
    CHECK(control.admit(a, {}) == Admission::too_many);
    control.release(Admission::admitted, b);
    CHECK(control.admit(a, {}) == Admission::admitted);
    control.release(Admission::admitted, std::nullopt);
    CHECK(control.admit(a, {}) == Admission::too_many_of_address);
}

TEST_CASE("admission: zero is no limit, and a Unix-domain socket has none of its address")
{
    AdmissionControl none{{}};
    AdmissionControl of_address{{.max_clients_per_address = 1}};
    for (int i = 0; i < 1000; ++i) {
        CHECK(none.admit(key("192.0.2.1"), {}) == Admission::admitted);
        CHECK(of_address.admit(std::nullopt, {}) == Admission::admitted);
    }
}

TEST_CASE("admission: the rate allows one second's connections at once, and refills evenly")
{
    for (const double rate : {0.5, 1.0, 10.0}) {
        CAPTURE(rate);
        AdmissionControl control{{.max_connections_per_second = rate}};
        TimePoint now{10s};
        const auto admitted_now = [&] {
            int count = 0;
            for (int i = 0; i < 100; ++i)
                count += control.admit(std::nullopt, now) == Admission::admitted;
            return count;
        };
        const int burst = rate < 1 ? 1 : static_cast<int>(rate);
        CHECK(admitted_now() == burst);
        CHECK(control.admit(std::nullopt, now) == std::nullopt); // 64 wait for their answer
        now += std::chrono::nanoseconds{static_cast<long>(1.001e9 / rate)};
        CHECK(admitted_now() == 1);
        now += 1h;
        CHECK(admitted_now() == burst);
    }
}

TEST_CASE("admission: at most 64 refused ones wait for their answer")
{
    AdmissionControl control{{.max_clients = 1}};
    CHECK(control.admit(std::nullopt, {}) == Admission::admitted);
    for (std::size_t i = 0; i < AdmissionControl::max_refused; ++i)
        CHECK(control.admit(std::nullopt, {}) == Admission::too_many);
    CHECK(control.admit(std::nullopt, {}) == std::nullopt);
    control.release(Admission::too_many, std::nullopt);
    CHECK(control.admit(std::nullopt, {}) == Admission::too_many);
    control.release(Admission::admitted, std::nullopt);
    CHECK(control.admit(std::nullopt, {}) == Admission::admitted); // whatever waits
}

TEST_CASE("activation: the variables of systemd, and why they give no socket")
{
    using Names = std::vector<std::string>;
    const auto parsed = [](const char* pid, const char* fds, const char* names) {
        return parse_activation(pid, fds, names, 7).value();
    };
    CHECK(parsed("7", "1", "web") == Names{"web"});
    CHECK(parsed("7", "3", "web:admin:web") == Names{"web", "admin", "web"});
    CHECK(parsed("7", "2", nullptr) == Names{"unknown", "unknown"});
    CHECK(parsed("7", "2", "a:") == Names{"a", ""});
    CHECK(parsed("7", "1", "") == Names{""});
    const struct {
        const char *pid, *fds, *names, *why;
    } table[] = {{nullptr, "1", "web", "not set"},      {"7", nullptr, "web", "not set"},
                 {"8", "1", "web", "another process"},  {"", "1", "web", "another process"},
                 {"7x", "1", "web", "another process"}, {"7", "0", "", "no number"},
                 {"7", "-1", "web", "no number"},       {"7", "99999999999", "web", "no number"},
                 {"7", "1000000", "web", "no number"},  {"7", "2", "web", "2 sockets"},
                 {"7", "1", "web:admin", "2 names"}};
    for (const auto& row : table) {
        const auto refused = parse_activation(row.pid, row.fds, row.names, 7);
        REQUIRE_FALSE(refused);
        CHECK(refused.error() == Error::bad_options);
        CHECK_MESSAGE(refused.error().message().find(row.why) != std::string::npos,
                      refused.error().message());
    }
}

} // namespace admission_test
