#include "broker/gateway/status.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "broker/base/encoding.h"
#include "broker/base/json.h"
#include "broker/base/limits.h"
#include "broker/os/file.h"
#include "broker/os/service.h"
#include "ssh-ca/format/document.h"

namespace jitwg::gateway {
namespace {

Result<Grant> load_grant(const std::string& path, const ssh::PublicKey& ca,
                         const std::string& realm) {
  JITWG_ASSIGN(const std::string text, read_file(path, limits::kHttpBodyBytes));
  JITWG_ASSIGN(const json::value value, parse_json(text, limits::kHttpBodyBytes));
  JITWG_ASSIGN(const ssh::SignedDocument document, parse_document(value, "grant"));
  return verify_grant(document, ca, realm);
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

}  // namespace

Result<std::vector<Grant>> load_grants(const std::string& state_dir, const ssh::PublicKey& ca,
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
  constexpr const char* kRow = "{:<36}  {:<12}  {:<16}  {:<20}  {:<10}  {:<14}  {}\n";
  const auto known = by_key(grants);
  std::string text = fmt::format(kRow, "SESSION", "PERSON", "TARGET", "ADDRESS", "TIME LEFT",
                                 "HANDSHAKE", "RECEIVED/SENT");
  for (const wireguard::Peer& peer : interface.peers) {
    const auto found = known.find(peer.key.str());
    const Grant* grant = found == known.end() ? nullptr : found->second;
    const std::string handshake = !peer.last_handshake ? "never"
                                  : *peer.last_handshake < now
                                      ? render_duration(now - *peer.last_handshake) + " ago"
                                      : "now";
    text += fmt::format(
        kRow, grant ? grant->session.str() : "- (key " + peer.key.str().substr(0, 12) + "…)",
        grant ? escape_for_terminal(grant->person) : "-",
        grant ? escape_for_terminal(grant->target) : "-", addresses_of(peer),
        grant ? time_left(grant->not_after, now) : "-", handshake,
        fmt::format("{}/{}", peer.rx, peer.tx));
  }
  return interface.peers.empty() ? "no tunnels\n" : text;
}

}  // namespace jitwg::gateway
