#include "broker/base/json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "broker/base/encoding.h"

namespace jitwg {
namespace {

using Text = json::string_view;
constexpr size_t kMaxDepth = 16;

// Builds the value itself, because only here can a duplicate key or a double still be seen.
struct Handler {
  static constexpr size_t max_array_size = 1'000'000;
  static constexpr size_t max_object_size = 100'000;
  static constexpr size_t max_string_size = size_t{64} << 20;
  static constexpr size_t max_key_size = 256;

  std::vector<json::value> open;       // containers being filled
  std::vector<std::string> keys;       // pending key of each open object
  std::string text;                    // pieces of the current string or key
  json::value root;
  std::optional<Error> error;

  bool refuse(Code code, std::string message, json::error_code& ec) {
    error = Error{code, std::move(message), {}};
    ec = json::error::syntax;
    return false;
  }
  bool put(json::value value, json::error_code& ec) {
    if (open.empty()) {
      root = std::move(value);
    } else if (json::value& top = open.back(); top.is_array()) {
      top.get_array().push_back(std::move(value));
    } else {
      const auto [it, inserted] = top.get_object().emplace(keys.back(), std::move(value));
      if (!inserted)
        return refuse(Code::duplicate_key, "key \"" + escape_for_terminal(keys.back()) + "\" twice", ec);
    }
    return true;
  }
  bool begin(json::value container) {
    open.push_back(std::move(container));
    keys.emplace_back();
    return true;
  }
  bool end(json::error_code& ec) {
    json::value done = std::move(open.back());
    open.pop_back();
    keys.pop_back();
    return put(std::move(done), ec);
  }
  bool take_text(Text s, json::error_code& ec) {
    text.append(s.data(), s.size());
    return is_utf8(text) || refuse(Code::bad_json, "a string is not UTF-8", ec);
  }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return begin(json::object{}); }
  bool on_object_end(size_t, json::error_code& ec) { return end(ec); }
  bool on_array_begin(json::error_code&) { return begin(json::array{}); }
  bool on_array_end(size_t, json::error_code& ec) { return end(ec); }
  bool on_key_part(Text s, size_t, json::error_code&) {
    text.append(s.data(), s.size());
    return true;
  }
  bool on_key(Text s, size_t, json::error_code& ec) {
    if (!take_text(s, ec)) return false;
    keys.back() = std::move(text);
    text.clear();
    return true;
  }
  bool on_string_part(Text s, size_t, json::error_code&) {
    text.append(s.data(), s.size());
    return true;
  }
  bool on_string(Text s, size_t, json::error_code& ec) {
    if (!take_text(s, ec)) return false;
    json::value value(text);
    text.clear();
    return put(std::move(value), ec);
  }
  bool on_number_part(Text, json::error_code&) { return true; }
  bool on_int64(int64_t i, Text written, json::error_code& ec) {
    if (i == 0 && written.starts_with('-')) return refuse(Code::bad_json, "-0 is no integer", ec);
    return put(i, ec);
  }
  bool on_uint64(uint64_t, Text, json::error_code& ec) {
    return refuse(Code::bad_json, "a number over 2^63 - 1", ec);
  }
  bool on_double(double, Text, json::error_code& ec) {
    return refuse(Code::bad_json, "a number that is no integer", ec);
  }
  bool on_bool(bool b, json::error_code& ec) { return put(b, ec); }
  bool on_null(json::error_code& ec) { return put(nullptr, ec); }
  bool on_comment_part(Text, json::error_code&) { return true; }
  bool on_comment(Text, json::error_code&) { return true; }
};

}  // namespace

Result<json::value> parse_json(std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes)
    return fail(Code::too_large, "JSON of " + std::to_string(text.size()) + " bytes",
                "at most " + std::to_string(max_bytes));
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::basic_parser<Handler> parser(options);
  json::error_code ec;
  const size_t used = parser.write_some(false, text.data(), text.size(), ec);
  const Handler& handler = parser.handler();
  if (handler.error) return tl::unexpected<Error>(*handler.error);
  if (ec) return fail(Code::bad_json, "not JSON: " + ec.message() + " near byte " + std::to_string(used));
  if (used != text.size()) return fail(Code::bad_json, "something follows the JSON value");
  return parser.handler().root;
}

std::string render_json(const json::value& value) { return json::serialize(value); }

json::value render_error(const Error& error) {
  // What an error quotes may be anybody's bytes; JSON is UTF-8, and whoever shows it may not think of terminals.
  return {{"error",
           {{"code", name(error.code)}, {"message", printable(error.message)}, {"hint", printable(error.hint)}}}};
}

std::optional<Error> parse_error(const json::value& answer) {
  const auto* object = answer.if_object();
  const json::value* inner = object ? object->if_contains("error") : nullptr;
  if (!inner) return std::nullopt;
  JsonObject reader(*inner, "error");
  const std::string word = reader.string("code"), message = reader.string("message");
  const std::string hint = reader.optional_string("hint").value_or("");
  if (auto done = reader.finish(); !done) return Error{Code::bug, "an error without a proper form", {}};
  const auto code = parse_code(word);
  return Error{code ? *code : Code::bug, message, hint};
}

JsonObject::JsonObject(const json::value& value, std::string_view what)
    : object_(value.if_object()), what_(what) {
  if (!object_) problem({Code::bad_value, what_ + " is not a JSON object", {}});
}

void JsonObject::problem(Error error) {
  if (!error_) error_ = std::move(error);
}

void JsonObject::wrong_type(std::string_view key, std::string_view wanted) {
  problem({Code::bad_value, what_ + ": \"" + std::string(key) + "\" must be " + std::string(wanted), {}});
}

const json::value* JsonObject::find(std::string_view key, bool mandatory) {
  seen_.insert(std::string(key));
  if (!object_) return nullptr;
  const json::value* found = object_->if_contains(key);
  if (!found && mandatory)
    problem({Code::bad_value, what_ + ": \"" + std::string(key) + "\" is missing", {}});
  return found;
}

std::string JsonObject::string(std::string_view key) {
  const json::value* v = find(key, true);
  if (!v) return {};
  if (const auto* s = v->if_string()) return std::string(*s);
  wrong_type(key, "a string");
  return {};
}

int64_t JsonObject::integer(std::string_view key) {
  const json::value* v = find(key, true);
  if (!v) return 0;
  if (const auto* i = v->if_int64()) return *i;
  wrong_type(key, "an integer");
  return 0;
}

bool JsonObject::boolean(std::string_view key) {
  const json::value* v = find(key, true);
  if (!v) return false;
  if (const auto* b = v->if_bool()) return *b;
  wrong_type(key, "true or false");
  return false;
}

bool JsonObject::flag(std::string_view key) {
  const json::value* v = find(key, false);
  if (!v) return false;
  const bool set = v->is_bool() && v->get_bool();
  if (!set) wrong_type(key, "true, or left out");
  return set;
}

std::vector<std::string> JsonObject::strings(std::string_view key) {
  std::vector<std::string> texts;
  const json::value* v = find(key, true);
  if (!v) return texts;
  const auto* array = v->if_array();
  if (!array) wrong_type(key, "a list of strings");
  for (size_t i = 0; array && i < array->size(); ++i) {
    const auto* s = (*array)[i].if_string();
    if (!s) {
      wrong_type(key, "a list of strings");
      return {};
    }
    texts.emplace_back(*s);
  }
  return texts;
}

const json::value* JsonObject::value(std::string_view key) { return find(key, true); }

std::optional<std::string> JsonObject::optional_string(std::string_view key) {
  if (!find(key, false)) return std::nullopt;
  return string(key);
}

std::optional<int64_t> JsonObject::optional_integer(std::string_view key) {
  if (!find(key, false)) return std::nullopt;
  return integer(key);
}

const json::value* JsonObject::optional_value(std::string_view key) { return find(key, false); }

Result<void> JsonObject::finish() {
  if (object_ && !error_)
    for (const auto& item : *object_)
      if (!seen_.contains(std::string_view(item.key())))
        problem({Code::unknown_key,
                 what_ + ": unknown key \"" + escape_for_terminal(item.key()) + "\"", {}});
  if (error_) return tl::unexpected<Error>(*error_);
  return {};
}

}  // namespace jitwg
