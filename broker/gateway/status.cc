#include "broker/gateway/status.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <numeric>

#include "broker/base/table.h"
#include "broker/node/grant_store.h"
#include "broker/os/file.h"
#include "broker/os/service.h"

namespace jitwg::gateway {
namespace {

Result<Grant> load_grant(const std::string& path, const ssh::CaKeys& ca,
                         const std::string& realm) {
  JITWG_ASSIGN(const node::StoredGrant stored, node::read_grant(path));
  return verify_grant(stored.document, ca, realm);
}

constexpr Seconds kSettlesWithin(10);  // what a running daemon may still be at

std::string_view name(StatusRow::State state) {
  static constexpr std::string_view kNames[] = {"open", "opening", "closing", "missing", "ended", "unknown", "foreign"};
  return kNames[static_cast<size_t>(state)];
}

std::vector<Prefix> addresses_of(const StatusRow& row) {
  return row.peer ? row.peer->allowed_ips : row.grant->address;
}

std::string coarse(Seconds time) {
  if (time >= std::chrono::minutes(10)) time -= time % std::chrono::minutes(1);
  return render_duration(time);
}

std::string time_left(WallTime end, WallTime now) { return end > now ? coarse(end - now) : "ended"; }

std::string time_since(const std::optional<WallTime>& then, WallTime now) {
  if (!then) return "never";
  return *then < now ? coarse(now - *then) + " ago" : "now";
}

std::vector<std::string> cells_of(const StatusRow& row, WallTime now) {
  const Grant* const grant = row.grant;
  const wireguard::Peer* const peer = row.peer;
  std::string addresses;
  for (const Prefix& prefix : addresses_of(row))
    addresses += (addresses.empty() ? "" : ",") + prefix.str_short();
  return {grant ? grant->session.str() : "key " + peer->key.str().substr(0, 12) + "...",
          std::string(name(row.state)),
          grant ? grant->person : "-",
          grant ? grant->target : "-",
          grant ? time_left(grant->not_after, now) : "-",
          peer ? render_bytes(peer->rx) : "-",
          peer ? render_bytes(peer->tx) : "-",
          peer ? time_since(peer->last_handshake, now) : "-",
          !row.first_packet ? "-" : *row.first_packet ? "yes" : "no",
          peer && peer->endpoint ? peer->endpoint->str() : "-",
          addresses.empty() ? "-" : addresses};
}

size_t width_of(const std::vector<std::vector<std::string>>& rows, size_t column) {
  size_t widest = 0;
  for (const auto& row : rows) widest = std::max(widest, count_code_points(row[column]));
  return widest + 2;
}

}  // namespace

Result<Stored> load_stored(const std::string& state_dir, const ssh::CaKeys& ca,
                           const std::string& realm) {
  Stored stored;
  const std::string directory = state_dir + "/grants";
  if (::access(directory.c_str(), F_OK) != 0 && errno == ENOENT) return stored;
  JITWG_ASSIGN(const auto names, list_directory(directory));
  for (const std::string& name : names) {
    if (!name.ends_with(".json")) continue;
    const std::string path = directory + "/" + name;
    auto grant = load_grant(path, ca, realm);
    if (!grant) {
      log(Level::warning, path + " is left out: " + grant.error().render());
      continue;
    }
    if (::access((state_dir + "/tombstones/" + grant->session.str() + ".json").c_str(), F_OK) == 0)
      stored.closing.insert(grant->session);
    stored.grants.push_back(std::move(*grant));
  }
  return stored;
}

std::vector<StatusRow> make_status(const Observed& observed, const Stored& stored,
                                   const std::vector<Prefix>& pools, WallTime now) {
  using State = StatusRow::State;
  std::map<std::string, const wireguard::Peer*> peers;  // those that no row has yet
  for (const wireguard::Peer& peer : observed.interface.peers) peers.emplace(peer.key.str(), &peer);
  struct Elements {
    size_t count = 0;
    bool used = false;
  };
  std::map<std::string, Elements> elements;
  for (const Element& element : observed.elements) {
    Elements& its = elements[element.comment];
    ++its.count;
    its.used |= element.packets > 0;
  }

  std::vector<StatusRow> rows;
  for (const Grant& grant : stored.grants) {
    StatusRow row{State::missing, &grant};
    const auto found = peers.find(grant.wg_public_key);
    if (found != peers.end() && (found->second->allowed_ips.empty() || has_address_in(*found->second, pools))) {
      row.peer = found->second;
      peers.erase(found);
    }
    const Elements its = elements[grant.session.str()];
    if (its.count > 0) row.first_packet = its.used;
    const auto wanted = make_tunnel(grant, Millis(1));
    const bool over = grant.not_after <= now;
    if (stored.closing.contains(grant.session) || (over && now < grant.not_after + kSettlesWithin))
      row.state = State::closing;
    else if (over)
      row.state = State::ended;
    else if (row.peer && wanted && row.peer->allowed_ips == wanted->addresses && its.count == wanted->elements.size())
      row.state = State::open;
    else if (now < grant.not_before + kSettlesWithin)
      row.state = State::opening;
    if (!over || stored.closing.contains(grant.session) || row.peer || its.count > 0) rows.push_back(row);
  }
  std::ranges::sort(rows, {}, [](const StatusRow& row) { return row.grant->session; });
  for (const auto& [key, peer] : peers)
    rows.push_back({has_address_in(*peer, pools) ? State::unknown : State::foreign, nullptr, peer, {}});
  return rows;
}

bool is_as_granted(const std::vector<StatusRow>& rows) {
  using State = StatusRow::State;
  return std::ranges::none_of(rows, [](const StatusRow& row) {
    return row.state == State::missing || row.state == State::ended || row.state == State::unknown;
  });
}

json::array render_status(const std::vector<StatusRow>& rows, WallTime now) {
  json::array out;
  for (const StatusRow& row : rows) {
    json::array address;
    for (const Prefix& prefix : addresses_of(row)) address.emplace_back(prefix.str());
    json::object shown = {{"state", name(row.state)},
                          {"session", nullptr},
                          {"person", nullptr},
                          {"target", nullptr},
                          {"not_after", nullptr},
                          {"time_left", nullptr},
                          {"address", std::move(address)},
                          {"public_key", row.grant ? row.grant->wg_public_key : row.peer->key.str()},
                          {"endpoint", nullptr},
                          {"first_packet", nullptr},
                          {"last_handshake", nullptr},
                          {"rx", nullptr},
                          {"tx", nullptr}};
    if (row.grant) {
      shown["session"] = row.grant->session.str();
      shown["person"] = row.grant->person;
      shown["target"] = row.grant->target;
      shown["not_after"] = render_time(row.grant->not_after);
      shown["time_left"] = std::max<int64_t>(0, (row.grant->not_after - now).count());
    }
    if (row.first_packet) shown["first_packet"] = *row.first_packet;
    if (row.peer) {
      if (row.peer->endpoint) shown["endpoint"] = row.peer->endpoint->str();
      if (row.peer->last_handshake) shown["last_handshake"] = render_time(*row.peer->last_handshake);
      shown["rx"] = row.peer->rx;
      shown["tx"] = row.peer->tx;
    }
    out.push_back(std::move(shown));
  }
  return out;
}

std::string render_status_table(const std::vector<StatusRow>& rows, WallTime now, size_t width) {
  if (rows.empty()) return "no tunnels\n";
  std::vector<std::vector<std::string>> cells = {{"SESSION", "STATE", "PERSON", "TARGET", "TIME LEFT", "FROM", "TO",
                                                  "HANDSHAKE", "USED", "ENDPOINT", "ADDRESS"}};
  for (const StatusRow& row : rows) cells.push_back(cells_of(row, now));
  std::vector<size_t> widths(cells[0].size());
  for (size_t i = 0; i < widths.size(); ++i) widths[i] = width_of(cells, i);
  const auto too_wide = [&] { return width > 0 && std::accumulate(widths.begin(), widths.end(), size_t{0}) > width + 2; };
  if (too_wide()) {
    for (size_t i = 0; i < rows.size(); ++i)
      cells[i + 1][0] = rows[i].grant ? rows[i].grant->session.short_form() : rows[i].peer->key.str().substr(0, 8) + "...";
    widths[0] = width_of(cells, 0);
  }
  for (const size_t least : {10u, 8u, 9u, 6u, 5u, 7u}) {
    if (!too_wide()) break;
    widths[least] = 0;
  }
  for (auto& row : cells)
    for (size_t i = row.size(); i-- > 0;)
      if (widths[i] == 0) row.erase(row.begin() + static_cast<std::ptrdiff_t>(i));
  return render_table(std::move(cells));
}

}  // namespace jitwg::gateway
