// Every cell of the table, written out by hand beside the code that computes it.
#include "pam_jitwg/verdict.h"

#include <gtest/gtest.h>
#include <security/_pam_types.h>

#include <set>
#include <tuple>

namespace jitwg::pam {
namespace {

constexpr int kOk = PAM_SUCCESS, kNo = PAM_PERM_DENIED, kAuth = PAM_AUTH_ERR, kIgnore = PAM_IGNORE, kEnd = PAM_SESSION_ERR;
constexpr Said kSaid[] = {Said::allow, Said::deny, Said::nothing, Said::not_asked, Said::bad_input, Said::misconfigured};

struct Row {
  Entry entry;
  Managed managed;
  int code[6];  // in the order of kSaid
};

constexpr Row kTable[] = {
    // clang-format off
    //                                     allow    deny     nothing  not_asked bad_input misconfigured
    {Entry::authenticate, Managed::yes, {kAuth,   kAuth,   kAuth,   kAuth,   kAuth,   kNo}},
    {Entry::authenticate, Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Entry::setcred,      Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Entry::setcred,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Entry::account,      Managed::yes, {kOk,     kNo,     kNo,     kNo,     kNo,     kNo}},
    {Entry::account,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Entry::open,         Managed::yes, {kOk,     kNo,     kNo,     kNo,     kNo,     kNo}},
    {Entry::open,         Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Entry::close,        Managed::yes, {kOk,     kEnd,    kEnd,    kEnd,    kEnd,    kEnd}},
    {Entry::close,        Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kEnd}},
    {Entry::chauthtok,    Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Entry::chauthtok,    Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    // clang-format on
};

TEST(Verdict, everyCell) {
  std::set<std::pair<Entry, Managed>> rows;
  for (const Row& row : kTable) {
    rows.insert({row.entry, row.managed});
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(verdict(row.entry, row.managed, kSaid[i]), row.code[i])
          << "entry " << static_cast<int>(row.entry) << " managed " << (row.managed == Managed::yes) << " said " << i;
  }
  EXPECT_EQ(rows.size(), 12u);
}

// What the table is for, said once more without it.
TEST(Verdict, onlyAnAllowOpensAndSudoNeverSeesSessionErr) {
  for (const Row& row : kTable)
    for (const Said said : kSaid) {
      const int code = verdict(row.entry, row.managed, said);
      if (code == PAM_SUCCESS) {
        EXPECT_EQ(said, Said::allow);
      }
      if (row.entry == Entry::open) {
        EXPECT_NE(code, PAM_SESSION_ERR);
      }
      if (row.managed == Managed::yes && (row.entry == Entry::account || row.entry == Entry::open)) {
        EXPECT_NE(code, PAM_IGNORE);
      }
    }
}

}  // namespace
}  // namespace jitwg::pam
