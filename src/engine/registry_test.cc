#include "engine/registry.h"

#include <gtest/gtest.h>

namespace corten::engine {
namespace {

ContainerRef make(const std::string& id) {
  return std::make_shared<Container>(
      id, [](const Container::Data&, bool) {}, [](const Container::Data&) { return ContainerPtr(); });
}

struct RegistryTest : testing::Test {
  void add(const std::string& id, const std::string& name, int created) {
    ASSERT_TRUE(registry.reserve(name, id));
    registry.insert(make(id), Timestamp(std::chrono::seconds(created)));
  }
  Registry registry;
};

TEST_F(RegistryTest, FindsByIdPrefixAndName) {
  add("aaa1", "web", 1);
  add("aab2", "db", 2);
  EXPECT_EQ((*registry.find("aaa1"))->id(), "aaa1");
  EXPECT_EQ((*registry.find("aab"))->id(), "aab2");
  EXPECT_EQ((*registry.find("web"))->id(), "aaa1");
  EXPECT_EQ((*registry.find("/db"))->id(), "aab2");
}

TEST_F(RegistryTest, SaysWhatItDoesNotFind) {
  add("aaa1", "web", 1);
  add("aab2", "db", 2);
  EXPECT_EQ(registry.find("aa").error().kind(), ErrorKind::invalid);
  EXPECT_EQ(registry.find("zz").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(registry.find("zz").error().text(), "No such container: zz");
  EXPECT_EQ(registry.find("").error().kind(), ErrorKind::invalid);
}

TEST_F(RegistryTest, ANameGoesBeforeAPrefix) {
  add("aaa1", "bb", 1);
  add("bbb2", "other", 2);
  EXPECT_EQ((*registry.find("bb"))->id(), "aaa1");
}

TEST_F(RegistryTest, NamesAreUnique) {
  add("aaa1", "web", 1);
  const auto taken = registry.reserve("web", "ccc3");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind(), ErrorKind::conflict);
  EXPECT_EQ(taken.error().text(),
            "Conflict. The container name \"/web\" is already in use by container \"aaa1\". You have to remove (or "
            "rename) that container to be able to reuse that name.");
  ASSERT_TRUE(registry.rename("web", "www", "aaa1"));
  EXPECT_TRUE(registry.reserve("web", "ccc3"));
  registry.release("web", "other");
  EXPECT_FALSE(registry.reserve("web", "ddd4"));
}

TEST_F(RegistryTest, NewestFirstAndForgetting) {
  add("aaa1", "web", 1);
  add("bbb2", "db", 3);
  add("ccc3", "mq", 2);
  std::vector<std::string> ids;
  for (const auto& container : registry.all()) ids.push_back(container->id());
  EXPECT_EQ(ids, (std::vector<std::string>{"bbb2", "ccc3", "aaa1"}));
  registry.erase("bbb2", "db", Timestamp(std::chrono::seconds(3)));
  EXPECT_EQ(registry.size(), 2U);
  EXPECT_FALSE(registry.find("db"));
  EXPECT_TRUE(registry.reserve("db", "eee5"));
}

}  // namespace
}  // namespace corten::engine
