#include "store/sqlite.h"

#include <fcntl.h>

#include "base/unique_fd.h"

namespace corten::store {
namespace {

ErrorKind kind_of_code(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM: return ErrorKind::exhausted;
    case SQLITE_CONSTRAINT: return ErrorKind::conflict;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_READONLY: return ErrorKind::unavailable;
    default: return ErrorKind::internal;
  }
}

SqlValue column(sqlite3_stmt* statement, int index) {
  switch (sqlite3_column_type(statement, index)) {
    case SQLITE_NULL: return nullptr;
    case SQLITE_INTEGER: return static_cast<std::int64_t>(sqlite3_column_int64(statement, index));
    default: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, index));
      const int size = sqlite3_column_bytes(statement, index);
      return std::string(text == nullptr ? "" : text, static_cast<std::size_t>(size));
    }
  }
}

int bind(sqlite3_stmt* statement, int index, const SqlValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return sqlite3_bind_int64(statement, index, *number);
  if (const auto* text = std::get_if<std::string>(&value))
    return sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
  return sqlite3_bind_null(statement, index);
}

}  // namespace

std::unexpected<Error> Sqlite::error(std::string_view what) {
  last_code_ = sqlite3_extended_errcode(handle_.get());
  return fail(kind_of_code(last_code_), "database {}: {}: {}", path_, what, sqlite3_errmsg(handle_.get()));
}

Result<Sqlite> Sqlite::open(const std::string& path) {
  Sqlite out;
  out.path_ = path;
  // SQLite gives its journals the mode of the database; made by us first, nobody else may read them.
  if (const UniqueFd made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)); !made)
    return sys_fail("create {}", path);
  sqlite3* handle = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  out.handle_.reset(handle);
  if (code != SQLITE_OK) return out.error("open");
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, 10'000);
  return out;
}

Result<> Sqlite::script(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return error(std::string_view(sql).substr(0, 40));
  return {};
}

Result<sqlite3_stmt*> Sqlite::prepared(std::string_view sql) {
  auto found = statements_.find(std::string(sql));
  if (found != statements_.end()) return found->second.get();
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement,
                         nullptr) != SQLITE_OK)
    return error("prepare");
  statements_[std::string(sql)].reset(statement);
  return statement;
}

Result<> Sqlite::run(std::string_view sql, const std::vector<SqlValue>& values, std::vector<SqlRow>* rows) {
  sqlite3_stmt* statement = TRY(prepared(sql));
  int index = 0;
  for (const SqlValue& value : values)
    if (bind(statement, ++index, value) != SQLITE_OK) return error("bind");
  for (;;) {
    const int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) break;
    if (code != SQLITE_ROW) {
      auto failed = error("write");
      sqlite3_reset(statement);
      sqlite3_clear_bindings(statement);
      return failed;
    }
    if (rows == nullptr) continue;
    SqlRow& row = rows->emplace_back();
    for (int i = 0; i < sqlite3_column_count(statement); ++i) row.push_back(column(statement, i));
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return {};
}

}  // namespace corten::store
