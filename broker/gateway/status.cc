#include "broker/gateway/status.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <optional>

#include "broker/base/encoding.h"
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

std::map<std::string, const Grant*> by_key(const std::vector<Grant>& grants) {
  std::map<std::string, const Grant*> map;
  for (const Grant& grant : grants) map.emplace(grant.wg_public_key, &grant);
  return map;
}

std::string addresses_of(const wireguard::Peer& peer) {
  std::string text;
  for (const Prefix& prefix : peer.allowed_ips)
    text += (text.empty() ? "" : ",") + prefix.str_short();
  return text.empty() ? "-" : text;
}

std::string time_left(WallTime end, WallTime now) {
  return end > now ? render_duration(end - now) : "ended";
}

std::string time_since(const std::optional<WallTime>& then, WallTime now) {
  if (!then) return "never";
  return *then < now ? render_duration(now - *then) + " ago" : "now";
}

std::string row_of(const std::array<std::string, 7>& cells) {
  constexpr size_t kWidths[] = {36, 12, 16, 26, 10, 14, 0};
  std::string row;
  for (size_t i = 0; i < cells.size(); ++i) {
    row += cells[i];
    if (i + 1 == cells.size()) break;
    if (cells[i].size() < kWidths[i]) row.append(kWidths[i] - cells[i].size(), ' ');
    row += "  ";
  }
  return row + "\n";
}

}  // namespace

Result<std::vector<Grant>> load_grants(const std::string& state_dir, const ssh::CaKeys& ca,
                                       const std::string& realm) {
  const std::string directory = state_dir + "/grants";
  if (::access(directory.c_str(), F_OK) != 0 && errno == ENOENT) return std::vector<Grant>();
  JITWG_ASSIGN(const auto names, list_directory(directory));
  std::vector<Grant> grants;
  for (const std::string& name : names) {
    if (!name.ends_with(".json")) continue;
    const std::string path = directory + "/" + name;
    auto grant = load_grant(path, ca, realm);
    if (grant)
      grants.push_back(std::move(*grant));
    else
      log(Level::warning, path + " is left out: " + grant.error().render());
  }
  return grants;
}

json::array render_status(const wireguard::Interface& interface, const std::vector<Grant>& grants) {
  const auto known = by_key(grants);
  json::array out;
  for (const wireguard::Peer& peer : interface.peers) {
    const auto found = known.find(peer.key.str());
    const Grant* grant = found == known.end() ? nullptr : found->second;
    json::array address;
    for (const Prefix& prefix : peer.allowed_ips) address.emplace_back(prefix.str());
    json::object row = {{"session", nullptr},
                        {"public_key", peer.key.str()},
                        {"address", std::move(address)},
                        {"not_after", nullptr},
                        {"person", nullptr},
                        {"target", nullptr},
                        {"last_handshake", nullptr},
                        {"rx", peer.rx},
                        {"tx", peer.tx}};
    if (grant != nullptr) {
      row["session"] = grant->session.str();
      row["not_after"] = render_time(grant->not_after);
      row["person"] = grant->person;
      row["target"] = grant->target;
    }
    if (peer.last_handshake) row["last_handshake"] = render_time(*peer.last_handshake);
    out.push_back(std::move(row));
  }
  return out;
}

std::string render_status_table(const wireguard::Interface& interface,
                                const std::vector<Grant>& grants, WallTime now) {
  if (interface.peers.empty()) return "no tunnels\n";
  const auto known = by_key(grants);
  std::string text =
      row_of({"SESSION", "PERSON", "TARGET", "ADDRESS", "TIME LEFT", "HANDSHAKE", "RECEIVED/SENT"});
  for (const wireguard::Peer& peer : interface.peers) {
    const auto found = known.find(peer.key.str());
    const Grant* grant = found == known.end() ? nullptr : found->second;
    text += row_of(
        {grant ? grant->session.str() : "- (key " + peer.key.str().substr(0, 12) + "...)",
         grant ? escape_for_terminal(grant->person) : "-",
         grant ? escape_for_terminal(grant->target) : "-", addresses_of(peer),
         grant ? time_left(grant->not_after, now) : "-", time_since(peer.last_handshake, now),
         std::to_string(peer.rx) + "/" + std::to_string(peer.tx)});
  }
  return text;
}

}  // namespace jitwg::gateway
