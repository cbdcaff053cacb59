#include "trust/strict_json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <set>

#include "remote/text.h"

namespace corten::trust {
namespace {

namespace bj = boost::json;

constexpr std::size_t max_depth = 64;

// Told of each piece of a document by boost's parser; remembers the names in the objects that are open.
class NameHandler {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);

  const std::string& twice() const { return twice_; }

  bool on_object_begin(bj::error_code&) {
    open_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, bj::error_code&) {
    open_.pop_back();
    return true;
  }
  bool on_key_part(bj::string_view part, std::size_t, bj::error_code&) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(bj::string_view part, std::size_t, bj::error_code& error) {
    key_.append(part.data(), part.size());
    std::string name = std::exchange(key_, {});
    if (open_.back().insert(remote::lower(name)).second) return true;
    twice_ = std::move(name);
    error = bj::error::extra_data;
    return false;
  }

  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_array_begin(bj::error_code&) { return true; }
  bool on_array_end(std::size_t, bj::error_code&) { return true; }
  bool on_string_part(bj::string_view, std::size_t, bj::error_code&) { return true; }
  bool on_string(bj::string_view, std::size_t, bj::error_code&) { return true; }
  bool on_number_part(bj::string_view, bj::error_code&) { return true; }
  bool on_int64(std::int64_t, bj::string_view, bj::error_code&) { return true; }
  bool on_uint64(std::uint64_t, bj::string_view, bj::error_code&) { return true; }
  bool on_double(double, bj::string_view, bj::error_code&) { return true; }
  bool on_bool(bool, bj::error_code&) { return true; }
  bool on_null(bj::error_code&) { return true; }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }

 private:
  std::vector<std::set<std::string>> open_;
  std::string key_;
  std::string twice_;
};

// The name that an object of the document has twice, "" where there is none. What is no JSON json::parse says.
std::string find_twice(std::string_view text) {
  bj::parse_options options;
  options.max_depth = max_depth;
  bj::basic_parser<NameHandler> parser(options);
  bj::error_code error;
  parser.write_some(false, text.data(), text.size(), error);
  return parser.handler().twice();
}

}  // namespace

Result<json::Value> parse_strict(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) return fail(ErrorKind::invalid, "it has {} bytes, more than {}", text.size(), max_bytes);
  json::Value value = TRY(json::parse(text));
  if (const std::string twice = find_twice(text); !twice.empty())
    return fail(ErrorKind::invalid, "it has two members \"{}\" in one object", remote::printable(twice, 64));
  return value;
}

Result<> only_members(const json::Value& value, std::initializer_list<std::string_view> names, std::string_view what) {
  if (!value.is_object()) return fail(ErrorKind::invalid, "{} is not an object", what);
  for (const auto& member : value.get_object())
    if (std::ranges::find(names, std::string_view(member.key())) == names.end())
      return fail(ErrorKind::invalid, "{} has the unknown member \"{}\"", what, remote::printable(member.key(), 64));
  return {};
}

Result<std::string> text_member(const json::Value& object, std::string_view name, std::string_view what) {
  const json::Value* member = object.get_object().if_contains(name);
  if (member == nullptr) return std::string();
  if (!member->is_string()) return fail(ErrorKind::invalid, "{}: \"{}\" is not a string", what, name);
  return std::string(std::string_view(member->get_string()));
}

}  // namespace corten::trust
