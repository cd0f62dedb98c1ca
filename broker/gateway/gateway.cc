#include "broker/gateway/gateway.h"

#include <algorithm>
#include <optional>

#include "broker/os/service.h"

namespace jitwg::gateway {
namespace {

using node::Outcome;
using wireguard::Peer;
using wireguard::PublicKey;

constexpr int kAttempts = 3;  // an element may expire between observing and deleting it

// An element's key begins with the inner address.
std::string source_of(const Element& element) {
  return element.key.substr(0, element.set.ends_with('4') ? 4 : 16);
}

std::string bytes_of(const IpAddress& address) { return netfilter::Key().address(address).bytes(); }

// A node whose clock is behind still gives no more than the session's own length.
Millis remaining(const node::Wanted& want, const Instant& now) {
  const Grant& grant = want.grant;
  return std::min<Millis>({grant.not_after - now.wall, grant.not_after - grant.not_before, want.ends - now.boot});
}

}  // namespace

struct Gateway::Work {
  const std::vector<node::Wanted>& wanted;
  std::vector<Tunnel> tunnels;
  std::vector<size_t> places;  // tunnels[i] speaks for wanted and outcomes [places[i]]
  std::vector<Outcome> outcomes;

  Observed observed;
  std::vector<bool> had_peer;  // as first observed; tunnels[i]'s
  std::set<std::string> used;  // elements of these sessions had counted packets before we began
  Plan left;                   // what could not be done
  std::map<IpAddress, size_t> flows;

  bool is_open(const Tunnel& tunnel) const {
    return tunnel.open && observed.bypass.empty() && !left.refused.contains(tunnel.session);
  }
};

Result<void> Gateway::admit(const Grant& grant) {
  return check_grant(grant, settings_.node, settings_.own_key, settings_.pools);
}

std::vector<Outcome> Gateway::converge(const std::vector<node::Wanted>& wanted, WallTime) {
  const Instant instant = clock_();
  Work work{wanted, {}, {}, {}, {}, {}, {}, {}, {}};
  std::set<SessionId> named;
  for (const node::Wanted& want : wanted) {
    named.insert(want.grant.session);
    Outcome outcome{want.grant.session, Outcome::State::unfinished, Code::bug, nullptr};
    const auto admitted = want.open ? admit(want.grant) : Result<void>();
    if (!admitted) {
      outcome.state = Outcome::State::refused;
      outcome.refusal = admitted.error().code;
    }
    const bool open = want.open && admitted;
    auto tunnel = make_tunnel(want.grant, open ? remaining(want, instant) : Millis(0));
    if (tunnel) {
      tunnel->held = open_.contains(tunnel->session);
      work.tunnels.push_back(std::move(*tunnel));
      work.places.push_back(work.outcomes.size());
    } else if (!want.open) {  // its key is none: it was refused, and nothing of it was ever made
      outcome.state = Outcome::State::closed;
      outcome.evidence = render_evidence({});
    }
    work.outcomes.push_back(std::move(outcome));
  }
  std::erase_if(open_, [&](const SessionId& id) { return !named.contains(id); });
  std::erase_if(unused_, [&](const auto& entry) { return !named.contains(*entry.second.session); });
  std::erase_if(used_, [&](const auto& entry) { return !named.contains(entry.first); });

  if (const auto settled = settle(work); !settled) {
    log(Level::error, "the kernel cannot be brought in line: " + settled.error().render());
    return std::move(work.outcomes);
  }
  judge(work);
  for (size_t i = 0; i < work.tunnels.size(); ++i)
    tell(wanted[work.places[i]].grant, work.outcomes[work.places[i]], work.had_peer[i],
         work.used.contains(work.tunnels[i].session.str()));
  return std::move(work.outcomes);
}

void Gateway::look_for_first_packets() {
  if (unused_.empty()) return;
  if (const auto elements = kernel_.list_elements()) tell_first_packets(*elements);
}

void Gateway::tell_first_packets(const std::vector<Element>& elements) {
  for (const Element& element : elements)
    if (element.packets > 0)
      if (const auto first = unused_.extract(element.comment)) events_.emit(first.mapped());
}

// Before anything is removed.
void Gateway::note_usage(Work& work) {
  tell_first_packets(work.observed.elements);
  if (open_.empty())  // just started
    for (const Element& element : work.observed.elements)
      if (element.packets > 0) work.used.insert(element.comment);
  std::map<PublicKey, const Peer*> peers;
  for (const Peer& peer : work.observed.interface.peers) peers.emplace(peer.key, &peer);
  for (const Tunnel& tunnel : work.tunnels) {
    const auto found = peers.find(tunnel.key);
    const bool ours = found != peers.end() && !work.left.foreign.contains(tunnel.key);
    const Peer* const peer = ours ? found->second : nullptr;
    used_[tunnel.session].see(peer);
    work.had_peer.push_back(peer != nullptr);
  }
}

// Observes, plans, carries out, observes again; then cuts every flow of the pools that no open
// session has.
Result<void> Gateway::settle(Work& work) {
  settled_ = false;
  commented_.reset();
  JITWG_ASSIGN(work.observed, kernel_.observe());
  work.left = plan(work.tunnels, work.observed, settings_.pools, settings_.capacity);
  note_usage(work);
  if (work.observed.bypass != bypass_) {
    bypass_ = work.observed.bypass;
    if (bypass_.empty())
      log(Level::info, "no flowtable names the interface any more: all sessions are served again");
    else
      log(Level::error, bypass_ + " takes packets past the chains, nothing would end a session: none is served until the " +
                            "interface is out of its devices");
  }
  const bool quiet =
      work.left.empty() && std::all_of(work.tunnels.begin(), work.tunnels.end(),
                                       [&](const Tunnel& t) { return work.is_open(t); });
  for (int attempt = 0; attempt < kAttempts && !work.left.empty(); ++attempt) {
    const auto done = carry_out(work.left);
    if (!done && (done.error().code != Code::wrong_state || attempt + 1 == kAttempts))
      log(Level::error, "a change was refused: " + done.error().render());
    JITWG_ASSIGN(work.observed, kernel_.observe());
    work.left = plan(work.tunnels, work.observed, settings_.pools, settings_.capacity);
  }
  live_.clear();
  for (const Tunnel& tunnel : work.tunnels)
    if (work.is_open(tunnel))
      for (const Prefix& address : tunnel.addresses) live_.insert(address.address);
  peers_.clear();
  for (const Peer& peer : work.observed.interface.peers) peers_.insert(peer.key);
  fill_.clear();
  for (const Element& element : work.observed.elements) ++fill_[element.set];
  settled_ = work.left.empty();
  if (quiet) return {};  // the list of a busy machine's connections is long
  JITWG_ASSIGN(work.flows, kernel_.cut_flows(settings_.pools, live_));
  return {};
}

// Removals are all tried, whatever fails; nothing is added unless they all held.
Result<void> Gateway::carry_out(const Plan& plan) {
  std::vector<Element> remove = plan.remove_elements;
  remove.insert(remove.end(), plan.replace_elements.begin(), plan.replace_elements.end());
  const auto elements = kernel_.change_elements(remove, plan.replace_elements);
  const auto peers = kernel_.change_peers(plan.remove_peers, {});
  JITWG_TRY(peers);
  JITWG_TRY(elements);
  JITWG_TRY(kernel_.change_peers({}, plan.add_peers));
  return kernel_.change_elements({}, plan.add_elements);
}

void Gateway::cut(const std::vector<node::Wanted>& ending) {
  settled_ = false;
  std::vector<Element> elements;
  for (const node::Wanted& want : ending) {
    if (!open_.contains(want.grant.session)) continue;
    const auto tunnel = make_tunnel(want.grant, Millis(1));
    if (tunnel) elements.insert(elements.end(), tunnel->elements.begin(), tunnel->elements.end());
  }
  // One message to the kernel holds elements of one set.
  std::sort(elements.begin(), elements.end());
  remove_elements(elements);
}

// A transaction is refused whole for one element that is gone already, so the rest is found by halves.
void Gateway::remove_elements(std::span<const Element> elements) {
  const auto removed = kernel_.change_elements({elements.begin(), elements.end()}, {});
  if (removed) return;
  if (removed.error().code != Code::wrong_state)
    log(Level::error, "packets are not stopped at once: " + removed.error().render());
  else if (const size_t half = elements.size() / 2; half > 0)
    remove_elements(elements.first(half)), remove_elements(elements.subspan(half));
}

std::optional<std::vector<Outcome>> Gateway::add(const std::vector<node::Wanted>& fresh, WallTime) {
  if (!std::exchange(settled_, false) || !bypass_.empty()) return std::nullopt;
  const Instant instant = clock_();
  std::vector<Outcome> outcomes;
  std::vector<Peer> peers;
  std::vector<Element> elements;
  for (const node::Wanted& want : fresh) {
    // Why one may not be, plan() says.
    if (!admit(want.grant)) return std::nullopt;
    auto tunnel = make_tunnel(want.grant, remaining(want, instant));
    if (!tunnel || !tunnel->open || !peers_.insert(tunnel->key).second) return std::nullopt;
    for (const Prefix& address : tunnel->addresses)
      if (!live_.insert(address.address).second) return std::nullopt;
    for (const Element& element : tunnel->elements)
      if (++fill_[element.set] > settings_.capacity.of(element.set)) return std::nullopt;
    std::move(tunnel->elements.begin(), tunnel->elements.end(), std::back_inserter(elements));
    peers.push_back({std::move(tunnel->key), std::move(tunnel->addresses), {}, {}});
    outcomes.push_back({want.grant.session, Outcome::State::open, Code::bug, nullptr});
  }
  std::sort(elements.begin(), elements.end());
  if (!kernel_.change_peers({}, peers) || !kernel_.change_elements({}, elements)) return std::nullopt;
  settled_ = true;
  for (size_t i = 0; i < fresh.size(); ++i) tell(fresh[i].grant, outcomes[i], false, false);
  return outcomes;
}

boost::json::value Gateway::evidence_of_absence(const SessionId& session) {
  // Whatever nobody wants went with the last converge, if that left nothing undone.
  if (!settled_) return nullptr;
  if (!commented_) {  // one look answers for all that are asked about
    const auto elements = kernel_.list_elements();
    const auto flows = kernel_.cut_flows(settings_.pools, live_);
    if (!elements || !flows || !flows->empty()) return nullptr;
    commented_.emplace();
    for (const Element& element : *elements) commented_->insert(element.comment);
  }
  if (commented_->contains(session.str())) return nullptr;
  return render_evidence({});
}

void Gateway::judge(Work& work) {
  std::set<PublicKey> peers, unsettled_peers;
  std::set<std::string> unsettled, comments, sources, open_sources;
  for (const Peer& peer : work.observed.interface.peers)
    if (!work.left.foreign.contains(peer.key)) peers.insert(peer.key);
  for (const Peer& peer : work.left.add_peers) unsettled_peers.insert(peer.key);
  for (const auto* list :
       {&work.left.remove_elements, &work.left.replace_elements, &work.left.add_elements})
    for (const Element& element : *list) unsettled.insert(element.comment);
  for (const Element& element : work.observed.elements) {
    comments.insert(element.comment);
    sources.insert(source_of(element));
  }
  for (const Tunnel& tunnel : work.tunnels)
    if (work.is_open(tunnel))
      for (const Prefix& address : tunnel.addresses) open_sources.insert(bytes_of(address.address));

  for (size_t i = 0; i < work.tunnels.size(); ++i) {
    const Tunnel& tunnel = work.tunnels[i];
    Outcome& outcome = work.outcomes[work.places[i]];
    if (outcome.state == Outcome::State::refused) continue;
    if (const auto refused = work.left.refused.find(tunnel.session);
        refused != work.left.refused.end()) {
      outcome.state = Outcome::State::refused;
      outcome.refusal = refused->second.code;
      continue;
    }
    const std::string& session = tunnel.session.str();
    if (tunnel.open) {
      if (work.is_open(tunnel) && !unsettled_peers.contains(tunnel.key) && !unsettled.contains(session))
        outcome.state = Outcome::State::open;
      continue;
    }
    if (work.wanted[work.places[i]].open) continue;  // over since the book looked at its clocks
    bool gone = !peers.contains(tunnel.key) && !comments.contains(session);
    for (const Prefix& address : tunnel.addresses) {
      const std::string source = bytes_of(address.address);
      gone = gone && !work.flows.contains(address.address) &&
             (!sources.contains(source) || open_sources.contains(source));
    }
    if (!gone) continue;
    outcome.state = Outcome::State::closed;
    outcome.evidence = render_evidence(used_[tunnel.session]);
  }
}

// What was there, and used, before this process told anything.
void Gateway::tell(const Grant& grant, const Outcome& outcome, bool had_peer, bool was_used) {
  const std::string& session = grant.session.str();
  const std::string tunnel = "tunnel of " + grant.person + " to " + grant.target;
  Event event{EventName::tunnel_opened,
              grant.session,
              grant.person,
              grant.target,
              settings_.node,
              {},
              {},
              {}};
  if (outcome.state == Outcome::State::open) {
    if (!open_.insert(grant.session).second) return;
    if (!was_used) {
      Event first = event;
      first.name = EventName::tunnel_first_packet;
      first.text = tunnel + " let its first packet through";
      unused_.emplace(session, std::move(first));
    }
    // Found open at start: the process before this one told it.
    if (had_peer) return;
    event.text = tunnel + " opened until " + render_time(grant.not_after) +
                 (grant.nat ? "; the target sees this gateway's address" : "");
  } else if (outcome.state == Outcome::State::closed) {
    unused_.erase(session);
    if (open_.erase(grant.session) == 0 && !had_peer) return;
    event.name = EventName::tunnel_closed;
    event.text = tunnel + " closed, nothing of it is left";
    if (const Usage& usage = used_[grant.session]; usage.seen())
      event.text += "; received " + std::to_string(usage.rx()) + ", sent " +
                    std::to_string(usage.tx()) + " bytes";
  } else {
    return;
  }
  events_.emit(event);
}

}  // namespace jitwg::gateway
