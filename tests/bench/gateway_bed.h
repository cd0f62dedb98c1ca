// What the gateway's measurements stand on: hosts that are namespaces of others, programs started in them, a broker
// that says what it is told, and packets with the kernel's own times of arrival.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "broker/base/encoding.h"
#include "broker/base/json.h"
#include "broker/node/node_documents.h"
#include "broker/node/watch_stream.h"
#include "broker/os/clock.h"
#include "broker/os/fd.h"
#include "ssh-ca/format/document.h"

extern char** environ;

namespace jitwg::bench {

inline std::vector<pid_t> daemons;  // of ours, that would outlive us

[[noreturn]] inline void die(const std::string& why) {
  std::cerr << "bench: " << why << std::endl;
  for (const pid_t pid : daemons) ::kill(pid, SIGKILL);
  _exit(1);
}
template <typename T>
T must(Result<T> result) {
  if (!result) die(result.error().render());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

using Nanos = int64_t;  // CLOCK_REALTIME, as the kernel stamps packets
inline Nanos now_ns() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}
inline void pause_ms(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }
inline void wait_until(const std::string& what, int seconds, const std::function<bool()>& is_so) {
  const Nanos end = now_ns() + seconds * 1'000'000'000LL;
  while (!is_so()) {
    if (now_ns() > end) die("waited " + std::to_string(seconds) + " s in vain for " + what);
    pause_ms(2);
  }
}
inline double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

struct Host {
  std::string name;
  pid_t pid = 0;
  // Runs `body` in the host's network and files.
  void inside(const std::function<void()>& body) const {
    std::thread([&] {
      const std::string base = "/proc/" + std::to_string(pid) + "/ns/";
      const Fd net(::open((base + "net").c_str(), O_RDONLY | O_CLOEXEC)), files(::open((base + "mnt").c_str(), O_RDONLY | O_CLOEXEC));
      if (::setns(net.get(), CLONE_NEWNET) != 0 || ::unshare(CLONE_FS) != 0 || ::setns(files.get(), CLONE_NEWNS) != 0)
        die("host " + name + " cannot be entered");
      body();
    }).join();
  }
};

// By the calling thread's namespaces.
inline pid_t start(std::vector<std::string> words, const std::vector<std::string>& more_environment = {}, const std::string& log = "/dev/null") {
  std::vector<char*> argv, environment;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  for (char** e = environ; *e != nullptr; ++e) environment.push_back(*e);
  for (const std::string& e : more_environment) environment.push_back(const_cast<char*>(e.c_str()));
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  if (posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environment.data()) != 0) die("no " + words[0]);
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}
inline void run(std::vector<std::string> words) {
  int status = 0;
  const std::string what = words[0] + " " + (words.size() > 1 ? words[1] : "");
  if (::waitpid(start(std::move(words)), &status, 0) < 0 || status != 0) die(what + " failed");
}

// One UDP flow through one interface of the person's, and its arrival at the target.
class Flow {
 public:
  Flow(const Host& person, const std::string& device, const std::string& address, uint16_t port) {
    sockaddr_in to{};
    to.sin_family = AF_INET, to.sin_port = htons(port);
    inet_pton(AF_INET, address.c_str(), &to.sin_addr);
    person.inside([&] {
      out_ = Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (::setsockopt(out_.get(), SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size())) != 0 ||
          ::connect(out_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
        die("flow by " + device);
    });
  }
  ~Flow() { stop(); }
  void start(int64_t interval_us) {
    stop();
    running_ = true;
    thread_ = std::thread([this, interval_us] {
      ::prctl(PR_SET_TIMERSLACK, 1);
      timespec next{};
      clock_gettime(CLOCK_MONOTONIC, &next);
      while (running_) {
        (void)!::send(out_.get(), "jitwg bench", 11, MSG_NOSIGNAL);
        next.tv_nsec += interval_us * 1000;
        while (next.tv_nsec >= 1'000'000'000) next.tv_nsec -= 1'000'000'000, ++next.tv_sec;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
      }
    });
  }
  void stop() {
    running_ = false;
    if (thread_.joinable()) thread_.join();
  }
  // As much as goes, for so long.
  void flood(int64_t ms) {
    const Nanos end = now_ns() + ms * 1'000'000;
    char bytes[64] = {};
    iovec part{bytes, sizeof bytes};
    mmsghdr batch[64] = {};
    for (mmsghdr& one : batch) one.msg_hdr.msg_iov = &part, one.msg_hdr.msg_iovlen = 1;
    pollfd ready{out_.get(), POLLOUT, 0};
    while (now_ns() < end)
      if (::sendmmsg(out_.get(), batch, 64, MSG_NOSIGNAL) < 0 && errno == EAGAIN) ::poll(&ready, 1, 10);
  }

 private:
  Fd out_;
  std::thread thread_;
  std::atomic<bool> running_{false};
};

class Arrivals {
 public:
  Arrivals(const Host& inside, const std::string& address, uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET, at.sin_port = htons(port);
    inet_pton(AF_INET, address.c_str(), &at.sin_addr);
    inside.inside([&] { in_ = Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    const int on = 1, room = 8 << 20;
    const timeval patience{0, 50'000};
    ::setsockopt(in_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    ::setsockopt(in_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    ::setsockopt(in_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::bind(in_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) die("nobody can listen at " + address);
    thread_ = std::thread([this] { receive(); });
  }
  ~Arrivals() {
    running_ = false;
    thread_.join();
  }
  Nanos last() const { return last_; }
  int64_t count() const { return count_; }

 private:
  void receive() {
    constexpr size_t kBatch = 64;
    std::vector<std::array<char, 128>> bytes(kBatch), control(kBatch);
    std::vector<iovec> parts(kBatch);
    std::vector<mmsghdr> batch(kBatch);
    while (running_) {
      for (size_t i = 0; i < kBatch; ++i) {
        parts[i] = {bytes[i].data(), bytes[i].size()};
        batch[i].msg_hdr = {nullptr, 0, &parts[i], 1, control[i].data(), control[i].size(), 0};
      }
      const int got = ::recvmmsg(in_.get(), batch.data(), kBatch, MSG_WAITFORONE, nullptr);
      for (int i = 0; i < got; ++i) {
        const cmsghdr* stamp = CMSG_FIRSTHDR(&batch[static_cast<size_t>(i)].msg_hdr);
        if (stamp == nullptr || stamp->cmsg_type != SCM_TIMESTAMPNS) continue;
        timespec t{};
        std::memcpy(&t, CMSG_DATA(stamp), sizeof t);
        last_ = t.tv_sec * 1'000'000'000 + t.tv_nsec;
      }
      if (got > 0) count_ += got;
    }
  }
  Fd in_;
  std::thread thread_;
  std::atomic<bool> running_{true};
  std::atomic<Nanos> last_{0};
  std::atomic<int64_t> count_{0};
};

// Speaks broker/PROTOCOL.md, "Nodes", to one gateway over a Unix socket, and believes every report.
class Broker {
 public:
  explicit Broker(const std::string& path) : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
    if (path.size() >= sizeof at.sun_path) die(path + " is too long");
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    ::unlink(path.c_str());
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(listener_.get(), 8) != 0) die(path);
    std::thread([this] {
      for (;;)
        if (Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); fd.valid())
          std::thread([this, own = std::make_shared<Fd>(std::move(fd))] { serve(own); }).detach();
    }).detach();
    std::thread([this] {
      for (;; pause_ms(4000)) send({.kind = node::Update::Kind::heartbeat});
    }).detach();
  }

  // Before a gateway asks: what its snapshot names.
  void hold(const node::Entry& entry) { entries_.insert_or_assign(entry.session, entry); }
  // The time of the write.
  Nanos send(node::Update update) {
    const std::lock_guard lock(mutex_);
    for (const node::Entry& entry : update.entries) hold(entry);
    if (update.kind == node::Update::Kind::set) ++revision_;
    update.revision = revision_, update.now = SystemClock().now();
    const std::string chunk = chunk_of(update);
    const Nanos begun = now_ns();
    if (stream_) write(*stream_, chunk);
    return begun;
  }
  Nanos tell(std::vector<node::Entry> entries) { return send({.kind = node::Update::Kind::set, .entries = std::move(entries)}); }
  bool heard(const SessionId& session, node::Reported state) {
    const std::lock_guard lock(mutex_);
    const auto found = reports_.find(session);
    return found != reports_.end() && found->second == state;
  }
  size_t heard_of() {
    const std::lock_guard lock(mutex_);
    return reports_.size();
  }

 private:
  static std::string chunk_of(const node::Update& update) {
    const std::string line = node::render_update(update) + "\n";
    char size[32];
    snprintf(size, sizeof size, "%zx\r\n", line.size());
    return size + line + "\r\n";
  }
  static void write(const Fd& fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  void serve(const std::shared_ptr<Fd>& fd) {
    std::string in;
    for (std::vector<char> buffer(65536);;) {
      const size_t head = in.find("\r\n\r\n");
      const size_t length_at = in.find("Content-Length: ");
      const size_t size = head == in.npos ? 0 : head + 4 + std::stoul(in.substr(length_at + 16));
      if (head == in.npos || in.size() < size) {
        const ssize_t n = ::recv(fd->get(), buffer.data(), buffer.size(), 0);
        if (n <= 0) return;
        in.append(buffer.data(), static_cast<size_t>(n));
        continue;
      }
      const std::string body = in.substr(head + 4, size - head - 4);
      const bool watch = in.find(" /v1/watch ") < head;
      in.erase(0, size);
      const std::lock_guard lock(mutex_);
      if (watch) {
        node::Update all{.kind = node::Update::Kind::snapshot, .revision = revision_, .now = SystemClock().now()};
        for (const auto& [id, entry] : entries_) all.entries.push_back(entry);
        stream_ = fd;
        write(*fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk_of(all));
      } else {
        const auto document = must(parse_document(must(parse_json(body, 1 << 20)), "report"));
        const auto report = must(node::parse_report(document.body));
        reports_.insert_or_assign(report.session, report.finding.state);
        if (report.finding.state == node::Reported::closed) entries_.erase(report.session);
        if (report.finding.refusal) die("refused: " + std::string(jitwg::name(*report.finding.refusal)));
        write(*fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"accepted\":true}");
      }
    }
  }
  Fd listener_;
  std::mutex mutex_;
  std::shared_ptr<Fd> stream_;
  int64_t revision_ = 1;
  std::map<SessionId, node::Entry> entries_;
  std::map<SessionId, node::Reported> reports_;
};

}  // namespace jitwg::bench
