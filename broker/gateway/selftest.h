// `jitwg-gateway selftest`: the very chains, elements and calls of the daemon, in a network namespace of their own, with
// packets through them. A packet too many or too few is a problem.
//
// Whoever changes the chains must see this notice it: tests/unit/broker/gateway/selftest_test.cc breaks each rule in turn.
#pragma once

#include <string>

#include "broker/doctor/finding.h"
#include "broker/gateway/interface.h"

namespace jitwg::gateway {

// One finding a case, up to the first stage with a problem. `ruleset` is for `interface` and `pools`. An error: the test could not
// be made. Leaves the calling thread in the namespace.
Result<doctor::Findings> run_selftest(const std::string& ruleset, const std::string& interface, const std::vector<Prefix>& pools,
                                      bool ipv6);

// The subcommand: takes away the proof (selftest_proof.h), runs the test, prints, and leaves a new proof if all passed.
Result<void> selftest(const InterfaceSettings& settings, const std::string& runtime_dir, bool as_json);

}  // namespace jitwg::gateway
