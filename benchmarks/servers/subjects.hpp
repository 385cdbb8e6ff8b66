// The servers of this program.
#pragma once

#include "subject.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {

using MakeSubject = std::unique_ptr<Subject> (*)();

/// Returns the servers that this program contains, in the order of registration.
inline std::vector<std::pair<std::string, MakeSubject>>& subjects()
{
    static std::vector<std::pair<std::string, MakeSubject>> all;
    return all;
}

template <class T>
bool add_subject(std::string name)
{
    subjects().emplace_back(std::move(name),
                            []() -> std::unique_ptr<Subject> { return std::make_unique<T>(); });
    return true;
}

} // namespace bench
