#include "remote/auth.h"

#include <gmock/gmock.h>

#include "remote/problem.h"

namespace corten::remote {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

std::vector<Challenge> challenges(std::string_view value) {
  return parse_challenges(http::Headers{{"WWW-Authenticate", std::string(value)}});
}

TEST(RegistryAuth, ReadsWhatClientsSend) {
  const auto read = [](std::string_view json) { return parse_registry_auth(http::base64_encode(json)); };
  EXPECT_TRUE(parse_registry_auth("")->empty());
  EXPECT_TRUE(read("{}")->empty());
  EXPECT_TRUE(read("null")->empty());
  const auto plain = read(R"({"username":"me","password":"p:w","email":"","serveraddress":"r.example"})");
  EXPECT_EQ(plain->username + "/" + plain->password + "/" + plain->server_address, "me/p:w/r.example");
  EXPECT_EQ(read(R"({"auth":"bWU6cDp3"})")->password, "p:w");
  EXPECT_EQ(read(R"({"identitytoken":"abc"})")->identity_token, "abc");
  EXPECT_EQ(read(R"({"registrytoken":"abc"})")->registry_token, "abc");
}

TEST(RegistryAuth, RefusesWhatIsNone) {
  for (const auto* text : {"*", "e30x", "bm9qc29u", "eyJ1c2VybmFtZSI6MX0="})
    EXPECT_FALSE(parse_registry_auth(text)) << text;
  EXPECT_FALSE(parse_registry_auth(std::string(100'000, 'A')));
  const auto injected = parse_registry_auth(http::base64_encode(R"({"registrytoken":"a\r\nX: secret"})"));
  ASSERT_FALSE(injected);
  EXPECT_THAT(injected.error().text(), Not(HasSubstr("secret")));
}

TEST(RegistryAuth, IsReadBareToo) {
  EXPECT_TRUE(parse_auth_config("")->empty());
  EXPECT_TRUE(parse_auth_config(" null\n")->empty());
  EXPECT_EQ(parse_auth_config(R"({"auth":"bWU6cDp3"})")->password, "p:w");
  for (const auto& text : {std::string("[]"), std::string("bWU6cDp3"), std::string(R"({"auth":"secret"})"),
                           R"({"password":")" + std::string(100'000, 'a') + R"("})"}) {
    const auto refused = parse_auth_config(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().text(), "invalid registry credentials");
  }
}

TEST(RegistryConfig, ReadsOneForEachRegistry) {
  const auto read = [](std::string_view json) { return parse_registry_config(http::base64_encode(json)); };
  EXPECT_TRUE(parse_registry_config("")->empty());
  EXPECT_TRUE(read("{}")->empty());
  const auto two =
      read(R"({"https://index.docker.io/v1/":{"username":"me","password":"a"},"r.example":{"auth":"bWU6Yg=="}})");
  ASSERT_TRUE(two) << two.error().text();
  EXPECT_EQ(two->at("docker.io").password, "a");
  EXPECT_EQ(two->at("r.example").password, "b");
}

TEST(RegistryConfig, RefusesWhatIsNoneWithoutRepeatingIt) {
  for (const char* json : {"[]", "1", R"({"r":1})", R"({"r":{"username":{}}})", R"({"r":{"auth":"secret"}})", "{"}) {
    const auto refused = parse_registry_config(http::base64_encode(json));
    ASSERT_FALSE(refused) << json;
    EXPECT_THAT(refused.error().text(), Not(HasSubstr("secret")));
  }
  std::string many = "{";
  for (int i = 0; i <= 1000; ++i) many += fmt::format("{}\"r{}\":{{}}", i == 0 ? "" : ",", i);
  EXPECT_FALSE(parse_registry_config(http::base64_encode(many + "}")));
}

TEST(Challenge, ReadsSeveral) {
  const auto list = challenges(
      R"(Bearer realm="https://a/t?x=1,2",service="s \"q\"",scope="repository:a:pull,push", Basic realm=r , Negotiate)");
  ASSERT_THAT(list, SizeIs(3));
  EXPECT_EQ(list[0].scheme, "bearer");
  EXPECT_EQ(list[0].get("realm"), "https://a/t?x=1,2");
  EXPECT_EQ(list[0].get("service"), "s \"q\"");
  EXPECT_EQ(list[0].get("scope"), "repository:a:pull,push");
  EXPECT_EQ(list[1].scheme, "basic");
  EXPECT_EQ(list[1].get("realm"), "r");
  EXPECT_EQ(list[2].scheme, "negotiate");
  EXPECT_EQ(parse_challenges(http::Headers{{"www-authenticate", "Basic"}, {"WWW-Authenticate", "Bearer a=b"}}).size(),
            2U);
}

TEST(Challenge, IsBounded) {
  EXPECT_THAT(challenges(""), SizeIs(0));
  EXPECT_THAT(challenges(",,,=\"\""), SizeIs(0));
  EXPECT_THAT(challenges("Bearer realm=\"unended"), ElementsAre(testing::Field(&Challenge::scheme, "bearer")));
  EXPECT_TRUE(challenges("Bearer realm=\"unended")[0].get("realm").empty());
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += "S" + std::to_string(i) + ", ";
  EXPECT_THAT(challenges(many), SizeIs(16));
  std::string parameters = "Bearer ";
  for (int i = 0; i < 10'000; ++i) parameters += "p" + std::to_string(i) + "=1,";
  EXPECT_LE(challenges(parameters)[0].parameters.size(), 16U);
}

TEST(Problem, ReadsTheSpecificationsDocument) {
  const auto text = [](int status, std::string_view body) { return parse_problem(status, body).text(); };
  EXPECT_EQ(text(404, R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]})"),
            "manifest unknown: manifest unknown");
  EXPECT_EQ(text(429, R"({"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]})"),
            "toomanyrequests: slow down");
  EXPECT_EQ(text(401, R"({"error":"invalid_grant","error_description":"expired"})"), "invalid grant: expired");
  EXPECT_EQ(text(401, R"({"details":"incorrect username or password"})"), "unauthorized: authentication required");
  EXPECT_EQ(text(502, "<html>"), "unexpected status 502 Bad Gateway");
  EXPECT_EQ(text(403, ""), "denied: requested access to the resource is denied");
}

TEST(Problem, CannotWriteOnTheTerminal) {
  const auto text =
      parse_problem(400,
                    "{\"errors\":[{\"code\":\"X\\u001b[2J\",\"message\":\"a\\nb\\u001b]0;c\\u0007\xe2\x80\xae\"}]}")
          .text();
  for (const char c : text) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << text;
  EXPECT_THAT(text, Not(HasSubstr("\xe2\x80\xae")));
  EXPECT_LT(parse_problem(400, "{\"errors\":[{\"message\":\"" + std::string(60'000, 'a') + "\"}]}").text().size(),
            1200U);
  EXPECT_EQ(parse_problem(500, std::string(100'000, '[')).text(), "unexpected status 500 Internal Server Error");
  EXPECT_EQ(parse_problem(500, R"({"errors":[7]})").text(), "unexpected status 500 Internal Server Error");
}

TEST(Problem, HasTheKindThatItsCodeSays) {
  const auto kind = [](int status, const char* code) { return to_error({status, code, ""}).kind(); };
  EXPECT_EQ(kind(404, "MANIFEST_UNKNOWN"), ErrorKind::not_found);
  EXPECT_EQ(kind(401, "DENIED"), ErrorKind::forbidden);
  EXPECT_EQ(kind(401, ""), ErrorKind::unauthorized);
  EXPECT_EQ(kind(429, ""), ErrorKind::unavailable);
  EXPECT_EQ(kind(500, ""), ErrorKind::unavailable);
  EXPECT_EQ(kind(400, "DIGEST_INVALID"), ErrorKind::invalid);
}

}  // namespace
}  // namespace corten::remote
