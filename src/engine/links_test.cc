#include "engine/links.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corten::engine {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<ContainerView> view_of(const std::string& id, const std::string& name, bool running) {
  auto definition = std::make_shared<Definition>();
  definition->id = id;
  definition->name = name;
  definition->config.hostname = id.substr(0, 12);
  auto view = std::make_shared<ContainerView>();
  view->definition = std::move(definition);
  if (running) {
    view->state.status = Status::running;
    view->endpoint = network::EndpointInfo{.address = {172u << 24 | 17u << 16 | 2}};
  }
  return view;
}

struct LinksTest : testing::Test {
  ContainerRef add(const std::string& its_id, const std::string& name, bool running,
                   const std::string& mode = "bridge") {
    auto view = view_of(its_id, name, running);
    auto definition = std::make_shared<Definition>(*view->definition);
    definition->host_config.network_mode = mode;
    definition->config.exposed_ports = {{"80/tcp", {}}, {"82/tcp", {}}, {"81/tcp", {}}, {"53/udp", {}}};
    definition->config.env = {"COLOUR=red", "PATH=/bin", "HOME=/root", "bare"};
    view->definition = definition;
    auto container = std::make_shared<Container>(
        its_id, [](const Container::Data&, bool) {}, [view](const Container::Data&) { return view; });
    container->with([&](Container::Data& data) {
      data.definition = definition;
      container->publish(false);
    });
    EXPECT_TRUE(registry.reserve(name, its_id));
    registry.insert(container, Timestamp());
    return container;
  }
  Definition web(spec::Strings links) {
    Definition definition;
    definition.name = "web";
    definition.host_config.links = std::move(links);
    return definition;
  }
  Registry registry;
  const std::string id = std::string(64, 'd');
};

TEST_F(LinksTest, ArePinnedToWhomTheyName) {
  add(id, "db", true);
  spec::Strings links{"db", "/db", "db:store", "/db:/web/shown", "ddd:short"};
  ASSERT_TRUE(pin_links(links, registry));
  EXPECT_THAT(links, ElementsAre(id + ":db", id + ":db", id + ":store", id + ":shown", id + ":short"));
}

TEST_F(LinksTest, BadOnesAreRefused) {
  add(id, "db", true);
  add(std::string(64, 'e'), "eve", true, "host");
  const auto refusal = [&](const std::string& link) {
    spec::Strings links{link};
    const auto result = pin_links(links, registry);
    if (result) return std::string("accepted");
    EXPECT_EQ(result.error().kind(), ErrorKind::invalid) << link;
    return result.error().text();
  };
  EXPECT_EQ(refusal("nobody:x"), "could not get container for nobody: No such container: nobody");
  EXPECT_THAT(refusal("eve"), HasSubstr("host type networking can't be used with links"));
  EXPECT_THAT(refusal(""), HasSubstr("empty string"));
  for (const char* bad : {":x", "db:", "db:a b", "db:a\nb", "db:a:b", "db:x=y", "db:/"})
    EXPECT_THAT(refusal(bad), HasSubstr("bad format for links")) << bad;
}

TEST_F(LinksTest, ATargetMustRun) {
  add(id, "db", false);
  const Definition parent = web({id + ":store", std::string(64, 'f') + ":gone"});
  const auto links = find_links(parent, registry);
  ASSERT_EQ(links.size(), 1u) << "one whose container is removed is gone";
  EXPECT_EQ(check_links(parent, links).error().text(), "Cannot link to a non running container: /db AS /web/store");
  EXPECT_TRUE(link_environment(parent, links).empty());
  EXPECT_TRUE(link_hosts(links).empty());
}

TEST_F(LinksTest, TellOfAddressesAndPorts) {
  add(id, "db", true);
  const Definition parent = web({id + ":the-store"});
  const auto links = find_links(parent, registry);
  ASSERT_TRUE(check_links(parent, links));
  const auto hosts = link_hosts(links);
  ASSERT_EQ(hosts.size(), 1u);
  EXPECT_EQ(hosts[0].address, "172.17.0.2");
  EXPECT_EQ(hosts[0].names, "the-store dddddddddddd db");
  const auto env = link_environment(parent, links);
  for (const char* wanted :
       {"THE_STORE_PORT=udp://172.17.0.2:53", "THE_STORE_NAME=/web/the-store", "THE_STORE_ENV_COLOUR=red",
        "THE_STORE_PORT_80_TCP=tcp://172.17.0.2:80", "THE_STORE_PORT_80_TCP_ADDR=172.17.0.2",
        "THE_STORE_PORT_80_TCP_PORT=80", "THE_STORE_PORT_80_TCP_PROTO=tcp", "THE_STORE_PORT_53_UDP_PROTO=udp",
        "THE_STORE_PORT_80_TCP_START=tcp://172.17.0.2:80", "THE_STORE_PORT_80_TCP_PORT_END=82"})
    EXPECT_THAT(env, Contains(wanted));
  for (const auto& variable : env) {
    EXPECT_THAT(variable, testing::Not(HasSubstr("ENV_PATH")));
    EXPECT_THAT(variable, testing::Not(HasSubstr("ENV_HOME")));
    EXPECT_THAT(variable, HasSubstr("="));
  }
}

}  // namespace
}  // namespace corten::engine
