// Parser directives: "# escape=`", "# syntax=…", "# check=skip=RuleA,RuleB;error=true". Only the file's first lines
// can be any, each name once; the first line that is none ends them.
#pragma once

#include <expected>
#include <set>
#include <string>
#include <string_view>

#include "dockerfile/syntax.h"

namespace corten::dockerfile {

class DirectiveReader {
 public:
  explicit DirectiveReader(char escape) { directives_.escape = escape; }

  // The next line of the file, trimmed. The error is the reason.
  std::expected<void, std::string> line(std::string_view text);
  const Directives& result() const { return directives_; }

 private:
  std::expected<void, std::string> take(const std::string& name, std::string_view value);

  Directives directives_;
  std::set<std::string> seen_;
  bool over_ = false;
};

}  // namespace corten::dockerfile
