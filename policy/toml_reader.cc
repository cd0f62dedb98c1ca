#include "policy/toml_reader.h"

#include "broker/base/encoding.h"
#include "broker/base/limits.h"

namespace jitwg {
namespace {

constexpr int kDeepestKey = 32;

// What the library does not stand, outside of strings and comments. A key like a.a.a.a…: it nests a table for each dot, without
// a limit of its own. A letter that is not ASCII: toml++ 3.3 runs into what it holds for unreachable.
std::optional<PolicyProblem> check_bare_text(std::string_view text) {
  int line = 1, dots = 0;
  for (size_t i = text.starts_with("\xef\xbb\xbf") ? 3 : 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c & 0x80) != 0)
      return PolicyProblem{line, static_cast<int>(i - std::min(text.rfind('\n', i) + 1, i)) + 1, "a character outside of quotes that is not ASCII",
                           "keys are plain ASCII; values stand in \"quotes\""};
    if (c == '"' || c == '\'') {
      // To the end of the string, so that no dot in it counts.
      const bool triple = text.substr(i, 3) == std::string(3, c);
      const std::string_view close = text.substr(i, triple ? 3 : 1);
      for (i += close.size(); i < text.size() && text.substr(i, close.size()) != close; ++i) {
        if (text[i] == '\n') {
          if (!triple) break;
          ++line;
        }
        if (text[i] == '\\' && c == '"') ++i;
      }
      if (i < text.size() && text[i] == '\n') --i;  // never closed: the library says so
      else i += close.size() - 1;
      continue;
    }
    if (c == '#') {
      i = std::min(text.find('\n', i), text.size());
      --i;
    } else if (c == '\n' || c == '=' || c == ',') {
      dots = 0;
      line += c == '\n';
    } else if (c == '.' && ++dots > kDeepestKey) {
      return PolicyProblem{line, 1, "a key of more than " + std::to_string(kDeepestKey) + " parts", "no key of a policy has more than three"};
    }
  }
  return std::nullopt;
}

}  // namespace

tl::expected<toml::table, PolicyProblem> parse_toml(std::string_view text) {
  if (text.size() > limits::kPolicyBytes)
    return tl::unexpected<PolicyProblem>(
        {1, 1, "the file is " + std::to_string(text.size()) + " bytes long", "at most " + std::to_string(limits::kPolicyBytes)});
  if (auto problem = check_bare_text(text)) return tl::unexpected<PolicyProblem>(std::move(*problem));
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& e) {
    const std::string why(e.description());
    return tl::unexpected<PolicyProblem>(
        {static_cast<int>(e.source().begin.line), static_cast<int>(e.source().begin.column), printable(why),
         why.find("redefine") != std::string::npos ? "each key and each table stands in the file once" : "this is TOML: see toml.io"});
  }
}

void TomlErrors::add(const toml::source_region& at, const std::string& message, const std::string& hint) {
  all.push_back({static_cast<int>(at.begin.line), static_cast<int>(at.begin.column), printable(message), printable(hint)});
}

const toml::node* TomlTable::find(std::string_view key, bool mandatory) {
  seen_.emplace(key);
  const toml::node* found = table_.get(key);
  if (!found && mandatory) errors_.add(table_, name_ + ": \"" + std::string(key) + "\" is missing", "write " + std::string(key) + " = …");
  return found;
}

void TomlTable::problem(std::string_view key, const std::string& message, const std::string& hint) {
  const toml::node* at = table_.get(key);
  errors_.add(at ? *at : table_, name_ + ": " + message, hint);
}

void TomlTable::problem(const TomlText& text, const std::string& message, const std::string& hint) {
  errors_.add(*text.at, name_ + ": " + message, hint);
}

std::string TomlTable::string(std::string_view key) {
  const toml::node* n = find(key, true);
  if (!n) return {};
  if (const auto value = n->value_exact<std::string>(); value && !value->empty()) return *value;
  problem(key, "\"" + std::string(key) + "\" must be a non-empty string", "write " + std::string(key) + " = \"…\"");
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
  problem(key, "\"" + std::string(key) + "\" must be an integer", "write " + std::string(key) + " = 1, without quotes");
  return std::nullopt;
}

int TomlTable::integer_in(std::string_view key, int least, int most, int fallback) {
  const auto value = optional_integer(key);
  if (!value) return fallback;
  if (*value >= least && *value <= most) return static_cast<int>(*value);
  problem(key, "\"" + std::string(key) + "\" cannot be " + std::to_string(*value), std::to_string(least) + " to " + std::to_string(most));
  return fallback;
}

bool TomlTable::flag(std::string_view key) {
  const toml::node* n = find(key, false);
  if (!n) return false;
  if (const auto value = n->value_exact<bool>()) return *value;
  problem(key, "\"" + std::string(key) + "\" must be true or false", "write " + std::string(key) + " = true");
  return false;
}

std::string TomlTable::choice(std::string_view key, const Words& words) {
  const std::string word = optional_string(key).value_or("");
  if (word.empty() || words.contains(word)) return word;
  problem(key, "\"" + std::string(key) + "\" cannot be \"" + word + "\"", suggest(word, words));
  return {};
}

std::vector<TomlText> TomlTable::texts(std::string_view key, bool mandatory) {
  std::vector<TomlText> found;
  const toml::node* n = find(key, mandatory);
  if (!n) return found;
  const toml::array* array = n->as_array();
  if (!array) problem(key, "\"" + std::string(key) + "\" must be a list of strings", "write " + std::string(key) + " = [\"…\"]");
  for (size_t i = 0; array && i < array->size(); ++i) {
    const toml::node& element = *array->get(i);
    if (auto value = element.value_exact<std::string>()) found.push_back({std::move(*value), &element});
    else errors_.add(element, name_ + ": \"" + std::string(key) + "\" must hold strings only", "write \"…\"");
  }
  return found;
}

std::optional<Seconds> TomlTable::optional_duration(std::string_view key) {
  if (!find(key, false)) return std::nullopt;
  return parsed<Seconds>(key, parse_duration);
}

Seconds TomlTable::duration(std::string_view key, Seconds fallback) {
  return optional_duration(key).value_or(fallback);
}

const toml::node* TomlTable::node(std::string_view key) { return find(key, false); }

const toml::table* TomlTable::table(std::string_view key, const std::string& like) {
  const toml::node* n = find(key, false);
  if (n && !n->is_table()) problem(key, "\"" + std::string(key) + "\" must be a table", "write " + like);
  return n ? n->as_table() : nullptr;
}

void TomlTable::finish() {
  for (const auto& [key, node] : table_)
    if (!seen_.contains(key.str()))
      errors_.add(key.source(), name_ + ": unknown key \"" + std::string(key.str()) + "\"", suggest(key.str(), seen_));
}

}  // namespace jitwg
