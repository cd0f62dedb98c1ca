// One contract for every CA backend, and what happens when ssh-keygen or the agent behind one fails.
#include "ssh-ca/signer/backend.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include "broker/os/command.h"
#include "broker/os/clock.h"
#include "tests/unit/ssh-ca/signer/world.h"

namespace jitwg::signer {
namespace {

using namespace std::chrono_literals;

ssh::Certificate wanted(const ssh::PublicKey& ca) {
  return {"", ssh::PrivateKey::generate().public_key(), 0x7fffffffffffffffULL, "jitwg1:019b0000-0000-7000-8000-000000000001",
          {"jitwg:019b0000-0000-7000-8000-000000000001"}, kNow - Seconds(30), kNow + Seconds(5400),
          {{"source-address", "10.90.0.7/32,fd00:90::7/128"}},
          {"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty"}, ca};
}

std::string run(const std::string& line) {
  const auto ran = run_command({"/bin/sh", "-c", line});
  return ran ? std::to_string(ran->code) + " " + ran->output : ran.error().message;
}

// A folder with the CA key `ca` (and ca.pub), an agent that holds it, and a ssh-keygen that does what `mode` says.
struct Host : World {
  Host() {
    EXPECT_TRUE(write_file(dir + "/ca", ca.render_openssh(""), 0600));
    EXPECT_TRUE(write_file(dir + "/ca.pub", ca.public_key().str() + " the CA\n", 0644));
    EXPECT_TRUE(write_file(dir + "/fake",
                           "#!/bin/sh\nd=" + dir + "\nfor last in \"$@\"; do :; done\nreal=/usr/bin/ssh-keygen\n"
                           ". $d/mode\n", 0755));
    mode("exec $real \"$@\"");
  }
  ~Host() {
    if (agent > 0) ::kill(agent, SIGTERM);
  }
  void mode(const std::string& script) const { EXPECT_TRUE(write_file(dir + "/mode", script + "\n", 0644)); }
  void start_agent() {
    const std::string said = run("ssh-agent -a " + dir + "/agent && SSH_AUTH_SOCK=" + dir + "/agent ssh-add -q " + dir + "/ca");
    const size_t at = said.find("SSH_AGENT_PID=");
    ASSERT_NE(at, said.npos) << said;
    agent = std::stoi(said.substr(at + 14));
  }
  SshKeygen how(std::chrono::milliseconds deadline = 5s) const {
    return {.program = dir + "/fake", .scratch = dir + "/scratch", .agent_socket = {}, .deadline = deadline};
  }
  std::unique_ptr<CaBackend> fake(std::chrono::milliseconds deadline = 5s) const {
    auto backend = make_ssh_keygen_backend(dir + "/ca", how(deadline));
    EXPECT_TRUE(backend) << backend.error().render();
    return std::move(*backend);
  }
  pid_t agent = 0;
};

enum class Which { native, file, agent };

struct BackendContract : ::testing::TestWithParam<Which> {
  Host host;
  std::unique_ptr<CaBackend> backend = make();
  std::unique_ptr<CaBackend> make() {
    Result<std::unique_ptr<CaBackend>> made = fail(Code::bug, "none");
    if (GetParam() == Which::native) made = make_native_backend(host.dir + "/ca");
    if (GetParam() == Which::file)
      made = make_ssh_keygen_backend(host.dir + "/ca", {.scratch = host.dir + "/scratch"});
    if (GetParam() == Which::agent) {
      host.start_agent();
      EXPECT_TRUE(remove_file(host.dir + "/ca"));
      made = make_ssh_keygen_backend(host.dir + "/ca.pub", {.scratch = host.dir + "/scratch", .agent_socket = host.dir + "/agent"});
    }
    EXPECT_TRUE(made) << made.error().render();
    return std::move(*made);
  }
};

TEST_P(BackendContract, SameInputsSameCertificateButForNonceAndSignature) {
  ssh::Certificate want = wanted(host.ca.public_key());
  const auto first = backend->sign_certificate(want), second = backend->sign_certificate(want);
  ASSERT_TRUE(first && second) << first.error().render();
  const auto one = ssh::parse_certificate(*first), two = ssh::parse_certificate(*second);
  ASSERT_TRUE(one && two) << one.error().render();
  EXPECT_EQ(one->nonce.size(), 32u);
  EXPECT_NE(one->nonce, two->nonce);
  want.nonce = one->nonce;
  EXPECT_EQ(*one, want);
  // Byte for byte, too: nothing hides outside of what we parse.
  const std::string meant = want.to_be_signed();
  EXPECT_EQ(first->substr(0, meant.size()), meant);
  EXPECT_EQ(first->size(), meant.size() + 4 + 4 + 11 + 4 + 64);
}

TEST_P(BackendContract, OpenSshReadsItsCertificates) {
  const ssh::Certificate want = wanted(host.ca.public_key());
  const std::string path = host.dir + "/id-cert.pub";
  const auto blob = backend->sign_certificate(want);
  ASSERT_TRUE(blob);
  ASSERT_TRUE(write_file(path, ssh::render_certificate_line(*blob) + "\n", 0600));
  const std::string said = run("TZ=UTC ssh-keygen -L -f " + path);
  for (const std::string& line :
       {std::string("ssh-ed25519-cert-v01@openssh.com user certificate"), "Public key: ED25519-CERT " + want.key.fingerprint(),
        "Signing CA: ED25519 " + host.ca.public_key().fingerprint() + " (using ssh-ed25519)", "Key ID: \"" + want.key_id + "\"",
        std::string("Serial: 9223372036854775807"), std::string("from 2026-03-02T09:59:30 to 2026-03-02T11:30:00"),
        std::string("jitwg:019b0000-0000-7000-8000-000000000001"), std::string("source-address 10.90.0.7/32,fd00:90::7/128"),
        std::string("permit-pty")})
    EXPECT_NE(said.find(line), said.npos) << line << "\n" << said;
}

TEST_P(BackendContract, SignsDocumentsInTheirNamespaceOnly) {
  for (const std::string& body : {std::string("{\"type\":\"grant\"}"), std::string("\0\xff\n\r\n", 5), std::string(16 * 1024, 'x')})
    for (const std::string ns : {"jitwg-grant", "jitwg-seal"}) {
      const auto document = backend->sign_document(body, ns);
      ASSERT_TRUE(document) << document.error().render();
      EXPECT_EQ(document->body, body);
      const auto signer = ssh::verify(*document, ns);
      ASSERT_TRUE(signer) << signer.error().render();
      EXPECT_EQ(signer->key, host.ca.public_key());
      EXPECT_EQ(ssh::verify(*document, "jitwg").error().code, Code::wrong_namespace);
      ASSERT_TRUE(write_file(host.dir + "/d", body, 0600) && write_file(host.dir + "/d.sig", document->signature, 0600));
      const std::string check = "ssh-keygen -Y check-novalidate -n " + ns + " -s " + host.dir + "/d.sig < " + host.dir + "/d";
      EXPECT_EQ(run(check).substr(0, 2), "0 ") << run(check);
    }
}

TEST_P(BackendContract, IssuesThroughTheWholeSigner) {
  Signer signer(std::move(backend), std::move(*Ledger::open(host.dir + "/ledger")), host.realm(), host.sources);
  const auto doc = host.sign(host.request());
  const auto question = host.issue(doc, {host.sign(host.decision(doc))});
  const auto answer = signer.answer(question, kNow);
  EXPECT_EQ(code_of(answer), "ok") << render_json(answer);
  EXPECT_EQ(signer.answer(question, kNow), answer);
}

TEST_P(BackendContract, LeavesNothingBehind) {
  ASSERT_TRUE(backend->sign_certificate(wanted(host.ca.public_key())));
  EXPECT_TRUE(list_directory(host.dir + "/scratch").value_or(std::vector<std::string>()).empty());
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendContract, ::testing::Values(Which::native, Which::file, Which::agent),
                         [](const auto& which) {
                           return std::string(which.param == Which::native ? "native" : which.param == Which::file ? "file" : "agent");
                         });

struct SshKeygenFails : ::testing::Test {
  Host host;
  Error refusal(CaBackend& backend) {
    const auto made = backend.sign_certificate(wanted(host.ca.public_key()));
    EXPECT_FALSE(made);
    EXPECT_TRUE(list_directory(host.dir + "/scratch")->empty());
    return made ? Error{} : made.error();
  }
};

TEST_F(SshKeygenFails, Missing) {
  SshKeygen how = host.how();
  how.program = host.dir + "/none";
  EXPECT_EQ(make_ssh_keygen_backend(host.dir + "/ca", how).error().message, "ssh-keygen cannot be started: " + how.program);
  how.program = "ssh-keygen";
  EXPECT_EQ(make_ssh_keygen_backend(host.dir + "/ca", how).error().code, Code::bad_config);
  const auto backend = host.fake();
  ASSERT_TRUE(remove_file(host.dir + "/fake"));
  EXPECT_EQ(refusal(*backend).code, Code::signer_unavailable);
}

TEST_F(SshKeygenFails, KilledOrFailing) {
  const auto backend = host.fake();
  host.mode("kill -9 $$");
  EXPECT_EQ(refusal(*backend).message, "ssh-keygen was ended by signal 9");
  host.mode("printf 'no \\033[2Jluck\\n' >&2; exit 3");
  EXPECT_EQ(refusal(*backend).message, "ssh-keygen failed: no \\u{1b}[2Jluck");
  host.mode("exit 0");
  EXPECT_EQ(refusal(*backend).code, Code::signer_unavailable);
  EXPECT_EQ(backend->sign_document("x", "jitwg-grant").error().code, Code::signer_unavailable);
  host.mode("exec $real \"$@\"");
  EXPECT_TRUE(backend->sign_certificate(wanted(host.ca.public_key())));
}

TEST_F(SshKeygenFails, HangingCostsOneDeadlineAndLeavesNoProcess) {
  const auto backend = host.fake(500ms);
  host.mode("echo $$ > $d/pid; sleep 1000 & sleep 1000");
  const BootTime begun = boot_now();
  EXPECT_NE(refusal(*backend).message.find("within 500 ms"), std::string::npos);
  EXPECT_NE(refusal(*backend).message.find("the last time"), std::string::npos);
  EXPECT_LT(boot_now() - begun, 5s);
  const std::string leader = *read_file(host.dir + "/pid", 100);
  EXPECT_EQ(run("ps -o stat= -s " + leader.substr(0, leader.size() - 1) + " | grep -v Z"), "1 ") << "what it started lives on";
}

TEST_F(SshKeygenFails, FloodsAreBounded) {
  const auto backend = host.fake(2s);
  host.mode("yes >&2");
  EXPECT_NE(refusal(*backend).message.find("did not finish"), std::string::npos);
  host.mode("exec $real \"$@\"");
  const auto other = host.fake();
  host.mode("head -c 10000000 /dev/zero > key-cert.pub; exit 0");
  EXPECT_EQ(refusal(*other).code, Code::bad_certificate);
}

TEST_F(SshKeygenFails, WhatItMadeIsNotBelieved) {
  const auto issue = [&](const std::string& script) {
    auto backend = host.fake();
    host.mode(script);
    EXPECT_TRUE(write_file(host.dir + "/ledger", "", 0600));
    Signer signer(std::move(backend), std::move(*Ledger::open(host.dir + "/ledger")), host.realm(), host.sources);
    const auto doc = host.sign(host.request());
    const std::string code = code_of(signer.answer(host.issue(doc, {host.sign(host.decision(doc))}), kNow));
    EXPECT_TRUE(signer.sync());
    EXPECT_EQ(*read_file(host.dir + "/ledger", 1 << 20), code == "ok" ? *read_file(host.dir + "/ledger", 1 << 20) : "") << script;
    host.mode("exec $real \"$@\"");
    return code;
  };
  EXPECT_EQ(issue("exec $real \"$@\""), "ok");
  // More than was asked, in each of its fields.
  EXPECT_EQ(issue("case $last in *.pub) exec $real \"$@\" -n root;; esac; exec $real \"$@\""), "signer_unavailable");
  const auto instead = [](const std::string& sed) {
    return "case $last in *.pub) eval \"set -- $(for w in \"$@\"; do printf \"'%s' \" \"$w\"; done | sed \"" + sed + "\")\";; esac; exec $real \"$@\"";
  };
  EXPECT_EQ(issue(instead("s/'permit-pty'/'permit-pty' '-O' 'permit-user-rc'/")), "bug");
  EXPECT_EQ(issue(instead("s/'clear'/'permit-pty'/")), "bug");
  EXPECT_EQ(issue(instead("s/'jitwg:/'root,jitwg:/")), "bug");
  EXPECT_EQ(issue(instead("s/jitwg1:/jitwg2:/")), "bug");
  EXPECT_EQ(issue(instead("s/:0x[0-9a-f]*/:0x7fffffff/")), "bug");
  EXPECT_EQ(issue(instead("s/source-address=[^']*/source-address=0.0.0.0\\/0/")), "bug");
  EXPECT_EQ(issue(instead("s/'-z' '[0-9]*'/'-z' '7'/")), "bug");
  // Another's key certified, another CA, rubbish, and a signature about something else.
  EXPECT_EQ(issue("case $last in *.pub) rm key.pub; $real -q -t ed25519 -N '' -f key;; esac; exec $real \"$@\""), "bug");
  EXPECT_EQ(issue("case $last in *.pub) $real -q -t ed25519 -N '' -f other; shift 3; exec $real -q -s other \"$@\";; esac; exec $real \"$@\""), "bug");
  EXPECT_EQ(issue("case $last in *.pub) echo rubbish > key-cert.pub; exit 0;; esac; exec $real \"$@\""), "bad_certificate");
  EXPECT_EQ(issue("case $last in document) sed -i s/alice/mallory/ document;; esac; exec $real \"$@\""), "bug");
  EXPECT_EQ(issue("case $last in document) echo rubbish > document.sig; exit 0;; esac; exec $real \"$@\""), "bug");
}

TEST_F(SshKeygenFails, AgentGone) {
  host.start_agent();
  SshKeygen how = host.how();
  how.agent_socket = host.dir + "/agent";
  const auto backend = make_ssh_keygen_backend(host.dir + "/ca.pub", how);
  ASSERT_TRUE(backend) << backend.error().render();
  EXPECT_TRUE((*backend)->sign_certificate(wanted(host.ca.public_key())));
  EXPECT_EQ(run("SSH_AUTH_SOCK=" + host.dir + "/agent ssh-add -q -D 2>&1").substr(0, 2), "0 ");
  EXPECT_EQ(refusal(**backend).code, Code::signer_unavailable);  // the key was taken out of it
  ::kill(std::exchange(host.agent, 0), SIGTERM);
  const Error gone = refusal(**backend);
  EXPECT_EQ(gone.code, Code::signer_unavailable);
  EXPECT_NE(gone.hint.find("SSH_AUTH_SOCK=" + host.dir + "/agent ssh-add -L"), std::string::npos) << gone.hint;
  EXPECT_EQ(make_ssh_keygen_backend(host.dir + "/ca.pub", how).error().code, Code::signer_unavailable);
  how.agent_socket.clear();
  EXPECT_EQ(make_ssh_keygen_backend(host.dir + "/ca.pub", how).error().code, Code::bad_config);
}

TEST_F(SshKeygenFails, APassphraseIsNeverAskedFor) {
  // A file with one is refused before anything is run.
  ASSERT_EQ(run("ssh-keygen -q -t ed25519 -N secret -f " + host.dir + "/later"), "0 ");
  const auto made = make_ssh_keygen_backend(host.dir + "/later", host.how());
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().render().find("passphrase"), std::string::npos);
  // Put on it while we run: an error in time, without a prompt.
  const auto backend = host.fake();
  run("ssh-keygen -q -p -N secret -f " + host.dir + "/ca");
  const Error refused = refusal(*backend);
  EXPECT_EQ(refused.code, Code::signer_unavailable);
  EXPECT_NE(refused.message.find("passphrase"), std::string::npos) << refused.message;
}

TEST_F(SshKeygenFails, ScratchIsOursAloneAndSweptAtStart) {
  host.fake();
  ASSERT_TRUE(make_directory(host.dir + "/scratch/left", 0700));
  ASSERT_TRUE(write_file(host.dir + "/scratch/left/document", "unrecorded", 0600));
  host.fake();
  EXPECT_TRUE(list_directory(host.dir + "/scratch")->empty());
  ASSERT_EQ(::chmod((host.dir + "/scratch").c_str(), 0755), 0);
  EXPECT_EQ(make_ssh_keygen_backend(host.dir + "/ca", host.how()).error().code, Code::unsafe_file);
}

TEST(CaKeyPlace, ACredentialIsReadFromItsFolder) {
  const Host host;
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_EQ(load_ca_key("credential:ca").error().code, Code::bad_config);
  ::setenv("CREDENTIALS_DIRECTORY", host.dir.c_str(), 1);
  ASSERT_EQ(::chmod((host.dir + "/ca").c_str(), 0440), 0);  // the mask of systemd's ACL
  EXPECT_EQ(load_ca_key("credential:ca")->public_key, host.ca.public_key());
  EXPECT_TRUE(make_native_backend("credential:ca"));
  EXPECT_EQ(load_ca_key(host.dir + "/ca").error().code, Code::unsafe_file);
  ASSERT_EQ(::chmod((host.dir + "/ca").c_str(), 0444), 0);
  EXPECT_EQ(load_ca_key("credential:ca").error().code, Code::unsafe_file);
  for (const char* bad : {"credential:", "credential:../ca", "credential:none"}) EXPECT_FALSE(load_ca_key(bad)) << bad;
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_EQ(make_native_backend(host.dir + "/ca.pub").error().code, Code::bad_config);
}

}  // namespace
}  // namespace jitwg::signer
