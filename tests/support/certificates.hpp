// Certificates for tests, made anew by support/make_certificates when the first is asked for.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

/// A directory of its own, gone with the process.
class Certificates {
public:
    static const Certificates& all()
    {
        static const Certificates made;
        return made;
    }
    [[nodiscard]] std::string path(const std::string& file) const { return directory_ / file; }
    [[nodiscard]] std::string text(const std::string& file) const
    {
        std::ifstream in{directory_ / file};
        return {std::istreambuf_iterator<char>{in}, {}};
    }
    Certificates(const Certificates&) = delete;
    Certificates& operator=(const Certificates&) = delete;
    ~Certificates()
    {
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

private:
    Certificates()
    {
        std::string pattern =
            std::filesystem::temp_directory_path() / "sidecar-certificates-XXXXXX";
        if (!::mkdtemp(pattern.data()))
            throw std::runtime_error{"no directory for certificates"};
        directory_ = pattern;
        if (std::system((std::string{SIDECAR_MAKE_CERTIFICATES " "} + pattern).c_str()) != 0)
            throw std::runtime_error{"no certificates"};
    }
    std::filesystem::path directory_;
};

inline std::string certificate(const std::string& file) { return Certificates::all().path(file); }
