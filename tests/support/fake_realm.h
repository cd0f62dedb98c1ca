// People, keys and a policy for tests of the broker: everything signed for real, time by hand.
#pragma once

#include <map>

#include "broker/base/encoding.h"
#include "broker/daemon/rules.h"
#include "broker/session/grant.h"
#include "policy/statement.h"
#include "ssh-ca/format/private_key.h"

namespace jitwg::broker {

class FakeClock final : public Clock {
 public:
  Instant instant() const override { return {time, {}}; }
  WallTime time = *parse_time("2026-03-02T10:00:00Z");
};

struct FakeRealm {
  FakeRealm() {
    for (const char* name : {"alice", "bob", "carol", "dave", "erin", "ca", "gw1", "gw2", "jump1", "host"})
      keys.emplace(name, ssh::PrivateKey::generate());
  }

  std::string line(const std::string& name) const { return keys.at(name).public_key().str(); }
  static std::string wireguard_key() {
    std::string bytes = random_bytes(32);
    bytes[31] = static_cast<char>(bytes[31] & 0x7f);
    return base64_encode(bytes);
  }

  std::string policy_text() const {
    return R"(version = 1
realm = "lab-1"
[defaults]
duration = "60m"
max_duration = "90m"
pending_for = "24h"
activate_within = "60m"
pools = ["10.90.0.0/16"]
[groups]
platform = ["alice", "bob"]
security = ["carol", "dave"]
[gateways.gw1]
endpoint = "192.0.2.10:51820"
wireguard_key = ")" +
           gateway_key + "\"\nnode_key = \"" + line("gw1") + R"("
[gateways.gw2]
endpoint = "192.0.2.11:51820"
wireguard_key = ")" +
           other_gateway_key + "\"\nnode_key = \"" + line("gw2") + R"("
[jump_hosts.jump1]
addresses = ["10.60.0.5"]
host_keys = [")" +
           line("host") + "\"]\nnode_key = \"" + line("jump1") + R"("
[targets.db]
gateways = ["gw1", "gw2"]
scope = ["tcp 10.60.10.20:)" +
           port + R"("]
jump_hosts = ["jump1"]
login = "{person}"
[targets.net]
gateways = ["gw1"]
scope = ["tcp 10.60.10.0/24:443"]
[[rule]]
name = "databases"
who = ["group:platform"]
targets = ["db"]
approvals = )" +
           approvals + R"(
approvers = ["group:security"]
[[rule]]
name = "networks"
who = ["group:platform"]
targets = ["net"]
approvals = 0
[rights]
revoke = ["person:erin"]
audit_read = ["person:erin"]
)";
  }

  RulesPtr rules() const {
    std::string people;
    for (const std::string& person : persons) people += person + " namespaces=\"jitwg\" " + line(person) + "\n";
    const std::string policy = policy_text();
    const auto parsed = Rules::parse(json::value{{"policy", base64_encode(policy)},
                                                 {"allowed_signers", base64_encode(people)},
                                                 {"policy_sha256", sha256_hex(policy)},
                                                 {"ca_public_key", line("ca")},
                                                 {"now", "2026-03-02T10:00:00Z"}});
    if (!parsed) std::abort();
    return *parsed;
  }

  ssh::SignedDocument sign(const std::string& key, const Statement& statement) const {
    return ssh::sign(render_statement(statement), kStatementNamespace, keys.at(key));
  }
  StatementHead head(const std::string& by, WallTime at) const { return {"lab-1", by, at, hex_encode(random_bytes(16))}; }

  RequestStatement request(const std::string& by, const std::string& target, WallTime at) const {
    return {.head = head(by, at),
            .session = SessionId::make(at),
            .target = target,
            .reason = "INC-1",
            .duration = Seconds(60),
            .wg_public_key = wireguard_key(),
            .ssh_public_key = ssh::PrivateKey::generate().public_key(),
            .token_sha256 = sha256_hex(token)};
  }

  // A decision on the request as it was rendered, about the access that policy gives now.
  DecisionStatement decision(const std::string& by, const RequestStatement& about, WallTime at) const {
    const Verdict verdict =
        decide(rules()->policy, {.person = about.head.by, .target = about.target, .duration = about.duration, .at = at});
    return {.head = head(by, at),
            .session = about.session,
            .request_sha256 = sha256_hex(render_statement(about)),
            .choice = Choice::approve,
            .access = verdict.access};
  }

  // What the signer would answer.
  json::value issue(const store::Session& session, WallTime now) const {
    Grant grant{.realm = "lab-1",
                .session = session.id,
                .person = session.person,
                .target = session.target,
                .wg_public_key = session.wg_public_key,
                .address = {*Prefix::parse("10.90.0.1/32")},
                .scope = session.access.scope,
                .gateway = {*session.gateway, gateway_key, *Endpoint::parse("192.0.2.10:51820")},
                .not_before = now,
                .not_after = now + session.duration,
                .policy_sha256 = rules()->policy.digest};
    json::value certificate;
    if (!session.access.jump_hosts.empty()) {
      const std::string blob = "stands for a certificate";
      certificate = "ssh-ed25519-cert-v01@openssh.com " + base64_encode(blob);
      grant.jump_hosts = {{"jump1", {*IpAddress::parse("10.60.0.5")}, {line("host")}}};
      grant.login = session.access.login;
      grant.certificate_sha256 = sha256_hex(blob);
      grant.serial = "7";
    }
    return {{"certificate", certificate},
            {"grant", render_document(ssh::sign(render_grant(grant), kGrantNamespace, keys.at("ca")))}};
  }

  std::map<std::string, ssh::PrivateKey> keys;
  std::vector<std::string> persons = {"alice", "bob", "carol", "dave", "erin"};
  std::string gateway_key = wireguard_key(), other_gateway_key = wireguard_key();
  std::string port = "5432", approvals = "1";
  std::string token = random_bytes(32);  // every request's
};

}  // namespace jitwg::broker
