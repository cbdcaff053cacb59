// Output of the inspect commands: pretty JSON, compact JSON or a template over each object.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "gotemplate/template.h"

namespace corten::cli {

class Inspector {
 public:
  // `format`: empty for indented JSON, "json" for compact JSON, else a template. The error's text is Docker's.
  static Result<Inspector> create(std::string_view format);
  // One object as the daemon sent it. With a template it is first read as the typed struct `shape` would be, then as
  // plain JSON where every missing key is an error.
  Result<> add(std::string document, const gotemplate::Shape* shape = nullptr);
  // Everything, ready to be printed.
  std::string finish() const;

 private:
  std::optional<gotemplate::Template> template_;
  bool compact_ = false;
  std::vector<std::string> documents_;
  std::string text_;
};

// Puts line breaks and blanks into JSON without touching its strings and numbers.
std::string indent_json(std::string_view text, std::string_view indent = "    ");
// Takes white space between tokens out.
std::string compact_json(std::string_view text);

}  // namespace corten::cli
