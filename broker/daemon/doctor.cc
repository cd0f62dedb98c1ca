#include "broker/daemon/doctor.h"

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>

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
  add(found, examine_tls(config, user));
  found.push_back(examine_unit("jitwgd"));
  return found;
}

}  // namespace jitwg::broker
