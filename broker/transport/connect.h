// A connected socket before anything is said over it. Internal to this directory. Failures are broker_unavailable
// with the cause alone: the caller knows the address as people wrote it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>

#include "broker/base/error.h"
#include "broker/transport/stream_io.h"

namespace jitwg::http {

boost::asio::awaitable<Result<SocketStream>> connect_unix(
    boost::asio::io_context& io, const std::string& path,
    std::chrono::steady_clock::time_point deadline);

// Resolves `host` unless it is an IP address, and tries one address after the other; none may take more
// than its share of the time left.
boost::asio::awaitable<Result<SocketStream>> connect_tcp(
    boost::asio::io_context& io, const std::string& host, uint16_t port,
    std::chrono::steady_clock::time_point deadline);

}  // namespace jitwg::http
