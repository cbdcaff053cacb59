// SQLite with owners and Results. Private to database.cc.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "store/database.h"

namespace corten::store {

struct SqliteClose {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};
struct SqliteFinalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// One connection with its prepared statements; for one thread at a time.
class Sqlite {
 public:
  static Result<Sqlite> open(const std::string& path);
  // A script without parameters.
  Result<> script(const char* sql);
  // One statement; rows go to `rows` if given.
  Result<> run(std::string_view sql, const std::vector<SqlValue>& values, std::vector<SqlRow>* rows = nullptr);
  sqlite3* handle() { return handle_.get(); }
  int last_code() const { return last_code_; }

 private:
  std::unexpected<Error> error(std::string_view what);
  Result<sqlite3_stmt*> prepared(std::string_view sql);

  std::unique_ptr<sqlite3, SqliteClose> handle_;
  std::unordered_map<std::string, std::unique_ptr<sqlite3_stmt, SqliteFinalize>> statements_;
  std::string path_;
  int last_code_ = 0;
};

}  // namespace corten::store
