#include "broker/daemon/subject.h"

#include <algorithm>

namespace jitwg::broker {
namespace {

using enum Subject::Kind;

// Own, or approved by this person.
Result<bool> is_concerned(Change& change, const std::string& by, const store::Session& session) {
  if (session.person == by) return true;
  JITWG_ASSIGN(const auto decisions, change.tx.decisions(session.id));
  return std::ranges::any_of(decisions, [&](const store::Decision& decision) {
    return decision.person == by && decision.choice == Choice::approve;
  });
}

}  // namespace

Result<void> check_exists(Change& change, const Rules& rules, const Subject& what) {
  const std::string quoted = "\"" + what.name + "\"";
  switch (what.kind) {
    case session:
      return change.session(*SessionId::parse(what.name)).map([](const store::Session&) {});
    case incident:
      return change.incident(*SessionId::parse(what.name)).map([](const store::Incident&) {});
    case person:
      if (rules.people.knows_person(what.name)) return {};
      return fail(Code::unknown_person, "there is nobody called " + quoted);
    case target:
      if (rules.policy.targets.contains(what.name)) return {};
      return fail(Code::unknown_target, "there is no target " + quoted);
    case node:
      if (rules.node_key(what.name) != nullptr) return {};
      return fail(Code::wrong_node, "there is no gateway or jump host " + quoted);
    case all:
      return {};
  }
  return {};
}

bool is_about(const Subject& what, const store::Session& one) {
  const auto is_named = [&](const std::vector<std::string>& nodes) {
    return std::ranges::find(nodes, what.name) != nodes.end();
  };
  const auto is_only = [&](const std::vector<std::string>& nodes) {
    return nodes.size() == 1 && nodes.front() == what.name;
  };
  switch (what.kind) {
    case session:
      return one.id.str() == what.name;
    case incident:
      return one.incident == what.name;
    case person:
      return one.person == what.name;
    case target:
      return one.target == what.name;
    case node:
      if (one.gateway) return *one.gateway == what.name || is_named(one.access.jump_hosts);
      return is_only(one.access.gateways) || is_only(one.access.jump_hosts);
    case all:
      return true;
  }
  return false;
}

Result<std::vector<store::Session>> open_sessions(Change& change, const Subject& what) {
  JITWG_ASSIGN(std::vector<store::Session> found,
               change.tx.sessions({State::pending, State::approved, State::opening, State::active},
                                  what.kind == person ? what.name : "", SIZE_MAX / 2));
  std::erase_if(found, [&](const store::Session& one) { return !is_about(what, one); });
  return found;
}

Result<void> need_right(const Rules& rules, std::string_view right, const std::string& by,
                        const std::string& what) {
  if (rules.policy.has_right(right, by)) return {};
  return fail(Code::not_permitted, by + " may not " + what,
              "[rights] " + std::string(right) + " says who may");
}

Result<void> check_may_revoke(Change& change, const Rules& rules, const std::string& by,
                              const Subject& what) {
  const auto has = [&](std::string_view right) { return rules.policy.has_right(right, by); };
  if (has("revoke") || (what.kind == person && what.name == by)) return {};
  if (what.kind == node && has("nodes")) return {};
  if (what.kind == incident && has("incident_close")) return {};
  if (what.kind != session) return need_right(rules, "revoke", by, "revoke " + what.str());
  JITWG_ASSIGN(const store::Session one, change.session(*SessionId::parse(what.name)));
  JITWG_ASSIGN(const bool concerned, is_concerned(change, by, one));
  if (concerned) return {};
  return fail(Code::not_permitted, by + " may not revoke this session",
              "its own person, its approvers and those with the right `revoke` may");
}

Result<void> check_may_lock(const Rules& rules, const std::string& by, const Subject& what) {
  if (what.kind == person && what.name == by) return {};
  return need_right(rules, "lock", by, "lock " + what.str());
}

Result<void> check_not_locked(const std::vector<store::Lock>& locks, const Subject& what) {
  const auto lock = std::ranges::find(locks, what, &store::Lock::what);
  if (lock == locks.end()) return {};
  const std::string subject = what.kind == all ? "everything" : what.str();
  return fail(Code::locked, subject + " is locked by " + lock->person + ": " + lock->reason,
              "jitwg locks shows it; those with the right `lock` may unlock");
}

Result<void> check_session_not_locked(const std::vector<store::Lock>& locks, const std::string& of,
                                      const std::string& to) {
  JITWG_TRY(check_not_locked(locks, {all, {}}));
  JITWG_TRY(check_not_locked(locks, {person, of}));
  return check_not_locked(locks, {target, to});
}

}  // namespace jitwg::broker
