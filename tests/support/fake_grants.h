// Sessions with real keys and certificates, as the signer would make them, for tests of whoever
// takes grants.
#pragma once

#include <string>

#include "broker/base/encoding.h"
#include "broker/node/agent.h"
#include "ssh-ca/format/certificate.h"

namespace jitwg {

struct FakeSession {
  Grant grant;
  ssh::Certificate certificate;
  std::string blob;

  std::string base64() const { return base64_encode(blob); }
  node::Wanted open() const { return {grant, true, CloseReason::expired}; }
  node::Wanted closed(CloseReason reason) const { return {grant, false, reason}; }
};

class FakeSigner {
 public:
  const ssh::PrivateKey ca = ssh::PrivateKey::generate();

  // alice's session from 10.90.0.7, from `start` for an hour.
  FakeSession session(WallTime start) const {
    const SessionId id = SessionId::make(start);
    const WallTime end = start + Seconds(3600);
    FakeSession made{{"realm",
                      id,
                      "alice",
                      "db-prod",
                      "alice",
                      std::string(44, 'A'),
                      {Prefix::host(*IpAddress::parse("10.90.0.7"))},
                      {},
                      {},
                      {},
                      std::nullopt,
                      "1",
                      start,
                      end,
                      "",
                      std::nullopt,
                      false},
                     {random_bytes(32),
                      ssh::PrivateKey::generate().public_key(),
                      1,
                      "jitwg1:" + id.str(),
                      {"jitwg:" + id.str()},
                      start - Seconds(30),
                      end,
                      {{"source-address", "10.90.0.7/32"}},
                      {"permit-pty"},
                      ca.public_key()},
                     ""};
    finish(made, ca);
    return made;
  }
  void finish(FakeSession& made) const { finish(made, ca); }
  // Signs made.certificate as it is now, and lets the grant name the result.
  static void finish(FakeSession& made, const ssh::PrivateKey& by) {
    made.certificate.ca = by.public_key();
    made.blob =
        ssh::assemble_certificate(made.certificate, by.sign(made.certificate.to_be_signed()));
    made.grant.certificate_sha256 = sha256_hex(made.blob);
  }
};

}  // namespace jitwg
