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
  Mode mode;
  Entry entry;
  Managed managed;
  int code[6];  // in the order of kSaid
};

constexpr Row kTable[] = {
    // clang-format off
    //                                                  allow    deny     nothing  not_asked bad_input misconfigured
    {Mode::login, Entry::authenticate, Managed::yes, {kAuth,   kAuth,   kAuth,   kAuth,   kAuth,   kNo}},
    {Mode::login, Entry::setcred,      Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::login, Entry::account,      Managed::yes, {kOk,     kNo,     kNo,     kNo,     kNo,     kNo}},
    {Mode::login, Entry::open,         Managed::yes, {kOk,     kNo,     kNo,     kNo,     kNo,     kNo}},
    {Mode::login, Entry::close,        Managed::yes, {kOk,     kEnd,    kEnd,    kEnd,    kEnd,    kEnd}},
    {Mode::login, Entry::chauthtok,    Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::job,   Entry::authenticate, Managed::yes, {kAuth,   kAuth,   kAuth,   kAuth,   kAuth,   kNo}},
    {Mode::job,   Entry::setcred,      Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::job,   Entry::account,      Managed::yes, {kOk,     kNo,     kNo,     kNo,     kNo,     kNo}},
    {Mode::job,   Entry::open,         Managed::yes, {kOk,     kNo,     kNo,     kNo,     kNo,     kNo}},
    {Mode::job,   Entry::close,        Managed::yes, {kOk,     kEnd,    kEnd,    kEnd,    kEnd,    kEnd}},
    {Mode::job,   Entry::chauthtok,    Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::authenticate, Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::setcred,      Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::account,      Managed::yes, {kOk,     kNo,     kNo,     kNo,     kNo,     kNo}},
    {Mode::sudo,  Entry::open,         Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::close,        Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kEnd}},
    {Mode::sudo,  Entry::chauthtok,    Managed::yes, {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    // The unmanaged: no say, whatever the mode, unless the line itself is wrong.
    {Mode::login, Entry::authenticate, Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::login, Entry::setcred,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::login, Entry::account,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::login, Entry::open,         Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::login, Entry::close,        Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kEnd}},
    {Mode::login, Entry::chauthtok,    Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::job,   Entry::authenticate, Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::job,   Entry::setcred,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::job,   Entry::account,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::job,   Entry::open,         Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::job,   Entry::close,        Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kEnd}},
    {Mode::job,   Entry::chauthtok,    Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::authenticate, Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::setcred,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::account,      Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::open,         Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    {Mode::sudo,  Entry::close,        Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kEnd}},
    {Mode::sudo,  Entry::chauthtok,    Managed::no,  {kIgnore, kIgnore, kIgnore, kIgnore, kIgnore, kNo}},
    // clang-format on
};

TEST(Verdict, everyCell) {
  std::set<std::tuple<Mode, Entry, Managed>> rows;
  for (const Row& row : kTable) {
    rows.insert({row.mode, row.entry, row.managed});
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(verdict(row.mode, row.entry, row.managed, kSaid[i]), row.code[i])
          << "mode " << static_cast<int>(row.mode) << " entry " << static_cast<int>(row.entry) << " managed "
          << (row.managed == Managed::yes) << " said " << i;
  }
  EXPECT_EQ(rows.size(), 36u);
}

// What the table is for, said once more without it.
TEST(Verdict, onlyAnAllowOpensAndSudoNeverSeesSessionErr) {
  for (const Row& row : kTable)
    for (const Said said : kSaid) {
      const int code = verdict(row.mode, row.entry, row.managed, said);
      if (code == PAM_SUCCESS) {
        EXPECT_EQ(said, Said::allow);
        EXPECT_EQ(row.managed, Managed::yes);
        EXPECT_TRUE(asks(row.mode, row.entry));
      }
      if (row.entry == Entry::open) {
        EXPECT_NE(code, PAM_SESSION_ERR);
      }
      const bool decides = row.entry == Entry::account || (row.entry == Entry::open && row.mode != Mode::sudo);
      if (row.managed == Managed::yes && decides) {
        EXPECT_NE(code, PAM_IGNORE);
      }
    }
}

}  // namespace
}  // namespace jitwg::pam
