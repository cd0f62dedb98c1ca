#include "broker/transport/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "broker/base/address.h"
#include "broker/base/encoding.h"
#include "broker/transport/self_signed.h"

namespace jitwg::http {
namespace {

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeBy<X509_EXTENSION_free>>;

bool add_host(X509* certificate, const std::string& host) {
  const std::string value = (IpAddress::parse(host) ? "IP:" : "DNS:") + host;
  const ExtensionPtr name(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, value.c_str()));
  return name && X509_add_ext(certificate, name.get(), -1) == 1;
}

bool set_common_name(X509* certificate, const std::string& name) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(name.data()),
                                    static_cast<int>(name.size()), -1, 0) == 1 &&
         X509_set_issuer_name(certificate, subject) == 1;
}

Result<CertificatePtr> first_certificate(std::string_view pem) {
  const BioPtr bytes(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  CertificatePtr certificate(PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr));
  if (!certificate)
    return fail(Code::bad_value, "there is no certificate in it: " + openssl_complaint(),
                "it is a PEM file, -----BEGIN CERTIFICATE-----");
  return certificate;
}

}  // namespace

std::string bytes_of(BIO* memory) {
  char* bytes = nullptr;
  const long count = BIO_get_mem_data(memory, &bytes);
  return {bytes, static_cast<size_t>(count)};
}

std::string openssl_complaint() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  const std::string text = reason == nullptr ? "unknown TLS error" : reason;
  ERR_clear_error();
  return text;
}

std::string spki_pin(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  JITWG_CHECK(size > 0);
  const std::string digest =
      sha256({reinterpret_cast<const char*>(der), static_cast<size_t>(size)});
  OPENSSL_free(der);
  return "sha256//" + base64_encode(digest);
}

Result<std::string> spki_pin(std::string_view pem) {
  JITWG_ASSIGN(const CertificatePtr certificate, first_certificate(pem));
  return spki_pin(certificate.get());
}

Result<WallTime> certificate_end(std::string_view pem) {
  JITWG_ASSIGN(const CertificatePtr certificate, first_certificate(pem));
  tm parts{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &parts) != 1)
    return fail(Code::bad_value, "its end is no time: " + openssl_complaint());
  return WallTime(Seconds(timegm(&parts)));
}

CertificatePtr make_certificate(EVP_PKEY* key, const std::string& common_name,
                                const std::string& host) {
  constexpr long kVersion3 = 2;
  CertificatePtr certificate(X509_new());
  X509* x = certificate.get();
  // Ed25519 hashes by itself; the others want to be told.
  const EVP_MD* hash = EVP_PKEY_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  const bool made = x != nullptr && X509_set_version(x, kVersion3) == 1 &&
                    ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
                    ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20200101000000Z") == 1 &&
                    ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "99991231235959Z") == 1 &&
                    set_common_name(x, common_name) && X509_set_pubkey(x, key) == 1 &&
                    (host.empty() || add_host(x, host)) && X509_sign(x, key, hash) > 0;
  if (!made) certificate.reset();
  return certificate;
}

Result<std::string> make_tls_key() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const BioPtr pem(BIO_new(BIO_s_mem()));
  if (!key || PEM_write_bio_PKCS8PrivateKey(pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return fail(Code::system, "no TLS key was made: " + openssl_complaint());
  return bytes_of(pem.get());
}

Result<std::string> make_self_signed(const std::string& host, std::string_view key_pem) {
  char no_passphrase[] = "";
  const BioPtr bytes(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  const KeyPtr key(PEM_read_bio_PrivateKey(bytes.get(), nullptr, nullptr, no_passphrase));
  if (!key)
    return fail(Code::bad_value, "there is no private key in it: " + openssl_complaint(),
                "it is a PEM file without a passphrase, -----BEGIN PRIVATE KEY-----");
  const CertificatePtr certificate = make_certificate(key.get(), "jitwg broker", host);
  const BioPtr pem(BIO_new(BIO_s_mem()));
  if (!certificate || PEM_write_bio_X509(pem.get(), certificate.get()) != 1)
    return fail(Code::bad_value, "no certificate for \"" + escape_for_terminal(host) + "\": " + openssl_complaint(),
                "give the name or the IP address that clients connect to");
  return bytes_of(pem.get());
}

}  // namespace jitwg::http
