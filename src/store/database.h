// corten.db: SQLite in WAL mode, written by one thread that owns the writing connection.
//
// Two kinds of write, because they cost differently:
//   commit()  one transaction, on disk (fsynced) at return: images, tags, networks, volumes.
//   post()    queued and written within milliseconds, in order, several to a transaction and without fsync: containers.
//             A call costs microseconds and waits for nobody, not even for a commit that is flushing the disk. A crash
//             of the process or the machine may lose the last moments, always a suffix, never the middle.
// A commit() is ordered after all posts before it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace corten::store {

using SqlValue = std::variant<std::nullptr_t, std::int64_t, std::string>;
using SqlRow = std::vector<SqlValue>;
std::int64_t as_int(const SqlValue& value);         // 0 for anything else
const std::string& as_text(const SqlValue& value);  // "" for anything else

struct Statement {
  // A literal: the prepared statement is cached under its address' text and the text must outlive the database.
  std::string_view sql;
  std::vector<SqlValue> values = {};
};
using Transaction = std::vector<Statement>;

// What the database knows of a container; the engine decides what the JSON means.
struct ContainerRow {
  std::string id;
  std::string name;   // unique, without a leading slash
  std::string spec;   // JSON
  std::string state;  // JSON
};

struct ObjectRow {
  std::string id;
  std::string json;
};

class Database {
 public:
  // Creates, migrates to the present schema, or says why the file cannot be used (a newer schema, not a database).
  static Result<std::unique_ptr<Database>> open(const std::string& path);
  ~Database();  // writes what is queued
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Result<> commit(Transaction transaction);
  void post(Transaction transaction);
  // Waits until everything posted so far is written (not fsynced); the error of the last failed write, if any.
  Result<> flush();
  // Reads on a connection of its own: sees what commit() and flush() have written.
  Result<std::vector<SqlRow>> query(std::string_view sql, const std::vector<SqlValue>& values = {});

  // --- containers: posted; names are checked at once against an index in memory.
  // conflict when the id or name is taken.
  Result<> put_container(const ContainerRow& row);
  Result<> set_container_state(std::string_view id, std::string state_json);
  Result<> set_container_spec(std::string_view id, std::string spec_json);
  Result<> rename_container(std::string_view id, std::string_view name);
  // Unknown ids are not_found.
  Result<> delete_container(std::string_view id);
  // For boot: a thousand rows in milliseconds.
  Result<std::vector<ContainerRow>> list_containers();

  // --- named documents of other modules ("network", "volume" …): durable at return.
  Result<> put_object(std::string_view kind, std::string_view id, std::string json);
  Result<> delete_object(std::string_view kind, std::string_view id);
  Result<std::vector<ObjectRow>> list_objects(std::string_view kind);

 private:
  class Impl;
  explicit Database(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace corten::store
