#include "broker/daemon/signer_client.h"

#include <sys/un.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "ssh-ca/signer/frames.h"

namespace jitwg::broker {
namespace {

namespace asio = boost::asio;
using Socket = asio::local::stream_protocol::socket;

tl::unexpected<Error> unavailable(const std::string& why) {
  return fail(Code::signer_unavailable, "the signer: " + why, "is jitwg-signer running?");
}

}  // namespace

asio::awaitable<Result<json::value>> UnixSigner::ask(json::value question) {
  if (path_.size() >= sizeof(sockaddr_un::sun_path))
    co_return unavailable(path_ + " is too long for a socket");
  auto socket = std::make_shared<Socket>(io_);
  bool late = false;
  asio::steady_timer deadline(io_, deadline_);
  // Closing ends whatever is being awaited. The timer dies, cancelled, with this frame.
  deadline.async_wait([socket, &late](const boost::system::error_code& cancelled) {
    if (cancelled) return;
    late = true;
    boost::system::error_code ignored;
    socket->close(ignored);
  });
  const auto broken = [&](const boost::system::error_code& error) {
    return unavailable(late ? "no answer in time" : error.message());
  };

  boost::system::error_code error;
  const asio::local::stream_protocol::endpoint endpoint(path_);
  co_await socket->async_connect(endpoint, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return broken(error);
  const std::string frame = signer::render_frame(question);
  co_await asio::async_write(*socket, asio::buffer(frame),
                             asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return broken(error);

  std::string received;
  std::string piece(64 * 1024, '\0');
  for (;;) {
    auto answer = signer::take_frame(received);
    if (!answer) co_return unavailable("its answer is no frame: " + answer.error().message);
    if (*answer) {
      if (auto refused = parse_error(**answer))
        co_return tl::unexpected<Error>(std::move(*refused));
      co_return std::move(**answer);
    }
    const size_t count = co_await socket->async_read_some(
        asio::buffer(piece), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return broken(error);
    received.append(piece, 0, count);
  }
}

}  // namespace jitwg::broker
