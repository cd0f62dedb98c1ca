#include "broker/transport/http.h"

#include "broker/base/json.h"
#include "broker/base/limits.h"

namespace jitwg::http {
namespace {

// RFC 9110 has a status of its own for content too large; every other code goes by its kind.
int status_of(Code code) {
  constexpr int kContentTooLarge = 413;
  return code == Code::too_large ? kContentTooLarge : http_status(kind(code));
}

}  // namespace

Response error_response(const Error& error) {
  return {status_of(error.code), render_json(render_error(error))};
}

Error parse_error_response(const Response& response) {
  if (const auto body = parse_json(response.body, limits::kHttpBodyBytes))
    if (const auto error = parse_error(*body)) return *error;
  return {
      Code::bad_json,
      "the peer answered with status " + std::to_string(response.status) + " and no error of ours",
      "is something else listening at this address?"};
}

}  // namespace jitwg::http
