// OpenSSL's keys and certificates as owned values. Internal to this directory.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

#include "broker/base/error.h"

namespace jitwg::http {

template <auto kFree>
struct FreeBy {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, FreeBy<X509_free>>;
using BioPtr = std::unique_ptr<BIO, FreeBy<BIO_free>>;

std::string bytes_of(BIO* memory);

// What OpenSSL last complained about in this thread, in its words; empties its queue.
std::string openssl_complaint();

std::string spki_pin(X509* certificate);

// Self-signed, valid from 2020 to 9999: says whose key it is, vouches for nothing. `host`: its
// subjectAltName; empty: none.
CertificatePtr make_certificate(EVP_PKEY* key, const std::string& common_name, const std::string& host);

}  // namespace jitwg::http
