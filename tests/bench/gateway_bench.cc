// What the gateway costs, beside what one would run instead. tests/bench/gateway builds this, makes the hosts, and runs it.
//
// Seven gateways, each its own host with a WireGuard interface jitwg0 and all sessions as peers: jitwg-gateway, a set
// with `nft delete element`, and a rule per session, each with few and with many sessions; and one on which single
// sessions are added by the gateway's own code, in this process. In all of them the person's packets go through
// WireGuard at both ends. Gateway K's pool is 10.9K.0.0/16, its target 10.60.K.20.
#include <array>
#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>

#include "broker/base/limits.h"
#include "broker/gateway/gateway.h"
#include "broker/gateway/linux_kernel.h"
#include "broker/gateway/ruleset.h"
#include "broker/os/config.h"
#include "broker/os/file.h"
#include "tests/bench/gateway_bed.h"

namespace jitwg::bench {
namespace {

constexpr uint16_t kPort = 5000;
constexpr int kSamples = 16;  // sessions with packets among those that are closed at once

struct KeyPair {
  std::string secret, open;  // base64
};
KeyPair make_pair() {
  wireguard::PrivateKey key;
  const std::string bytes = random_bytes(32);
  std::memcpy(key.data(), bytes.data(), 32);
  key.data()[0] &= 248, key.data()[31] = static_cast<unsigned char>((key.data()[31] & 127) | 64);
  return {base64_encode({reinterpret_cast<const char*>(key.data()), 32}), wireguard::public_key_of(key).str()};
}
std::string unused_key() {
  std::string bytes = random_bytes(32);
  bytes[31] = static_cast<char>(bytes[31] & 0x7f);
  return base64_encode(bytes);
}

// --- the bed ---

struct Bed {
  std::string dir, binary;
  Host person, target;
  ssh::PrivateKey ca = ssh::PrivateKey::generate();
  std::vector<KeyPair> keys;  // of the sessions that packets go through: 0, and the samples
};

class Gateway {
 public:
  Gateway(const Bed& bed, Host host, int number, size_t sessions, size_t at_once = 0)
      : bed_(bed), host_(std::move(host)), k_(std::to_string(number)), sessions_(sessions), at_once_(at_once), own_(make_pair()),
        arrivals_(bed.target, target(), kPort) {
    must(write_file(path("wg.key"), own_.secret + "\n", 0600));
    host_.inside([&] {
      run({"wg", "set", "jitwg0", "private-key", path("wg.key"), "listen-port", "51820"});
      run({"ip", "link", "set", "jitwg0", "up"});
    });
    peer_keys_.resize(sessions);
    for (size_t n = 0; n < sessions; ++n) {
      const auto sample = sample_of(n);
      peer_keys_[n] = sample ? bed_.keys[*sample].open : unused_key();
    }
  }
  virtual ~Gateway() = default;

  virtual void revoke_first() = 0;   // sets `called_` at the call; returns once it is sure
  virtual void restore_first() = 0;  // the same session, or one with the same key, is open again

  std::string target() const { return "10.60." + k_ + ".20"; }
  std::string address(size_t n) const { return "10.9" + k_ + "." + std::to_string(n / 250) + "." + std::to_string(n % 250 + 1); }
  std::string path(const std::string& name) const { return bed_.dir + "/" + host_.name + "-" + name; }
  // The person's interface: 0 for session 0, the others of the samples.
  std::string device(size_t sample) const { return "p" + k_ + "x" + std::to_string(sample); }
  size_t samples() const { return at_once_ == 0 ? 0 : kSamples; }
  // Session 0 is revoked alone; the samples are spread over 1…at_once_, which are closed at once.
  std::optional<size_t> sample_of(size_t n) const {
    if (n == 0) return 0;
    const size_t step = at_once_ / kSamples;
    if (step == 0 || n > at_once_ || n % step != 0 || n / step > kSamples) return std::nullopt;
    return n / step;
  }

  // The person's end, made anew: WireGuard shakes hands at the next packet, not after its patience.
  void meet(size_t sample) const {
    bed_.person.inside([&] {
      run({"wg", "set", device(sample), "peer", own_.open, "remove"});
      run({"wg", "set", device(sample), "peer", own_.open, "endpoint", "192.0.2." + std::to_string(std::stoi(k_) * 4 + 1) + ":51820",
           "allowed-ips", target() + "/32"});
    });
  }
  void configure_person(size_t sample) {
    must(write_file(path("person.key"), bed_.keys[sample].secret + "\n", 0600));
    size_t n = 0;
    while (sample_of(n) != sample) ++n;
    bed_.person.inside([&] {
      run({"wg", "set", device(sample), "private-key", path("person.key")});
      run({"ip", "addr", "add", address(n) + "/32", "dev", device(sample)});
      run({"ip", "link", "set", device(sample), "up"});
      run({"ip", "route", "add", target() + "/32", "dev", device(sample), "metric", std::to_string(100 + sample)});
    });
    meet(sample);
    if (sample == 0) flow_.emplace(bed_.person, device(0), target(), kPort);
  }

  // Call to last packet, milliseconds; packets come each 200 µs, so an earlier last one is 0.
  double revocation() {
    flow_->start(200);
    const int64_t before = arrivals_.count();
    wait_until("packets through " + host_.name, 20, [&] { return arrivals_.count() > before + 100; });
    revoke_first();
    Nanos last = arrivals_.last();
    do last = arrivals_.last(), pause_ms(60);
    while (arrivals_.last() != last);
    flow_->stop();
    restore_first();
    return std::max(0.0, static_cast<double>(last - called_) / 1e6);
  }
  double packets_a_second() {
    flow_->start(1000);
    const int64_t before = arrivals_.count();
    wait_until("packets through " + host_.name, 20, [&] { return arrivals_.count() > before + 5; });
    flow_->stop();
    constexpr int64_t kMillis = 600;
    const int64_t begun = arrivals_.count();
    flow_->flood(kMillis);
    pause_ms(20);
    return static_cast<double>(arrivals_.count() - begun) * 1e3 / kMillis;
  }
  std::pair<size_t, size_t> read_back(const std::string& table, const std::string& set) const {
    std::pair<size_t, size_t> counts;
    host_.inside([&] {
      counts.first = must(must(gateway::find_transport("jitwg0"))->get()).peers.size();
      counts.second = must(must(netfilter::Table::open(table)).list(set)).size();
    });
    return counts;
  }
  virtual std::string counts() const = 0;
  const Host& host() const { return host_; }

 protected:
  void add_peers_by_hand() const {
    host_.inside([&] {
      const auto transport = must(gateway::find_transport("jitwg0"));
      std::vector<wireguard::Peer> some;
      for (size_t n = 0; n < sessions_; ++n) {
        some.push_back({must(wireguard::PublicKey::parse(peer_keys_[n])), {must(Prefix::parse(address(n)))}, {}, {}});
        if (some.size() == 500 || n + 1 == sessions_) must(transport->change({}, some)), some.clear();
      }
      run({"ip", "route", "add", "10.9" + k_ + ".0.0/16", "dev", "jitwg0"});
    });
  }

  const Bed& bed_;
  const Host host_;
  const std::string k_;
  const size_t sessions_, at_once_;
  const KeyPair own_;
  std::vector<std::string> peer_keys_;
  Arrivals arrivals_;
  std::optional<Flow> flow_;
  Nanos called_ = 0;
};

constexpr const char* kGate =
    "table inet recipe {\n"
    " set live {\n type ipv4_addr . ipv4_addr . inet_proto . inet_service\n flags timeout\n counter\n }\n"
    " chain from_tunnel {\n }\n"
    " chain forward {\n type filter hook forward priority filter; policy drop;\n"
    "  iifname jitwg0 ip saddr . ip daddr . meta l4proto . th dport @live accept\n"
    "  iifname jitwg0 goto from_tunnel\n  oifname jitwg0 ct state established,related accept\n }\n}\n";

// As by hand: one set, an element a session; `nft delete element`.
class Elements final : public Gateway {
 public:
  Elements(const Bed& bed, Host host, int number, size_t sessions) : Gateway(bed, std::move(host), number, sessions) {
    std::string text = kGate;
    for (size_t n = 0; n < sessions; n += 500) {
      text += "add element inet recipe live { ";
      for (size_t i = n; i < std::min(sessions, n + 500); ++i) text += (i > n ? ", " : "") + element(i);
      text += " }\n";
    }
    host_.inside([&] { must(netfilter::load_ruleset(text)); });
    add_peers_by_hand();
  }
  std::string element(size_t n) const { return address(n) + " . " + target() + " . udp . 5000 timeout 6h"; }
  void revoke_first() override {
    host_.inside([&] {
      called_ = now_ns();
      run({"nft", "delete", "element", "inet", "recipe", "live", "{ " + address(0) + " . " + target() + " . udp . 5000 }"});
    });
  }
  void restore_first() override {
    host_.inside([&] { run({"nft", "add", "element", "inet", "recipe", "live", "{ " + element(0) + " }"}); });
  }
  std::string counts() const override {
    const auto [peers, elements] = read_back("recipe", "live");
    return std::to_string(peers) + " peers, " + std::to_string(elements) + " elements";
  }
  // `wg set` and `nft add element`, two programs, as the recipe has it. Milliseconds.
  double add_one() {
    const std::string key = unused_key(), from = "10.9" + k_ + ".200." + std::to_string(++added_);
    double took = 0;
    host_.inside([&] {
      const Nanos begun = now_ns();
      run({"wg", "set", "jitwg0", "peer", key, "allowed-ips", from + "/32"});
      run({"nft", "add", "element", "inet", "recipe", "live", "{ " + from + " . " + target() + " . udp . 5000 timeout 1h }"});
      took = static_cast<double>(now_ns() - begun) / 1e6;
    });
    return took;
  }

 private:
  int added_ = 0;
};

// As by hand: a rule a session, found by its comment and deleted by its handle.
class Rules final : public Gateway {
 public:
  Rules(const Bed& bed, Host host, int number, size_t sessions) : Gateway(bed, std::move(host), number, sessions) {
    std::string text = kGate;
    for (size_t n = sessions; n-- > 0;) text += "add rule inet recipe from_tunnel " + rule(n) + "\n";
    host_.inside([&] { must(netfilter::load_ruleset(text)); });
    add_peers_by_hand();
  }
  std::string rule(size_t n) const {
    return "ip saddr " + address(n) + " ip daddr " + target() + " udp dport 5000 accept comment \"session-" + std::to_string(n) + "-\"";
  }
  void revoke_first() override {
    host_.inside([&] {
      called_ = now_ns();
      run({"sh", "-c", "nft delete rule inet recipe from_tunnel handle $(nft -a list chain inet recipe from_tunnel | sed -n '/\"session-0-\"/s/.*handle //p')"});
    });
  }
  void restore_first() override {
    host_.inside([&] { run({"nft", "add rule inet recipe from_tunnel " + rule(0)}); });
  }
  std::string counts() const override {
    size_t rules = 0, peers = 0;
    host_.inside([&] {
      peers = must(must(gateway::find_transport("jitwg0"))->get()).peers.size();
      std::istringstream listing(must(netfilter::list_chains("recipe")));
      for (std::string line; std::getline(listing, line);) rules += line.find("session-") != line.npos ? 1 : 0;
    });
    return std::to_string(peers) + " peers, " + std::to_string(rules) + " rules";
  }
};

// jitwg-gateway, as a program, told by a broker.
class Ours final : public Gateway {
 public:
  Ours(const Bed& bed, Host host, int number, size_t sessions) : Gateway(bed, std::move(host), number, sessions, sessions > 1000 ? 1000 : 0), broker_(path("broker")) {
    must(make_directory(path("state/grants"), 0700));
    must(write_file(path("ca.pub"), bed_.ca.public_key().str() + "\n", 0600));
    must(write_file(path("node_key"), ssh::PrivateKey::generate().render_openssh(""), 0600));
    must(write_file(path("conf"),
                    "broker = unix:" + path("broker") + "\nnode = gw1\nnode-key = " + path("node_key") + "\nca = " + path("ca.pub") +
                        "\nrealm = bench\ninterface = jitwg0\nwireguard-key = " + path("wg.key") + "\npool = 10.9" + k_ +
                        ".0.0/16\nstate-dir = " + path("state") + "\nruntime-dir = " + path("run") + "\n", 0600));
    must(make_directory(path("run"), 0700));
    for (size_t n = 0; n < sessions_; ++n) {
      ids_.push_back(SessionId::make(SystemClock().now()));
      const node::Entry entry = entry_of(n);
      broker_.hold(entry);
      std::ofstream(path("state/grants/" + ids_[n].str() + ".json")) << render_json(render_document(*entry.grant));
    }
    begin();
    wait_until("all sessions reported open", 120, [&] { return broker_.heard_of() >= sessions_; });
  }
  ~Ours() override { end(SIGTERM); }

  // From its start until it says READY, which is after it has brought the kernel in line: seconds.
  double begin() {
    const Fd ready(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
    path("ready").copy(at.sun_path, sizeof at.sun_path - 1);
    ::unlink(at.sun_path);
    if (::bind(ready.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) die(path("ready"));
    const timeval patience{60, 0};
    ::setsockopt(ready.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    double took = 0;
    host_.inside([&] {
      run({bed_.binary, "selftest", "--config", path("conf")});  // as the unit does; not counted
      const Nanos begun = now_ns();
      pid_ = start({bed_.binary, "--config", path("conf")}, {"NOTIFY_SOCKET=" + path("ready")}, path("log"));
      daemons.push_back(pid_);
      for (char word[512];;) {
        const ssize_t n = ::recv(ready.get(), word, sizeof word, 0);
        if (n <= 0) die("the gateway does not start: " + path("log"));
        if (std::string_view(word, static_cast<size_t>(n)).find("READY=1") != std::string_view::npos) break;
      }
      took = static_cast<double>(now_ns() - begun) / 1e9;
    });
    return took;
  }
  void end(int number) {
    ::kill(pid_, number);
    ::waitpid(pid_, nullptr, 0);
    std::erase(daemons, pid_);
  }
  void empty_the_kernel() const {
    host_.inside([&] {
      const auto transport = must(gateway::find_transport("jitwg0"));
      std::vector<wireguard::PublicKey> all;
      for (const auto& peer : must(transport->get()).peers) all.push_back(peer.key);
      for (size_t i = 0; i < all.size(); i += 500)
        must(transport->change({all.begin() + static_cast<long>(i), all.begin() + static_cast<long>(std::min(all.size(), i + 500))}, {}));
      must(netfilter::load_ruleset("delete table inet jitwg"));
    });
  }

  void revoke_first() override {
    called_ = broker_.tell({{.session = ids_[0], .reason = CloseReason::revoked}});
    wait_until("closed", 30, [&] { return broker_.heard(ids_[0], node::Reported::closed); });
  }
  void restore_first() override {
    ids_[0] = SessionId::make(SystemClock().now());
    open_ms_.push_back(opened({0}));
    meet(0);
  }
  // From the broker's line to its report that all of them are open: milliseconds.
  double opened(const std::vector<size_t>& which) {
    std::vector<node::Entry> entries;
    for (const size_t n : which) entries.push_back(entry_of(n));
    const Nanos begun = broker_.tell(std::move(entries));
    for (const size_t n : which) wait_until("open", 60, [&] { return broker_.heard(ids_[n], node::Reported::open); });
    return static_cast<double>(now_ns() - begun) / 1e6;
  }
  // Call to the last packet of any of them: milliseconds. Read back: none of them is left.
  double close_at_once() {
    std::vector<std::unique_ptr<Flow>> flows;
    std::vector<size_t> which;
    std::vector<node::Entry> entries;
    for (size_t n = 1; n <= at_once_; ++n) {
      which.push_back(n);
      entries.push_back({.session = ids_[n], .reason = CloseReason::incident_closed});
      if (const auto sample = sample_of(n)) {
        flows.push_back(std::make_unique<Flow>(bed_.person, device(*sample), target(), kPort));
        const int64_t before = arrivals_.count();
        meet(*sample);
        flows.back()->start(4000);
        wait_until("packets of a sample", 20, [&] { return arrivals_.count() > before + 3 * static_cast<int64_t>(flows.size()); });
      }
    }
    pause_ms(200);
    const Nanos called = broker_.tell(std::move(entries));
    Nanos last = 0;
    do last = arrivals_.last(), pause_ms(300);
    while (arrivals_.last() != last);
    flows.clear();
    for (const size_t n : which) wait_until("closed", 60, [&] { return broker_.heard(ids_[n], node::Reported::closed); });
    if (read_back("jitwg", "scope4").second != sessions_ - which.size()) die("elements are left");
    for (const size_t n : which) ids_[n] = SessionId::make(SystemClock().now());
    opened(which);
    return std::max(0.0, static_cast<double>(last - called) / 1e6);
  }
  std::string counts() const override {
    const auto [peers, elements] = read_back("jitwg", "scope4");
    return std::to_string(peers) + " peers, " + std::to_string(elements) + " elements";
  }
  double memory_mib() const { return memory_of(std::to_string(pid_)); }
  // Of the userspace WireGuard, where there is one.
  double wireguard_mib() const {
    for (const std::string& name : must(list_directory("/proc"))) {
      const auto words = read_file("/proc/" + name + "/cmdline", 4096);
      char theirs[64] = {}, ours[64] = {};
      if (!words || words->find("wireguard-go") == std::string::npos || words->find("jitwg0") == std::string::npos) continue;
      (void)!::readlink(("/proc/" + name + "/ns/net").c_str(), theirs, sizeof theirs - 1);
      (void)!::readlink(("/proc/" + std::to_string(host_.pid) + "/ns/net").c_str(), ours, sizeof ours - 1);
      if (std::string_view(theirs) == ours) return memory_of(name);
    }
    return 0;
  }
  const std::vector<double>& open_ms() const { return open_ms_; }

 private:
  static double memory_of(const std::string& pid) {
    std::istringstream text(must(read_file("/proc/" + pid + "/status", 65536)));
    for (std::string line; std::getline(text, line);)
      if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
    return 0;
  }
  node::Entry entry_of(size_t n) const {
    Grant grant{.realm = "bench", .session = ids_[n], .person = "alice", .target = "db-prod", .login = {}, .wg_public_key = peer_keys_[n],
                .address = {must(Prefix::parse(address(n)))}, .scope = must(parse_scope({"udp " + target() + ":5000"})),
                .gateway = {"gw1", own_.open, must(Endpoint::parse("192.0.2.1:51820"))}, .jump_hosts = {}, .certificate_sha256 = {}, .serial = {},
                .not_before = SystemClock().now(), .not_after = SystemClock().now() + Seconds(6 * 3600), .policy_sha256 = std::string(64, '0'), .incident = {}};
    return {.session = ids_[n], .grant = ssh::sign(render_grant(grant), kGrantNamespace, bed_.ca)};
  }
  Broker broker_;
  std::vector<SessionId> ids_;
  std::vector<double> open_ms_;
  pid_t pid_ = 0;
};

// The gateway's own code on the host's kernel, without broker and disk: what `wg set` and `nft add element` do.
class InProcess {
 public:
  InProcess(const Bed& bed, const Host& host, size_t sessions) : bed_(bed), host_(host) {
    const KeyPair own = make_pair();
    must(write_file(bed.dir + "/in-process.key", own.secret + "\n", 0600));
    host_.inside([&] {
      kernel_ = must(gateway::LinuxKernel::open({.name = "jitwg0", .key_file = bed.dir + "/in-process.key", .pools = {must(Prefix::parse("10.90.0.0/16"))}, .wireguard_go = ""}, bed.dir + "/table"));
      gateway_.emplace(gateway::Gateway::Settings{"gw1", kernel_->public_key(), {must(Prefix::parse("10.90.0.0/16"))}}, *kernel_, silent_, [] { return SystemClock().instant(); });
      for (size_t n = 0; n < sessions; ++n) wanted_.push_back(next());
      for (const auto& outcome : gateway_->converge(wanted_, SystemClock().now()))
        if (outcome.state != node::Outcome::State::open) die("in process: not open");
    });
  }
  double add_one() {
    double took = 0;
    host_.inside([&] {
      const std::vector<node::Wanted> one = {next()};
      const Nanos begun = now_ns();
      const auto outcomes = gateway_->add(one, SystemClock().now());
      took = static_cast<double>(now_ns() - begun) / 1e6;
      if (!outcomes || outcomes->at(0).state != node::Outcome::State::open) die("in process: not added");
    });
    return took;
  }
  double converge() {
    double took = 0;
    host_.inside([&] {
      const Nanos begun = now_ns();
      gateway_->converge(wanted_, SystemClock().now());
      took = static_cast<double>(now_ns() - begun) / 1e6;
    });
    return took;
  }

 private:
  struct Silent final : EventSink {
    void emit(const Event&) override {}
  };
  node::Wanted next() {
    ++count_;
    Grant grant{.realm = "bench", .session = SessionId::make(SystemClock().now()), .person = "alice", .target = "db-prod", .login = {}, .wg_public_key = unused_key(),
                .address = {must(Prefix::parse("10.90." + std::to_string(count_ / 250) + "." + std::to_string(count_ % 250 + 1)))},
                .scope = must(parse_scope({"udp 10.60.0.20:5000"})), .gateway = {"gw1", kernel_->public_key().str(), must(Endpoint::parse("192.0.2.1:51820"))},
                .jump_hosts = {}, .certificate_sha256 = {}, .serial = {}, .not_before = SystemClock().now(), .not_after = SystemClock().now() + Seconds(6 * 3600),
                .policy_sha256 = std::string(64, '0'), .incident = {}};
    return {std::move(grant), true, {}};
  }
  const Bed& bed_;
  const Host& host_;
  Silent silent_;
  std::unique_ptr<gateway::LinuxKernel> kernel_;
  std::optional<gateway::Gateway> gateway_;
  std::vector<node::Wanted> wanted_;
  int count_ = 0;
};

// --- all of it ---

const std::vector<Option> kOptions = {
    {"gateway", "", "the jitwg-gateway that is measured"},
    {"dir", "", "a new folder, on a real disk"},
    {"hosts", "", "NAME=PID,…: person, target, in-process, and the six gateways 1 to 6"},
    {"rounds", "5", "interleaved; medians are told"},
    {"many", "10000", "sessions"},
    {"few", "10", "sessions"},
    {"json", "", "file for the figures"},
};

using Series = std::map<std::string, std::vector<double>>;  // figure -> one value a round

int measure(const Config& config) {
  const auto number = [&](const char* key) { return std::stoul(config.get(key)); };
  std::map<std::string, Host> hosts;
  std::istringstream words(must(config.need("hosts")));
  for (std::string word; std::getline(words, word, ',');) {
    const std::string name = word.substr(0, word.find('='));
    hosts[name] = {name, std::stoi(word.substr(name.size() + 1))};
  }
  Bed bed{must(config.need("dir")), must(config.need("gateway")), hosts.at("person"), hosts.at("target"), ssh::PrivateKey::generate(), {}};
  for (int i = 0; i <= kSamples; ++i) bed.keys.push_back(make_pair());
  const size_t few = number("few"), many = number("many"), rounds = number("rounds");
  const auto say = [](const std::string& what) { std::cerr << what << std::endl; };

  say("making " + std::to_string(many) + " sessions four times");
  Ours ours_few(bed, hosts.at("1"), 1, few), ours_many(bed, hosts.at("2"), 2, many);
  Elements set_few(bed, hosts.at("3"), 3, few), set_many(bed, hosts.at("4"), 4, many);
  Rules rules_few(bed, hosts.at("5"), 5, few), rules_many(bed, hosts.at("6"), 6, many);
  InProcess in_process(bed, hosts.at("in-process"), many);
  const std::vector<std::pair<std::string, Gateway*>> all = {{"jitwg-gateway, " + std::to_string(few), &ours_few}, {"jitwg-gateway, " + std::to_string(many), &ours_many},
                                                             {"nft delete element, " + std::to_string(few), &set_few}, {"nft delete element, " + std::to_string(many), &set_many},
                                                             {"rule a session, " + std::to_string(few), &rules_few}, {"rule a session, " + std::to_string(many), &rules_many}};
  for (const auto& [name, gateway] : all)
    for (size_t sample = 0; sample <= gateway->samples(); ++sample) gateway->configure_person(sample);

  Series p50, p99, forwards, once;
  std::vector<std::string> counts;
  for (size_t round = 0; round < rounds; ++round) {
    say("round " + std::to_string(round + 1));
    std::map<std::string, std::vector<double>> revocations;
    for (const auto& [name, gateway] : all) counts.push_back(name + ": " + gateway->counts());
    for (int i = 0; i < 12; ++i)
      for (const auto& [name, gateway] : all)
        if (i < 4 || gateway != &rules_many) revocations[name].push_back(gateway->revocation());
    for (const auto& [name, gateway] : all) {
      p50[name].push_back(median(revocations[name])), p99[name].push_back(quantile(revocations[name], 0.99));
      forwards[name].push_back(gateway->packets_a_second());
    }
    std::vector<double> ours, theirs;
    for (int i = 0; i < 20; ++i) ours.push_back(in_process.add_one()), theirs.push_back(set_many.add_one());
    once["add: wg set + nft add element, ms"].push_back(median(theirs));
    once["add: peer and element in process, ms"].push_back(median(ours));
    once["whole look, nothing to do, ms"].push_back(in_process.converge());
    once["1,000 closed at once: last packet, ms"].push_back(ours_many.close_at_once());
  }
  once["open, broker's line to report, " + std::to_string(few) + ", ms"] = ours_few.open_ms();
  once["open, broker's line to report, " + std::to_string(many) + ", ms"] = ours_many.open_ms();
  once["memory of jitwg-gateway, " + std::to_string(few) + ", MiB"] = {ours_few.memory_mib()};
  once["memory of jitwg-gateway, " + std::to_string(many) + ", MiB"] = {ours_many.memory_mib()};
  once["memory of wireguard-go, " + std::to_string(many) + ", MiB"] = {ours_many.wireguard_mib()};
  for (size_t round = 0; round < rounds; ++round) {
    say("restart " + std::to_string(round + 1));
    ours_many.end(SIGKILL);
    once["restart, kernel as it was, s"].push_back(ours_many.begin());
    ours_many.end(SIGKILL);
    ours_many.empty_the_kernel();
    once["restart, kernel empty, s"].push_back(ours_many.begin());
    counts.push_back("restarted: " + ours_many.counts());
  }

  printf("Revoke, from the broker's line or the program's start to the last packet that arrived (one each 200 µs); forwarding of one flow of\n"
         "64-byte packets. WireGuard at both ends. Medians of %zu interleaved rounds, %ld CPUs.\n\n", rounds, sysconf(_SC_NPROCESSORS_ONLN));
  printf("| sessions | revoke, p50 ms | p99 ms | packets/s |\n|---|---|---|---|\n");
  for (const auto& [name, gateway] : all)
    printf("| %s | %.2f | %.2f | %.0f |\n", name.c_str(), median(p50[name]), median(p99[name]), median(forwards[name]));
  printf("\n| | median |\n|---|---|\n");
  for (const auto& [name, values] : once) printf("| %s | %.2f |\n", name.c_str(), median(values));
  printf("\nRead back from the kernel:\n");
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  for (const std::string& line : counts) printf("- %s\n", line.c_str());
  if (!config.has("json")) return 0;
  const auto object = [](const Series& series) {
    json::object out;
    for (const auto& [name, values] : series) out[name] = json::array(values.begin(), values.end());
    return out;
  };
  std::ofstream(config.get("json")) << json::value{{"revoke_p50_ms", object(p50)}, {"revoke_p99_ms", object(p99)}, {"packets_a_second", object(forwards)},
                                                   {"other", object(once)}, {"read_back", json::array(counts.begin(), counts.end())}} << "\n";
  return 0;
}

}  // namespace
}  // namespace jitwg::bench

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  std::vector<std::string> words(argv + 1, argv + argc);
  return jitwg::bench::measure(jitwg::bench::must(jitwg::Config::load(words, jitwg::bench::kOptions)));
}
