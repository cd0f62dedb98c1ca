#include "broker/transport/connection.h"

#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

namespace jitwg::http {

namespace beast_http = boost::beast::http;

std::string render_answer_head(int status, std::optional<size_t> body_size, bool keep_alive) {
  const auto reason =
      beast_http::obsolete_reason(beast_http::int_to_status(static_cast<unsigned>(status)));
  std::string head = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason) + "\r\n";
  head += "Cache-Control: no-store\r\n";
  if (status == 401) head += "WWW-Authenticate: Bearer\r\n";
  if (!keep_alive) head += "Connection: close\r\n";
  if (body_size)
    head +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(*body_size) + "\r\n";
  else
    head += "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n";
  return head + "\r\n";
}

namespace {

Result<std::string> take_bearer(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!boost::beast::iequals(authorization.substr(0, kScheme.size()), kScheme))
    return fail(Code::bad_token, "the Authorization header is not of the form \"Bearer TOKEN\"");
  return std::string(authorization.substr(kScheme.size()));
}

}  // namespace

Result<Request> take_request(beast_http::request<beast_http::string_body>&& parsed) {
  if (parsed.version() != 11) return fail(Code::bad_value, "this is no HTTP/1.1 request");
  if (parsed.count(beast_http::field::host) != 1)
    return fail(Code::bad_value, "a request has exactly one Host header");
  Request request;
  request.method = parsed.method_string();
  JITWG_TRY(parse_target(parsed.target(), request));
  switch (parsed.count(beast_http::field::authorization)) {
    case 0:
      break;
    case 1: {
      JITWG_ASSIGN(request.bearer, take_bearer(parsed[beast_http::field::authorization]));
      break;
    }
    default:
      return fail(Code::bad_token, "more than one Authorization header");
  }
  request.body = std::move(parsed.body());
  return request;
}

boost::asio::awaitable<Greeted> greet(SocketStream&, const ServerLimits&) {
  co_return Caller{.local = true, .key = {}};
}

std::optional<Error> read_failure(const error_code& error) {
  if (error == beast_http::error::body_limit)
    return Error{Code::too_large,
                 "the body is over " + std::to_string(limits::kHttpBodyBytes) + " bytes",
                 {}};
  if (error == beast_http::error::header_limit)
    return Error{Code::too_large, "the header is too large", {}};
  if (error == beast_http::error::end_of_stream) return std::nullopt;
  if (error == beast_http::error::partial_message)
    return Error{Code::bad_value, "the request ended in the middle", {}};
  if (error.category() == beast_http::make_error_code(beast_http::error::bad_method).category())
    return Error{Code::bad_value, "this is no HTTP/1.1 request: " + error.message(), {}};
  return std::nullopt;
}

}  // namespace jitwg::http
