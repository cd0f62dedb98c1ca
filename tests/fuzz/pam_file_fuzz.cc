// A file of /etc/pam.d that an administrator wrote, edited as every file that setup knows: what goes in stands where it works,
// putting it in again changes nothing, and taken out it leaves every byte of the rest.
#include "pam_jitwg/hostd/pam_edit.h"
#include "pam_jitwg/hostd/setup_block.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {

bool try_input(std::string_view input) {
  bool edited_one = false;
  const bool marked = input.find("jitwg") != input.npos;
  for (const hostd::PamSetup& setup : {hostd::PamSetup{"/x/pam_jitwg.so", {}}, hostd::PamSetup{"/x/pam_jitwg.so", {"rescue", "ops"}}})
    for (const hostd::PamFile& file : hostd::pam_files()) {
      const auto with = hostd::edit_pam(file, input, setup);
      if (!with) continue;
      edited_one |= file.name == std::string_view("sshd") && *with != input;
      if (marked) {
        (void)hostd::without_block(*with);
        continue;
      }
      for (const hostd::PamLine& line : file.lines) JITWG_CHECK(hostd::is_in_place(file, line, *with, setup));
      JITWG_CHECK(*hostd::edit_pam(file, *with, setup) == *with);
      JITWG_CHECK(*hostd::without_block(*with) == input);
    }
  return edited_one;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
