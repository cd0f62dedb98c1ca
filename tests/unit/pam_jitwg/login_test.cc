#include "pam_jitwg/login.h"

#include <gtest/gtest.h>

#include <vector>

#include "pam_jitwg/wire.h"

namespace jitwg::pam {
namespace {

bool accepted(std::vector<const char*> words) {
  return parse_arguments(static_cast<int>(words.size()), words.data()).has_value();
}

TEST(Login, arguments) {
  EXPECT_TRUE(accepted({"mode=login"}));
  EXPECT_TRUE(accepted({"debug", "mode=login"}));
  const char* sudo[] = {"mode=sudo"};
  EXPECT_EQ(parse_arguments(1, sudo)->mode, Mode::sudo);
  const char* job[] = {"mode=job", "debug"};
  EXPECT_EQ(parse_arguments(2, job)->mode, Mode::job);
  EXPECT_TRUE(parse_arguments(2, job)->debug);
  for (const std::vector<const char*>& bad :
       std::vector<std::vector<const char*>>{{},
                                             {"debug"},
                                             {"mode=su"},
                                             {"mode=jobs"},
                                             {"mode="},
                                             {"mode=login", "mode=sudo"},
                                             {"mode=job", "mode=job"},
                                             {"mode=login", "mode=login"},
                                             {"mode=login", "debug", "debug"},
                                             {"mode=login", "socket=/tmp/x"},
                                             {"mode=login", "Debug"},
                                             {"mode=login", ""},
                                             {"mode=login ", "debug"}})
    EXPECT_FALSE(accepted(bad));
}

TEST(Login, oneCertificateAndNothingElse) {
  const std::string cert = "publickey ssh-ed25519-cert-v01@openssh.com QUJD";
  EXPECT_EQ(*certificate_of(cert + "\n"), "QUJD");
  EXPECT_EQ(*certificate_of(cert), "QUJD");
  for (const std::string& bad :
       {std::string(), std::string("\n"), cert + "\n\n", cert + "\n" + cert + "\n",
        cert + "\npassword\n", "password\n" + cert, std::string("publickey ssh-ed25519 QUJD\n"),
        std::string("publickey ssh-ed25519-cert-v01@openssh.com\n"),
        std::string("publickey ssh-ed25519-cert-v01@openssh.com \n"), cert + " x\n",
        "Publickey" + cert.substr(9),
        std::string("keyboard-interactive/pam ssh-ed25519-cert-v01@openssh.com QUJD"),
        "publickey ssh-ed25519-cert-v01@openssh.com " + std::string(kCertificateBytes + 1, 'A'),
        "publickey ssh-ed25519-cert-v01@openssh.com " + std::string(160 * 1024, 'A')})
    EXPECT_FALSE(certificate_of(bad)) << bad.substr(0, 100);
}

TEST(Login, clientAddress) {
  EXPECT_EQ(first_word("10.90.0.7 51000 10.60.0.5 22"), "10.90.0.7");
  EXPECT_EQ(first_word("fd00:90::7 51000 fd00:60::5 22"), "fd00:90::7");
  for (const char* bad :
       {"", " ", "10.90.0.7", "10.90.0.7 51000", "10.90.0.7 51000 10.60.0.5 22 x", "   22"})
    EXPECT_EQ(first_word(bad), "") << bad;
}

}  // namespace
}  // namespace jitwg::pam
