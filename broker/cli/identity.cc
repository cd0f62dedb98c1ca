#include "broker/cli/identity.h"

#include <sodium.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "broker/base/encoding.h"
#include "broker/base/name.h"
#include "broker/cli/agent.h"
#include "broker/cli/context.h"
#include "broker/os/command.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

constexpr size_t kMaxKeyFile = 16 * 1024;

Identity in_agent(const std::string& socket, const ssh::PublicKey& key) {
  return {key, [socket, key](std::string body) {
            return ssh::sign(std::move(body), kStatementNamespace, key,
                             [&](std::string_view message) { return Agent(socket).sign(key, message); });
          }};
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
              wanted == nullptr ? "ssh-agent holds no key that can sign statements"
                                : "ssh-agent does not hold " + wanted->fingerprint(),
              "ssh-add your key, or name its file by --identity FILE");
}

Result<ssh::PublicKey> read_public(const std::string& path) {
  JITWG_ASSIGN(std::string text, read_file(path, kMaxKeyFile));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return ssh::PublicKey::parse_identity(text);
}

// A file of its own for ssh-keygen -Y sign, which reads and writes files; gone with all that is in it.
class Scratch {
 public:
  static Result<Scratch> make() {
    char directory[] = "/tmp/jitwg-sign.XXXXXX";
    if (::mkdtemp(directory) == nullptr) return fail_errno("/tmp", errno);
    return Scratch(directory);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ~Scratch() {
    if (path_.empty()) return;
    for (const char* name : {"/statement", "/statement.sig"}) ::unlink((path_ + name).c_str());
    ::rmdir(path_.c_str());
  }
  std::string file() const { return path_ + "/statement"; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// OpenSSH asks for the passphrase or PIN on the terminal, or by SSH_ASKPASS.
Result<ssh::SignedDocument> sign_by_keygen(const std::string& key_file, std::string body) {
  JITWG_ASSIGN(const Scratch scratch, Scratch::make());
  JITWG_TRY(write_file(scratch.file(), body, 0600));
  const std::vector<std::string> words = {"ssh-keygen", "-Y", "sign", "-n", std::string(kStatementNamespace), "-f", key_file,
                                          scratch.file()};
  const auto ran = run_command(words, true);
  if (!ran) return fail(Code::bad_key, "ssh-keygen: " + ran.error().message, "apt-get install openssh-client");
  if (ran->code != 0)
    return fail(Code::bad_key, "ssh-keygen did not sign with " + key_file + ": " + ran->output.substr(0, ran->output.find('\n')),
                "was the passphrase right, the hardware key plugged in and touched? or load it once: ssh-add " + key_file);
  JITWG_ASSIGN(std::string signature, read_file(scratch.file() + ".sig", kMaxKeyFile));
  ssh::SignedDocument document{std::move(body), std::move(signature)};
  JITWG_TRY(ssh::verify(document, kStatementNamespace));
  return document;
}

Result<Identity> from_file(const std::string& path) {
  JITWG_ASSIGN(std::string pem, read_secret_file(path, kMaxKeyFile));
  auto parsed = ssh::PrivateKey::parse_openssh(pem);
  sodium_memzero(pem.data(), pem.size());
  if (!parsed) return tl::unexpected<Error>(parsed.error());
  const auto key = std::make_shared<ssh::PrivateKey>(std::move(*parsed));
  return Identity{key->public_key(), [key](std::string body) -> Result<ssh::SignedDocument> {
                    return ssh::sign(std::move(body), kStatementNamespace, *key);
                  }};
}

}  // namespace

Result<Identity> load_identity(const std::string& configured, const std::string& agent_socket) {
  if (configured.empty()) return from_agent(agent_socket, nullptr);
  if (configured.ends_with(".pub")) {
    JITWG_ASSIGN(const ssh::PublicKey key, read_public(configured));
    return from_agent(agent_socket, &key);
  }
  auto own = from_file(configured);
  if (own || own.error().code != Code::bad_key) return own;
  const auto pub = read_public(configured + ".pub");
  if (!pub && pub.error().code == Code::io) return within(configured, own.error());
  if (!pub) return within(configured + ".pub", pub.error());
  if (auto identity = from_agent(agent_socket, &*pub)) return identity;
  return Identity{*pub, [configured](std::string body) { return sign_by_keygen(configured, std::move(body)); }};
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
    context.note("ssh-agent holds several keys; signing with " + identity.key.fingerprint() +
                 " (--identity FILE.pub names another)");
  if (identity.key.is_hardware()) context.note("touch your hardware key when it blinks");
  return identity.sign(body);
}

}  // namespace jitwg::cli
