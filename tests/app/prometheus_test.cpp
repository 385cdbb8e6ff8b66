// The exposition, read by a parser that is as strict as Prometheus's own and promtool's lint.
#include <sidecar/error.hpp>
#include <sidecar/prometheus.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus_test {

using namespace sidecar;
using namespace std::chrono_literals;

struct Sample {
    std::string name;
    std::map<std::string, std::string> labels;
    double value = 0;
};
struct Family {
    std::string type;
    std::vector<Sample> samples;
};

/// Text format 0.0.4, without timestamps. Throws std::runtime_error for anything that is not it.
class Parser {
public:
    explicit Parser(std::string_view text) : text_{text}
    {
        require(text.empty() || text.back() == '\n', "the last line has no end");
        while (!text_.empty()) {
            const auto end = text_.find('\n');
            line_ = text_.substr(0, end);
            text_.remove_prefix(end + 1);
            if (line_.starts_with("# HELP "))
                take_help();
            else if (line_.starts_with("# TYPE "))
                take_type();
            else
                take_sample();
        }
        for (const auto& [name, family] : families)
            check(name, family);
    }
    std::map<std::string, Family> families;

private:
    void require(bool holds, const std::string& what) const
    {
        if (!holds)
            throw std::runtime_error{what + ": " + std::string{line_}};
    }
    static bool is_start(char c)
    {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    }
    std::string take_name()
    {
        std::size_t n = 0;
        while (n < line_.size()
               && (is_start(line_[n]) || (n != 0 && line_[n] >= '0' && line_[n] <= '9')))
            ++n;
        require(n != 0, "a name is missing");
        std::string name{line_.substr(0, n)};
        line_.remove_prefix(n);
        return name;
    }
    void take(char c)
    {
        require(!line_.empty() && line_[0] == c, std::string{"not a "} + c);
        line_.remove_prefix(1);
    }
    void take_help()
    {
        line_.remove_prefix(7);
        help_ = take_name();
        take(' ');
        require(!line_.empty(), "no help");
        require(helped_.insert(help_).second, "a second HELP");
        for (std::size_t i = 0; i < line_.size(); ++i)
            if (line_[i] == '\\')
                require(++i < line_.size() && (line_[i] == '\\' || line_[i] == 'n'), "escape");
    }
    void take_type()
    {
        line_.remove_prefix(7);
        family_ = take_name();
        require(family_ == help_, "TYPE does not follow its HELP");
        take(' ');
        require(line_ == "counter" || line_ == "gauge" || line_ == "histogram", "type");
        require(families.emplace(family_, Family{std::string{line_}, {}}).second, "second TYPE");
    }
    std::string take_label_value()
    {
        std::string value;
        take('"');
        for (;;) {
            require(!line_.empty(), "a label's value has no end");
            const char c = line_[0];
            line_.remove_prefix(1);
            if (c == '"')
                return value;
            if (c != '\\') {
                value += c;
                continue;
            }
            require(!line_.empty(), "escape");
            const char e = line_[0];
            line_.remove_prefix(1);
            require(e == '\\' || e == '"' || e == 'n', "escape");
            value += e == 'n' ? '\n' : e;
        }
    }
    void take_sample()
    {
        Sample sample{.name = take_name(), .labels = {}};
        if (!line_.empty() && line_[0] == '{') {
            do {
                line_.remove_prefix(1);
                const auto label = take_name();
                take('=');
                require(sample.labels.emplace(label, take_label_value()).second, "label twice");
            } while (!line_.empty() && line_[0] == ',');
            take('}');
        }
        take(' ');
        std::size_t used = 0;
        const std::string number{line_};
        sample.value = std::stod(number, &used);
        require(used == number.size() && !std::isnan(sample.value), "number");
        auto& family = families.at(family_);
        auto base = sample.name;
        if (family.type == "histogram")
            for (const std::string suffix : {"_bucket", "_sum", "_count"})
                if (base.ends_with(suffix)) {
                    base.resize(base.size() - suffix.size());
                    break;
                }
        require(base == family_, "a sample among those of another name");
        family.samples.push_back(std::move(sample));
    }
    /// What promtool would have to say.
    static void check(const std::string& name, const Family& family)
    {
        const auto refuse = [&](const char* why) { throw std::runtime_error{name + ": " + why}; };
        if (!name.starts_with("sidecar_"))
            refuse("has no prefix");
        if ((family.type == "counter") != name.ends_with("_total"))
            refuse("_total and counter do not go together");
        for (const auto* unit : {"milliseconds", "_ms", "nanoseconds", "kilobytes", "_count"})
            if (name.find(unit) != name.npos)
                refuse("has no base unit, or a reserved suffix");
        std::set<std::pair<std::string, std::map<std::string, std::string>>> seen;
        for (const auto& sample : family.samples)
            if (!seen.emplace(sample.name, sample.labels).second)
                refuse("has a sample twice");
        if (family.type == "histogram")
            check_histogram(name, family);
    }
    static void check_histogram(const std::string& name, const Family& family)
    {
        struct Ranges {
            double last_bound = -1, last_count = 0;
            std::optional<double> inf, sum, count;
        };
        std::map<std::map<std::string, std::string>, Ranges> all;
        const auto refuse = [&](const char* why) { throw std::runtime_error{name + ": " + why}; };
        for (const auto& sample : family.samples) {
            auto labels = sample.labels;
            if (sample.name == name + "_bucket") {
                const auto le = labels.at("le");
                labels.erase("le");
                auto& ranges = all[labels];
                const auto bound = le == "+Inf" ? HUGE_VAL : std::stod(le);
                if (bound <= ranges.last_bound || sample.value < ranges.last_count)
                    refuse("ranges are not in order, or not cumulative");
                ranges.last_bound = bound;
                ranges.last_count = sample.value;
                if (le == "+Inf")
                    ranges.inf = sample.value;
            } else if (sample.name == name + "_sum") {
                all[labels].sum = sample.value;
            } else {
                all[labels].count = sample.value;
            }
        }
        for (const auto& [labels, ranges] : all)
            if (!ranges.inf || !ranges.sum || ranges.count != ranges.inf)
                refuse("+Inf, _sum or _count is missing, or wrong");
    }

    std::string_view text_, line_;
    std::string help_, family_;
    std::set<std::string> helped_;
};

double value(const Parser& parser, const std::string& name, std::size_t at = 0)
{
    return parser.families.at(name).samples.at(at).value;
}

/// Every number another one.
Stats some()
{
    Stats stats;
    stats.messages_received = 1;
    stats.bytes_received = 2;
    stats.messages_taken = UINT64_MAX;
    stats.inbox_bytes = 3;
    stats.errors = 4;
    stats.connections = 5;
    stats.connect_time = 1'500'000ns;
    stats.reading_paused = 2500ms;
    stats.data_age = 1ns;
    stats.longest_busy = 7ms;
    stats.longest_busy_task = "link 0 listener";
    stats.round_trips.histogram.counts[0] = 1;
    stats.round_trips.histogram.counts[5] = 2;
    stats.round_trips.histogram.counts[Histogram::bounds.size()] = 3;
    stats.round_trips.histogram.sum = 100s;
    return stats;
}

TEST_CASE("to_prometheus: nothing that has happened is a valid exposition")
{
    const Parser parsed{to_prometheus(Stats{})};
    CHECK(value(parsed, "sidecar_messages_received_total") == 0);
    CHECK(parsed.families.at("sidecar_data_age_seconds").samples.empty()); // no link is up
    CHECK(parsed.families.at("sidecar_round_trip_seconds").samples.empty());
}

TEST_CASE("to_prometheus: counts, seconds and bytes are what they are in the stats")
{
    const auto text = to_prometheus(some());
    const Parser parsed{text};
    CHECK(value(parsed, "sidecar_messages_received_total") == 1);
    CHECK(value(parsed, "sidecar_received_bytes_total") == 2);
    CHECK(text.find("sidecar_messages_taken_total 18446744073709551615\n") != text.npos);
    CHECK(value(parsed, "sidecar_inbox_bytes") == 3);
    CHECK(value(parsed, "sidecar_errors_total") == 4);
    CHECK(text.find("sidecar_connect_seconds 0.0015\n") != text.npos);
    CHECK(text.find("sidecar_reading_paused_seconds_total 2.5\n") != text.npos);
    CHECK(text.find("sidecar_data_age_seconds 0.000000001\n") != text.npos);
    CHECK(text.find("sidecar_longest_busy_seconds{task=\"link 0 listener\"} 0.007\n") != text.npos);
    CHECK(text.find("# TYPE sidecar_inbox_messages gauge\n") != text.npos);
}

TEST_CASE("to_prometheus: a histogram's ranges are cumulative and end with all")
{
    const auto text = to_prometheus(some(), {{"feed", "a"}});
    const Parser parsed{text};
    const auto& samples = parsed.families.at("sidecar_round_trip_seconds").samples;
    REQUIRE(samples.size() == Histogram::bounds.size() + 3);
    CHECK(samples[0].value == 1);
    CHECK(samples[0].labels.at("le") == "0.00001");
    CHECK(samples[4].value == 1);
    CHECK(samples[5].value == 3);
    CHECK(samples[Histogram::bounds.size()].value == 6);
    CHECK(text.find("_bucket{feed=\"a\",le=\"+Inf\"} 6\n") != text.npos);
    CHECK(text.find("sidecar_round_trip_seconds_sum{feed=\"a\"} 100\n") != text.npos);
    CHECK(text.find("sidecar_round_trip_seconds_count{feed=\"a\"} 6\n") != text.npos);
}

TEST_CASE("to_prometheus: any text may be a label's value")
{
    auto stats = some();
    for (const std::string wanted :
         {"plain", "quo\"te", "back\\slash", "new\nline", "\\\n\"", "\\n", "", "gr\xc3\xb6\xc3\x9f",
          "{a=\"b\"} 1\n# TYPE x counter"}) {
        stats.longest_busy_task = wanted;
        const Parser parsed{to_prometheus(stats, {{"feed", wanted}, {"_x9", "y"}})};
        const auto& labels = parsed.families.at("sidecar_longest_busy_seconds").samples[0].labels;
        CHECK(labels.at("feed") == wanted);
        CHECK(labels.at("task") == wanted);
        CHECK(labels.at("_x9") == "y");
    }
    const auto text = to_prometheus(Stats{}, {{"feed", "a\xff\xc3z\xed\xa0\x80"}});
    CHECK(text.find("{feed=\"a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}")
          != text.npos);
}

TEST_CASE("to_prometheus: several sources stand under one HELP and TYPE")
{
    const std::vector<LabelledStats> sources{{{{"feed", "a"}}, some()}, {{{"feed", "b"}}, {}}};
    const Parser parsed{to_prometheus(sources)};
    CHECK(parsed.families.at("sidecar_errors_total").samples.size() == 2);
    CHECK(value(parsed, "sidecar_errors_total", 0) == 4);
    CHECK(value(parsed, "sidecar_errors_total", 1) == 0);
    CHECK(to_prometheus(std::vector<LabelledStats>{}).find("\nsidecar_") == std::string::npos);
}

TEST_CASE("to_prometheus: a label's name that is none, ours, or there already, is bad_options")
{
    for (const std::string name : {"", "9a", "a-b", "a b", "__a", "le", "task",
                                   "gr\xc3\xb6\xc3\x9f"
                                   "e",
                                   "a\n", "reason"}) {
        CAPTURE(name);
        try {
            (void)to_prometheus(Stats{}, {{name, "x"}});
            FAIL("accepted");
        } catch (const Exception& e) {
            CHECK(e.failure() == Error::bad_options);
        }
    }
    CHECK_THROWS_AS((void)to_prometheus(Stats{}, {{"a", "x"}, {"a", "y"}}), Exception);
}

} // namespace prometheus_test
