// A WebSocket server that is not ours: Python's websockets, as support/echo_server.py scripts it.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>

/// The Python peer; it ends with this process.
class PythonPeer {
public:
    PythonPeer()
    {
        int port = 0;
        if (!pipe_ || std::fscanf(pipe_, "%d", &port) != 1)
            throw std::runtime_error{"the Python peer does not start"};
        url = "ws://127.0.0.1:" + std::to_string(port) + "/";
    }
    PythonPeer(const PythonPeer&) = delete;
    PythonPeer& operator=(const PythonPeer&) = delete;
    int close_code()
    {
        int code = 0;
        return std::fscanf(pipe_, " closed %d", &code) == 1 ? code : -1;
    }
    std::string url;

private:
    std::FILE* pipe_ = ::popen("exec /usr/bin/python3 " SIDECAR_ECHO_SERVER, "r");
};
