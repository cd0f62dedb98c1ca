#include "broker/base/host_names.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"

namespace jitwg {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || is_digit(c); }

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || c == '-'; });
}

// As inet_aton(3) reads: "10.1" and "0x0a000001" are addresses.
bool reads_as_address(std::string_view last_label) {
  return last_label.starts_with("0x") ||
         std::all_of(last_label.begin(), last_label.end(), is_digit);
}

tl::unexpected<Error> no_name(std::string_view name) {
  return fail(Code::bad_value,
              "\"" + escape_for_terminal(name.substr(0, 80)) + "\" is no host name",
              "lower-case labels like db1.prod.example, not localhost");
}

}  // namespace

bool is_host_name(std::string_view text) {
  if (text.size() > 253) return false;
  std::string_view label, rest = text;
  for (size_t dot = 0; dot != std::string_view::npos;) {
    dot = rest.find('.');
    label = rest.substr(0, dot);
    if (!is_label(label)) return false;
    if (dot != std::string_view::npos) rest.remove_prefix(dot + 1);
  }
  return label != "localhost" && !reads_as_address(label);
}

Result<void> check_host_names(const HostNames& names, const Scope& scope) {
  size_t bytes = 0;
  for (const auto& [name, address] : names) {
    if (!is_host_name(name)) return no_name(name);
    bytes += name.size() + address.str().size();
    const auto reaches = [&to = address](const ScopeEntry& entry) {  // by a name: clang 14 captures no binding
      return entry.destination.contains(to);
    };
    if (std::none_of(scope.begin(), scope.end(), reaches))
      return fail(Code::bad_value,
                  name + " names " + address.str() + ", which the scope does not reach");
  }
  if (bytes > limits::kHostNamesBytes)
    return fail(Code::bad_value, std::to_string(bytes) + " bytes of names and addresses",
                "at most " + std::to_string(limits::kHostNamesBytes));
  return {};
}

json::value render_host_names(const HostNames& names) {
  json::object object;
  for (const auto& [name, address] : names) object[name] = address.str();
  return object;
}

Result<HostNames> parse_host_names(const json::value& value) {
  const json::object* object = value.if_object();
  if (object == nullptr || object->empty())
    return fail(Code::bad_value, "\"names\" must be an object of names, or left out");
  HostNames names;
  for (const auto& [key, text] : *object) {
    const std::string name(key);
    if (!is_host_name(name)) return no_name(name);
    if (!text.is_string())
      return fail(Code::bad_value, "the address of " + name + " must be a string");
    JITWG_ASSIGN(const IpAddress address, IpAddress::parse(std::string_view(text.get_string())));
    names.emplace(name, address);
  }
  return names;
}

}  // namespace jitwg
