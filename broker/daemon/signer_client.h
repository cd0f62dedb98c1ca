// The broker's side of the signer's socket (ssh-ca/PROTOCOL.md). One connection a question: a
// connect costs 20 µs, and no slow answer stands in the way of another, nothing has to be kept
// alive or put in order after a failure.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>

#include "broker/base/json.h"

namespace jitwg::broker {

class SignerClient {
 public:
  virtual ~SignerClient() = default;
  // signer_unavailable: not reached, broken off, or silent past the deadline; whether the signer
  // acted is then unknown. Any other code is the signer's own refusal, and it did nothing.
  virtual boost::asio::awaitable<Result<json::value>> ask(json::value question) = 0;
};

inline constexpr auto kSignerDeadline = std::chrono::seconds(10);

class UnixSigner final : public SignerClient {
 public:
  UnixSigner(boost::asio::io_context& io, std::string path,
             std::chrono::milliseconds deadline = kSignerDeadline)
      : io_(io), path_(std::move(path)), deadline_(deadline) {}
  boost::asio::awaitable<Result<json::value>> ask(json::value question) override;

 private:
  boost::asio::io_context& io_;
  const std::string path_;
  const std::chrono::milliseconds deadline_;
};

}  // namespace jitwg::broker
