#include "pam_jitwg/hostd/doctor_rescue.h"

#include <gtest/gtest.h>

#include <functional>

namespace jitwg::hostd {
namespace {

using Level = doctor::Finding::Level;

RescueSeen good() {
  return {"rescue", "rescue:x:2009:2009::/home/rescue:/bin/bash", "rescue:*:20000:0:99999:7:::", "# my key\nssh-ed25519 AAAA me\n",
          parse_sshd_settings("passwordauthentication no\nkbdinteractiveauthentication no\nhostbasedauthentication no\ngssapiauthentication no\n"
                              "authorizedkeysfile /etc/ssh/jitwg-rescue_keys/%u\nauthorizedkeyscommand none\ntrustedusercakeys none\n"),
          true, 20783};
}

TEST(CheckRescueAccount, WhatIsGoodAndWhatEachPartOfItIsFor) {
  EXPECT_EQ(check_rescue_account(good()).level, Level::ok);
  const std::vector<std::pair<const char*, std::function<void(RescueSeen&)>>> would_not_come_in = {
      {"no such account", [](RescueSeen& s) { s.passwd.clear(); }},
      {"nologin", [](RescueSeen& s) { s.passwd = "rescue:x:1:1::/:/usr/sbin/nologin"; }},
      {"setup --apply", [](RescueSeen& s) { s.jumps = false; }},
      {"setup --apply", [](RescueSeen& s) { s.sshd["authorizedkeysfile"] = "none"; }},
      {"no key", [](RescueSeen& s) { s.keys = "# ssh-ed25519 AAAA me\n"; }},
      {"no key", [](RescueSeen& s) { s.keys.clear(); }},
      {"expired", [](RescueSeen& s) { s.shadow = "rescue:*:20000:0:99999:7::20783:"; }},
      {"expired", [](RescueSeen& s) { s.shadow = "rescue:*:20000:0:90:7:::"; }},
      {"expired", [](RescueSeen& s) { s.shadow = "rescue:*:0:0:99999:7:::"; }},
      {"allowusers", [](RescueSeen& s) { s.sshd["allowusers"] = "alice bob"; }},
      {"denygroups", [](RescueSeen& s) { s.sshd["denygroups"] = "x"; }}};
  for (const auto& [word, spoil] : would_not_come_in) {
    RescueSeen seen = good();
    spoil(seen);
    const auto finding = check_rescue_account(seen);
    EXPECT_EQ(finding.level, Level::warning) << finding.text;
    EXPECT_NE((finding.text + finding.remedy).find(word), std::string::npos) << finding.text;
  }
  for (const auto& [key, value] : std::map<std::string, std::string>{
           {"passwordauthentication", "yes"}, {"kbdinteractiveauthentication", "yes"}, {"gssapiauthentication", "yes"}, {"hostbasedauthentication", "yes"},
           {"authorizedkeysfile", ".ssh/authorized_keys"}, {"authorizedkeyscommand", "/bin/cat"}, {"trustedusercakeys", "/etc/other"}}) {
    RescueSeen seen = good();
    seen.sshd[key] = value;
    EXPECT_EQ(check_rescue_account(seen).level, Level::problem) << key;
  }
  RescueSeen named = good();
  named.sshd["allowusers"] = "alice rescue";
  EXPECT_EQ(check_rescue_account(named).level, Level::ok);
}

}  // namespace
}  // namespace jitwg::hostd
