#include "broker/transport/http.h"

#include <gtest/gtest.h>

#include "broker/transport/target.h"

namespace jitwg::http {
namespace {

Code target_failure(std::string_view target) {
  Request request;
  const auto result = parse_target(target, request);
  return result ? Code::bug : result.error().code;
}

TEST(Target, PathAndQueryAreDecoded) {
  Request request;
  ASSERT_TRUE(parse_target("/v1/sessions/a%20b?wait=5&state=active%2bx&empty=", request));
  EXPECT_EQ(request.path, "/v1/sessions/a b");
  const std::map<std::string, std::string> query{
      {"empty", ""}, {"state", "active+x"}, {"wait", "5"}};
  EXPECT_EQ(request.query, query);
}

TEST(Target, WhatHasTwoReadingsIsRefused) {
  for (const char* target :
       {"", "v1", "http://x/v1", "*", "/a%", "/a%2", "/a%zz", "/a%2fb", "/a%00", "/a%0A", "/a%7f",
        "/a%ff", "/a#b", "/a?", "/a?b", "/a?=b", "/a?b=1&", "/a?b=%"})
    EXPECT_EQ(target_failure(target), Code::bad_value) << target;
}

TEST(Target, DuplicateQueryKeyIsRefusedAlsoWhenEscaped) {
  EXPECT_EQ(target_failure("/a?wait=1&wait=2"), Code::duplicate_key);
  EXPECT_EQ(target_failure("/a?wait=1&w%61it=1"), Code::duplicate_key);
}

TEST(Target, RenderAndParseAreInverse) {
  Request request;
  request.path = "/v1/ü x/y?&=%";
  request.query = {{"a&b", "c=d e+f/%"}, {"z", ""}};
  Request back;
  ASSERT_TRUE(parse_target(render_target(request), back));
  EXPECT_EQ(back.path, request.path);
  EXPECT_EQ(back.query, request.query);
}

TEST(ErrorResponse, KeepsCodeMessageAndHint) {
  const Response response = error_response({Code::self_approval, "no", "ask carol"});
  EXPECT_EQ(response.status, 403);
  const Error error = parse_error_response(response);
  EXPECT_EQ(error.code, Code::self_approval);
  EXPECT_EQ(error.message, "no");
  EXPECT_EQ(error.hint, "ask carol");
}

TEST(ErrorResponse, AnAnswerThatIsNotOursIsBadJson) {
  for (const char* body : {"", "<html>", "[]", "{}", "{\"fault\":1}"})
    EXPECT_EQ(parse_error_response({502, body}).code, Code::bad_json) << body;
}

TEST(ErrorResponse, TooLargeHasItsOwnStatus) {
  EXPECT_EQ(error_response({Code::too_large, "", ""}).status, 413);
  EXPECT_EQ(error_response({Code::too_many_requests, "", ""}).status, 429);
}

}  // namespace
}  // namespace jitwg::http
