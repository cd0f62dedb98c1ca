#include "broker/daemon/doctor.h"

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>
#include <set>

#include "broker/base/limits.h"
#include "broker/daemon/rules.h"
#include "broker/daemon/signer_client.h"
#include "broker/doctor/machine.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/transport/client.h"
#include "broker/transport/self_signed.h"
#include "broker/transport/server.h"

namespace jitwg::broker {
namespace {

using namespace doctor;
namespace asio = boost::asio;

constexpr size_t kPemBytes = 64 * 1024;
constexpr std::chrono::seconds kPatience(5);
constexpr auto kSoon = std::chrono::days(30);

Result<json::value> ask_signer(const std::string& socket) {
  asio::io_context io(1);
  UnixSigner signer(io, socket, kPatience);
  Result<json::value> answer = fail(Code::signer_unavailable, "no answer");
  asio::co_spawn(io, signer.ask({{"op", "policy"}}),
                 [&](const std::exception_ptr& error, Result<json::value> came) {
                   if (!error) answer = std::move(came);
                 });
  io.run();
  return answer;
}

Findings examine_signer(const Config& config) {
  const auto answer = ask_signer(config.get("signer"));
  const auto rules =
      answer ? Rules::parse(*answer) : Result<RulesPtr>(tl::unexpected(answer.error()));
  if (!rules)
    return {problem("signer", rules.error().message,
                    "systemctl status jitwg-signer; jitwg-signer doctor, on its host"),
            warning("clock", "not compared", "first the signer")};
  JsonObject object(*answer, "the signer's policy");
  const auto now = parse_time(object.string("now"));
  return {ok("signer", "answers for realm " + (*rules)->policy.realm),
          now ? check_clock(SystemClock().now(), *now, "the signer")
              : failed("clock", now.error(), "")};
}

// Which nodes lack a key of the CA: the one that signs now, or the other one of a change.
Finding examine_nodes(const Config& config) {
  const auto response = http::call_once({"unix:" + config.get("runtime-dir") + "/broker.sock", {}, "", {}},
                                        {"GET", "/v1/realm", {}, "", "", {}}, kPatience);
  const auto answer = response ? parse_json(response->body, limits::kHttpBodyBytes)
                               : Result<json::value>(tl::unexpected(response.error()));
  if (!answer) return warning("nodes_ca", "not compared: " + answer.error().message, "first the broker's socket");
  JsonObject realm(*answer, "realm");
  const std::string signs = realm.string("ca_public_key");
  const json::value* lacking = realm.optional_value("nodes_without_ca");
  if (!realm.ok() || lacking == nullptr || !lacking->is_object())
    return warning("nodes_ca", "not compared: the broker does not say", "systemctl status jitwgd");
  std::string names;
  std::set<std::string> keys;
  for (const auto& [node, list] : lacking->get_object()) {
    names += (names.empty() ? "" : ", ") + std::string(node);
    if (const auto* each = list.if_array())
      for (const json::value& key : *each)
        if (key.is_string()) keys.insert(std::string(key.get_string()));
  }
  if (names.empty()) return ok("nodes_ca", "all nodes that watched know the CA");
  const std::string text = "not every CA key is known to " + names;
  const std::string remedy = "on each: the line " + *keys.begin() + " in /etc/jitwg/ca.pub, then restart its daemon";
  return keys.contains(signs) ? problem("nodes_ca", text, remedy) : warning("nodes_ca", text, remedy);
}

// Dates matter to those who check the chain (broker-ca); who pins the key does not look at them.
Finding examine_certificate(const Config& config, WallTime now) {
  const std::string &path = config.get("tls-certificate"), &key_path = config.get("tls-key");
  Finding found = examine_trusted("tls_certificate", path);
  if (found.level != Finding::Level::ok) return found;
  const auto pem = read_file(path, kPemBytes), key = read_file(key_path, kPemBytes);
  if (!pem || !key) return failed("tls_certificate", pem ? key.error() : pem.error(), "");
  if (const auto tls = http::make_server_tls(*pem, *key); !tls)
    return failed("tls_certificate", tls.error(),
                  "broker.conf: tls-key and tls-certificate that belong together");
  const auto end = http::certificate_end(*pem);
  if (!end) return failed("tls_certificate", end.error(), "");
  const std::string text = path + " is valid until " + render_time(*end),
                    remedy = "renew it, for the same key, in " + path;
  return *end <= now ? problem("tls_certificate", text, remedy)
         : *end <= now + kSoon
             ? warning("tls_certificate", text, remedy)
             : ok("tls_certificate", text + ", pin " + http::spki_pin(*pem).value_or("?"));
}

// As somebody over the network who pins the key that is on the disk.
Finding examine_tls_listener(const Config& config, std::string address) {
  for (const auto& [any, local] :
       {std::pair("[::]:", "[::1]:"), std::pair("0.0.0.0:", "127.0.0.1:")})
    if (address.starts_with(any)) address.replace(0, std::string(any).size(), local);
  const auto pem = read_file(config.get("tls-certificate"), kPemBytes);
  const auto pin = pem ? http::spki_pin(*pem) : Result<std::string>(tl::unexpected(pem.error()));
  if (!pin) return failed("tls_listening", pin.error(), "");
  const auto response = http::call_once({"https://" + address, {*pin}, "", {}},
                                        {"GET", "/v1/realm", {}, "", "", {}}, kPatience);
  if (!response)
    return failed("tls_listening", response.error(),
                  "systemctl restart jitwgd; broker.conf: listen = [::]:7443");
  return ok("tls_listening", "the broker answers at " + address + ", with the key on the disk");
}

Findings examine_tls(const Config& config, const User& user) {
  std::vector<std::string> addresses = config.all("listen");
  if (addresses.empty() && !observe_path(config.get("tls-key")))
    return {ok("tls_listening", "no TLS: only this machine reaches the broker")};
  if (addresses.empty()) addresses = {"[::]:7443"};  // handed in: jitwgd-tls.socket
  Findings found = {examine_path("tls_key", config.get("tls-key"), user, 0600),
                    examine_certificate(config, SystemClock().now())};
  for (const std::string& address : addresses)
    found.push_back(examine_tls_listener(config, address));
  return found;
}

}  // namespace

Findings examine(const Config& config) {
  const User user = find_user("jitwg");
  Findings found = {check_user(user), examine_trusted("configuration", config.get("config"))};
  add(found, examine_state_dir(config.get("state-dir"), user));
  add(found, examine_signer(config));
  found.push_back(
      examine_socket(config.get("runtime-dir") + "/broker.sock", SOCK_STREAM, "jitwgd"));
  found.push_back(examine_nodes(config));
  add(found, examine_tls(config, user));
  found.push_back(examine_unit("jitwgd"));
  return found;
}

}  // namespace jitwg::broker
