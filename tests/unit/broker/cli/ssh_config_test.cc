#include "broker/cli/ssh_config.h"

#include <gtest/gtest.h>

#include "tests/unit/broker/cli/samples.h"

namespace jitwg::cli {
namespace {

TEST(SshConfig, PinsAllThatSshNeeds) {
  const Sample sample;
  const auto text = render_ssh_config({{sample.grant, "/home/alice/.local/state/jitwg/ID"}});
  ASSERT_TRUE(text);
  EXPECT_EQ(text->substr(text->find("\nHost ") + 1),
            "Host jitwg-db-prod jitwg-fa12ab34\n"
            "  HostName 10.60.0.5\n"
            "  User alice\n"
            "  Port 22\n"
            "  BindAddress 10.90.0.2\n"
            "  IdentityFile \"/home/alice/.local/state/jitwg/ID/id\"\n"
            "  CertificateFile \"/home/alice/.local/state/jitwg/ID/id-cert.pub\"\n"
            "  IdentitiesOnly yes\n"
            "  IdentityAgent none\n"
            "  PreferredAuthentications publickey\n"
            "  HostKeyAlias jitwg-jump1\n"
            "  HostKeyAlgorithms ssh-ed25519\n"
            "  UserKnownHostsFile \"/home/alice/.local/state/jitwg/ID/known_hosts\"\n"
            "  GlobalKnownHostsFile /dev/null\n"
            "  IgnoreUnknown KnownHostsCommand\n"
            "  KnownHostsCommand none\n"
            "  VerifyHostKeyDNS no\n"
            "  NoHostAuthenticationForLocalhost no\n"
            "  StrictHostKeyChecking yes\n"
            "  UpdateHostKeys no\n"
            "  CanonicalizeHostname no\n"
            "  ProxyCommand none\n"
            "  ControlMaster no\n"
            "  ControlPath none\n"
            "  ConnectTimeout 15\n"
            "  ServerAliveInterval 5\n"
            "  ServerAliveCountMax 3\n");
  EXPECT_EQ(render_known_hosts(sample.grant), "jitwg-jump1 " + sample.host.str() + "\n");
}

TEST(SshConfig, TheTargetsNameMeansItsNewestSession) {
  const Sample older;
  Sample newer;
  newer.grant.session = *SessionId::parse("019b0000-0000-7000-8000-000000000001");
  newer.grant.not_before += Seconds(1);
  const auto text = render_ssh_config({{older.grant, "/a"}, {newer.grant, "/b"}});
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("\nHost jitwg-db-prod jitwg-00000001\n"), std::string::npos);
  EXPECT_NE(text->find("\nHost jitwg-fa12ab34\n"), std::string::npos);
}

TEST(SshConfig, LeavesOutSessionsWithoutALogin) {
  Sample sample;
  sample.grant.login.reset();
  const auto text = render_ssh_config({{sample.grant, "/a"}});
  ASSERT_TRUE(text);
  EXPECT_EQ(text->find("Host "), std::string::npos);
}

TEST(SshConfig, EscapesAndRefusesPaths) {
  const Sample sample;
  const auto text = render_ssh_config({{sample.grant, "/home/100% me"}});
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("\"/home/100%% me/id\""), std::string::npos);
  EXPECT_FALSE(render_ssh_config({{sample.grant, "/home/x\"\n  ProxyCommand id"}}));
}

}  // namespace
}  // namespace jitwg::cli
