// The real ssh-keygen as an oracle, in a scratch folder of its own.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "broker/os/command.h"
#include "broker/os/file.h"

namespace jitwg::fuzz {

class OpenSsh {
 public:
  OpenSsh() {
    char name[] = "/tmp/jitwg-fuzz-XXXXXX";
    dir_ = mkdtemp(name);
    setenv("TZ", "UTC", 1);
  }
  ~OpenSsh() { EXPECT_EQ(system(("rm -rf " + dir_).c_str()), 0); }

  std::string file(const std::string& name, const std::string& bytes) const {
    const std::string path = dir_ + "/" + name;
    EXPECT_TRUE(write_file(path, bytes, 0600));
    return path;
  }
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  // `ssh-keygen WORDS…`, reading the file `in`.
  static Ran keygen(const std::vector<std::string>& words, const std::string& in = "/dev/null") {
    std::vector<std::string> command{"sh", "-c", "in=$1; shift; exec ssh-keygen \"$@\" < \"$in\"", "sh", in};
    command.insert(command.end(), words.begin(), words.end());
    const auto ran = run_command(command);
    EXPECT_TRUE(ran);
    return ran ? *ran : Ran{};
  }

 private:
  std::string dir_;
};

}  // namespace jitwg::fuzz
