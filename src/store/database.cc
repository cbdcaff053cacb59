#include "store/database.h"

#include <deque>
#include <ranges>
#include <thread>
#include <unordered_map>

#include "base/log.h"
#include "base/mutex.h"
#include "store/ballast.h"
#include "store/database_schema.h"
#include "store/failpoint.h"
#include "store/sqlite.h"

namespace corten::store {
namespace {

using namespace std::chrono_literals;

// How long a post may wait for company before it is written.
constexpr auto gather_time = 5ms;
// How long until a write that failed for want of space is tried again.
constexpr auto retry_time = 500ms;
// The log is copied back into the database when it has grown to this (pages of 4 KiB).
constexpr int checkpoint_pages = 2000;

// Worth another try later, because the reason may go away and the statement is not at fault.
bool may_pass(const Error& error) {
  return error.kind() == ErrorKind::exhausted || error.kind() == ErrorKind::unavailable;
}

}  // namespace

std::int64_t as_int(const SqlValue& value) {
  const auto* number = std::get_if<std::int64_t>(&value);
  return number != nullptr ? *number : 0;
}

const std::string& as_text(const SqlValue& value) {
  static const std::string empty;
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr ? *text : empty;
}

class Database::Impl {
 public:
  Impl(Sqlite writer, Sqlite reader, Ballast ballast)
      : ballast_(std::move(ballast)), writer_(std::move(writer)), reader_(std::move(reader)) {}
  ~Impl() {
    {
      const MutexLock lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  void start() {
    thread_ = std::thread([this] { work(); });
  }

  void post(Transaction transaction) EXCLUDES(mutex_) {
    bool first = false;
    {
      const MutexLock lock(mutex_);
      posts_.push_back(std::move(transaction));
      ++posted_;
      first = posts_.size() == 1;
    }
    if (first) wake_.notify_all();
  }

  Result<> commit(Transaction transaction) EXCLUDES(mutex_) {
    Commit commit{std::move(transaction), {}, false};
    MutexLock lock(mutex_);
    commits_.push_back(&commit);
    wake_.notify_all();
    done_.wait(lock, [&] { return commit.done; });
    return std::move(commit.result);
  }

  Result<> flush() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const std::uint64_t wanted = posted_;
    hurry_ = true;
    wake_.notify_all();
    done_.wait(lock, [&]() REQUIRES(mutex_) { return written_ >= wanted || (failure_ && !hurry_); });
    if (failure_) return std::unexpected(*failure_);
    return {};
  }

  Result<std::vector<SqlRow>> query(std::string_view sql, const std::vector<SqlValue>& values) EXCLUDES(reader_mutex_) {
    const MutexLock lock(reader_mutex_);
    std::vector<SqlRow> rows;
    CHECK(reader_.run(sql, values, &rows));
    return rows;
  }

  Result<> load_names() EXCLUDES(names_mutex_) {
    const auto rows = TRY(query("SELECT id, name FROM containers", {}));
    const MutexLock lock(names_mutex_);
    for (const SqlRow& row : rows) {
      ids_[as_text(row[1])] = as_text(row[0]);
      names_[as_text(row[0])] = as_text(row[1]);
    }
    return {};
  }

  Result<> claim(const std::string& id, const std::string& name) EXCLUDES(names_mutex_) {
    const MutexLock lock(names_mutex_);
    if (names_.contains(id)) return fail(ErrorKind::conflict, "container {} exists already", id);
    if (auto taken = ids_.find(name); taken != ids_.end()) return name_conflict(name, taken->second);
    names_[id] = name;
    ids_[name] = id;
    return {};
  }

  Result<> rename(const std::string& id, const std::string& name) EXCLUDES(names_mutex_) {
    const MutexLock lock(names_mutex_);
    auto known = names_.find(id);
    if (known == names_.end()) return fail(ErrorKind::not_found, "No such container: {}", id);
    if (auto taken = ids_.find(name); taken != ids_.end()) {
      if (taken->second == id) return {};
      return name_conflict(name, taken->second);
    }
    ids_.erase(known->second);
    known->second = name;
    ids_[name] = id;
    return {};
  }

  Result<> release(const std::string& id) EXCLUDES(names_mutex_) {
    const MutexLock lock(names_mutex_);
    auto known = names_.find(id);
    if (known == names_.end()) return fail(ErrorKind::not_found, "No such container: {}", id);
    ids_.erase(known->second);
    names_.erase(known);
    return {};
  }

  Result<> require(const std::string& id) EXCLUDES(names_mutex_) {
    const MutexLock lock(names_mutex_);
    if (!names_.contains(id)) return fail(ErrorKind::not_found, "No such container: {}", id);
    return {};
  }

 private:
  // Its owner waits in commit() while the thread works on it; `done` is read and set with mutex_ held, and hands the
  // rest back.
  struct Commit {
    Transaction transaction;
    Result<> result;
    bool done;
  };

  static std::unexpected<Error> name_conflict(const std::string& name, const std::string& id) {
    return fail(ErrorKind::conflict,
                "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to remove (or "
                "rename) that container to be able to reuse that name.",
                name, id);
  }

  void work() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&]() REQUIRES(mutex_) { return stop_ || hurry_ || !posts_.empty() || !commits_.empty(); });
      // Posts wait a moment for company; commits, flushes and the end do not.
      if (commits_.empty() && !stop_ && !hurry_)
        wake_.wait_for(lock, gather_time, [&]() REQUIRES(mutex_) { return stop_ || hurry_ || !commits_.empty(); });
      hurry_ = false;
      std::deque<Transaction> posts = std::exchange(posts_, {});
      const std::vector<Commit*> commits = std::exchange(commits_, {});
      const bool last = stop_;
      lock.unlock();
      const std::size_t count = posts.size();
      auto failure = write_posts(posts);
      write_commits(commits, failure);
      lock.lock();
      written_ += count - posts.size();
      for (Transaction& left : posts | std::views::reverse) posts_.push_front(std::move(left));
      failure_ = failure;
      for (Commit* commit : commits) commit->done = true;
      done_.notify_all();
      if (last && posts_.empty() && commits_.empty()) return;
      if (last && failure) {
        log::error("{} state changes are lost: {}", posts_.size(), failure->text());
        return;
      }
      if (failure)
        wake_.wait_for(lock, retry_time, [&]() REQUIRES(mutex_) { return stop_ || hurry_ || !commits_.empty(); });
      if (posts_.empty() && commits_.empty() && !stop_) {
        lock.unlock();
        checkpoint();
        lock.lock();
      }
    }
  }

  Result<> run_all(const Transaction& transaction) {
    for (const Statement& statement : transaction) CHECK(writer_.run(statement.sql, statement.values));
    return {};
  }

  template <class Body>
  Result<> in_transaction(Body body) {
    auto result = try_transaction(body);
    if (!result && may_pass(result.error()) && ballast_.drop()) {
      log::warn("the disk is full, the database goes on with its reserve: {}", result.error().text());
      result = try_transaction(body);
    }
    return result;
  }

  template <class Body>
  Result<> try_transaction(Body& body) {
    CHECK(writer_.script("BEGIN IMMEDIATE"));
    Result<> result = body();
    if (result) result = writer_.script("COMMIT");
    if (!result && sqlite3_get_autocommit(writer_.handle()) == 0) static_cast<void>(writer_.script("ROLLBACK"));
    return result;
  }

  // All in one transaction; if that fails, each by itself, so that one that is wrong does not take the others with it.
  // What may still succeed later stays in `posts`, in order.
  std::optional<Error> write_posts(std::deque<Transaction>& posts) {
    if (posts.empty()) return std::nullopt;
    const auto all = in_transaction([&]() -> Result<> {
      for (const Transaction& post : posts) CHECK(run_all(post));
      return {};
    });
    if (all) {
      posts.clear();
      return std::nullopt;
    }
    while (!posts.empty()) {
      const auto one = in_transaction([&] { return run_all(posts.front()); });
      if (!one && may_pass(one.error())) {
        log::error("{} state changes wait: {}", posts.size(), one.error().text());
        return one.error();
      }
      if (!one) log::error("a state change is dropped: {}", one.error().text());
      posts.pop_front();
    }
    return std::nullopt;
  }

  // Each its own transaction, one flush for all: it happens with the last, and nobody is told before.
  void write_commits(const std::vector<Commit*>& commits, const std::optional<Error>& earlier) {
    if (commits.empty()) return;
    for (std::size_t i = 0; i < commits.size(); ++i) {
      Commit& commit = *commits[i];
      if (earlier) {
        commit.result = std::unexpected(*earlier);
        continue;
      }
      if (i + 1 == commits.size()) commit.result = writer_.script("PRAGMA synchronous = FULL");
      failpoint("database-before-commit");
      if (commit.result) commit.result = in_transaction([&] { return run_all(commit.transaction); });
      failpoint("database-after-commit");
    }
    static_cast<void>(writer_.script("PRAGMA synchronous = NORMAL"));
    // The last one failed, so its flush did not happen: the earlier ones need another.
    if (!commits.back()->result && commits.size() > 1 && !earlier) {
      const int code =
          sqlite3_wal_checkpoint_v2(writer_.handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
      for (Commit* commit : commits)
        if (code != SQLITE_OK && commit->result)
          commit->result = fail(ErrorKind::internal, "flush the database: {}", sqlite3_errstr(code));
    }
  }

  void checkpoint() {
    ballast_.load();
    int pages = 0;
    if (sqlite3_wal_checkpoint_v2(writer_.handle(), nullptr, -1, &pages, nullptr) != SQLITE_OK ||
        pages < checkpoint_pages)
      return;
    const int code = sqlite3_wal_checkpoint_v2(writer_.handle(), nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
    if (code != SQLITE_OK && code != SQLITE_BUSY) log::warn("database checkpoint: {}", sqlite3_errstr(code));
  }

  Mutex mutex_;  // never held while SQLite works
  CondVar wake_, done_;
  std::deque<Transaction> posts_ GUARDED_BY(mutex_);
  std::vector<Commit*> commits_ GUARDED_BY(mutex_);
  std::uint64_t posted_ GUARDED_BY(mutex_) = 0, written_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> failure_ GUARDED_BY(mutex_);  // of the posts that wait
  bool hurry_ GUARDED_BY(mutex_) = false, stop_ GUARDED_BY(mutex_) = false;
  std::thread thread_;

  Ballast ballast_;  // the thread's alone, as is the next
  Sqlite writer_;

  Mutex reader_mutex_;  // held while SQLite reads
  Sqlite reader_ GUARDED_BY(reader_mutex_);

  Mutex names_mutex_;
  std::unordered_map<std::string, std::string> names_ GUARDED_BY(names_mutex_);  // id → name
  std::unordered_map<std::string, std::string> ids_ GUARDED_BY(names_mutex_);    // name → id
};

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Database::~Database() = default;

namespace {

Result<Sqlite> open_writer(const std::string& path) {
  Sqlite writer = TRY(Sqlite::open(path));
  CHECK(
      writer.script("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;"
                    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1024"));
  CHECK(migrate(writer));
  return writer;
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
  Ballast ballast(path + "-reserve");
  auto opened = open_writer(path);
  // The journals are made anew at each start: on a full disk that, too, needs space.
  if (!opened && may_pass(opened.error()) && ballast.drop()) opened = open_writer(path);
  Sqlite writer = TRY(std::move(opened));
  ballast.load();
  Sqlite reader = TRY(Sqlite::open(path));
  CHECK(reader.script("PRAGMA query_only = ON; PRAGMA cache_size = -512"));
  std::unique_ptr<Database> out(
      new Database(std::make_unique<Impl>(std::move(writer), std::move(reader), std::move(ballast))));
  CHECK(out->impl_->load_names());
  out->impl_->start();
  return out;
}

Result<> Database::commit(Transaction transaction) { return impl_->commit(std::move(transaction)); }
void Database::post(Transaction transaction) { impl_->post(std::move(transaction)); }
Result<> Database::flush() { return impl_->flush(); }
Result<std::vector<SqlRow>> Database::query(std::string_view sql, const std::vector<SqlValue>& values) {
  return impl_->query(sql, values);
}

Result<> Database::put_container(const ContainerRow& row) {
  CHECK(impl_->claim(row.id, row.name));
  impl_->post(
      {{"INSERT INTO containers(id, name, spec, state) VALUES(?, ?, ?, ?)", {row.id, row.name, row.spec, row.state}}});
  return {};
}

Result<> Database::set_container_state(std::string_view id, std::string state_json) {
  CHECK(impl_->require(std::string(id)));
  impl_->post({{"UPDATE containers SET state = ? WHERE id = ?", {std::move(state_json), std::string(id)}}});
  return {};
}

Result<> Database::set_container_spec(std::string_view id, std::string spec_json) {
  CHECK(impl_->require(std::string(id)));
  impl_->post({{"UPDATE containers SET spec = ? WHERE id = ?", {std::move(spec_json), std::string(id)}}});
  return {};
}

Result<> Database::rename_container(std::string_view id, std::string_view name) {
  CHECK(impl_->rename(std::string(id), std::string(name)));
  impl_->post({{"UPDATE containers SET name = ? WHERE id = ?", {std::string(name), std::string(id)}}});
  return {};
}

Result<> Database::delete_container(std::string_view id) {
  CHECK(impl_->release(std::string(id)));
  impl_->post({{"DELETE FROM containers WHERE id = ?", {std::string(id)}}});
  return {};
}

Result<std::vector<ContainerRow>> Database::list_containers() {
  auto rows = TRY(impl_->query("SELECT id, name, spec, state FROM containers", {}));
  std::vector<ContainerRow> out;
  out.reserve(rows.size());
  for (SqlRow& row : rows) out.push_back({as_text(row[0]), as_text(row[1]), as_text(row[2]), as_text(row[3])});
  return out;
}

Result<> Database::put_object(std::string_view kind, std::string_view id, std::string json) {
  return impl_->commit(
      {{"INSERT INTO objects(kind, id, json) VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET json = excluded.json",
        {std::string(kind), std::string(id), std::move(json)}}});
}

Result<> Database::delete_object(std::string_view kind, std::string_view id) {
  return impl_->commit({{"DELETE FROM objects WHERE kind = ? AND id = ?", {std::string(kind), std::string(id)}}});
}

Result<std::vector<ObjectRow>> Database::list_objects(std::string_view kind) {
  auto rows = TRY(impl_->query("SELECT id, json FROM objects WHERE kind = ? ORDER BY id", {std::string(kind)}));
  std::vector<ObjectRow> out;
  for (SqlRow& row : rows) out.push_back({as_text(row[0]), as_text(row[1])});
  return out;
}

}  // namespace corten::store
