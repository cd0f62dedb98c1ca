#include <cstdio>

#include "broker/base/json.h"
#include "broker/base/limits.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/setup/host_files.h"
#include "broker/setup/input.h"
#include "ssh-ca/admin/commands.h"
#include "ssh-ca/admin/edit_people.h"
#include "ssh-ca/signer/signer.h"

namespace jitwg::signer {
namespace {

constexpr size_t kKeyFileBytes = 16 * 1024;

struct NamedKey {
  ssh::PublicKey key;
  std::string comment;
};

Result<NamedKey> read_key(const std::string& word) {
  JITWG_ASSIGN(std::string text, setup::read_input(word, kKeyFileBytes));
  if (text.find("PRIVATE KEY") != std::string::npos)
    return fail(Code::bad_key, "that is a private key, which nobody may have but its person", "give the .pub file");
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  if (text.find('\n') != std::string::npos)
    return fail(Code::bad_key, "more than one line", "one public key at a time");
  auto key = ssh::PublicKey::parse_identity(text);
  if (!key) return within(word == "-" ? "stdin" : word, key.error());
  const size_t comment = text.find(' ', text.find(' ') + 1);
  return NamedKey{*key, comment == std::string::npos ? "" : text.substr(comment + 1)};
}

Result<std::string> read_people(const Config& config) {
  auto text = read_trusted_file(config.get("allowed-signers"), limits::kPolicyBytes);
  if (!text && text.error().hint.empty()) text.error().hint = "jitwg-signer init makes it";
  return text;
}

Result<Fd> lock(const Config& config) {
  const std::string& path = config.get("allowed-signers");
  return setup::lock_files_of(path.substr(0, path.rfind('/') + 1));
}

// The signer's own check: no identity key may be the CA's, a node's or a host's.
Result<Realm> check(const Config& config, const std::string& people) {
  JITWG_ASSIGN(const std::string ca_line, read_trusted_file(config.get("ca-key") + ".pub", kKeyFileBytes));
  JITWG_ASSIGN(const ssh::PublicKey ca, ssh::PublicKey::parse(ca_line.substr(0, ca_line.find('\n'))));
  JITWG_ASSIGN(const std::string policy, read_trusted_file(config.get("policy"), limits::kPolicyBytes));
  return make_realm({policy, people}, ca, config.get("policy"));
}

bool is_in_a_group(const Policy& policy, const std::string& person) {
  for (const auto* groups : {&policy.groups, &policy.oncall})
    for (const auto& [unused, people] : *groups)
      if (people.contains(person)) return true;
  return false;
}

Result<void> finish(const Config& config, const std::string& person, const std::string& before,
                    const EditedPeople& edited, const std::string& advice) {
  const std::string& path = config.get("allowed-signers");
  if (edited.text != before) JITWG_TRY(setup::replace_file(path, edited.text));
  std::string text;
  for (const std::string& line : edited.lines) text += line + "\n";
  text += "# This stands in " + path + " now. Next: systemctl reload jitwg-signer\n" + advice;
  const json::value value{{"person", person}, {"lines", json::array(edited.lines.begin(), edited.lines.end())},
                          {"changed", edited.text != before}};
  std::fputs((config.has("json") ? render_json(value) + "\n" : text).c_str(), stdout);
  return {};
}

}  // namespace

Result<void> add_person(const Config& config) {
  const auto& words = config.positional();
  const std::string& person = words[2];
  JITWG_TRY(setup::need_root("jitwg-signer person add " + person));
  JITWG_ASSIGN(const NamedKey named, read_key(words.size() > 3 ? words[3] : "-"));
  JITWG_ASSIGN(const Fd held, lock(config));
  JITWG_ASSIGN(const std::string before, read_people(config));
  JITWG_ASSIGN(const EditedPeople edited, add_key(before, person, named.key, named.comment));
  JITWG_ASSIGN(const Realm realm, check(config, edited.text));
  return finish(config, person, before, edited,
                is_in_a_group(realm.policy, person)
                    ? ""
                    : "# No group of " + config.get("policy") + " names " + person + " yet: until one does, no rule is for them.\n");
}

// Needs nothing but the list itself: a policy that is just being mended does not keep a lost key alive.
Result<void> retire_person(const Config& config) {
  const auto& words = config.positional();
  const std::string& person = words[2];
  JITWG_TRY(setup::need_root("jitwg-signer person retire " + person));
  std::optional<std::string> fingerprint;
  if (words.size() > 3) {
    fingerprint = words[3];
    if (!fingerprint->starts_with("SHA256:")) {
      JITWG_ASSIGN(const NamedKey named, read_key(words[3]));
      fingerprint = named.key.fingerprint();
    }
  }
  JITWG_ASSIGN(const Fd held, lock(config));
  JITWG_ASSIGN(const std::string before, read_people(config));
  JITWG_ASSIGN(const EditedPeople edited, retire_keys(before, person, fingerprint, SystemClock().now()));
  return finish(config, person, before, edited,
                "# Sessions that are open stay so until jitwg revoke, or until the policy no longer names " + person + ".\n");
}

}  // namespace jitwg::signer
