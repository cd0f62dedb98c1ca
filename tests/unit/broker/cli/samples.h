// One session as request, grant and certificate, signed for real by keys made here.
#pragma once

#include "broker/base/encoding.h"
#include "broker/cli/verify.h"

namespace jitwg::cli {

inline std::string wg_key(char first) {
  return base64_encode(std::string(1, first) + std::string(31, '\1'));
}

struct Sample {
  ssh::PrivateKey ca = ssh::PrivateKey::generate(), person = ssh::PrivateKey::generate();
  ssh::PublicKey host =
      ssh::PublicKey::from_ed25519(ssh::PrivateKey::generate().public_key().ed25519());
  WallTime start = *parse_time("2026-03-02T07:00:00Z");
  RequestStatement request{.head = {"lab-1", "alice", start - Seconds(60), std::string(32, '0')},
                           .session = *SessionId::parse("019b0000-0000-7000-8000-0000fa12ab34"),
                           .target = "db-prod",
                           .reason = "INC-4711",
                           .duration = Seconds(5400),
                           .wg_public_key = wg_key('\2'),
                           .ssh_public_key = person.public_key(),
                           .token_sha256 = std::string(64, 'c')};
  ssh::Certificate certificate{
      .nonce = std::string(32, 'n'),
      .key = person.public_key(),
      .serial = 9223372036854775807u,
      .key_id = "jitwg1:" + request.session.str(),
      .principals = {"jitwg:" + request.session.str()},
      .valid_after = start - Seconds(30),
      .valid_before = start + Seconds(5400),
      .critical_options = {{"source-address", "10.90.0.2/32,fd00:90::2/128"}},
      .extensions = {"permit-pty"},
      .ca = ca.public_key()};
  Grant grant{.realm = "lab-1",
              .session = request.session,
              .person = "alice",
              .target = "db-prod",
              .login = "alice",
              .wg_public_key = request.wg_public_key,
              .address = {*Prefix::parse("10.90.0.2/32"), *Prefix::parse("fd00:90::2/128")},
              .scope = *parse_scope(
                  {"tcp 10.60.0.5:22", "tcp 10.60.10.20:5432,5433", "tcp [fd00:60::20]:5432"}),
              .gateway = {"gw1", wg_key('\3'), *Endpoint::parse("192.0.2.10:51820")},
              .jump_hosts = {{"jump1", {*IpAddress::parse("10.60.0.5")}, {host.str()}}},
              .serial = "9223372036854775807",
              .not_before = start,
              .not_after = start + Seconds(5400),
              .policy_sha256 = std::string(64, 'b')};

  std::string blob() const {
    return ssh::assemble_certificate(certificate, ca.sign(certificate.to_be_signed()));
  }
  std::string line() const { return ssh::render_certificate_line(blob()); }
  // Seals the grant over the certificate as it stands now.
  ssh::SignedDocument document() {
    grant.certificate_sha256 = sha256_hex(blob());
    return ssh::sign(render_grant(grant), kGrantNamespace, ca);
  }
};

}  // namespace jitwg::cli
