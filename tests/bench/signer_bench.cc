// What an issue costs, beside `ssh-keygen -s`: jitwg-signer as a program over its socket, with one client and with many,
// and the CPU time of its parts in this process. tests/bench/signer builds and runs this.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/os/clock.h"
#include "broker/os/config.h"
#include "broker/os/file.h"
#include "ssh-ca/signer/frames.h"
#include "ssh-ca/signer/issue.h"
#include "ssh-ca/signer/signer.h"

extern char** environ;

namespace jitwg::signer {
namespace {

using Clock = std::chrono::steady_clock;

template <typename T>
T must(Result<T> result) {
  if (!result) {
    std::cerr << result.error().render() << std::endl;
    exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

double seconds_since(Clock::time_point begun) { return std::chrono::duration<double>(Clock::now() - begun).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string wg_key() {
  std::string key = random_bytes(32);
  key[31] = static_cast<char>(key[31] & 0x3f);
  return base64_encode(key);
}

// A realm of the design page's policy, and questions of its people, signed before any clock starts.
struct Bed {
  std::string dir, toml, people_text;
  ssh::PrivateKey ca = ssh::PrivateKey::generate(), alice = ssh::PrivateKey::generate(), carol = ssh::PrivateKey::generate();
  WallTime now = SystemClock().now();
  std::optional<Realm> realm;

  Bed(std::string directory, int people) : dir(std::move(directory)) {
    must(make_directory(dir, 0700));
    toml = must(read_file(JITWG_SOURCE_DIR "/tests/policy/good/design.toml", limits::kPolicyBytes));
    for (size_t at; (at = toml.find("@WG@")) != toml.npos;) toml.replace(at, 4, wg_key());
    for (size_t at; (at = toml.find("@KEY@")) != toml.npos;) toml.replace(at, 5, ssh::PrivateKey::generate().public_key().str());
    const auto add = [&](const std::string& person, const ssh::PrivateKey& key) {
      people_text += person + " namespaces=\"jitwg\" " + key.public_key().str() + "\n";
    };
    add("alice", alice), add("carol", carol);
    for (const char* other : {"bob", "dave", "erin"}) add(other, ssh::PrivateKey::generate());
    for (int i = 5; i < people; ++i) add("person" + std::to_string(i), ssh::PrivateKey::generate());
    realm = must(make_realm({toml, people_text}, ca.public_key(), "policy.toml"));
    must(write_file(dir + "/policy.toml", toml, 0600));
    must(write_file(dir + "/allowed_signers", people_text, 0600));
    must(write_file(dir + "/ca", ca.render_openssh(""), 0600));
    must(write_file(dir + "/signer.conf", "policy = " + dir + "/policy.toml\nallowed-signers = " + dir + "/allowed_signers\nca-key = " +
                                              dir + "/ca\nstate-dir = " + dir + "/state\nruntime-dir = " + dir + "/run\n", 0600));
    for (const char* part : {"/state", "/parts", "/run", "/keys"}) must(make_directory(dir + part, 0700));
    for (const char* part : {"/state/ledger", "/parts/ledger"}) must(write_file(dir + part, "", 0600));
  }

  StatementHead head(const std::string& by) const { return {realm->policy.realm, by, now, hex_encode(random_bytes(16))}; }
  IssueQuestion question() const {
    const RequestStatement request{head("alice"), SessionId::make(now), "db-prod", "INC-4711 replica lag", Seconds(5400), wg_key(),
                                   ssh::PrivateKey::generate().public_key(), std::string(64, 'b')};
    const auto verdict = decide(realm->policy, {"alice", "db-prod", request.duration, now, false});
    const std::string body = render_statement(request);
    const DecisionStatement decision{head("carol"), request.session, sha256_hex(body), Choice::approve, verdict.access, {}, {}};
    return {ssh::sign(body, kStatementNamespace, alice), {ssh::sign(render_statement(decision), kStatementNamespace, carol)},
            "gw1", realm->policy.digest};
  }
};

json::value message_of(const IssueQuestion& question) {
  return {{"op", "issue"}, {"request", render_document(question.request)},
          {"decisions", json::array{render_document(question.decisions[0])}},
          {"gateway", question.gateway}, {"policy_sha256", question.policy_sha256}};
}

pid_t start(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0) exit(1);
  return pid;
}

// --- our signer, as a program ---

class Program {
 public:
  Program(const std::string& binary, const Bed& bed) : socket_(bed.dir + "/run/signer.sock"), pid_(start({binary, "--config", bed.dir + "/signer.conf"})) {
    while (!connect().valid()) usleep(10'000);
  }
  ~Program() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  Fd connect() const {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    socket_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return Fd();
    return fd;
  }
  double cpu_seconds() const {  // of all its threads, so far
    clockid_t clock;
    timespec spent{};
    if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &spent) != 0) exit(1);
    return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
  }

 private:
  std::string socket_;
  pid_t pid_;
};

struct Caller {
  Fd fd;
  std::string in;
};

void send_all(const Fd& fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) exit(1);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// Every frame asked and answered, each client with one question open. Issues a second.
double drive(const Program& program, const std::vector<std::string>& frames, size_t clients) {
  std::vector<Caller> callers(clients);
  std::vector<pollfd> polled;
  for (Caller& caller : callers) {
    caller.fd = program.connect();
    polled.push_back({caller.fd.get(), POLLIN, 0});
  }
  size_t next = 0, answered = 0;
  const auto begun = Clock::now();
  for (Caller& caller : callers) send_all(caller.fd, frames[next++]);
  while (answered < frames.size()) {
    ::poll(polled.data(), polled.size(), -1);
    for (size_t i = 0; i < clients; ++i) {
      if (polled[i].revents == 0) continue;
      char bytes[65536];
      const ssize_t n = ::recv(polled[i].fd, bytes, sizeof bytes, 0);
      if (n <= 0) exit(1);
      std::string& in = callers[i].in;
      in.append(bytes, static_cast<size_t>(n));
      size_t size = 0;
      if (in.size() >= 4)
        for (size_t k = 0; k < 4; ++k) size = size << 8 | static_cast<uint8_t>(in[k]);
      if (in.size() < 4 || in.size() < 4 + size) continue;
      if (in.find("\"certificate\":\"ssh-") == in.npos) {
        std::cerr << "refused: " << in.substr(4) << std::endl;
        exit(1);
      }
      in.clear();
      ++answered;
      if (next < frames.size()) send_all(callers[i].fd, frames[next++]);
    }
  }
  return static_cast<double>(frames.size()) / seconds_since(begun);
}

// --- ssh-keygen, as somebody would run it: one process a certificate ---

struct Keygen {
  const Bed& bed;
  size_t made = 0;
  double run(size_t count, size_t parallel) {
    std::vector<std::string> files;
    for (size_t i = 0; i < count; ++i) {
      files.push_back(bed.dir + "/keys/" + std::to_string(made++) + ".pub");
      must(write_file(files.back(), ssh::PrivateKey::generate().public_key().str() + "\n", 0600));
    }
    const auto begun = Clock::now();
    size_t running = 0;
    for (const std::string& file : files) {
      if (running == parallel) reap(), --running;
      start({"/usr/bin/ssh-keygen", "-q", "-s", bed.dir + "/ca", "-I", "jitwg1:019b0000-0000-7000-8000-000000000001", "-n",
             "jitwg:019b0000-0000-7000-8000-000000000001", "-z", std::to_string(made), "-V", "-30s:+90m", "-O", "clear", "-O",
             "source-address=10.90.0.7/32,fd00:90::7/128", "-O", "permit-pty", file});
      ++running;
    }
    for (; running > 0; --running) reap();
    const double rate = static_cast<double>(count) / seconds_since(begun);
    for (const std::string& file : files) {
      ::unlink(file.c_str());
      ::unlink((file.substr(0, file.size() - 4) + "-cert.pub").c_str());
    }
    return rate;
  }
  static void reap() {
    int status = 0;
    if (::wait(&status) <= 0 || status != 0) {
      std::cerr << "ssh-keygen failed" << std::endl;
      exit(1);
    }
  }
};

// --- the disk ---

std::string filesystem_of(const std::string& path) {
  struct statfs st {};
  ::statfs(path.c_str(), &st);
  switch (static_cast<unsigned>(st.f_type)) {
    case 0xEF53: return "ext4";
    case 0x58465342: return "xfs";
    case 0x9123683E: return "btrfs";
    case 0x01021994: return "tmpfs, which is no disk";
    case 0x794c7630: return "overlayfs";
    default: return "filesystem " + std::to_string(st.f_type);
  }
}

double fdatasync_ms(const std::string& dir) {
  const Fd fd(::open((dir + "/sync").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::vector<double> times;
  for (const std::string record(3500, 'x'); times.size() < 50;) {
    const auto begun = Clock::now();
    if (::write(fd.get(), record.data(), record.size()) < 0 || ::fdatasync(fd.get()) != 0) exit(1);
    times.push_back(seconds_since(begun) * 1e3);
  }
  return median(std::move(times));
}

// --- the parts, in this process ---

struct Part {
  std::string name;
  double micros;  // CPU an issue
  bool is_sum = false;  // of parts that are listed too
};

double cpu_now() {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) * 1e6 + static_cast<double>(spent.tv_nsec) * 1e-3;
}

std::vector<Part> measure_parts(const Bed& bed, size_t count) {
  std::vector<IssueQuestion> questions;
  std::vector<std::string> frames;
  for (size_t i = 0; i < count; ++i) {
    questions.push_back(bed.question());
    frames.push_back(render_frame(message_of(questions.back())));
  }
  const Realm& realm = *bed.realm;
  const WallTime now = bed.now;
  const auto backend = must(make_native_backend(bed.dir + "/ca"));
  Signer signer(must(make_native_backend(bed.dir + "/ca")), must(Ledger::open(bed.dir + "/parts/ledger")),
                must(make_realm({bed.toml, bed.people_text}, bed.ca.public_key(), "policy.toml")), {bed.toml, bed.people_text});
  std::vector<Part> parts;
  const auto each = [&](const std::string& name, const auto& body, bool is_sum = false) {
    const double begun = cpu_now();
    for (size_t i = 0; i < count; ++i) body(i);
    parts.push_back({name, (cpu_now() - begun) / static_cast<double>(count), is_sum});
  };
  std::vector<json::value> messages(count);
  each("frame in: JSON", [&](size_t i) { messages[i] = std::move(*must(take_frame(frames[i]))); });
  each("documents out of it, digest of the question", [&](size_t i) {
    must(parse_document(messages[i].at("request"), "request"));
    must(parse_document(messages[i].at("decisions").at(0), "decision"));
    digest_of(questions[i]);
  });
  each("parse and verify the request", [&](size_t i) { must(verify_statement(questions[i].request, realm.people, realm.policy.realm, now)); });
  each("parse and verify the decision", [&](size_t i) { must(verify_statement(questions[i].decisions[0], realm.people, realm.policy.realm, now)); });
  each("decide, as of the request and as of now", [&](size_t) {
    for (int twice = 0; twice < 2; ++twice) decide(realm.policy, {"alice", "db-prod", Seconds(5400), now, false});
  });
  Memory memory;
  std::vector<std::optional<Permit>> permits(count);
  each("= all rules of issuance", [&](size_t i) { permits[i] = must(check_issue(questions[i], realm, memory, now)); }, true);
  ssh::Certificate certificate{"", permits[0]->request.ssh_public_key, 1, "jitwg1:" + permits[0]->request.session.str(),
                               {"jitwg:" + permits[0]->request.session.str()}, now - limits::kBackdate, now + Seconds(5400),
                               {{"source-address", "10.90.0.7/32,fd00:90::7/128"}}, {"permit-pty"}, bed.ca.public_key()};
  std::string blob;
  each("sign the certificate", [&](size_t) { blob = must(backend->sign_certificate(certificate)); });
  each("check it", [&](size_t) { must(ssh::parse_certificate(blob)); });
  const json::value made = must(issue(*permits[0], "gw1", realm, memory, *backend, now));
  const Grant grant = must(parse_grant(must(parse_document(made.at("grant"), "grant")).body));
  std::optional<ssh::SignedDocument> document;
  each("sign the grant", [&](size_t) { document = must(backend->sign_document(render_grant(grant), kGrantNamespace)); });
  each("check it", [&](size_t) { must(verify_grant(*document, bed.ca.public_key(), realm.policy.realm)); });
  each("= certificate and grant, addresses chosen", [&](size_t i) { must(issue(*permits[i], "gw1", realm, memory, *backend, now)); }, true);
  std::vector<json::value> answers(count);
  each("= the whole answer, kept in memory for the ledger", [&](size_t i) { answers[i] = signer.answer(messages[i], now); }, true);
  for (const json::value& answer : answers)
    if (const auto error = parse_error(answer)) must(Result<void>(tl::unexpected<Error>(*error)));
  const double others = parts[1].micros + parts[5].micros + parts[10].micros;
  parts.insert(parts.end() - 1, {"ledger record: rendered, hashed, remembered", parts.back().micros - others});
  each("frame out: JSON", [&](size_t i) { render_frame(answers[i]); });
  must(signer.sync());
  Ledger ledger = must(Ledger::open([&] {
    must(write_file(bed.dir + "/parts/other", "", 0600));
    return bed.dir + "/parts/other";
  }()));
  double syncing = 0;
  for (size_t i = 0; i < std::min<size_t>(count, 200); ++i) {
    must(ledger.append({{"kind", "issued"}, {"at", render_time(now)}, {"question_sha256", digest_of(questions[i])},
                        {"statements", json::array{render_document(questions[i].request), render_document(questions[i].decisions[0])}},
                        {"answer", answers[i]}}));
    const double begun = cpu_now();
    must(ledger.sync());
    syncing += cpu_now() - begun;
  }
  parts.push_back({"ledger write and fdatasync, one record", syncing / static_cast<double>(std::min<size_t>(count, 200))});
  return parts;
}

// --- all of it ---

const std::vector<Option> kOptions = {
    {"signer", "", "the jitwg-signer that is measured"},
    {"dir", "", "a new folder on the disk that is measured"},
    {"rounds", "5", "interleaved; medians are told"},
    {"issues", "400", "a round with one client; four times as many with 16"},
    {"people", "1000", "in allowed_signers"},
    {"json", "", "file for the figures"},
};

struct Rates {
  std::vector<double> one, many;
};

int run(const Config& config) {
  constexpr size_t kMany = 16;
  const auto number = [&](const char* key) { return std::stoul(config.get(key)); };
  Bed bed(must(config.need("dir")), static_cast<int>(number("people")));
  const std::vector<Part> parts = measure_parts(bed, 500);
  const size_t rounds = number("rounds"), issues = number("issues");
  std::vector<std::vector<std::string>> ones(rounds), manys(rounds);
  for (size_t r = 0; r < rounds; ++r) {
    for (size_t i = 0; i < issues; ++i) ones[r].push_back(render_frame(message_of(bed.question())));
    for (size_t i = 0; i < 4 * issues; ++i) manys[r].push_back(render_frame(message_of(bed.question())));
  }
  const Program program(must(config.need("signer")), bed);
  Keygen keygen{bed};
  Rates ours, theirs;
  std::vector<double> disk, cpu_one, cpu_many;
  for (size_t r = 0; r < rounds; ++r) {
    disk.push_back(fdatasync_ms(bed.dir));
    const double before = program.cpu_seconds();
    ours.one.push_back(drive(program, ones[r], 1));
    const double between = program.cpu_seconds();
    theirs.one.push_back(keygen.run(issues / 2, 1));
    const double again = program.cpu_seconds();
    ours.many.push_back(drive(program, manys[r], kMany));
    cpu_one.push_back((between - before) * 1e6 / static_cast<double>(issues));
    cpu_many.push_back((program.cpu_seconds() - again) * 1e6 / static_cast<double>(4 * issues));
    theirs.many.push_back(keygen.run(issues, kMany));
  }
  const std::string filesystem = filesystem_of(bed.dir);
  printf("`ssh-keygen -s`: one process a certificate, nothing checked, nothing recorded. jitwg-signer, over its socket: request and one decision\n"
         "verified (%zu people), policy decided twice, certificate and grant signed and checked again, ledger on %s, durable before the answer\n"
         "(one write of 3.5 kB with fdatasync there: %.2f ms). Medians of %zu interleaved rounds, %ld CPUs.\n\n",
         number("people"), filesystem.c_str(), median(disk), rounds, sysconf(_SC_NPROCESSORS_ONLN));
  printf("| a second | ssh-keygen -s | jitwg-signer | times | its CPU an issue |\n|---|---|---|---|---|\n");
  const auto line = [](const char* name, const std::vector<double>& a, const std::vector<double>& b, const std::vector<double>& cpu) {
    printf("| %s | %.0f | %.0f | %.1f | %.0f µs |\n", name, median(a), median(b), median(b) / median(a), median(cpu));
  };
  line("one client", theirs.one, ours.one, cpu_one);
  line("16 clients", theirs.many, ours.many, cpu_many);
  printf("\n| CPU of its parts | µs an issue |\n|---|---|\n");
  for (const Part& part : parts) printf("| %s%s%s | %.0f |\n", part.is_sum ? "*" : "", part.name.c_str(), part.is_sum ? "*" : "", part.micros);
  if (!config.has("json")) return 0;
  json::array list;
  for (const Part& part : parts) list.push_back({{"part", part.name}, {"cpu_us", part.micros}, {"sum", part.is_sum}});
  const auto rates = [](const std::vector<double>& values) { return json::array(values.begin(), values.end()); };
  const json::object all{{"filesystem", filesystem}, {"fdatasync_ms", rates(disk)}, {"people", number("people")},
                         {"ssh_keygen", {{"1", rates(theirs.one)}, {"16", rates(theirs.many)}}},
                         {"jitwg_signer", {{"1", rates(ours.one)}, {"16", rates(ours.many)}}},
                         {"signer_cpu_us", {{"1", rates(cpu_one)}, {"16", rates(cpu_many)}}},
                         {"parts", list}};
  std::ofstream(config.get("json")) << json::value(all) << "\n";
  return 0;
}

}  // namespace
}  // namespace jitwg::signer

int main(int argc, char** argv) {
  using namespace jitwg::signer;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  return run(must(jitwg::Config::load({argv + 1, argv + argc}, kOptions)));
}
