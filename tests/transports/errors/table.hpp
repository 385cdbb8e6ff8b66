// A section of docs/error_table.md, made from the errors that a test has provoked.
#pragma once

#include <sidecar/error.hpp>

#include <string>
#include <utility>
#include <vector>

/// Owned by a test case, on its thread. Invariant: rows stand in the order in which they were made,
/// and what changes from run to run (ports, dates, durations) is replaced by what it is.
class ErrorTable {
public:
    explicit ErrorTable(std::string section) : section_{std::move(section)} {}

    /// What the peer does, and what came of it. A failure that lacks what was attempted, on what, or
    /// why is a failure of the test.
    void add(const std::string& peer, const sidecar::Failure& failure);

    /// Checks that each row has a text of its own, and that the page has exactly these rows. With
    /// SIDECAR_WRITE_ERROR_TABLE=1 the page's section is written instead. Blocks: while files do.
    void compare() const;

private:
    struct Row {
        std::string peer, code, text;
        [[nodiscard]] std::string markdown() const;
    };

    std::string section_;
    std::vector<Row> rows_;
};
