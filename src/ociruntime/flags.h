// Command-line flags: "--name value", "--name=value", "-n value"; a command declares them and where their values go.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::ociruntime {

class Flags {
 public:
  // `names` as the user writes them, separated by spaces: "--bundle -b".
  void flag(std::string_view names, bool& out);
  void text(std::string_view names, std::string& out);
  void list(std::string_view names, std::vector<std::string>& out);
  void number(std::string_view names, unsigned& out);
  // Any other form; the text after the flag is given to `take`.
  void value(std::string_view names, std::function<Result<>(std::string_view)> take);

  // What is left are the arguments. With `stop_at_argument` everything from the first argument on is left as it is.
  Result<std::vector<std::string>> parse(const std::vector<std::string>& words, bool stop_at_argument);

 private:
  struct Entry {
    std::string names;
    bool* flag = nullptr;
    std::function<Result<>(std::string_view)> take;
  };
  const Entry* find(std::string_view name) const;
  std::vector<Entry> entries_;
};

// Decimal, the whole text.
Result<std::uint64_t> parse_unsigned(std::string_view text, std::string_view what);
Result<std::int64_t> parse_signed(std::string_view text, std::string_view what);
// Bytes with an optional unit of 1024: "64m", "1G", "100k", "5"; "-1" stays -1.
Result<std::int64_t> parse_bytes(std::string_view text, std::string_view what);
// "uid" or "uid:gid", numbers of 32 bits only.
struct UserNumbers {
  std::uint32_t uid = 0;
  std::optional<std::uint32_t> gid;
};
Result<UserNumbers> parse_user(std::string_view text);

}  // namespace corten::ociruntime
