#include "spec/container_config.h"

namespace corten::json {

Result<> Custom<spec::Command>::from_json(const Value& value, spec::Command& out, std::string_view path) {
  if (value.is_string()) {
    out.args = {std::string(value.get_string())};
    return {};
  }
  return read(value, out.args, path);
}

Value Custom<spec::Command>::to_json(const spec::Command& command) { return json::to_json(command.args); }

}  // namespace corten::json
