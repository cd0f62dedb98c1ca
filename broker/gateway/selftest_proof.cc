#include "broker/gateway/selftest_proof.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "broker/base/encoding.h"
#include "broker/base/json.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"

namespace jitwg::gateway {
namespace {

constexpr size_t kProofBytes = 4096;

std::string path_in(const std::string& runtime_dir) { return runtime_dir + "/selftest.ok"; }

// Who may write in the directory can put anything in the file's place; a broker's user, say.
Result<void> check_directory(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail_errno(path, errno);
  if ((st.st_uid != 0 && st.st_uid != ::geteuid()) || (st.st_mode & 022) != 0)
    return fail(Code::unsafe_file, path + " is not root's alone to write");
  return {};
}

Result<WallTime> read_proof(const std::string& runtime_dir, const std::string& ruleset) {
  JITWG_TRY(check_directory(runtime_dir));
  JITWG_ASSIGN(const std::string text, read_secret_file(path_in(runtime_dir), kProofBytes, 022));
  JITWG_ASSIGN(const json::value value, parse_json(text, kProofBytes));
  JsonObject proof(value, "selftest.ok");
  const std::string boot_id = proof.string("boot_id"), digest = proof.string("ruleset_sha256");
  const std::string time = proof.string("time");
  JITWG_TRY(proof.finish());
  JITWG_ASSIGN(const std::string this_boot, read_boot_id());
  if (boot_id != this_boot) return fail(Code::wrong_state, "it was made before this machine's last boot");
  if (digest != sha256_hex(ruleset)) return fail(Code::wrong_state, "it was made of other chains");
  return parse_time(time);
}

}  // namespace

Result<void> store_proof(const std::string& runtime_dir, const std::string& ruleset, WallTime now) {
  JITWG_ASSIGN(const std::string boot_id, read_boot_id());
  JITWG_TRY(make_directory(runtime_dir, 0755));
  const json::value proof = {{"boot_id", boot_id}, {"ruleset_sha256", sha256_hex(ruleset)}, {"time", render_time(now)}};
  JITWG_TRY(write_file(path_in(runtime_dir), render_json(proof) + "\n", 0644));
  JITWG_TRY(check_proof(runtime_dir, ruleset));
  return {};
}

Result<void> remove_proof(const std::string& runtime_dir) { return remove_file(path_in(runtime_dir)); }

Result<WallTime> check_proof(const std::string& runtime_dir, const std::string& ruleset) {
  auto made = read_proof(runtime_dir, ruleset);
  if (made) return made;
  return fail(Code::not_confirmed, path_in(runtime_dir) + " does not count: " + made.error().message,
              "systemctl start jitwg-gateway-selftest, and journalctl -u jitwg-gateway-selftest if that fails; without systemd, "
              "as root: jitwg-gateway selftest");
}

}  // namespace jitwg::gateway
