// One line to the terminals of a login. A terminal may be stopped by Ctrl-S or be gone: nothing is
// ever waited for, and whether anybody read it is not known.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

namespace jitwg::hostd {

// Device numbers (tty_nr of proc(5)) of the pseudo-terminals that these processes have.
std::set<int> terminals_of(const std::vector<pid_t>& processes);
// Returns how many took it whole.
int write_to_terminals(const std::set<int>& terminals, const std::string& text);

}  // namespace jitwg::hostd
