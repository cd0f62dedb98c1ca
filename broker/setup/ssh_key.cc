#include "broker/setup/ssh_key.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "broker/os/command.h"
#include "broker/os/file.h"

namespace jitwg::setup {
namespace {

Result<std::string> make_at(const std::string& path, const std::string& comment) {
  const auto made = run_command({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path});
  if (!made || made->code != 0)
    return fail(Code::io, "ssh-keygen makes no key: " + (made ? made->output : made.error().message),
                "apt-get install openssh-client");
  return read_secret_file(path, 16 * 1024);
}

}  // namespace

Result<std::string> make_ssh_key(const std::string& comment) {
  char directory[] = "/run/jitwg-init.XXXXXX";
  if (::mkdtemp(directory) == nullptr) return fail_errno("/run", errno);
  const std::string path = std::string(directory) + "/key";
  auto pem = make_at(path, comment);
  for (const char* suffix : {"", ".pub"}) ::unlink((path + suffix).c_str());
  ::rmdir(directory);
  return pem;
}

}  // namespace jitwg::setup
