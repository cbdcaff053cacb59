#include "store/database.h"

#include <sys/wait.h>

#include "store/content.h"
#include "store/store.h"
#include "store/store_fixture.h"

namespace corten::store {
namespace {

std::unique_ptr<Database> open_database(const TempTree& tree) {
  auto database = Database::open(tree.path() + "/corten.db");
  EXPECT_TRUE(database) << database.error().text();
  return database ? std::move(*database) : nullptr;
}

TEST(Database, KeepsContainersInOrder) {
  const TempTree tree;
  auto database = open_database(tree);
  ASSERT_TRUE(database->put_container({"1", "one", "{}", "s0"}));
  ASSERT_TRUE(database->put_container({"2", "two", "{}", "s0"}));
  for (int i = 1; i <= 100; ++i) ASSERT_TRUE(database->set_container_state("1", "s" + std::to_string(i)));
  ASSERT_TRUE(database->rename_container("1", "uno"));
  ASSERT_TRUE(database->delete_container("2"));
  ASSERT_TRUE(database->put_container({"3", "two", "{}", "s"}));
  database = nullptr;
  database = open_database(tree);
  auto rows = database->list_containers();
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ(rows->at(0).name, "uno");
  EXPECT_EQ(rows->at(0).state, "s100");
  EXPECT_EQ(rows->at(1).name, "two");
}

TEST(Database, NamesAreUniqueAtOnce) {
  const TempTree tree;
  auto database = open_database(tree);
  ASSERT_TRUE(database->put_container({"1", "one", "{}", "{}"}));
  auto taken = database->put_container({"2", "one", "{}", "{}"});
  EXPECT_EQ(taken.error().kind(), ErrorKind::conflict);
  EXPECT_THAT(taken.error().text(),
              testing::StartsWith("Conflict. The container name \"/one\" is already in use by container \"1\""));
  EXPECT_EQ(database->put_container({"1", "x", "{}", "{}"}).error().kind(), ErrorKind::conflict);
  ASSERT_TRUE(database->put_container({"2", "two", "{}", "{}"}));
  EXPECT_EQ(database->rename_container("2", "one").error().kind(), ErrorKind::conflict);
  EXPECT_TRUE(database->rename_container("2", "two"));
  EXPECT_EQ(database->delete_container("9").error().text(), "No such container: 9");
  EXPECT_EQ(database->set_container_state("9", "").error().kind(), ErrorKind::not_found);
  ASSERT_TRUE(database->delete_container("1"));
  EXPECT_TRUE(database->rename_container("2", "one"));
}

TEST(Database, CommitsSurviveAKill) {
  const TempTree tree;
  const pid_t child = ::fork();
  if (child == 0) {
    auto database = open_database(tree);
    static_cast<void>(database->put_container({"1", "one", "{}", "{}"}));
    static_cast<void>(database->put_object("volume", "v", "{}"));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  auto database = open_database(tree);
  EXPECT_EQ(database->list_objects("volume")->size(), 1U);
  EXPECT_EQ(database->list_containers()->size(), 1U) << "what was posted before a commit is written before it";
}

TEST(Database, ABadStatementHurtsNobodyElse) {
  const TempTree tree;
  auto database = open_database(tree);
  database->post({{"INSERT INTO containers(id, name, spec, state) VALUES('a', NULL, '', '')"}});
  ASSERT_TRUE(database->put_container({"1", "one", "{}", "{}"}));
  EXPECT_TRUE(database->flush());
  EXPECT_FALSE(database->commit({{"DELETE FROM nothing"}}));
  EXPECT_FALSE(database->query("SELECT nonsense"));
  EXPECT_EQ(database->list_containers()->size(), 1U);
}

TEST(Database, ATransactionIsAllOrNothing) {
  const TempTree tree;
  auto database = open_database(tree);
  EXPECT_FALSE(database->commit({{"INSERT INTO tags VALUES('a', 'b')"}, {"INSERT INTO tags VALUES('a', 'c')"}}));
  EXPECT_EQ(database->query("SELECT * FROM tags")->size(), 0U);
}

TEST(Database, KeepsAReserve) {
  const TempTree tree;
  open_database(tree);
  EXPECT_EQ(std::filesystem::file_size(tree.path() + "/corten.db-reserve"), 2U << 20);
}

TEST(Database, RefusesWhatIsNotItsOwn) {
  const TempTree tree;
  ASSERT_TRUE(spill(tree.open().get(), "corten.db", std::string(5000, 'x')));
  EXPECT_FALSE(Database::open(tree.path() + "/corten.db"));
  const TempTree newer;
  ASSERT_TRUE(open_database(newer)->commit({{"PRAGMA user_version = 99"}}));
  auto opened = Database::open(newer.path() + "/corten.db");
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text(), testing::HasSubstr("schema version 99"));
  EXPECT_FALSE(Database::open(tree.path() + "/no/such/directory/corten.db"));
}

TEST(Database, ManyThreads) {
  const TempTree tree;
  auto database = open_database(tree);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const std::string id = std::to_string(t) + "-" + std::to_string(i);
        ASSERT_TRUE(database->put_container({id, id, "{}", "{}"}));
        ASSERT_TRUE(database->put_object("o", id, "{}"));
        ASSERT_TRUE(database->set_container_state(id, "x"));
        if (i % 2 != 0) continue;
        ASSERT_TRUE(database->delete_container(id));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(database->flush());
  EXPECT_EQ(database->list_containers()->size(), 200U);
  EXPECT_EQ(database->list_objects("o")->size(), 400U);
}

TEST(ContentStore, KeepsWhatIsCommitted) {
  const TempTree tree;
  auto content = *ContentStore::open(tree.path() + "/content");
  const BlobInfo blob = *content->put("hello");
  EXPECT_EQ(blob.digest, oci::Digest::of("hello"));
  EXPECT_EQ(*content->read(blob.digest), "hello");
  EXPECT_TRUE(content->verify(blob.digest));
  EXPECT_TRUE(content->put("hello"));
  EXPECT_EQ(content->list()->size(), 1U);
  {
    BlobWriter writer = *content->writer();
    ASSERT_TRUE(writer.write(std::as_bytes(std::span("dropped", 7))));
  }
  {
    BlobWriter writer = *content->writer();
    ASSERT_TRUE(writer.write(std::as_bytes(std::span("other", 5))));
    const auto wrong = writer.commit(blob.digest);
    EXPECT_EQ(wrong.error().kind(), ErrorKind::invalid);
  }
  {
    BlobWriter writer = *content->writer();
    ASSERT_TRUE(writer.write(std::as_bytes(std::span("other", 5))));
    EXPECT_EQ(writer.commit(std::nullopt, 6).error().kind(), ErrorKind::invalid);
  }
  EXPECT_TRUE(std::filesystem::is_empty(tree.path() + "/content/ingest"));
  EXPECT_EQ(content->list()->size(), 1U);
  ASSERT_TRUE(spill(tree.open("content/sha256").get(), std::string(blob.digest.hex()), "hellO", 0600));
  EXPECT_EQ(content->verify(blob.digest).error().kind(), ErrorKind::internal);
  EXPECT_TRUE(content->remove(blob.digest));
  EXPECT_EQ(content->reader(blob.digest).error().kind(), ErrorKind::not_found);
  ASSERT_TRUE(spill(tree.open("content/ingest").get(), "stale", "x"));
  content = *ContentStore::open(tree.path() + "/content");
  EXPECT_TRUE(std::filesystem::is_empty(tree.path() + "/content/ingest"));
}

TEST(Store, OneDaemonPerDataRoot) {
  const TempTree tree;
  auto first = Store::open(tree.path() + "/data");
  ASSERT_TRUE(first) << first.error().text();
  auto second = Store::open(tree.path() + "/data");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
  first->reset();
  EXPECT_TRUE(Store::open(tree.path() + "/data"));
}

}  // namespace
}  // namespace corten::store
