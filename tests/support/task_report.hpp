// Looking for a task in a stop's report.
#pragma once

#include <sidecar/sidecar.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

inline bool mentions(const std::vector<sidecar::TaskReport>& tasks, std::string_view name,
                     std::string_view waiting_for)
{
    return std::any_of(tasks.begin(), tasks.end(), [&](const sidecar::TaskReport& task) {
        return task.name == name && task.waiting_for.find(waiting_for) != std::string::npos;
    });
}

inline bool names_task(const std::vector<sidecar::TaskReport>& tasks, std::string_view name)
{
    return mentions(tasks, name, "");
}
