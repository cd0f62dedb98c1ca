#include "policy/toml_reader.h"

#include "policy/matching.h"

namespace jitwg {

void TomlErrors::add(const toml::node& node, const std::string& message, const std::string& hint) {
  if (first) return;
  const auto at = node.source().begin;
  first = Error{Code::bad_policy,
                where + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " + message, hint};
}

const toml::node* TomlTable::find(std::string_view key, bool mandatory) {
  seen_.emplace(std::string(key), 0);
  const toml::node* found = table_.get(key);
  if (!found && mandatory) errors_.add(table_, name_ + ": \"" + std::string(key) + "\" is missing");
  return found;
}

void TomlTable::problem(std::string_view key, const std::string& message, const std::string& hint) {
  const toml::node* at = table_.get(key);
  errors_.add(at ? *at : table_, name_ + ": " + message, hint);
}

std::string TomlTable::string(std::string_view key) {
  const toml::node* n = find(key, true);
  if (!n) return {};
  if (const auto value = n->value_exact<std::string>(); value && !value->empty()) return *value;
  problem(key, "\"" + std::string(key) + "\" must be a non-empty string");
  return {};
}

std::optional<std::string> TomlTable::optional_string(std::string_view key) {
  if (!find(key, false)) return std::nullopt;
  return string(key);
}

std::optional<int64_t> TomlTable::optional_integer(std::string_view key) {
  const toml::node* n = find(key, false);
  if (!n) return std::nullopt;
  if (const auto value = n->value_exact<int64_t>()) return *value;
  problem(key, "\"" + std::string(key) + "\" must be an integer");
  return std::nullopt;
}

bool TomlTable::flag(std::string_view key) {
  const toml::node* n = find(key, false);
  if (!n) return false;
  if (const auto value = n->value_exact<bool>()) return *value;
  problem(key, "\"" + std::string(key) + "\" must be true or false");
  return false;
}

std::vector<std::string> TomlTable::strings(std::string_view key, bool mandatory) {
  std::vector<std::string> texts;
  const toml::node* n = find(key, mandatory);
  if (!n) return texts;
  const toml::array* array = n->as_array();
  if (!array) problem(key, "\"" + std::string(key) + "\" must be a list of strings");
  for (size_t i = 0; array && i < array->size(); ++i) {
    if (const auto value = (*array)[i].value_exact<std::string>()) texts.push_back(*value);
    else errors_.add((*array)[i], name_ + ": \"" + std::string(key) + "\" must hold strings only");
  }
  return texts;
}

std::optional<Seconds> TomlTable::optional_duration(std::string_view key) {
  if (!find(key, false)) return std::nullopt;
  return parsed<Seconds>(key, parse_duration);
}

Seconds TomlTable::duration(std::string_view key, Seconds fallback) {
  return optional_duration(key).value_or(fallback);
}

const toml::node* TomlTable::node(std::string_view key) { return find(key, false); }

void TomlTable::finish() {
  for (const auto& [key, node] : table_)
    if (!seen_.contains(key.str()))
      errors_.add(node, name_ + ": unknown key \"" + std::string(key.str()) + "\"", nearest(key.str(), seen_));
}

}  // namespace jitwg
