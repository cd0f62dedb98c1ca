#include "broker/cli/identity.h"

#include <cstdlib>
#include <memory>

#include "broker/base/encoding.h"
#include "broker/base/name.h"
#include "broker/cli/agent.h"
#include "broker/cli/context.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

constexpr size_t kMaxKeyFile = 16 * 1024;

Identity in_agent(const std::string& socket, const ssh::PublicKey& key) {
  return {key, [socket, key](std::string_view message) { return Agent(socket).sign(key, message); },
          false};
}

Result<Identity> from_agent(const std::string& socket, const ssh::PublicKey* wanted) {
  JITWG_ASSIGN(const auto keys, Agent(socket).keys());
  for (const ssh::PublicKey& key : keys)
    if (wanted == nullptr || key == *wanted) {
      Identity identity = in_agent(socket, key);
      identity.guessed = wanted == nullptr && keys.size() > 1;
      return identity;
    }
  return fail(Code::bad_key,
              wanted == nullptr ? "ssh-agent holds no plain ed25519 key"
                                : "ssh-agent does not hold " + wanted->fingerprint(),
              "ssh-add your ed25519 key, or name an unencrypted one by --identity FILE");
}

Result<ssh::PublicKey> read_public(const std::string& path) {
  JITWG_ASSIGN(std::string text, read_file(path, kMaxKeyFile));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return ssh::PublicKey::parse(text);
}

}  // namespace

Result<Identity> load_identity(const std::string& configured, const std::string& agent_socket) {
  if (configured.empty()) return from_agent(agent_socket, nullptr);
  if (configured.ends_with(".pub")) {
    JITWG_ASSIGN(const ssh::PublicKey key, read_public(configured));
    return from_agent(agent_socket, &key);
  }
  JITWG_ASSIGN(const std::string pem, read_secret_file(configured, kMaxKeyFile));
  if (auto parsed = ssh::PrivateKey::parse_openssh(pem)) {
    const auto key = std::make_shared<ssh::PrivateKey>(std::move(*parsed));
    return Identity{
        key->public_key(),
        [key](std::string_view message) -> Result<std::string> { return key->sign(message); },
        false};
  } else if (const auto pub = read_public(configured + ".pub")) {
    // With a passphrase, most likely: the agent may hold it.
    if (auto identity = from_agent(agent_socket, &*pub)) return identity;
    return fail(Code::bad_key, configured + ": " + parsed.error().message,
                "a key with a passphrase is used through ssh-agent: ssh-add " + configured);
  } else {
    return within(configured, parsed.error());
  }
}

Result<StatementHead> make_head(const Context& context) {
  JITWG_ASSIGN(std::string realm, context.realm());
  const std::string person = context.person();
  if (!is_name(person))
    return fail(Code::bad_config, "\"" + person + "\" is no person's name",
                "set \"person = …\" in " + context.paths().config);
  return StatementHead{std::move(realm), person, context.now(), hex_encode(random_bytes(16))};
}

Result<ssh::SignedDocument> sign_statement(const Context& context, const Statement& statement) {
  const std::string body = render_statement(statement);
  JITWG_TRY(parse_statement(body));
  const char* agent = std::getenv("SSH_AUTH_SOCK");
  JITWG_ASSIGN(const Identity identity,
               load_identity(context.identity(), agent == nullptr ? "" : agent));
  if (identity.guessed)
    context.note("ssh-agent holds several ed25519 keys; signing with " +
                 identity.key.fingerprint() + " (--identity FILE.pub names another)");
  return ssh::sign(body, kStatementNamespace, identity.key, identity.signer);
}

}  // namespace jitwg::cli
