#include <openssl/x509v3.h>

#include "broker/os/file.h"
#include "broker/transport/tls.h"
#include "broker/transport/x509.h"

namespace jitwg::http {
namespace {

namespace ssl = boost::asio::ssl;
constexpr size_t kAnchorFileBytes = 1 << 20;  // a distribution's whole bundle is a quarter of it

std::string render(const ASN1_TIME* time) {
  const BioPtr text(BIO_new(BIO_s_mem()));
  ASN1_TIME_print_ex(text.get(), time, ASN1_DTFLGS_ISO8601);
  return bytes_of(text.get());
}

Result<void> trust(ssl::context& context, const std::string& anchor_file) {
  JITWG_ASSIGN(const std::string pem, read_trusted_file(anchor_file, kAnchorFileBytes));
  error_code error;
  context.add_certificate_authority(boost::asio::buffer(pem), error);
  if (!error) return {};
  return fail(Code::bad_config, anchor_file + ": " + error.message(),
              "broker-ca names a PEM file of certificates");
}

Result<void> show(ssl::context& context, const ssh::PrivateKey& node_key) {
  const KeyPtr key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, node_key.seed(), 32));
  const CertificatePtr certificate = key ? make_certificate(key.get(), "jitwg node", "") : nullptr;
  if (certificate && SSL_CTX_use_certificate(context.native_handle(), certificate.get()) == 1 &&
      SSL_CTX_use_PrivateKey(context.native_handle(), key.get()) == 1)
    return {};
  return fail(Code::system, "no certificate over the node key: " + openssl_complaint());
}

}  // namespace

ClientTls::ClientTls(const BrokerAddress& address, const Place& place) : address_(address) {
  SSL_CTX* const context = context_.native_handle();
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context, judge, this);
  constexpr unsigned char kProtocols[] = "\x08http/1.1";  // RFC 7301
  SSL_CTX_set_alpn_protos(context, kProtocols, sizeof kProtocols - 1);
  X509_VERIFY_PARAM* const expected = SSL_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_flags(expected, X509_V_FLAG_PARTIAL_CHAIN);  // an anchor need be no root
  if (place.host_is_address)
    X509_VERIFY_PARAM_set1_ip_asc(expected, place.host.c_str());
  else
    X509_VERIFY_PARAM_set1_host(expected, place.host.data(), place.host.size());
}

Result<std::unique_ptr<ClientTls>> ClientTls::make(const BrokerAddress& address,
                                                   const Place& place) {
  std::unique_ptr<ClientTls> tls(new ClientTls(address, place));
  if (!address.ca_file.empty()) JITWG_TRY(trust(tls->context_, address.ca_file));
  if (address.node_key) JITWG_TRY(show(tls->context_, *address.node_key));
  return tls;
}

// Replaces OpenSSL's own verification: what it would do is asked for by judge_chain.
int ClientTls::judge(X509_STORE_CTX* chain, void* self) {
  auto* const tls = static_cast<ClientTls*>(self);
  tls->verdict_ = tls->address_.pins.empty() ? tls->judge_chain(chain)
                                             : tls->judge_pin(X509_STORE_CTX_get0_cert(chain));
  if (!tls->verdict_) return 1;
  if (X509_STORE_CTX_get_error(chain) == X509_V_OK)
    X509_STORE_CTX_set_error(chain, X509_V_ERR_CERT_REJECTED);
  return 0;
}

std::optional<Error> ClientTls::judge_pin(X509* certificate) const {
  const std::string pin = spki_pin(certificate);
  for (const std::string& pinned : address_.pins)
    if (pin == pinned) return std::nullopt;
  return Error{Code::untrusted_broker,
               address_.where + " has the key " + pin + ", which is not the pinned one",
               "it is another machine, or the broker's key was changed: ask your administrator for the new "
               "\"broker-pin\""};
}

std::optional<Error> ClientTls::judge_chain(X509_STORE_CTX* chain) const {
  if (X509_verify_cert(chain) == 1) return std::nullopt;
  const int error = X509_STORE_CTX_get_error(chain);
  std::string text = address_.where + ": " + X509_verify_cert_error_string(error);
  if (const X509* at = X509_STORE_CTX_get_current_cert(chain);
      at != nullptr && (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID))
    text += ", valid from " + render(X509_get0_notBefore(at)) + " to " + render(X509_get0_notAfter(at));
  return Error{Code::untrusted_broker, std::move(text),
               "its certificate needs a chain to one of " + address_.ca_file +
                   ", the name in the address, and today's date: is this machine's clock right?"};
}

}  // namespace jitwg::http
