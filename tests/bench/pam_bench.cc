// The parts of tests/bench/pam that are no script: grants for hostd to hold, and PAM's account phase, timed call by call.
//   pam_bench grants COUNT CA_KEY            a JSON array on stdout
//   sshd account CERTIFICATE CALLS ROUNDS    as root on a jump host, under that name: who asks is sshd's monitor to hostd
#include <netinet/in.h>
#include <security/pam_appl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <thread>

#include "broker/base/encoding.h"
#include "broker/base/json.h"
#include "broker/os/clock.h"
#include "broker/os/fd.h"
#include "broker/os/file.h"
#include "broker/base/limits.h"
#include "broker/session/grant.h"
#include "ssh-ca/format/document.h"

namespace jitwg::bench {
namespace {

constexpr const char* kServices = "/etc/jitwg-bench";  // with an `other` of its own: Debian's loads five modules more
constexpr uint16_t kPort = 8080;
constexpr const char* kPrincipals = "/usr/local/lib/jitwg/jitwg-principals";

[[noreturn]] void give_up(const std::string& what) {
  std::cerr << "pam_bench: " << what << std::endl;
  exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error().render());
  return std::move(*result);
}

int print_grants(size_t count, const std::string& key_file) {
  const auto ca = must(ssh::PrivateKey::parse_openssh(must(read_secret_file(key_file, 16 * 1024))));
  const WallTime now = SystemClock().now();
  const auto key = [] { return base64_encode(std::string(31, 'k') + std::string(1, '\x01')); };
  json::array all;
  for (size_t i = 0; i < count; ++i) {
    const SessionId id = SessionId::make(now);
    Grant grant{.realm = "sandbox", .session = id, .person = "person" + std::to_string(i), .target = "db-prod", .login = "bob", .wg_public_key = key(),
                .address = {Prefix::host(must(IpAddress::parse("10.91." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1))))},
                .scope = must(parse_scope({"tcp 10.60.0.5:22"})), .gateway = {"gw1", key(), must(Endpoint::parse("192.0.2.10:51820"))},
                .jump_hosts = {{"jump1", {must(IpAddress::parse("10.60.0.5"))}, {ca.public_key().str()}}},
                .certificate_sha256 = sha256_hex(id.str()), .serial = "1", .not_before = now, .not_after = now + Seconds(3600),
                .policy_sha256 = std::string(64, '0'), .incident = {}};  // fmt: skip
    const auto document = ssh::sign(render_grant(grant), kGrantNamespace, ca);
    all.push_back({{"session", id.str()}, {"want", "open"}, {"grant", render_document(document)}});
  }
  std::cout << render_json(all) << std::endl;
  return 0;
}

// What curl asks: as quick as a server can be.
void serve_http() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(kPort), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener.get(), 8) != 0) give_up("port 8080 is taken");
  constexpr std::string_view kYes = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
  for (;;) {
    const Fd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char bytes[4096];
    if (::read(peer.get(), bytes, sizeof bytes) > 0) (void)!::write(peer.get(), kYes.data(), kYes.size());
  }
}

// sshd's part: its child asks for the principals, and hostd remembers the certificate for this process.
void ask_principals(const std::string& certificate) {
  std::string words[] = {kPrincipals, "alice", certificate};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  pid_t pid = 0;
  int status = 0;
  if (posix_spawn(&pid, kPrincipals, nullptr, nullptr, argv, environ) != 0 || ::waitpid(pid, &status, 0) != pid || status != 0) give_up("no principals");
}

double account(const char* service) {
  const pam_conv silent{[](int, const pam_message**, pam_response**, void*) { return PAM_CONV_ERR; }, nullptr};
  pam_handle_t* handle = nullptr;
  const auto begun = std::chrono::steady_clock::now();
  if (pam_start_confdir(service, "alice", &silent, kServices, &handle) != PAM_SUCCESS) give_up("pam_start");
  pam_set_item(handle, PAM_RHOST, "10.90.0.7");
  const int said = pam_acct_mgmt(handle, 0);
  pam_end(handle, said);
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - begun;
  if (said != PAM_SUCCESS) give_up(std::string(service) + ": " + pam_strerror(nullptr, said));
  return spent.count();
}

int measure_account(const std::string& certificate, int calls, int rounds) {
  std::thread(serve_http).detach();
  ask_principals(certificate);
  std::map<std::string, json::array> all;
  for (int round = 0; round < rounds; ++round) {
    std::map<std::string, json::array> one;
    for (int i = 0; i < calls; ++i) {
      for (const char* service : {"bench-permit", "bench-jitwg"}) one[service].push_back(account(service));
      if (i % 10 != 0) continue;
      for (const char* service : {"bench-exec", "bench-curl"}) one[service].push_back(account(service));
    }
    for (auto& [service, times] : one) all[service].push_back(std::move(times));
  }
  json::object out;
  for (auto& [service, times] : all) out[service] = std::move(times);
  std::cout << render_json(out) << std::endl;
  fflush(stdout);
  _exit(0);  // the server's thread waits for ever
}

}  // namespace
}  // namespace jitwg::bench

int main(int argc, char** argv) {
  using namespace jitwg::bench;
  if (argc == 4 && std::strcmp(argv[1], "grants") == 0) return print_grants(std::stoul(argv[2]), argv[3]);
  if (argc == 5 && std::strcmp(argv[1], "account") == 0) return measure_account(argv[2], std::stoi(argv[3]), std::stoi(argv[4]));
  give_up("see tests/bench/pam");
}
