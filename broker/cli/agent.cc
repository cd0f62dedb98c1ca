#include "broker/cli/agent.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "broker/os/fd.h"
#include "ssh-ca/format/sshsig.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::cli {
namespace {

enum : uint8_t {
  kRequestIdentities = 11,
  kIdentitiesAnswer = 12,
  kSignRequest = 13,
  kSignResponse = 14,
};
constexpr uint32_t kRsaSha512 = 4;       // a flag; without it RSA keys sign with SHA-1
constexpr size_t kMaxAnswer = 256 * 1024;  // OpenSSH's own bound
constexpr timeval kPatience{120, 0};

tl::unexpected<Error> no_agent(const std::string& why) {
  return fail(Code::bad_key, "ssh-agent: " + why,
              "start one and ssh-add your key, or name an unencrypted key by --identity FILE");
}

Result<void> send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return no_agent(std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Result<std::string> receive(int fd, size_t size) {
  std::string bytes(size, '\0');
  for (size_t have = 0; have < size;) {
    const ssize_t count = ::recv(fd, bytes.data() + have, size - have, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return no_agent(errno == EAGAIN ? "no answer" : std::strerror(errno));
    if (count == 0) return no_agent("it hung up");
    have += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace

Result<std::string> Agent::ask(std::string_view question) const {
  if (socket_.empty()) return no_agent("SSH_AUTH_SOCK is not set");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path) return no_agent("its socket's path is too long");
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno("socket", errno);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return no_agent(socket_ + ": " + std::strerror(errno));

  JITWG_TRY(send_all(fd.get(), ssh::WireWriter().string(question).bytes()));
  JITWG_ASSIGN(const std::string head, receive(fd.get(), 4));
  const uint32_t length = ssh::WireReader(head).u32();
  if (length == 0 || length > kMaxAnswer)
    return no_agent("an answer of " + std::to_string(length) + " bytes");
  return receive(fd.get(), length);
}

Result<std::vector<ssh::PublicKey>> Agent::keys() const {
  JITWG_ASSIGN(const std::string answer, ask(std::string(1, char(kRequestIdentities))));
  ssh::WireReader reader(answer);
  if (reader.u8() != kIdentitiesAnswer) return no_agent("it does not list its keys");
  const uint32_t count = reader.u32();
  std::vector<ssh::PublicKey> keys;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    const std::string_view blob = reader.string();
    reader.string();  // comment
    if (auto key = ssh::PublicKey::parse_identity_blob(blob)) keys.push_back(std::move(*key));
  }
  if (!reader.ok()) return no_agent("its list of keys is cut short");
  return keys;
}

Result<std::string> Agent::sign(const ssh::PublicKey& key, std::string_view message) const {
  ssh::WireWriter question;
  question.raw(std::string(1, char(kSignRequest))).string(key.blob()).string(message)
      .u32(key.type() == ssh::KeyType::rsa ? kRsaSha512 : 0);
  JITWG_ASSIGN(const std::string answer, ask(question.bytes()));
  ssh::WireReader reader(answer);
  if (reader.u8() != kSignResponse)
    return fail(Code::bad_key, "ssh-agent would not sign with " + key.fingerprint(),
                "is it locked, or was the use not confirmed?");
  const std::string_view signature = reader.string();
  if (!reader.ok()) return no_agent("its signature is cut short");
  JITWG_TRY(ssh::verify_raw(key, signature, message));
  return std::string(signature);
}

}  // namespace jitwg::cli
