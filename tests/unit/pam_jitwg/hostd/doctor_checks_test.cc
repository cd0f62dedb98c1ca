#include "pam_jitwg/hostd/doctor_checks.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace jitwg::hostd {
namespace {

using Level = doctor::Finding::Level;

std::string read(const std::string& name) {
  std::ifstream file(std::string(JITWG_SOURCE_DIR) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// As `sshd -T` prints what contrib/sshd/jitwg.conf sets, and OpenSSH's own defaults for the rest.
SshdSettings installed() {
  SshdSettings settings = parse_sshd_settings(
      "authorizedprincipalsfile none\nauthorizedkeyscommand none\ngssapiauthentication "
      "no\npermitrootlogin yes\n");
  for (auto& [key, value] : parse_sshd_settings(read("contrib/sshd/jitwg.conf")))
    settings[key] = value;
  return settings;
}

doctor::Findings check(const SshdSettings& settings, const std::vector<ConfigFile>& files = {}) {
  return check_sshd("alice", settings, "/etc/jitwg/ca.pub", files);
}

TEST(CheckSshd, TheSnippetOfContribIsRight) {
  const auto found = check(installed());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].level, Level::ok);
}

TEST(CheckSshd, EverySettingCounts) {
  const std::map<std::string, std::string> wrong = {
      {"trustedusercakeys", "none"},
      {"authorizedprincipalscommand", "/usr/local/lib/jitwg/jitwg-principals %u"},
      {"authorizedprincipalscommanduser", "root"},
      {"authorizedprincipalsfile", "/etc/ssh/principals"},
      {"authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"},
      {"authorizedkeyscommand", "/bin/cat"},
      {"authenticationmethods", "publickey,keyboard-interactive"},
      {"permituserenvironment", "yes"},
      {"pubkeyauthentication", "no"},
      {"passwordauthentication", "yes"},
      {"kbdinteractiveauthentication", "yes"},
      {"hostbasedauthentication", "yes"},
      {"gssapiauthentication", "yes"},
      {"usepam", "no"},
      {"usedns", "yes"},
      {"unusedconnectiontimeout", "none"},
      {"clientaliveinterval", "0"},
      {"maxstartups", "10:30:100"}};
  for (const auto& [key, value] : wrong) {
    SshdSettings settings = installed();
    settings[key] = value;
    const auto found = check(settings);
    ASSERT_EQ(found.size(), 1u) << key;
    EXPECT_EQ(found[0].level, Level::problem) << key;
    EXPECT_NE(found[0].text.find("\"" + value + "\""), std::string::npos) << found[0].text;
    settings.erase(key);
    EXPECT_TRUE(doctor::has_problem(check(settings))) << "unknown to this sshd: " << key;
  }
}

TEST(CheckSshd, NamesTheLineThatCounts) {
  SshdSettings settings = installed();
  settings["passwordauthentication"] = "yes";
  const auto found = check(
      settings, {{"/etc/ssh/sshd_config.d/00-jitwg.conf", "# x\npasswordauthentication no\n"},
                 {"/etc/ssh/sshd_config", "Match User alice\n\tPasswordAuthentication yes\n"}});
  EXPECT_EQ(found[0].remedy,
            "/etc/ssh/sshd_config.d/00-jitwg.conf: PasswordAuthentication no (now set by "
            "/etc/ssh/sshd_config:2); "
            "jitwg-hostd setup --apply sees to it; then systemctl reload ssh");
}

const PamSetup kSetup = {"/usr/local/lib/jitwg/pam_jitwg.so", {}};

std::vector<Level> levels(const std::string& text) {
  std::vector<Level> levels;
  for (const auto& finding : check_pam(pam_files().front(), text, kSetup)) levels.push_back(finding.level);
  return levels;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return at == text.npos ? text : text.replace(at, from.size(), to);
}

TEST(CheckPam, TheFileOfContribIsRightAndEveryChangeOfOrderIsNot) {
  const std::string right = read("contrib/pam/sshd");
  const std::vector<Level> good = {Level::ok, Level::ok}, no_account = {Level::problem, Level::ok},
                           no_session = {Level::ok, Level::problem};
  const std::string account =
                        "account    requisite    /usr/local/lib/jitwg/pam_jitwg.so mode=login\n",
                    session =
                        "session    requisite    /usr/local/lib/jitwg/pam_jitwg.so mode=login\n",
                    loginuid = "session    required     pam_loginuid.so\n";
  EXPECT_EQ(levels(right), good);
  EXPECT_EQ(module_path(right), "/usr/local/lib/jitwg/pam_jitwg.so");
  EXPECT_EQ(levels(replaced(right, account, "")), no_account);
  EXPECT_EQ(levels(replaced(right, account, "#" + account)), no_account);
  EXPECT_EQ(levels(replaced(right, account, "account sufficient pam_permit.so\n" + account)),
            no_account);
  EXPECT_EQ(levels(replaced(right, account, "@include local\n" + account)).front(), Level::problem);
  EXPECT_EQ(levels(replaced(right, account, replaced(account, "requisite", "required"))),
            no_account);
  EXPECT_EQ(levels(replaced(right, account, replaced(account, "mode=login", "mode=sudo"))),
            no_account);
  EXPECT_EQ(levels(replaced(right, session, "")), no_session);
  EXPECT_EQ(levels(replaced(right, loginuid, "")), no_session);
  EXPECT_EQ(levels(replaced(replaced(right, session, ""), loginuid, session + loginuid)), no_session);
  EXPECT_EQ(levels(replaced(replaced(right, session, ""), "@include common-session\n",
                            "@include common-session\n" + session)),
            no_session);
  EXPECT_EQ(levels(""), (std::vector<Level>{Level::problem, Level::problem}));
}

TEST(Connections, OneForEachMatchLineThatTellsThemApart) {
  const std::string usual = "addr=127.0.0.1,host=localhost,laddr=127.0.0.1,lport=22,rdomain=";
  EXPECT_EQ(connections({{"a", "PasswordAuthentication yes\nMatch User alice\nMatch all\n# Match Address 1.2.3.4\n"}}), std::vector{usual});
  const auto all = connections({{"a", "match address 10.0.0.0/8,2001:db8::/32,!10.1.1.1 user bob\n"},
                                {"b", "Match Host *.example LocalPort 2222\nMatch LocalAddress 10.60.0.*\nMatch Address\nMatch Address 10.0.0.0/8\n"}});
  EXPECT_EQ(all, (std::vector<std::string>{usual, "addr=10.0.0.0,host=localhost,laddr=127.0.0.1,lport=22,rdomain=",
                                           "addr=2001:db8::,host=localhost,laddr=127.0.0.1,lport=22,rdomain=",
                                           "addr=127.0.0.1,host=1.example,laddr=127.0.0.1,lport=2222,rdomain=",
                                           "addr=127.0.0.1,host=localhost,laddr=10.60.0.1,lport=22,rdomain="}));
}

TEST(CheckSshdLogin, WhatTheClientOrTheAdministratorPutsIn) {
  EXPECT_TRUE(check_sshd_login("alice", parse_sshd_settings("acceptenv LANG\nacceptenv LC_*\nforcecommand none\n")).empty());
  for (const char* line : {"acceptenv LANG\nacceptenv LD_*\n", "acceptenv *\n", "acceptenv JITWG_SESSION_ID\n", "forcecommand /bin/x y\n"}) {
    const auto found = check_sshd_login("alice", parse_sshd_settings(line));
    ASSERT_EQ(found.size(), 1u) << line;
    EXPECT_EQ(found[0].level, Level::warning);
  }
}

TEST(CheckJournald, TheLastFileDecides) {
  EXPECT_EQ(check_journald({{"", "[Journal]\n#Audit=\n"}}).level, Level::warning);
  EXPECT_EQ(check_journald({{"", "[Journal]\n"}, {"a", read("contrib/journald/jitwg.conf")}}).level,
            Level::ok);
  EXPECT_EQ(check_journald({{"a", "Audit=\n"}, {"b", "Audit=no\n"}}).level, Level::warning);
  EXPECT_EQ(check_journald({{"a", "Audit=no\n"}, {"b", "Audit=yes\n"}}).level, Level::ok);
}

}  // namespace
}  // namespace jitwg::hostd
