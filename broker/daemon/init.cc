#include "broker/daemon/init.h"

#include <sodium.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "broker/base/encoding.h"
#include "broker/daemon/signer_client.h"
#include "broker/os/file.h"
#include "broker/setup/conf.h"
#include "broker/setup/outcome.h"
#include "broker/setup/trust_block.h"
#include "broker/transport/broker_address.h"
#include "broker/transport/self_signed.h"
#include "policy/policy.h"

namespace jitwg::broker {
namespace {

constexpr const char* kUser = "jitwg";
constexpr size_t kPemBytes = 64 * 1024;

// The pin of the certificate's key. An administrator may have put another certificate there: it stays.
Result<std::string> make_tls(setup::HostFiles& files, const Config& config, const std::string& host) {
  JITWG_ASSIGN(const setup::Owner owner, setup::owner_of(kUser));
  const std::string& path = config.get("tls-certificate");
  JITWG_ASSIGN(std::string key, files.secret(config.get("tls-key"), owner, http::make_tls_key));
  const auto made = http::make_self_signed(host, key);
  sodium_memzero(key.data(), key.size());
  if (!made) return within(config.get("tls-key"), made.error());
  JITWG_TRY(files.file(path, *made));
  JITWG_ASSIGN(const std::string certificate, read_trusted_file(path, kPemBytes));
  auto pin = http::spki_pin(certificate);
  if (!pin) return within(path, pin.error());
  if (*pin == *http::spki_pin(*made)) return pin;
  return fail(Code::bad_config, path + " is not the certificate of " + config.get("tls-key"),
              "move the one that is wrong away: init makes what is missing");
}

// CA key and realm, as the signer on this host says.
Result<setup::TrustBlock> ask_signer(const std::string& socket) {
  boost::asio::io_context io(1);
  UnixSigner signer(io, socket);
  Result<json::value> answer;
  const json::value question{{"op", "policy"}};
  boost::asio::co_spawn(
      io, [&]() -> boost::asio::awaitable<void> { answer = co_await signer.ask(question); }, boost::asio::detached);
  io.run();
  if (!answer)
    return fail(answer.error().code, answer.error().message + "; all else is made",
                "systemctl enable --now jitwg-signer.socket jitwg-signer.service, then again: jitwgd init");
  JsonObject object(*answer, "policy");
  JITWG_ASSIGN(const std::string toml, base64_decode(object.string("policy")));
  JITWG_ASSIGN(const Policy policy, parse_policy(toml, "the signer's policy"));
  const std::string keys = object.string("ca_public_key") + "\n" + object.optional_string("ca_also").value_or("");
  JITWG_ASSIGN(const ssh::CaKeys ca, ssh::CaKeys::parse(keys));
  return setup::TrustBlock{{}, {}, ca, policy.realm};
}

}  // namespace

Result<void> init(const Config& config, const std::vector<Option>& options) {
  JITWG_TRY(setup::need_root("jitwgd init"));
  JITWG_ASSIGN(const setup::Owner owner, setup::owner_of(kUser));
  JITWG_ASSIGN(const std::string name, config.need("name"));
  const std::string where = "https://" + name;
  // Any pin will do to take the name apart; the key's own is not known yet.
  JITWG_ASSIGN(const http::Place place, http::parse_broker_address({where, {"sha256//" + base64_encode(sha256({}))}, {}, {}}));
  JITWG_ASSIGN(const Fd lock, setup::lock_conf_directory(config));

  setup::HostFiles files;
  JITWG_ASSIGN(const std::string pin, make_tls(files, config, place.host));
  JITWG_TRY(files.directory(config.get("state-dir"), owner, 0700));
  JITWG_TRY(setup::make_conf(files, config, options, {}));

  JITWG_ASSIGN(setup::TrustBlock trust, ask_signer(config.get("signer")));
  trust.broker = where;
  trust.pins = {pin};
  const auto keys = trust.ca.lines();
  setup::print_outcome(
      config, files,
      {{"trust", setup::render_trust(trust)}, {"broker", where}, {"broker_pins", json::array{pin}}, {"ca", json::array(keys.begin(), keys.end())}, {"realm", trust.realm}},
      setup::render_trust(trust) +
          "\nCA key " + trust.ca.fingerprints() + "\n\nNext:\n"
          "  systemctl enable --now jitwgd.socket jitwgd-tls.socket jitwgd.service\n"
          "  jitwg-gateway init --trust FILE --node NAME --endpoint IP:PORT --pool PREFIX   on each gateway, FILE with the block above\n"
          "  jitwg-hostd init --trust FILE --node NAME --address IP                         on each jump host\n"
          "  jitwg trust                                                                    each person, pasting the block\n"
          "Send the block by a way that nobody can alter, or compare fingerprints: who changes it owns the reader.\n");
  return {};
}

}  // namespace jitwg::broker
