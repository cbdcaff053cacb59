// COPY's --chown and --chmod: what they say, for one file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::build {

struct Owner {
  std::uint32_t uid = 0, gid = 0;
  bool operator==(const Owner&) const = default;
};

// "user", "user:group", ":group", each a name or a number; "" gives nothing. A number without a group is its own group,
// a name without one has that of its entry (as BuildKit). Names are looked up in /etc/passwd and /etc/group beneath
// `root` (-1: there are none). `invalid`: an unknown name, which the error tells, or a number above 2^31-1.
Result<std::optional<Owner>> find_owner(std::string_view text, int root);

// A --chmod: "755", "0644", or symbolic as chmod(1) has it: "u+rwX,go=rX", "a-w", "u=g". Without "ugo" it is for all.
class ModeChange {
 public:
  // `invalid` with BuildKit's text. "" changes nothing.
  static Result<ModeChange> parse(std::string_view text);
  bool empty() const { return !octal_ && steps_.empty(); }
  // Permission bits with set-id and sticky, in and out.
  std::uint32_t apply(std::uint32_t mode, bool directory) const;

 private:
  struct Step {
    std::uint32_t who = 0;    // the bits that it may touch
    char action = '=';        // + - =
    std::uint32_t bits = 0;   // of rwxst, for all classes
    bool execute_if = false;  // X
    char copy_from = 0;       // u, g, o
  };
  static Result<> read_clause(std::string_view clause, std::vector<Step>& steps);
  static std::uint32_t bits_of(const Step& step, std::uint32_t mode, bool directory);

  std::optional<std::uint32_t> octal_;
  std::vector<Step> steps_;
};

}  // namespace corten::build
