#include "broker/setup/conf.h"

#include <unistd.h>

#include "broker/os/file.h"

namespace jitwg::setup {
namespace {

std::string join(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : ", ") + value;
  return text.empty() ? "nothing" : text;
}

}  // namespace

Result<Fd> lock_conf_directory(const Config& config) {
  const std::string path = config.get("config"), directory = path.substr(0, path.rfind('/') + 1);
  JITWG_TRY(make_directory(directory.empty() ? "." : directory, 0755));
  return lock_files_of(directory.empty() ? "." : directory);
}

Result<void> make_conf(HostFiles& files, const Config& config, const std::vector<Option>& options,
                       const Settings& learned) {
  const std::string path = config.get("config");
  Settings wanted = learned;
  std::string text = "# key = value; the keys are the options that --help lists. Made by init, which never changes it.\n";
  for (const Option& option : options) {
    if (option.command_line_only) continue;
    const auto& values = config.all(option.name);
    if (!wanted.contains(option.name) && !values.empty() && values != std::vector{option.value})
      wanted[option.name] = values;
    for (const std::string& value : wanted[option.name]) text += option.name + " = " + value + "\n";
  }
  if (::access(path.c_str(), F_OK) == 0) {
    JITWG_ASSIGN(const Config there, Config::load({"--config", path}, options, path));
    for (const auto& [name, values] : wanted)
      if (!values.empty() && there.all(name) != values)
        return fail(Code::bad_config, path + " says " + name + " = " + join(there.all(name)) + ", not " + join(values),
                    "init never changes a file: mend that line, or do not ask otherwise");
  }
  return files.file(path, text);
}

}  // namespace jitwg::setup
