#include "remote/hosts.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "remote/text.h"

namespace corten::remote {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

std::vector<Address> nowhere(const std::string&) { return {}; }

std::shared_ptr<const Hosts> hosts(HostsConfig config, Hosts::Lookup lookup = nowhere) {
  auto made = Hosts::create(std::move(config), std::move(lookup));
  EXPECT_TRUE(made) << made.error().text();
  return *made;
}

std::vector<std::string> origins(const Endpoint& endpoint) {
  std::vector<std::string> result;
  for (const auto& base : endpoint.bases) result.push_back(base.origin());
  return result;
}

TEST(Address, KnowsWhatIsNotTheWorld) {
  const auto kind = [](std::string_view text) { return classify(*Address::parse(text)); };
  for (const auto* text : {"127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1"})
    EXPECT_EQ(kind(text), AddressClass::loopback) << text;
  for (const auto* text : {"169.254.169.254", "fe80::1%eth0", "::ffff:169.254.0.1", "fd00:ec2::254",
                           "2002:a9fe:a9fe::1", "100.100.100.200"})
    EXPECT_EQ(kind(text), AddressClass::link_local) << text;
  for (const auto* text : {"10.0.0.1", "8.8.8.8", "2001:db8::1", "128.0.0.1"})
    EXPECT_EQ(kind(text), AddressClass::ordinary) << text;
  for (const auto* text : {"", "127.1", "0x7f000001", "017.0.0.1", "2130706433", "1.2.3.4.5", "host", ":::"})
    EXPECT_FALSE(Address::parse(text)) << text;
}

TEST(Address, NetworksHoldTheirAddresses) {
  EXPECT_TRUE(Cidr::parse("10.1.0.0/15")->contains(*Address::parse("10.0.255.255")));
  EXPECT_FALSE(Cidr::parse("10.1.0.0/16")->contains(*Address::parse("10.0.255.255")));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(*Address::parse("9.9.9.9")));
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(*Address::parse("2001:db8::1")));
  EXPECT_TRUE(Cidr::parse("fd00::/8")->contains(*Address::parse("fdff::1")));
  for (const auto* text : {"10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "x/8", "10.0.0.0/8x", "/8"})
    EXPECT_FALSE(Cidr::parse(text)) << text;
}

TEST(Url, ReadsWhatServersSend) {
  const auto url = parse_url("HTTPS://Reg.Example:8443/v2/a?b=c#d");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->origin(), "https://reg.example:8443");
  EXPECT_EQ(url->target, "/v2/a?b=c");
  EXPECT_EQ(url->shown(), "https://reg.example:8443/v2/a");
  EXPECT_EQ(parse_url("http://[::1]:5000")->authority(), "[::1]:5000");
  EXPECT_EQ(parse_url("http://h?x=1")->target, "/?x=1");
  EXPECT_EQ(parse_url("https://h/a b\xff")->target, "/a%20b%FF");
}

TEST(Url, RefusesTraps) {
  for (const auto* text : {"",
                           "ftp://h/",
                           "file:///etc/passwd",
                           "https://user:pw@h/",
                           "https://good@evil/",
                           "https://h:0/",
                           "https://h:65536/",
                           "https://h:x/",
                           "https:///p",
                           "https://a..b/",
                           "https://127.1/",
                           "https://2130706433/",
                           "https://0x7f.1/",
                           "https://h\r\nX: y/",
                           "https://h/\x01",
                           "https://[::1/",
                           "https://[h]/",
                           "https://h%2f/",
                           "javascript:alert(1)",
                           "https://1.2.3.4.5/",
                           "//h/p",
                           "/p",
                           "https://\xd0\xb5vil/"})
    EXPECT_FALSE(parse_url(text)) << text;
  EXPECT_FALSE(parse_url("https://h/" + std::string(20'000, 'a')));
  EXPECT_EQ(parse_url("https://user:secret@h/").error().text().find("secret"), std::string::npos);
}

TEST(Url, ResolvesReferences) {
  const auto base = *parse_url("https://h:5000/v2/a/tags/list?n=1");
  EXPECT_EQ(resolve_url(base, "/x?y")->target, "/x?y");
  EXPECT_EQ(resolve_url(base, "?n=2")->target, "/v2/a/tags/list?n=2");
  EXPECT_EQ(resolve_url(base, "list?last=b")->target, "/v2/a/tags/list?last=b");
  EXPECT_EQ(resolve_url(base, "//other/x")->origin(), "https://other");
  EXPECT_EQ(resolve_url(base, "http://other/x")->origin(), "http://other");
  EXPECT_EQ(resolve_url(base, "/x?u=http://y")->origin(), "https://h:5000");
  for (const auto* text : {"", "ftp://x/", "data:x", "https://a@b/"}) EXPECT_FALSE(resolve_url(base, text)) << text;
}

TEST(Text, IsMadeFitToBeShown) {
  EXPECT_EQ(printable("a\x1b[31m\r\nb\x07", 100), "a [31m b");
  EXPECT_EQ(printable("h\xc3\xa9 \xc0\xaf \xe2\x80\xae", 100), "h\xc3\xa9 ?? ???");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(base64_decode("YTpi"), "a:b");
  EXPECT_EQ(base64_decode("_-8="), base64_decode("/+8"));
  EXPECT_EQ(base64_decode("a"), std::nullopt);
  EXPECT_EQ(base64_decode("ab*d"), std::nullopt);
}

TEST(Hosts, KnowsTheHubAndItsMirrors) {
  const auto made = hosts({.mirrors = {"https://mirror.example", "http://10.0.0.5:5000/"}});
  const auto pull = *made->for_pull("docker.io");
  ASSERT_EQ(pull.size(), 3U);
  EXPECT_THAT(origins(pull[0]), ElementsAre("https://mirror.example"));
  EXPECT_FALSE(pull[0].insecure());
  EXPECT_THAT(origins(pull[1]), ElementsAre("http://10.0.0.5:5000"));
  EXPECT_TRUE(pull[1].insecure() && pull[1].mirror);
  EXPECT_THAT(origins(pull[2]), ElementsAre("https://registry-1.docker.io"));
  EXPECT_FALSE(pull[2].mirror);
  EXPECT_THAT(origins(*made->for_push("docker.io")), ElementsAre("https://registry-1.docker.io"));
  EXPECT_EQ(made->for_pull("quay.example")->size(), 1U);
}

TEST(Hosts, TrustsInsecureRegistriesByNameNetworkAndLoopback) {
  const auto lookup = [](const std::string& host) -> std::vector<Address> {
    if (host == "inside.example") return {*Address::parse("10.3.2.1")};
    if (host == "localhost") return {*Address::parse("127.0.0.1")};
    return {*Address::parse("203.0.113.1")};
  };
  const auto made =
      hosts({.insecure_registries = {"plain.example", "http://port.example:5000/", "10.0.0.0/8"}}, lookup);
  const auto trust = [&](const char* domain) { return made->for_push(domain)->trust; };
  EXPECT_EQ(trust("plain.example"), Trust::insecure_by_name);
  EXPECT_EQ(trust("plain.example:5000"), Trust::verified);
  EXPECT_EQ(trust("port.example:5000"), Trust::insecure_by_name);
  EXPECT_EQ(trust("port.example"), Trust::verified);
  EXPECT_EQ(trust("10.200.0.1:5000"), Trust::insecure_by_name);
  EXPECT_EQ(trust("11.0.0.1"), Trust::verified);
  EXPECT_EQ(trust("inside.example"), Trust::insecure_by_address);
  EXPECT_EQ(trust("127.0.0.1:5000"), Trust::insecure_by_name);
  EXPECT_EQ(trust("[::1]:5000"), Trust::insecure_by_name);
  EXPECT_EQ(trust("localhost:5000"), Trust::insecure_by_address);
  EXPECT_THAT(origins(*made->for_push("plain.example")), ElementsAre("https://plain.example", "http://plain.example"));
  EXPECT_THAT(origins(*made->for_push("localhost:5000")),
              ElementsAre("https://localhost:5000", "http://localhost:5000"));
}

// A name server that first says 127.0.0.1 and then something else must not get credentials over plain http.
TEST(Hosts, HoldsAHostToTheAddressThatMadeItInsecure) {
  const auto made = hosts({}, [](const std::string&) { return std::vector{*Address::parse("127.0.0.1")}; });
  const auto endpoint = *made->for_push("rebind.example:5000");
  ASSERT_EQ(endpoint.trust, Trust::insecure_by_address);
  for (const auto& base : endpoint.bases) {
    const auto options = *made->client_options(base, endpoint.trust);
    ASSERT_TRUE(options.check_address);
    EXPECT_TRUE(options.check_address("127.0.0.1"));
    EXPECT_EQ(options.check_address("203.0.113.1").error().kind(), ErrorKind::forbidden);
  }
  // Where a proxy looks the name up, no address of ours means anything.
  const auto proxied = hosts({.proxy = {.https = "proxy:3128"}},
                             [](const std::string&) { return std::vector{*Address::parse("127.0.0.1")}; });
  EXPECT_EQ(proxied->for_push("rebind.example:5000")->trust, Trust::verified);
}

TEST(Hosts, UsesProxiesAsGoDoes) {
  const auto made = hosts({.proxy = {.http = "http://u:p%40@proxy.example:3128/",
                                     .https = "10.0.0.1",
                                     .no_proxy = "inside.example, .below.example,192.168.0.0/16,ports.example:5000"}});
  const auto proxy = [&](const char* url) { return made->client_options(*parse_url(url), Trust::verified)->proxy; };
  ASSERT_TRUE(proxy("http://x.example/"));
  EXPECT_EQ(proxy("http://x.example/")->host, "proxy.example");
  EXPECT_EQ(proxy("http://x.example/")->authorization, "Basic dTpwQA==");
  EXPECT_EQ(proxy("https://x.example/")->host, "10.0.0.1");
  EXPECT_EQ(proxy("https://x.example/")->port, 80);
  for (const auto* url :
       {"https://inside.example/", "https://a.inside.example/", "https://a.below.example/", "https://192.168.3.4/",
        "https://ports.example:5000/", "https://localhost/", "http://127.0.0.5/"})
    EXPECT_FALSE(proxy(url)) << url;
  for (const auto* url : {"https://notinside.example/", "https://below.example/", "https://ports.example/"})
    EXPECT_TRUE(proxy(url)) << url;
  EXPECT_FALSE(hosts({.proxy = {.https = "p", .no_proxy = "*"}})
                   ->client_options(*parse_url("https://x/"), Trust::verified)
                   ->proxy);
}

TEST(Hosts, ReadsCertificateFoldersAsDockerDoes) {
  std::string root = "/tmp/corten-remote-certs-XXXXXX";
  ASSERT_TRUE(::mkdtemp(root.data()));
  const auto touch = [&](const std::string& path) {
    std::filesystem::create_directories(std::filesystem::path(root + "/" + path).parent_path());
    std::ofstream(root + "/" + path) << "x";
  };
  for (const auto* path : {"good.example:5000/b.crt", "good.example:5000/a.crt", "good.example:5000/c.cert",
                           "good.example:5000/c.key", "half.example/c.cert", "other.example/d.key"})
    touch(path);
  const auto made = hosts({.certs_dir = root});
  const auto good = made->client_options(*parse_url("https://good.example:5000/"), Trust::verified);
  ASSERT_TRUE(good) << good.error().text();
  EXPECT_THAT(good->tls->extra_ca_files, ElementsAre(EndsWith("5000/a.crt"), EndsWith("5000/b.crt")));
  EXPECT_THAT(good->tls->certificate_file, EndsWith("c.cert"));
  EXPECT_THAT(good->tls->key_file, EndsWith("c.key"));
  EXPECT_TRUE(good->tls->verify_server);
  EXPECT_FALSE(
      made->client_options(*parse_url("https://good.example:5000/"), Trust::insecure_by_name)->tls->verify_server);
  EXPECT_THAT(made->client_options(*parse_url("https://half.example/"), Trust::verified).error().text(),
              HasSubstr("missing key c.key for client certificate c.cert"));
  EXPECT_THAT(made->client_options(*parse_url("https://other.example/"), Trust::verified).error().text(),
              HasSubstr("missing client certificate d.cert for key d.key"));
  EXPECT_TRUE(made->client_options(*parse_url("https://none.example/"), Trust::verified)->tls->extra_ca_files.empty());
  std::filesystem::remove_all(root);
}

TEST(Hosts, NamesWhatIsWrongInItsConfiguration) {
  const auto refused = [](HostsConfig config) {
    const auto made = Hosts::create(std::move(config), nowhere);
    EXPECT_FALSE(made);
    return made ? std::string() : made.error().text();
  };
  EXPECT_THAT(refused({.mirrors = {"https://m/path"}}), HasSubstr("invalid mirror: path"));
  EXPECT_THAT(refused({.mirrors = {"mirror.example"}}), HasSubstr("registry-mirrors"));
  EXPECT_THAT(refused({.insecure_registries = {"a b"}}), HasSubstr("insecure-registries"));
  EXPECT_THAT(refused({.proxy = {.http = "socks5://p:1"}}), HasSubstr("socks5"));
  EXPECT_EQ(refused({.proxy = {.http = "http://u:secret@bad host"}}).find("secret"), std::string::npos);
}

}  // namespace
}  // namespace corten::remote
