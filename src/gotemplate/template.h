// Go's text/template as Docker's --format uses it.
//
//   auto t = TRY(Template::parse("{{.ID}}: {{join .Names \",\"}}"));
//   std::string line = TRY(t.execute(Value::view(json)));
//
// Texts of errors are Go's ("template: :1: unclosed action", `template: :1:2: executing "" at <.Foo>: map has no entry
// for key "Foo"`), kind `invalid`. A template cannot run away: steps, nesting and the size of the output are bounded.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "gotemplate/functions.h"
#include "gotemplate/value.h"

namespace corten::gotemplate {

struct ExecuteOptions {
  // Go's "missingkey=error": an absent map key is an error instead of <no value>.
  bool missing_key_is_error = false;
};

// What a parse leaves; shared, so that a Template can be copied.
struct Program;

class Template {
 public:
  // `functions` must outlive the template.
  static Result<Template> parse(std::string_view text, const Functions& functions = docker_functions());
  // Thread safe; the template is not changed.
  Result<std::string> execute(const Value& data, ExecuteOptions options = {}) const;

 private:
  std::shared_ptr<const Program> program_;
  const Functions* functions_ = nullptr;
};

inline constexpr std::size_t max_output_size = 64 << 20;
inline constexpr std::size_t max_steps = 5'000'000;

}  // namespace corten::gotemplate
