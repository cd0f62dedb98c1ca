#include <gtest/gtest.h>

#include "broker/base/encoding.h"
#include "broker/base/host_names.h"
#include "broker/base/json.h"
#include "broker/base/scope.h"
#include "broker/base/session_id.h"
#include "broker/base/table.h"
#include "broker/base/time.h"

namespace jitwg {
namespace {

TEST(Time, ExactlyOneShape) {
  EXPECT_EQ(render_time(*parse_time("2026-02-28T23:59:59Z")), "2026-02-28T23:59:59Z");
  for (const char* bad : {"", "2026-02-29T00:00:00Z", "2026-02-28 00:00:00Z", "2026-02-28T24:00:00Z", "2026-02-28T00:00:00",
                          "2026-02-28T00:00:00.0Z", "2026-02-28T00:00:00+00:00", "2026-2-28T00:00:00Z", "2026-02-28T00:00:60Z"})
    EXPECT_FALSE(parse_time(bad)) << bad;
  EXPECT_EQ(render_time(*parse_time_with_offset("2026-03-02T10:00:00+03:00")), "2026-03-02T07:00:00Z");
}

TEST(Duration, AsPeopleWriteThem) {
  EXPECT_EQ(*parse_duration("20s"), Seconds(20));
  EXPECT_EQ(*parse_duration("1h30m"), Seconds(5400));
  EXPECT_EQ(*parse_duration("90m"), Seconds(5400));
  for (const char* bad : {"", "0s", "90", "m", "-5m", "1.5h", "30m1h", "1h1h", "99999999999h", "5 m", "1h "})
    EXPECT_FALSE(parse_duration(bad)) << bad;
  EXPECT_EQ(render_duration(Seconds(5400)), "1h 30m");
  EXPECT_EQ(render_duration(Seconds(5401)), "1h 30m 1s");  // over a limit of 90m, and seen to be
  EXPECT_EQ(render_duration(Seconds(61)), "1m 1s");
  EXPECT_EQ(render_duration(Seconds(-3)), "0s");
}

TEST(SessionIds, AreUuidVersion7) {
  const WallTime now = *parse_time("2026-01-01T00:00:00Z");
  const SessionId id = SessionId::make(now);
  EXPECT_TRUE(SessionId::parse(id.str()));
  EXPECT_NE(id, SessionId::make(now));
  EXPECT_LT(id, SessionId::make(now + Seconds(1)));
  EXPECT_EQ(id.short_form().size(), 8u);
  EXPECT_FALSE(SessionId::parse("019B0000-0000-7000-8000-000000000001"));
  EXPECT_FALSE(SessionId::parse("019b0000-0000-4000-8000-000000000001"));
  EXPECT_FALSE(SessionId::parse("019b0000-0000-7000-0000-000000000001"));
  EXPECT_FALSE(SessionId::parse(id.str() + "\n"));
}

TEST(Addresses, OneSpellingOnly) {
  for (const char* good : {"10.0.0.1", "fd00::1", "::1"}) EXPECT_TRUE(IpAddress::parse(good)) << good;
  for (const char* bad : {"010.0.0.1", "10.0.0", "FD00::1", "fd00:0:0::1", "::ffff:10.0.0.1", "fe80::1%eth0", "", "10.0.0.1 "})
    EXPECT_FALSE(IpAddress::parse(bad)) << bad;
  EXPECT_FALSE(Prefix::parse("10.0.0.1/8"));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/33"));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/08"));
  EXPECT_TRUE(Prefix::parse("10.0.0.0/8")->contains(*IpAddress::parse("10.255.0.1")));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/8")->contains(*IpAddress::parse("11.0.0.0")));
  EXPECT_EQ(IpAddress::parse("10.90.0.255")->plus(2).str(), "10.90.1.1");
  EXPECT_EQ(Endpoint::parse("[2001:db8::1]:51820")->str(), "[2001:db8::1]:51820");
  for (const char* bad : {"2001:db8::1:51820", "192.0.2.1", "192.0.2.1:0", "[192.0.2.1]:1", "192.0.2.1:70000"})
    EXPECT_FALSE(Endpoint::parse(bad)) << bad;
}

TEST(Scopes, CanonicalText) {
  const auto s = parse_scope({"udp [fd00::1]:53", "tcp 10.60.10.0/24:443,22", "tcp 10.60.0.5:22", "tcp 10.60.0.5:22", "icmp 10.60.0.5",
                              "tcp 10.0.0.1:1000-1010"});
  ASSERT_TRUE(s) << s.error().render();
  EXPECT_EQ(render_scope(*s),
            (std::vector<std::string>{"icmp 10.60.0.5", "tcp 10.0.0.1:1000-1010", "tcp 10.60.0.5:22", "tcp 10.60.10.0/24:22,443", "udp [fd00::1]:53"}));
  EXPECT_EQ(*parse_scope(render_scope(*s)), *s);
  for (const char* bad : {"10.0.0.1:22", "tcp 10.0.0.1", "tcp 10.0.0.1:", "tcp 10.0.0.1:0", "tcp 10.0.0.1:22-21", "icmp 10.0.0.1:8",
                          "sctp 10.0.0.1:1", "tcp fd00::1:22", "tcp [10.0.0.1]:22", "tcp 10.0.0.1:22,", "tcp  10.0.0.1:22"})
    EXPECT_FALSE(parse_scope_entry(bad)) << bad;
}

std::string json_code(std::string_view text) {
  const auto v = parse_json(text, 1000);
  return v ? "ok" : std::string(name(v.error().code));
}

TEST(Json, StrictlyWhatTheFormatAllows) {
  EXPECT_EQ(json_code(R"({"a":1,"b":[true,null,"x"]})"), "ok");
  EXPECT_EQ(json_code(R"({"a":1,"a":2})"), "duplicate_key");
  EXPECT_EQ(json_code(R"({"a":1,"\u0061":2})"), "duplicate_key");
  for (const char* bad : {"", "{", "{}x", "{}{}", "[1.5]", "[1e3]", "[-0]", "-0", "[9223372036854775808]", "[1,]", "{'a':1}", "// c\n{}", "\"\xff\"", "nul",
                          "[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", R"(["\ud800"])"})
    EXPECT_EQ(json_code(bad), "bad_json") << bad;
  EXPECT_EQ(json_code(std::string(1001, ' ')), "too_large");
  EXPECT_EQ(parse_json("[9223372036854775807]", 100)->at(0).as_int64(), INT64_MAX);
}

TEST(Json, ObjectsAreReadWhole) {
  const auto value = *parse_json(R"({"a":"x","n":3,"extra":1})", 100);
  JsonObject reader(value, "thing");
  EXPECT_EQ(reader.string("a"), "x");
  EXPECT_EQ(reader.integer("n"), 3);
  EXPECT_EQ(reader.finish().error().code, Code::unknown_key);
  JsonObject missing(value, "thing");
  missing.string("b");
  missing.string("n");
  EXPECT_EQ(missing.finish().error().message, "thing: \"b\" is missing");

  const json::value flags = *parse_json(R"({"set":true,"unset":false})", 1000);
  JsonObject strict(flags, "thing");
  EXPECT_TRUE(strict.flag("set"));
  EXPECT_FALSE(strict.flag("absent"));
  EXPECT_TRUE(strict.ok());
  EXPECT_FALSE(strict.flag("unset"));
  EXPECT_EQ(strict.finish().error().code, Code::bad_value) << "what is unset is left out";
}

TEST(HostNames, AreWhatHostsFilesMayHold) {
  for (const char* good : {"db1.prod.example", "db1", "3com", "x--y.z9", "xn--bcher-kva.example"}) EXPECT_TRUE(is_host_name(good)) << good;
  const std::string label(63, 'a');
  EXPECT_TRUE(is_host_name(label + "." + label + "." + label + "." + std::string(61, 'a')));
  EXPECT_FALSE(is_host_name(label + "." + label + "." + label + "." + std::string(62, 'a'))) << "254 bytes";
  for (const std::string& bad : {std::string(), std::string("."), std::string("db1."), std::string(".db1"), std::string("a..b"),
                                 std::string("-a"), std::string("a-"), std::string("DB1"), std::string("a b"), std::string("a\tb"),
                                 std::string("a\nb"), std::string("a#b"), std::string("a\0b", 3), std::string("a_b"),
                                 std::string("dé"), std::string("*.example"), std::string(64, 'a'), std::string("10"),
                                 std::string("10.1"), std::string("10.60.10.20"), std::string("0x0a000001"), std::string("fd00::1"),
                                 std::string("localhost"), std::string("db.localhost")})
    EXPECT_FALSE(is_host_name(bad)) << bad;
}

TEST(Scopes, OverlapsAreSaidOnce) {
  const auto canonical = [](const std::vector<std::string>& texts) { return render_scope(*parse_scope(texts)); };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(canonical({"tcp 10.0.0.1:22,20-30"}), Texts{"tcp 10.0.0.1:20-30"});
  EXPECT_EQ(canonical({"tcp 10.0.0.1:25-40,20-30,22,23"}), Texts{"tcp 10.0.0.1:20-40"});
  EXPECT_EQ(canonical({"tcp 10.0.0.1:22,23"}), Texts{"tcp 10.0.0.1:22,23"});  // as written: they only touch
  EXPECT_EQ(canonical({"tcp 10.0.0.0/24:20-25", "tcp 10.0.0.8/29:22-30"}), (Texts{"tcp 10.0.0.0/24:20-25", "tcp 10.0.0.8/29:26-30"}));
  EXPECT_EQ(canonical({"tcp 10.0.0.0/24:20-25", "tcp 10.0.0.8/29:1-65535"}),
            (Texts{"tcp 10.0.0.0/24:20-25", "tcp 10.0.0.8/29:1-19,26-65535"}));
  EXPECT_EQ(canonical({"tcp 10.0.0.0/24:20-25", "tcp 10.0.0.5:22"}), (Texts{"tcp 10.0.0.0/24:20-25", "tcp 10.0.0.5:22"}));
  EXPECT_EQ(canonical({"tcp 10.0.0.0/24:22", "udp 10.0.0.8/29:22"}), (Texts{"tcp 10.0.0.0/24:22", "udp 10.0.0.8/29:22"}));
  EXPECT_EQ(canonical({"icmp 10.0.0.0/24", "icmp 10.0.0.8/29", "icmp 0.0.0.0/0"}), Texts{"icmp 0.0.0.0/0"});
}

TEST(Scopes, RangesOfAddressesArePrefixes) {
  const auto canonical = [](const std::string& text) { return render_scope(*parse_scope({text})); };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(canonical("tcp 10.0.0.1-10.0.0.9:80"),
            (Texts{"tcp 10.0.0.1:80", "tcp 10.0.0.2/31:80", "tcp 10.0.0.4/30:80", "tcp 10.0.0.8/31:80"}));
  EXPECT_EQ(canonical("icmp 10.0.0.0-10.0.0.255"), Texts{"icmp 10.0.0.0/24"});
  EXPECT_EQ(canonical("icmp 10.0.0.7-10.0.0.7"), Texts{"icmp 10.0.0.7"});
  EXPECT_EQ(canonical("icmp 0.0.0.0-255.255.255.255"), Texts{"icmp 0.0.0.0/0"});
  EXPECT_EQ(canonical("udp [fd00::1-fd00::3]:53"), (Texts{"udp [fd00::1]:53", "udp [fd00::2/127]:53"}));
  for (const char* bad : {"tcp 10.0.0.9-10.0.0.1:80", "tcp 10.0.0.1-fd00::1:80", "icmp 10.0.0.1-fd00::1", "tcp 10.0.0.0/30-10.0.0.9:80",
                          "tcp 10.0.0.1-:80", "tcp 10.0.0.1-10.0.0.2-10.0.0.3:80"})
    EXPECT_FALSE(parse_scope_entry(bad)) << bad;
  // The longest possible range is no longer than what any target may have.
  EXPECT_EQ(prefixes_of_range(*IpAddress::parse("0.0.0.1"), *IpAddress::parse("255.255.255.254"))->size(), 62u);
  EXPECT_EQ(parse_scope({"tcp ::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe:22"}).error().code, Code::bad_value);  // no brackets
  std::string ports = "1";
  for (int port = 3; port < 600; port += 2) ports += "," + std::to_string(port);
  EXPECT_EQ(parse_scope({"tcp 10.0.0.1:" + ports}).error().code, Code::too_large);
}

TEST(HostNames, NameOnlyWhatTheScopeReaches) {
  const Scope scope = *parse_scope({"tcp 10.60.10.0/24:22", "icmp fd00::1"});
  const auto check = [&](const HostNames& names) {
    const auto checked = check_host_names(names, scope);
    return checked ? std::string("ok") : checked.error().message;
  };
  EXPECT_EQ(check({}), "ok");
  EXPECT_EQ(check({{"db", *IpAddress::parse("10.60.10.20")}, {"six", *IpAddress::parse("fd00::1")}}), "ok");
  EXPECT_NE(check({{"db", *IpAddress::parse("10.60.11.20")}}).find("does not reach"), std::string::npos);
  HostNames many;
  for (int i = 0; i < 200; ++i) many["host-with-a-long-name-" + std::to_string(i)] = *IpAddress::parse("10.60.10.20");
  EXPECT_NE(check(many).find("bytes"), std::string::npos);
}

TEST(HostNames, JsonBothWays) {
  const HostNames names{{"db", *IpAddress::parse("10.60.10.20")}, {"six", *IpAddress::parse("fd00::1")}};
  EXPECT_EQ(*parse_host_names(render_host_names(names)), names);
  for (const char* bad : {"{}", "[]", "null", R"({"db":"10.60.010.20"})", R"({"db":["10.60.10.20"]})", R"({"a b":"10.60.10.20"})"})
    EXPECT_FALSE(parse_host_names(parse_json(bad, 1000).value_or(json::value()))) << bad;
}

TEST(Encoding, OneValueOneSpelling) {
  EXPECT_EQ(*base64_decode(base64_encode("any bytes")), "any bytes");
  for (const char* bad : {"YQ", "YR==", "YQ==\n", "Y Q==", "YQ===", "_-8="}) EXPECT_FALSE(base64_decode(bad)) << bad;
  EXPECT_FALSE(hex_decode("AB"));
  EXPECT_FALSE(hex_decode("abc"));
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// libsodium reads these as '+': a key had a second spelling, under which the signer did not know it.
TEST(Encoding, BytesOver127AreNoBase64) {
  EXPECT_TRUE(base64_decode("++++"));
  for (int byte = 0x80; byte < 0x100; ++byte)
    for (size_t at = 0; at < 4; ++at) {
      std::string text = "++++";
      text[at] = static_cast<char>(byte);
      EXPECT_FALSE(base64_decode(text)) << byte << " at " << at;
    }
}

TEST(Encoding, NothingHidesOnATerminal) {
  EXPECT_EQ(escape_for_terminal("ok é\x1b[31m\n"), "ok é\\u{1b}[31m\\u{a}");
  EXPECT_EQ(escape_for_terminal("a\u202egnp"), "a\\u{202e}gnp");
  EXPECT_EQ(escape_for_terminal("\xff\\"), "\\xff\\\\");
  EXPECT_EQ(printable("\xff\\\n"), "\\xff\\\\u{a}");
  EXPECT_EQ(printable(printable("\xff\\\n")), printable("\xff\\\n"));
}

// Found by the policy's fuzz target: parsers quote what they were given.
TEST(Errors, NeverCarryControlCharacters) {
  const Error e{Code::bad_policy, "\"\x1b[31m\xff\" is no name", "try \xe2\x80\xae"};
  EXPECT_EQ(e.render(), "bad_policy: \"\\u{1b}[31m\\xff\" is no name (try \\u{202e})");
  const auto back = parse_error(render_error(e));
  EXPECT_EQ(back->message, "\"\\u{1b}[31m\\xff\" is no name");
  EXPECT_EQ(back->hint, "try \\u{202e}");
}

TEST(Table, BytesInWords) {
  EXPECT_EQ(render_bytes(0), "0 B");
  EXPECT_EQ(render_bytes(999), "999 B");
  EXPECT_EQ(render_bytes(1000), "1.0 kB");
  EXPECT_EQ(render_bytes(9999), "9.9 kB");
  EXPECT_EQ(render_bytes(10'000), "10 kB");
  EXPECT_EQ(render_bytes(999'999), "999 kB");
  EXPECT_EQ(render_bytes(1'000'000), "1.0 MB");
  EXPECT_EQ(render_bytes(UINT64_MAX), "18 EB");
}

TEST(Errors, EveryCodeHasItsWord) {
  for (int i = 0; i <= static_cast<int>(Code::bug); ++i) {
    const Code code = static_cast<Code>(i);
    EXPECT_EQ(*parse_code(name(code)), code);
    EXPECT_NE(exit_code(kind(code)), 0);
    EXPECT_GE(http_status(kind(code)), 400);
  }
  const Error e{Code::replay, "m", "h"};
  const auto back = parse_error(render_error(e));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->render(), e.render());
}

}  // namespace
}  // namespace jitwg
