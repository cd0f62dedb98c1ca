// What the disk remembers, at start.
#include <algorithm>
#include <future>
#include <iterator>
#include <thread>
#include <utility>

#include "broker/base/limits.h"
#include "broker/node/session_book.h"
#include "broker/os/service.h"

namespace jitwg::node {
namespace {

using Verified = std::pair<const SessionId*, Result<Grant>>;

// On every core, each by itself: the signatures of ten thousand take one core a second.
std::vector<Verified> verify_all(const std::map<SessionId, StoredGrant>& stored, const AgentConfig& config) {
  const size_t parts = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::future<std::vector<Verified>>> running;
  for (size_t part = 0; part < parts; ++part)
    running.push_back(std::async([&, part] {
      std::vector<Verified> verified;
      size_t i = part;
      for (const auto& [session, grant] : stored)
        if (i++ % parts == 0) verified.emplace_back(&session, verify_grant(grant.document, config.ca, config.realm));
      return verified;
    }));
  std::vector<Verified> all;
  for (auto& one : running) std::ranges::move(one.get(), std::back_inserter(all));
  return all;
}

}  // namespace

Result<void> SessionBook::load(const Instant& now) {
  JITWG_ASSIGN(const GrantStore::Contents contents, store_.load());
  const auto first = store_.first_mark({config_.boot_id, now});
  if (!first)
    log(Level::error, "the state directory takes nothing, so it may not know what has been closed; what it holds waits for "
                      "the broker's word: " + first.error().render());
  for (auto& [id, grant] : verify_all(contents.grants, config_)) {
    const SessionId& session = *id;
    if (grant && grant->session != session)
      grant = fail(Code::corrupt, "it is for session " + grant->session.str());
    if (grant && !is_mine_(*grant, config_.node))
      grant = fail(Code::wrong_node, "it does not name " + config_.node);
    if (!grant) {
      complain("stored grant refused, ignoring", session, grant.error());
      continue;
    }
    const auto& taken = contents.grants.at(session).taken;
    const bool here = taken && taken->boot_id == config_.boot_id && taken->at.boot <= now.boot;
    hold(std::move(*grant), here ? *taken : first.value_or(ClockMark{config_.boot_id, now})).unsure = !first;
  }
  for (const Tombstone& tombstone : contents.tombstones) {
    tombstones_.emplace(tombstone.session, tombstone);
    const auto held = held_.find(tombstone.session);
    if (tombstone.evidence.is_object()) {
      // Stopped between the tombstone and removing the grant.
      if (const auto removed = store_.remove_grant(tombstone.session); !removed)
        complain("grant of a closed session", tombstone.session, removed.error());
      if (held != held_.end()) held_.erase(held);
      if (!tombstone.reported)
        owe(tombstone.session, {Reported::closed, std::nullopt, tombstone.evidence});
    } else if (held != held_.end()) {
      held->second.wanted.open = false;
      held->second.wanted.reason = tombstone.reason;
    }
  }
  for (const SessionId& session : contents.damaged_tombstones) {
    const auto held = held_.find(session);
    if (held != held_.end()) {
      begin_close(session, CloseReason::failed);
    } else {
      // Its evidence is gone with it: to be read back anew.
      bury({.session = session, .not_after = now.second() + limits::kUnknownEnd});
    }
  }
  return {};
}

}  // namespace jitwg::node
