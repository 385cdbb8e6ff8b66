#include "table.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

using namespace sidecar;

namespace {

const char* name_of(const Failure& failure)
{
    const std::pair<Error, const char*> names[] = {
        {Error::timed_out, "timed_out"},
        {Error::too_big, "too_big"},
        {Error::connect_failed, "connect_failed"},
        {Error::disconnected, "disconnected"},
        {Error::closed_by_peer, "closed_by_peer"},
        {Error::protocol_violation, "protocol_violation"},
        {Error::lookup_failed, "lookup_failed"},
        {Error::handshake_refused, "handshake_refused"},
        {Error::tls_failed, "tls_failed"},
        {Error::bad_options, "bad_options"},
    };
    for (const auto& [error, name] : names)
        if (failure == error)
            return name;
    return "";
}

/// Without what is another in each run.
std::string settled(std::string text)
{
    const std::pair<const char*, const char*> changes[] = {
        {R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)", "<date>"},
        {R"((localhost|\.example|\d+\.\d+\.\d+\.\d+):\d+)", "$1:<port>"},
        {R"( \(resolving the name .*)", ""}, // how long each step took
        {R"(/[^" ]*/sidecar-certificates-[^/]*/)", "/etc/feed/"},
    };
    for (const auto& [from, to] : changes)
        text = std::regex_replace(text, std::regex{from}, to);
    return text;
}

std::string in_cell(const std::string& text)
{
    return std::regex_replace(text, std::regex{R"(\|)"}, "\\|");
}

using PageLines = std::vector<std::string>;

PageLines read_page()
{
    std::ifstream file{SIDECAR_ERROR_TABLE};
    REQUIRE(file.is_open());
    PageLines lines;
    for (std::string line; std::getline(file, line);)
        lines.push_back(line);
    return lines;
}

/// The rows of a section's table.
std::pair<std::size_t, std::size_t> find_rows(const PageLines& page, const std::string& section)
{
    const auto heading = std::find(page.begin(), page.end(), "## " + section);
    REQUIRE_MESSAGE(heading != page.end(), "the page has no section " << section);
    const auto rule = std::find(heading, page.end(), "| --- | --- | --- |");
    REQUIRE(rule != page.end());
    const auto end = std::find_if(rule, page.end(), [](const auto& line) { return line.empty(); });
    return {rule - page.begin() + 1, end - page.begin()};
}

} // namespace

std::string ErrorTable::Row::markdown() const
{
    return "| " + in_cell(peer) + " | `" + code + "` | `" + in_cell(text) + "` |";
}

void ErrorTable::add(const std::string& peer, const Failure& failure)
{
    const auto text = failure.message();
    CAPTURE(peer);
    CAPTURE(text);
    CHECK(*name_of(failure) != '\0');
    CHECK_FALSE(failure.attempted().empty());
    CHECK_FALSE(failure.endpoint().empty());
    CHECK((!failure.explanation().empty() || failure.cause() || failure == Error::closed_by_peer));
    CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
    rows_.push_back({peer, name_of(failure), settled(text)});
}

void ErrorTable::compare() const
{
    std::set<std::string> texts;
    PageLines lines;
    for (const auto& row : rows_) {
        CHECK_MESSAGE(texts.insert(row.text).second, "two rows say " << row.text);
        lines.push_back(row.markdown());
    }
    auto page = read_page();
    const auto [begin, end] = find_rows(page, section_);
    if (std::getenv("SIDECAR_WRITE_ERROR_TABLE")) {
        const auto at = page.erase(page.begin() + static_cast<std::ptrdiff_t>(begin),
                                   page.begin() + static_cast<std::ptrdiff_t>(end));
        page.insert(at, lines.begin(), lines.end());
        std::ofstream file{SIDECAR_ERROR_TABLE};
        for (const auto& line : page)
            file << line << '\n';
        return;
    }
    CHECK(lines.size() == end - begin);
    for (std::size_t i = 0; i < std::min(lines.size(), end - begin); ++i)
        CHECK(lines[i] == page[begin + i]);
}
