#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "base/id.h"
#include "base/log.h"
#include "base/mutex.h"
#include "context/manifest.h"
#include "context/remembered.h"
#include "context/sync.h"
#include "store/tree.h"
#include "sys/files.h"

namespace corten::context {
namespace {

using Instant = std::chrono::steady_clock::time_point;

// Whether no write after the walk began can have left this identity as it is. File systems that stamp whole seconds,
// or two of them, give a time before it for a write that comes after.
bool settled(const FileIdentity& identity, std::int64_t started_ns) {
  constexpr std::int64_t second = 1'000'000'000;
  // Linux stamps files by its tick, up to 10 ms.
  const std::int64_t grain = identity.ctime_ns % second == 0 ? 2 * second : second / 50;
  return std::max(identity.mtime_ns, identity.ctime_ns) < started_ns - grain;
}

struct Session {
  std::string context;
  std::int64_t started_ns = 0;
  std::shared_ptr<Listing> listing;
  std::vector<FileIdentity> identities;
  std::vector<std::uint32_t> wanted;
  std::unique_ptr<Hold> hold;
};

class PoolSessions : public Sessions {
 public:
  PoolSessions(std::string directory, Pool& pool, const Options& options)
      : directory_(std::move(directory)), pool_(pool), options_(options) {}

  Result<std::string> begin(store::ByteSource& body, const std::stop_token& stop) override {
    expire();
    auto session = std::make_unique<Session>();
    {
      const std::string bytes =
          TRY(store::read_all(body, static_cast<std::size_t>(options_.manifest_bytes), "build context's manifest"));
      Manifest manifest = TRY(decode_manifest(bytes));
      session->context = std::move(manifest.context);
      session->started_ns = manifest.started_ns;
      session->listing = std::make_shared<Listing>(std::move(manifest.listing));
      session->identities = std::move(manifest.identities);
    }
    session->hold = pool_.hold();
    const Remembered remembered = Remembered::load(path_of(session->context));
    CHECK(match(*session, remembered, stop));
    if (session->wanted.empty()) remember(*session, &remembered);
    Wanted answer{.session = random_id().substr(0, 32), .indexes = session->wanted};
    const bool complete = answer.indexes.empty();
    add(answer.session, std::move(session), complete);
    return encode(answer);
  }

  Result<> contents(std::string_view id, store::ByteSource& body, const std::stop_token& stop) override {
    expire();
    // Out of the table while it is worked on: one body at a time, and none after a bad one.
    std::unique_ptr<Session> session;
    {
      const MutexLock lock(mutex_);
      const auto at = waiting_.find(id);
      if (at == waiting_.end()) return no_such(id);
      if (at->second.complete) return fail(ErrorKind::conflict, "build context {} has all its contents", id);
      session = std::move(at->second.session);
      waiting_.erase(at);
    }
    CHECK(receive(*session, body, stop));
    remember(*session, nullptr);
    add(std::string(id), std::move(session), true);
    return {};
  }

  Result<std::shared_ptr<Tree>> take(std::string_view id, std::string name) override {
    expire();
    const MutexLock lock(mutex_);
    const auto at = waiting_.find(id);
    if (at == waiting_.end()) return no_such(id);
    if (!at->second.complete) return fail(ErrorKind::conflict, "build context {} has not been sent to its end", id);
    const std::unique_ptr<Session> session = std::move(at->second.session);
    waiting_.erase(at);
    return pooled_tree(pool_, std::move(session->listing), std::move(session->hold), std::move(name));
  }

  void drop(std::string_view id) override {
    std::unique_ptr<Session> gone;  // freed without the lock
    const MutexLock lock(mutex_);
    const auto at = waiting_.find(id);
    if (at == waiting_.end()) return;
    gone = std::move(at->second.session);
    waiting_.erase(at);
  }

  void expire() override {
    std::vector<std::unique_ptr<Session>> gone;
    const Instant now = std::chrono::steady_clock::now();
    const MutexLock lock(mutex_);
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      if (now - at->second.since < options_.idle) {
        ++at;
      } else {
        gone.push_back(std::move(at->second.session));
        at = waiting_.erase(at);
      }
    }
  }

  Result<> forget() override {
    for (const std::string& name : TRY(names())) ::unlink((directory_ + "/" + name).c_str());
    return {};
  }

 private:
  struct Waiting {
    std::unique_ptr<Session> session;
    bool complete = false;
    Instant since;
  };

  static std::unexpected<Error> no_such(std::string_view id) {
    return fail(ErrorKind::not_found,
                "no such build context: {:?} (one serves one build, and waits ten minutes for it)", id.substr(0, 64));
  }

  std::string path_of(const std::string& context) const { return directory_ + "/" + context; }

  Result<std::vector<std::string>> names() const {
    return store::list_names(TRY(sys::open_directory(directory_)).get());
  }

  void add(std::string id, std::unique_ptr<Session> session, bool complete) {
    std::unique_ptr<Session> gone;
    const MutexLock lock(mutex_);
    if (waiting_.size() >= options_.sessions) {
      const auto oldest = std::ranges::min_element(waiting_, {}, [](const auto& one) { return one.second.since; });
      gone = std::move(oldest->second.session);
      waiting_.erase(oldest);
    }
    waiting_.insert_or_assign(std::move(id), Waiting{std::move(session), complete, std::chrono::steady_clock::now()});
  }

  // Which contents are known, and which must come.
  Result<> match(Session& session, const Remembered& remembered, const std::stop_token& stop) {
    std::optional<oci::Digest> empty;
    std::vector<Entry>& entries = session.listing->entries;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Entry& entry = entries[i];
      if (entry.kind != Kind::file) continue;
      if ((i & 0xffU) == 0 && stop.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
      if (entry.size == 0) {
        if (!empty) empty = TRY(pool_.add("", *session.hold));
        entry.digest = empty;
      } else if (auto digest = remembered.find(session.identities[i]); digest && session.hold->keep(*digest)) {
        entry.digest = std::move(digest);
      } else {
        session.wanted.push_back(static_cast<std::uint32_t>(i));
      }
    }
    return {};
  }

  Result<> receive(Session& session, store::ByteSource& body, const std::stop_token& stop) {
    ByteReader reader(body);
    for (const std::uint32_t index : session.wanted) {
      if (stop.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
      Entry& entry = session.listing->entries[index];
      if (TRY(reader.number()) != index)
        return fail(ErrorKind::invalid, "build context's contents: not the file that was asked for");
      if (TRY(reader.number()) != entry.size)
        return fail(ErrorKind::invalid, "build context's contents: {:?} is not {} bytes long", entry.path, entry.size);
      entry.digest = TRY_AS(receive_one(reader, entry.size, *session.hold, stop), entry.path);
    }
    if (!TRY(reader.at_end())) return fail(ErrorKind::invalid, "build context's contents: more than was asked for");
    return {};
  }

  Result<oci::Digest> receive_one(ByteReader& reader, std::uint64_t size, Hold& hold, const std::stop_token& stop) {
    const auto writer = TRY(pool_.writer(hold));
    for (std::uint64_t left = size; left > 0;) {
      if (stop.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
      const auto bytes = TRY(reader.some(left));
      CHECK(writer->write(bytes));
      left -= bytes.size();
    }
    return writer->commit();
  }

  // That this fails costs the next sync time, and nothing else.
  void remember(const Session& session, const Remembered* before) {
    Remembered now;
    for (std::size_t i = 0; i < session.identities.size(); ++i) {
      const Entry& entry = session.listing->entries[i];
      if (entry.kind == Kind::file && entry.size > 0 && settled(session.identities[i], session.started_ns))
        now.add(session.identities[i], *entry.digest);
    }
    now.finish();
    const std::string path = path_of(session.context);
    if (before != nullptr && now == *before) {
      ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
      return;
    }
    if (auto saved = now.save(path); !saved) log::warn("remember a build context: {}", saved.error().text());
    make_room();
  }

  // The contexts that have not been built for longest are forgotten.
  void make_room() {
    const auto all = names();
    if (!all || all->size() <= options_.remembered) return;
    std::vector<std::pair<std::int64_t, std::string>> by_time;
    for (const std::string& name : *all) {
      struct stat status{};
      if (::stat((directory_ + "/" + name).c_str(), &status) == 0) by_time.emplace_back(status.st_mtim.tv_sec, name);
    }
    std::ranges::sort(by_time);
    for (std::size_t i = 0; i + options_.remembered < by_time.size(); ++i)
      ::unlink((directory_ + "/" + by_time[i].second).c_str());
  }

  const std::string directory_;
  Pool& pool_;
  const Options options_;
  Mutex mutex_;
  std::map<std::string, Waiting, std::less<>> waiting_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<Sessions>> Sessions::open(const std::string& directory, Pool& pool, const Options& options) {
  CHECK(sys::make_directories(directory, 0700));
  return std::make_unique<PoolSessions>(directory, pool, options);
}

Result<std::unique_ptr<Sessions>> Sessions::open(const std::string& directory, Pool& pool) {
  return open(directory, pool, Options{});
}

}  // namespace corten::context
