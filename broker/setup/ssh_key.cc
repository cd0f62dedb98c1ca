#include "broker/setup/ssh_key.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "broker/os/file.h"

namespace jitwg::setup {
namespace {

constexpr const char* kProgram = "/usr/bin/ssh-keygen";

Result<void> run_keygen(const std::string& path, const std::string& comment) {
  std::string words[] = {kProgram, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path};
  char* arguments[std::size(words) + 1] = {};
  for (size_t i = 0; i < std::size(words); ++i) arguments[i] = words[i].data();
  char* environment[] = {nullptr};
  pid_t child = 0;
  if (const int number = posix_spawn(&child, kProgram, nullptr, nullptr, arguments, environment); number != 0) {
    auto error = fail_errno(kProgram, number);
    error.value().hint = "apt-get install openssh-client";
    return error;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return fail_errno("waitpid", errno);
  if (status != 0) return fail(Code::io, "ssh-keygen made no key (see above)");
  return {};
}

}  // namespace

Result<std::string> make_ssh_key(const std::string& comment) {
  char directory[] = "/run/jitwg-init.XXXXXX";
  if (::mkdtemp(directory) == nullptr) return fail_errno("/run", errno);
  const std::string path = std::string(directory) + "/key";
  const auto made = run_keygen(path, comment);
  auto pem = made ? read_secret_file(path, 16 * 1024) : Result<std::string>(tl::unexpected<Error>(made.error()));
  for (const char* suffix : {"", ".pub"}) ::unlink((path + suffix).c_str());
  ::rmdir(directory);
  return pem;
}

}  // namespace jitwg::setup
