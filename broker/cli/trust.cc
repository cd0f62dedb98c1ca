#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/text.h"
#include "broker/os/file.h"
#include "broker/setup/host_files.h"
#include "broker/setup/input.h"
#include "broker/setup/trust_block.h"
#include "broker/transport/broker_address.h"

namespace jitwg::cli {
namespace {

constexpr size_t kMaxFile = 64 * 1024;

// Pasted on a terminal, the block ends at its END line: nobody has to know about Ctrl-D.
Result<std::string> read_block(const Context& context) {
  if (context.has("file")) return setup::read_input(context.option("file"), kMaxFile);
  if (!isatty(STDIN_FILENO)) return setup::read_input("-", kMaxFile);
  context.note("paste the block that `jitwgd init` printed:");
  std::string text;
  for (std::string line; text.size() < kMaxFile && std::getline(std::cin, line);) {
    text += line + "\n";
    if (line.find("-----END JITWG TRUST-----") != line.npos) break;
  }
  return text;
}

Result<setup::TrustBlock> read_trust(const Context& context) {
  JITWG_ASSIGN(const std::string text, read_block(context));
  JITWG_ASSIGN(setup::TrustBlock trust, setup::parse_trust(text));
  if (context.arguments().empty()) return trust;
  const std::string& where = context.arguments()[0];
  const bool whole = where.starts_with("unix:") || where.find("://") != where.npos;
  trust.broker = whole ? where : "https://" + where;
  JITWG_TRY(http::parse_broker_address({trust.broker, trust.pins, {}, {}}));
  return trust;
}

bool is_ours(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const std::string_view key = line.substr(0, line.find_first_of(" \t="));
  for (const char* ours : {"broker", "broker-pin", "broker-ca", "realm", "ca"})
    if (key == ours) return true;
  return false;
}

// The person's file with these settings in place of those it had; everything else stays.
std::string merge(std::string_view before, const setup::TrustBlock& trust) {
  std::string text = "broker = " + trust.broker + "\n";
  for (const std::string& pin : trust.pins) text += "broker-pin = " + pin + "\n";
  for (const std::string& key : trust.ca.lines()) text += "ca = " + key + "\n";
  text += "realm = " + trust.realm + "\n";
  while (!before.empty()) {
    const std::string_view line = before.substr(0, before.find('\n'));
    if (!is_ours(line)) text += std::string(line) + "\n";
    before.remove_prefix(std::min(line.size() + 1, before.size()));
  }
  return text;
}

std::string describe(const setup::TrustBlock& trust) {
  std::string text = "broker  " + trust.broker + "\n";
  for (const std::string& pin : trust.pins) text += "  key   " + pin + "\n";
  return text + "CA key  " + trust.ca.fingerprints() + "\nrealm   " + trust.realm + "\n";
}

// Whom this person trusted before, if it is somebody else.
bool replaces_another(const Context& context, const setup::TrustBlock& trust) {
  const auto ca = context.ca();
  const auto realm = context.realm();
  const auto& pins = context.broker().pins;
  return (realm && *realm != trust.realm) || (ca && *ca != trust.ca) || (!pins.empty() && pins != trust.pins);
}

}  // namespace

Result<int> run_trust(Context& context) {
  JITWG_ASSIGN(const setup::TrustBlock trust, read_trust(context));
  const std::string path = context.config_path();
  const bool exists = ::access(path.c_str(), F_OK) == 0;
  std::string before;
  if (exists) {
    JITWG_ASSIGN(before, read_file(path, kMaxFile));
  }
  const std::string after = merge(before, trust);
  if (after != before) {
    std::cerr << describe(trust);
    const bool another = replaces_another(context, trust);
    if (another) context.note("this replaces another broker's key, CA or realm in " + path);
    if (another && !context.has("yes") && !isatty(STDIN_FILENO))
      return fail(Code::wrong_state, path + " trusts somebody else, and nobody is here to be asked",
                  "compare the fingerprints, then add --yes");
    if (!context.confirm("Do these fingerprints agree with your administrator's?"))
      return fail(Code::wrong_state, "nothing was stored", "ask your administrator for the block again");
    if (exists) {
      JITWG_TRY(setup::replace_file(path, after));
    } else {
      JITWG_TRY(make_directory(path.substr(0, path.rfind('/')), 0700));
      JITWG_TRY(write_file(path, after, 0600));
    }
  }
  const auto keys = trust.ca.lines();
  context.print({{"broker", trust.broker},
                 {"broker_pins", json::array(trust.pins.begin(), trust.pins.end())},
                 {"ca", json::array(keys.begin(), keys.end())},
                 {"realm", trust.realm},
                 {"config", path},
                 {"changed", after != before}},
                "trusted, in " + path + "\n");
  return 0;
}

}  // namespace jitwg::cli
