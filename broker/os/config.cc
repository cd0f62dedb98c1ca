#include "broker/os/config.h"

#include <unistd.h>

#include <boost/program_options.hpp>
#include <cerrno>
#include <fstream>

namespace jitwg {
namespace po = boost::program_options;
namespace {

void add(po::options_description& description, const Option& option, bool in_file) {
  if (option.flag && !in_file)
    description.add_options()(option.name.c_str(), option.help.c_str());
  else
    description.add_options()(option.name.c_str(), po::value<std::vector<std::string>>()->composing(),
                              option.help.c_str());
}

}  // namespace

Result<Config> Config::load(const std::vector<std::string>& args, const std::vector<Option>& options,
                            const std::string& default_file) {
  std::vector<Option> all = options;
  all.push_back({"help", "", "say how to use this", true, true});
  all.push_back({"version", "", "print the version", true, true});
  if (!default_file.empty()) all.push_back({"config", default_file, "configuration file", false, true});

  Config config;
  config.load_again = [args, options, default_file] { return load(args, options, default_file); };
  std::map<std::string, std::vector<std::string>> from_file;
  const auto take = [&](const po::parsed_options& parsed, auto& values) {
    for (const auto& o : parsed.options) {
      if (o.position_key >= 0) {
        config.positional_.insert(config.positional_.end(), o.value.begin(), o.value.end());
        continue;
      }
      auto& list = values[o.string_key];
      if (o.value.empty()) list.push_back("1");
      else list.insert(list.end(), o.value.begin(), o.value.end());
    }
  };
  try {
    po::options_description description;
    for (const Option& o : all) add(description, o, false);
    po::positional_options_description rest;
    // The name must not be empty, or it means "no words at all"; words are told by their position_key.
    rest.add("word", -1);
    po::command_line_parser parser(args);
    parser.options(description).positional(rest);
    parser.style(po::command_line_style::default_style & ~po::command_line_style::allow_guessing);
    take(parser.run(), config.values_);
  } catch (const po::error& e) {
    return fail(Code::bad_argument, e.what(), "see --help");
  }
  for (const Option& o : all)
    if (!o.many && config.values_[o.name].size() > 1)
      return fail(Code::bad_argument, "--" + o.name + " is given twice");

  if (!default_file.empty()) {
    const bool named = !config.values_["config"].empty();
    const std::string path = named ? config.values_["config"].front() : default_file;
    std::ifstream file(path);
    // Only a file that is not there is no configuration: one that we may not read says something.
    const bool absent = !file && ::access(path.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
    const bool makes_it = !config.positional_.empty() && config.positional_.front() == "init";
    if (!file && ((named && !makes_it) || !absent)) return fail(Code::bad_config, path + ": cannot be read");
    if (file) {
      try {
        po::options_description description;
        for (const Option& o : all)
          if (!o.command_line_only) add(description, o, true);
        take(po::parse_config_file(file, description), from_file);
        if (file.bad()) return fail(Code::bad_config, path + ": cannot be read");
      } catch (const po::error& e) {
        return fail(Code::bad_config, path + ": " + e.what());
      }
    }
    for (const Option& o : all) {
      if (!o.many && from_file[o.name].size() > 1)
        return fail(Code::bad_config, path + ": " + o.name + " stands twice");
      if (config.values_[o.name].empty()) config.values_[o.name] = from_file[o.name];
    }
  }
  for (const Option& o : all)
    if (config.values_[o.name].empty() && !o.value.empty()) config.values_[o.name] = {o.value};
  return config;
}

const std::vector<std::string>& Config::all(const std::string& name) const {
  const auto it = values_.find(name);
  JITWG_CHECK(it != values_.end());
  return it->second;
}

const std::string& Config::get(const std::string& name) const {
  static const std::string none;
  const auto& list = all(name);
  return list.empty() ? none : list.front();
}

Result<std::string> Config::need(const std::string& name) const {
  if (!has(name))
    return fail(Code::bad_config, "\"" + name + "\" is not set", "set it in the file or by --" + name);
  return get(name);
}

std::string render_options(const std::vector<Option>& options) {
  std::string text;
  for (const Option& o : options) {
    std::string left = "  --" + o.name + (o.flag ? "" : " VALUE");
    if (left.size() < 26) left.resize(26, ' ');
    text += left + " " + o.help + (o.value.empty() ? "" : " [" + o.value + "]") + "\n";
  }
  return text;
}

}  // namespace jitwg
