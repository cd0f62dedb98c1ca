#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "broker/base/encoding.h"
#include "broker/os/clock.h"
#include "broker/os/fd.h"
#include "broker/os/file.h"
#include "ssh-ca/signer/backend.h"

namespace jitwg::signer {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr size_t kSaid = 4096;     // of what it prints: why it failed
constexpr size_t kMade = 32 << 10;  // bytes of any file that it writes
constexpr std::string_view kTrial = "jitwg-trial";  // a namespace in which nothing counts

tl::unexpected<Error> unavailable(std::string why) {
  return fail(Code::signer_unavailable, "ssh-keygen " + std::move(why), "jitwg-signer doctor, on the signer's host");
}

std::vector<char*> pointers(Words& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

// In the child. Nothing here may allocate: only system calls until exec.
[[noreturn]] void become(char* const* argv, char* const* environment, const char* directory, int said) {
  const rlimit none{0, 0}, small{kMade, kMade};
  sigset_t nothing;
  sigemptyset(&nothing);
  const int null = ::open("/dev/null", O_RDWR);
  const bool ready = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && setsid() >= 0 && chdir(directory) == 0 && null >= 0 &&
                     dup2(null, STDIN_FILENO) >= 0 && dup2(said, STDOUT_FILENO) >= 0 && dup2(said, STDERR_FILENO) >= 0 &&
                     setrlimit(RLIMIT_CORE, &none) == 0 && setrlimit(RLIMIT_FSIZE, &small) == 0 &&
                     sigprocmask(SIG_SETMASK, &nothing, nullptr) == 0;
  if (ready) execve(argv[0], argv, environment);
  _exit(127);
}

// A session of its own (setsid), so that the kill reaches whatever it started, too.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid), ended_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }
  const Fd& ended() const { return ended_; }  // readable once it has
  int end() {
    if (pid_ < 0) return status_;
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);  // before its setsid()
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status_;
  }

 private:
  pid_t pid_;
  Fd ended_;
  int status_ = -1;
};

// Runs `words` to its end in `directory`.
Result<void> run(Words words, Words environment, const std::string& directory, std::chrono::milliseconds deadline) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  const auto argv = pointers(words), envp = pointers(environment);
  const pid_t pid = ::fork();
  if (pid < 0) return unavailable(std::string("cannot be started: ") + fail_errno("fork", errno).value().message);
  if (pid == 0) become(argv.data(), envp.data(), directory.c_str(), to.get());
  Child child(pid);
  to.reset();
  std::string said;
  bool open = true;
  for (const BootTime end = boot_now() + deadline;;) {
    pollfd polled[2] = {{child.ended().get(), POLLIN, 0}, {open ? from.get() : -1, POLLIN, 0}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - boot_now()).count();
    if (left <= 0) return unavailable("did not finish within " + std::to_string(deadline.count()) + " ms and was stopped");
    if (::poll(polled, 2, static_cast<int>(left)) < 0 && errno != EINTR) return fail_errno("poll", errno);
    if (polled[1].revents != 0) {
      char bytes[1024];
      const ssize_t count = ::read(from.get(), bytes, sizeof bytes);
      open = count > 0;
      if (open && said.size() < kSaid) said.append(bytes, static_cast<size_t>(count));
    } else if (polled[0].revents != 0) {
      break;
    }
  }
  const int status = child.end();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFSIGNALED(status)) return unavailable("was ended by signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) == 127 && said.empty()) return unavailable("cannot be started: " + words[0]);
  while (said.ends_with('\n') || said.ends_with('\r')) said.pop_back();
  return unavailable("failed: " + escape_for_terminal(said.substr(0, 300)));
}

// A folder for one signature, gone with all that is in it.
class Scratch {
 public:
  static Result<Scratch> make(const std::string& below) {
    std::string path = below + "/XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return fail_errno(below, errno);
    return Scratch(std::move(path));
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  Result<void> put(const std::string& name, std::string_view text) const {
    Fd fd(::open((path_ + "/" + name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return fail_errno(path_ + "/" + name, errno);
    return {};
  }
  Result<std::string> get(const std::string& name) const {
    auto text = read_file(path_ + "/" + name, kMade);
    if (!text) return unavailable("left no result: " + text.error().message);
    return text;
  }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

std::string hex_time(WallTime time) {
  char text[32];
  snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(time.time_since_epoch().count()));
  return text;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

class SshKeygenBackend final : public CaBackend {
 public:
  SshKeygenBackend(std::string key_file, ssh::PublicKey public_key, SshKeygen how)
      : key_file_(std::move(key_file)), public_key_(std::move(public_key)), how_(std::move(how)) {}
  const ssh::PublicKey& public_key() const override { return public_key_; }

  Result<std::string> sign_certificate(const ssh::Certificate& wanted) override {
    JITWG_ASSIGN(const Scratch scratch, Scratch::make(how_.scratch));
    JITWG_TRY(scratch.put("key.pub", wanted.key.str() + "\n"));
    Words words{how_.program, "-q", "-s", key_file_, "-I", wanted.key_id, "-n", joined(wanted.principals),
                "-V", hex_time(wanted.valid_after) + ":" + hex_time(wanted.valid_before), "-z", std::to_string(wanted.serial),
                "-O", "clear"};
    for (const auto& [name, value] : wanted.critical_options) words.insert(words.end(), {"-O", name + "=" + value});
    for (const std::string& name : wanted.extensions) words.insert(words.end(), {"-O", name});
    JITWG_TRY(start(std::move(words), {"key.pub"}, scratch));
    JITWG_ASSIGN(std::string line, scratch.get("key-cert.pub"));
    line.resize(std::min(line.find('\n'), line.size()));
    const size_t comment = line.find(' ', line.find(' ') + 1);
    return ssh::parse_certificate_line(std::string_view(line).substr(0, comment));
  }

  Result<ssh::SignedDocument> sign_document(std::string body, std::string_view ns) override {
    JITWG_ASSIGN(const Scratch scratch, Scratch::make(how_.scratch));
    JITWG_TRY(scratch.put("document", body));
    JITWG_TRY(start({how_.program, "-q", "-Y", "sign", "-f", key_file_, "-n", std::string(ns)}, {"document"}, scratch));
    JITWG_ASSIGN(std::string signature, scratch.get("document.sig"));
    return ssh::SignedDocument{std::move(body), std::move(signature)};
  }

 private:
  Result<void> start(Words words, const Words& files, const Scratch& scratch) {
    // One that hangs costs one deadline, not one for each that waits in line.
    if (boot_now() < hung_until_) return unavailable("did not finish the last time; it is tried again in a few seconds");
    Words environment{"LC_ALL=C", "HOME=/nonexistent", "SSH_ASKPASS_REQUIRE=never"};
    if (!how_.agent_socket.empty()) {
      words.insert(words.begin() + 1, "-U");
      environment.push_back("SSH_AUTH_SOCK=" + how_.agent_socket);
    }
    words.insert(words.end(), files.begin(), files.end());
    const BootTime begun = boot_now();
    auto ran = run(std::move(words), std::move(environment), scratch.path(), how_.deadline);
    if (!ran && boot_now() - begun >= how_.deadline) hung_until_ = boot_now() + how_.deadline;
    if (!ran && !how_.agent_socket.empty())
      ran.error().hint = "does the agent hold the key? SSH_AUTH_SOCK=" + how_.agent_socket + " ssh-add -L";
    return ran;
  }

  const std::string key_file_;
  const ssh::PublicKey public_key_;
  const SshKeygen how_;
  BootTime hung_until_{};
};

Result<void> prepare_scratch(const std::string& path) {
  JITWG_TRY(make_directory(path, 0700));
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return fail_errno(path, errno);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 077) != 0)
    return fail(Code::unsafe_file, path + " is not a folder of this user alone", "rm -r " + path + "; it is made anew");
  std::error_code failed;
  for (const auto& left : fs::directory_iterator(path, failed)) fs::remove_all(left.path(), failed);  // of a run that was killed
  return {};
}

}  // namespace

Result<std::unique_ptr<CaBackend>> make_ssh_keygen_backend(const std::string& place, SshKeygen how) {
  JITWG_ASSIGN(CaKey key, load_ca_key(place));
  if (!how.program.starts_with('/'))
    return fail(Code::bad_config, "\"" + how.program + "\" is no absolute path", "ssh-keygen = /usr/bin/ssh-keygen");
  if (key.secret) how.agent_socket.clear();
  else if (how.agent_socket.empty())
    return fail(Code::bad_config, "CA key " + key.path + " is a public key, and no agent is named",
                "agent-socket = PATH of the ssh-agent that holds its private half");
  JITWG_TRY(prepare_scratch(how.scratch));
  auto backend = std::make_unique<SshKeygenBackend>(key.path, key.public_key, std::move(how));
  JITWG_ASSIGN(const auto trial, backend->sign_document("trial", kTrial));
  JITWG_ASSIGN(const auto signer, ssh::verify(trial, kTrial));
  if (signer.key != backend->public_key())
    return fail(Code::bad_key, "ssh-keygen signs with " + signer.key.fingerprint() + ", not with " + key.path);
  return backend;
}

}  // namespace jitwg::signer
