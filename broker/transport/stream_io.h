// What server and client share below HTTP: the stream type and how errors come back. Internal to
// this directory.
#pragma once

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <chrono>
#include <string_view>

namespace jitwg::http {

// A connected socket of any family with a deadline for reads and writes; when it passes, the socket
// is closed. A TLS stream is a layer over this same type.
using SocketStream = boost::beast::basic_stream<boost::asio::generic::stream_protocol>;
using boost::system::error_code;

// Errors as values: co_await f(…, kAsync) yields a tuple that starts with the error_code.
inline constexpr auto kAsync = boost::asio::as_tuple(boost::asio::use_awaitable);

// Writes everything, as long as the peer takes some of it every `stall`: a slow reader may be slow,
// a dead one is cut.
template <typename Stream>
boost::asio::awaitable<error_code> write_all(Stream& stream, std::string_view bytes,
                                             std::chrono::milliseconds stall) {
  constexpr size_t kSlice = 64 * 1024;
  while (!bytes.empty()) {
    const std::string_view slice = bytes.substr(0, kSlice);
    boost::beast::get_lowest_layer(stream).expires_after(stall);
    const auto [error, count] =
        co_await boost::asio::async_write(stream, boost::asio::buffer(slice), kAsync);
    if (error) co_return error;
    bytes.remove_prefix(count);
  }
  co_return error_code{};
}

}  // namespace jitwg::http
