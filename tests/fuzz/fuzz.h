// One fuzz target: a parser, and what must hold of everything it reads (the oracle). tests/fuzz/NAME_fuzz.cc defines the
// two functions below; fuzz_main.cc makes a libFuzzer program of it (contrib/fuzz), replay_test.cc a unit test that runs
// it over tests/fuzz/corpus/NAME. Files there called good-… must be accepted, bad-… refused, others either.
#pragma once

#include <string>
#include <string_view>

#include "broker/base/encoding.h"
#include "broker/base/error.h"

namespace jitwg::fuzz {

// Was `input` accepted? Aborts when the oracle does not hold. Nothing but `input` decides.
bool try_input(std::string_view input);

// The same input beside the real OpenSSH, with GoogleTest's failures: what is too slow for a fuzzer.
void compare(std::string_view input);

// An error as a terminal may have it: UTF-8, and nothing in it that hides or moves text.
inline void check_error(const Error& error) {
  std::string text = error.render();
  JITWG_CHECK(!error.message.empty());
  for (char& c : text)
    if (c == '\\') c = '/';  // which escaping would double
  JITWG_CHECK(escape_for_terminal(text) == text);
}

}  // namespace jitwg::fuzz
