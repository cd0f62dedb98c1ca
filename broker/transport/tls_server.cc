#include "broker/base/encoding.h"
#include "broker/transport/connection.h"
#include "broker/transport/tls.h"
#include "broker/transport/x509.h"

namespace jitwg::http {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;

std::optional<ssh::PublicKey> ed25519_of(X509* certificate) {
  std::string key(32, '\0');
  size_t size = key.size();
  EVP_PKEY* const shown = X509_get0_pubkey(certificate);
  if (shown == nullptr || EVP_PKEY_id(shown) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(shown, reinterpret_cast<unsigned char*>(key.data()), &size) != 1 ||
      size != key.size() || ssh::is_weak_ed25519(key))
    return std::nullopt;
  return ssh::PublicKey::from_ed25519(key);
}

// A client certificate is only the envelope of a key: names, dates and signature in it mean nothing.
int take_ed25519_only(X509_STORE_CTX* chain, void*) {
  if (ed25519_of(X509_STORE_CTX_get0_cert(chain))) return 1;
  X509_STORE_CTX_set_error(chain, X509_V_ERR_INVALID_PURPOSE);  // alert unsupported_certificate
  return 0;
}

constexpr unsigned char kProtocols[] = "\x08http/1.1";  // RFC 7301

int choose_http11(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                  unsigned offered_size, void*) {
  unsigned char* answer = nullptr;
  const int match = SSL_select_next_proto(&answer, size, kProtocols, sizeof kProtocols - 1, offered,
                                          offered_size);
  *chosen = answer;
  return match == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

Result<std::shared_ptr<ServerTls>> make_server_tls(const std::string& certificate_pem,
                                                   const std::string& key_pem) {
  auto tls = std::make_shared<ServerTls>();
  error_code error;
  // Otherwise OpenSSL asks the terminal for the passphrase of an encrypted key.
  tls->context.set_password_callback([](size_t, ssl::context::password_purpose) { return ""; }, error);
  tls->context.use_certificate_chain(asio::buffer(certificate_pem), error);
  if (error)
    return fail(Code::bad_config, "tls-certificate: " + error.message(),
                "it is a PEM file, the broker's own certificate first");
  tls->context.use_private_key(asio::buffer(key_pem), ssl::context::pem, error);
  SSL_CTX* const context = tls->context.native_handle();
  if (error || SSL_CTX_check_private_key(context) != 1)
    return fail(Code::bad_config, "tls-key: " + (error ? error.message() : openssl_complaint()),
                "it is the certificate's private key, PEM, without a passphrase");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);  // asks for a certificate, demands none
  SSL_CTX_set_cert_verify_callback(context, take_ed25519_only, nullptr);
  constexpr long kClientCertificateBytes = 8 * 1024;  // ours have 300
  SSL_CTX_set_max_cert_list(context, kClientCertificateBytes);
  SSL_CTX_set_alpn_select_cb(context, choose_http11, nullptr);
  SSL_CTX_set_num_tickets(context, 0);  // no resumption: each connection proves its keys itself
  return tls;
}

// OpenSSL counts who uses a context: connections that are open keep theirs.
void renew(ServerTls& tls, ServerTls&& fresh) { tls.context = std::move(fresh.context); }

std::optional<ssh::PublicKey> proven_key(TlsStream& stream) {
  X509* const certificate = SSL_get0_peer_certificate(stream.native_handle());
  return certificate == nullptr ? std::nullopt : ed25519_of(certificate);
}

asio::awaitable<Greeted> greet(TlsStream& stream, const ServerLimits& limits) {
  SocketStream& socket = stream.next_layer();
  char first[4096];
  socket.expires_after(limits.header);
  const auto [gone, count] = co_await socket.async_read_some(asio::buffer(first), kAsync);
  if (gone) co_return std::nullopt;
  constexpr char kHandshakeRecord = 22;  // RFC 8446 §5.1
  if (first[0] != kHandshakeRecord) {
    const Response answer = error_response(
        {Code::bad_value, "this port speaks TLS 1.3, and this is none", "use https://"});
    const std::string bytes =
        render_answer_head(answer.status, answer.body.size(), false) + answer.body;
    co_await write_all(socket, bytes, limits.stall);
    co_return std::nullopt;
  }
  const auto [refused, used] = co_await stream.async_handshake(
      ssl::stream_base::server, asio::buffer(first, count), kAsync);
  if (refused || used != count) co_return std::nullopt;
  co_return Caller{.local = false, .key = proven_key(stream)};
}

}  // namespace jitwg::http
