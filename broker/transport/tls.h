// TLS 1.3 (RFC 8446), nothing older: who proves what to whom. Internal to this directory; HTTP above
// it is the same as over a Unix socket.
//
// The broker proves the key of its certificate: pinned by the client, or certified for its host by an
// anchor that the client trusts. A node proves its own ed25519 key by a self-signed client certificate
// made in memory; the broker reads nothing but the key from it. People show no certificate.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <optional>
#include <string>

#include "broker/transport/broker_address.h"
#include "broker/transport/stream_io.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::http {

using TlsStream = boost::asio::ssl::stream<SocketStream>;

// A client's side of one connection; outlives its stream.
class ClientTls {
 public:
  // Reads the anchors anew each time, so that a changed file counts from the next connection on.
  static Result<std::unique_ptr<ClientTls>> make(const BrokerAddress& address, const Place& place);

  boost::asio::ssl::context& context() { return context_; }
  // Why the broker's key was refused, once the handshake failed for it.
  const std::optional<Error>& verdict() const { return verdict_; }

 private:
  ClientTls(const BrokerAddress& address, const Place& place);
  static int judge(X509_STORE_CTX* chain, void* self);
  std::optional<Error> judge_pin(X509* certificate) const;
  std::optional<Error> judge_chain(X509_STORE_CTX* chain) const;

  const BrokerAddress& address_;
  boost::asio::ssl::context context_{boost::asio::ssl::context::tlsv13_client};
  std::optional<Error> verdict_;
};

// The server's side, for all connections of a listener.
struct ServerTls {
  boost::asio::ssl::context context{boost::asio::ssl::context::tlsv13_server};
};

// The ed25519 key that the peer proved; nullopt: it showed no certificate.
std::optional<ssh::PublicKey> proven_key(TlsStream& stream);

}  // namespace jitwg::http
