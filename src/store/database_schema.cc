#include "store/database_schema.h"

#include <array>

namespace corten::store {
namespace {

// One script for each version of the schema: the n-th brings version n to n+1. Never edited, only appended to.
constexpr std::array migrations = {
    R"(CREATE TABLE images(id TEXT PRIMARY KEY, manifest TEXT NOT NULL, parent TEXT NOT NULL, tagged INTEGER NOT NULL)
         WITHOUT ROWID;
       CREATE TABLE tags(name TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT ROWID;
       CREATE TABLE layers(chain_id TEXT PRIMARY KEY, parent TEXT NOT NULL, number INTEGER NOT NULL,
         bytes INTEGER NOT NULL, inodes INTEGER NOT NULL, boot TEXT NOT NULL) WITHOUT ROWID;
       CREATE TABLE active(key TEXT PRIMARY KEY, parent TEXT NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID;
       CREATE TABLE containers(id TEXT PRIMARY KEY, name TEXT NOT NULL, spec TEXT NOT NULL, state TEXT NOT NULL);
       CREATE TABLE objects(kind TEXT NOT NULL, id TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY(kind, id))
         WITHOUT ROWID;)",
};

}  // namespace

Result<> migrate(Sqlite& sqlite) {
  std::vector<SqlRow> rows;
  CHECK(sqlite.run("PRAGMA user_version", {}, &rows));
  const std::int64_t version = rows.empty() ? 0 : as_int(rows[0][0]);
  if (version < 0 || version > static_cast<std::int64_t>(migrations.size()))
    return fail(ErrorKind::invalid,
                "the database has schema version {}, this program knows up to {}: use the newer program", version,
                migrations.size());
  for (auto next = static_cast<std::size_t>(version); next < migrations.size(); ++next) {
    const std::string script =
        fmt::format("BEGIN IMMEDIATE; {} PRAGMA user_version = {}; COMMIT;", migrations[next], next + 1);
    CHECK_AS(sqlite.script(script.c_str()), "migrate the database");
  }
  return {};
}

}  // namespace corten::store
