// A small realm for signer tests: people with keys, the design page's policy, statements made in one line.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>

#include "broker/base/encoding.h"
#include "broker/os/file.h"
#include "ssh-ca/signer/signer.h"

namespace jitwg::signer {

inline const WallTime kNow = *parse_time("2026-03-02T10:00:00Z");  // a Monday, within hours

inline std::string wg_key() {
  std::string k = random_bytes(32);
  k[31] = static_cast<char>(k[31] & 0x3f);
  return base64_encode(k);
}

struct World {
  std::map<std::string, ssh::PrivateKey> people;
  ssh::PrivateKey ca = ssh::PrivateKey::generate();
  Sources sources;
  std::string dir;

  World() {
    char name[] = "/tmp/jitwg-signer-XXXXXX";
    dir = mkdtemp(name);
    EXPECT_TRUE(write_file(dir + "/ledger", "", 0600));
    for (const char* person : {"alice", "bob", "carol", "dave", "erin"}) {
      const auto it = people.emplace(person, ssh::PrivateKey::generate()).first;
      sources.allowed_signers += std::string(person) + " namespaces=\"jitwg\" " + it->second.public_key().str() + "\n";
    }
    std::string& text = sources.policy_toml = *read_file(JITWG_SOURCE_DIR "/tests/policy/good/design.toml", 1 << 20);
    for (size_t at; (at = text.find("@WG@")) != std::string::npos;) text.replace(at, 4, wg_key());
    for (size_t at; (at = text.find("@KEY@")) != std::string::npos;)
      text.replace(at, 5, ssh::PrivateKey::generate().public_key().str());
  }
  ~World() { EXPECT_EQ(system(("rm -rf " + dir).c_str()), 0); }

  Realm realm() const {
    auto r = make_realm(sources, ca.public_key(), "policy.toml");
    EXPECT_TRUE(r) << r.error().render();
    return std::move(*r);
  }
  Signer signer() const {
    EXPECT_TRUE(write_file(dir + "/ca", ca.render_openssh(""), 0600));
    return Signer(*make_native_backend(dir + "/ca"), std::move(*Ledger::open(dir + "/ledger")), realm(), sources);
  }
  StatementHead head(const std::string& by, WallTime at) const {
    return {"lab-7d1f", by, at, hex_encode(random_bytes(16))};
  }
  RequestStatement request(const std::string& by = "alice", WallTime at = kNow) const {
    return {head(by, at), SessionId::make(at), "db-prod", "INC-4711 replica lag", Seconds(5400), wg_key(),
            ssh::PrivateKey::generate().public_key(), std::string(64, 'b')};
  }
  ssh::SignedDocument sign(const Statement& s) const { return sign_as(head_of(s).by, s); }
  ssh::SignedDocument sign_as(const std::string& person, const Statement& s) const {
    return ssh::sign(render_statement(s), kStatementNamespace, people.at(person));
  }
  DecisionStatement decision(const ssh::SignedDocument& about, const std::string& by = "carol", WallTime at = kNow) const {
    const Statement parsed = *parse_statement(about.body);
    const auto& asked = std::get<RequestStatement>(parsed);
    const Verdict verdict = decide(realm().policy, {asked.head.by, asked.target, asked.duration, kNow, false});
    return {head(by, at), asked.session, sha256_hex(about.body), Choice::approve, verdict.access, {}, {}};
  }
  json::value issue(const ssh::SignedDocument& request_document, const std::vector<ssh::SignedDocument>& decisions,
                    const std::string& gateway = "gw1") const {
    json::array list;
    for (const auto& d : decisions) list.push_back(render_document(d));
    return {{"op", "issue"}, {"request", render_document(request_document)}, {"decisions", list}, {"gateway", gateway},
            {"policy_sha256", sha256_hex(sources.policy_toml)}};
  }
};

// "ok", or the code of the refusal.
inline std::string code_of(const json::value& answer) {
  const auto error = parse_error(answer);
  return error ? std::string(name(error->code)) : "ok";
}

}  // namespace jitwg::signer
