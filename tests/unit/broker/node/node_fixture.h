// A node's surroundings: a CA that signs grants, an enforcer that holds what it is told to, a clock
// moved by hand, a state directory.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "broker/base/encoding.h"
#include "broker/node/agent.h"
#include "broker/node/watch_stream.h"

namespace jitwg::node {

class ManualClock final : public Clock {
 public:
  ManualClock() = default;
  ManualClock(WallTime t, BootTime b) : time(t), boot(b) {}
  Instant instant() const override { return {time, boot}; }
  void pass(Seconds seconds) {
    time += seconds;
    boot += seconds;
  }
  WallTime time = *parse_time("2026-03-02T10:00:00Z");
  BootTime boot{std::chrono::milliseconds(5'000'000)};
};

class FakeEnforcer final : public Enforcer {
 public:
  Result<void> admit(const Grant& grant) override {
    if (refuses_admission.contains(grant.session)) return fail(Code::address_taken, "taken");
    return {};
  }
  std::vector<Outcome> converge(const std::vector<Wanted>& wanted, WallTime) override {
    ++converges;
    std::vector<Outcome> outcomes;
    std::set<SessionId> keep;
    for (const Wanted& w : wanted) {
      const SessionId& id = w.grant.session;
      Outcome outcome{.session = id};
      if (stuck.contains(id)) {
        if (open.contains(id)) keep.insert(id);
      } else if (refuses_opening.contains(id) && w.open) {
        outcome.state = Outcome::State::refused;
        outcome.refusal = Code::address_taken;
      } else if (w.open) {
        keep.insert(id);
        outcome.state = Outcome::State::open;
      } else {
        reasons[id] = w.reason;
        outcome.state = Outcome::State::closed;
        outcome.evidence = kNothing;
      }
      outcomes.push_back(outcome);
    }
    open = keep;
    return outcomes;
  }
  void cut(const std::vector<Wanted>& ending) override {
    for (const Wanted& want : ending) {
      EXPECT_FALSE(want.open);
      cuts.insert(want.grant.session);
      cut_reasons[want.grant.session] = want.reason;
      buried_at_cut |=
          std::filesystem::exists(tombstones + "/" + want.grant.session.str() + ".json");
    }
  }
  std::optional<std::vector<Outcome>> add(const std::vector<Wanted>& fresh, WallTime) override {
    if (!adds) return std::nullopt;
    std::vector<Outcome> outcomes;
    for (const Wanted& want : fresh) {
      open.insert(want.grant.session);
      added.insert(want.grant.session);
      outcomes.push_back({.session = want.grant.session, .state = Outcome::State::open});
    }
    return outcomes;
  }
  json::value evidence_of_absence(const SessionId& session) override {
    if (open.contains(session) || stuck.contains(session)) return nullptr;
    return kNothing;
  }

  const json::value kNothing = {{"peer", false}, {"elements", 0}, {"flows", 0}};
  std::set<SessionId> open;  // what the "kernel" holds
  std::map<SessionId, CloseReason> reasons;
  std::set<SessionId> stuck, refuses_admission, refuses_opening;
  int converges = 0;
  std::set<SessionId> cuts, added;
  std::map<SessionId, CloseReason> cut_reasons;
  std::string tombstones;  // their directory
  bool buried_at_cut = false, adds = true;
};

class NodeTest : public ::testing::Test {
 protected:
  NodeTest() {
    char name[] = "/tmp/jitwg-node-XXXXXX";
    directory = ::mkdtemp(name);
    enforcer.tombstones = directory + "/state/tombstones";
  }
  ~NodeTest() override {
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all);
    std::filesystem::remove_all(directory);
  }

  static bool is_mine(const Grant& grant, const std::string& node) {
    return grant.gateway.name == node;
  }

  AgentConfig config() const {
    return {.broker = {"unix:" + directory + "/broker.sock"},
            .node = "gw1",
            .realm = "lab",
            .ca = ca.public_key(),
            .state_dir = directory + "/state",
            .boot_id = boot_id};
  }

  Grant grant(Seconds lasts = Seconds(3600)) const {
    return {.realm = "lab",
            .session = SessionId::make(clock.time),
            .person = "alice",
            .target = "db-prod",
            .wg_public_key = base64_encode(std::string(31, '\0') + "\x42"),
            .address = {*Prefix::parse("10.90.0.1")},
            .scope = *parse_scope({"tcp 10.60.10.20:5432"}),
            .gateway = {"gw1", base64_encode(std::string(31, '\0') + "\x41"),
                        *Endpoint::parse("192.0.2.1:51820")},
            .not_before = clock.time,
            .not_after = clock.time + lasts,
            .policy_sha256 = std::string(64, 'a')};
  }
  ssh::SignedDocument sign(const Grant& g) const {
    return ssh::sign(render_grant(g), kGrantNamespace, ca);
  }
  Entry open(const Grant& g) const { return {.session = g.session, .grant = sign(g)}; }
  static Entry closed(const SessionId& id, CloseReason reason = CloseReason::revoked) {
    return {.session = id, .reason = reason};
  }
  Update snapshot(std::vector<Entry> entries) const {
    return {Update::Kind::snapshot, 1, clock.time, std::move(entries)};
  }
  Update set(std::vector<Entry> entries) const {
    return {Update::Kind::set, 2, clock.time, std::move(entries)};
  }
  Update heartbeat() const { return {Update::Kind::heartbeat, 2, clock.time, {}}; }

  std::string grant_file(const SessionId& id) const {
    return directory + "/state/grants/" + id.str() + ".json";
  }
  std::string tombstone_file(const SessionId& id) const {
    return directory + "/state/tombstones/" + id.str() + ".json";
  }
  static bool exists(const std::string& path) { return std::filesystem::exists(path); }
  static void overwrite(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }

  std::string directory;
  const ssh::PrivateKey ca = ssh::PrivateKey::generate();
  std::string boot_id = "one";
  ManualClock clock;
  FakeEnforcer enforcer;
};

}  // namespace jitwg::node
