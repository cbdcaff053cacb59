// JSON with one reading only, for what decides about trust.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "json/codec.h"

namespace corten::trust {

// As json::parse, but a document of more than `max_bytes` is refused, and so is an object with two members of one name:
// which of them counts is a matter of taste, also where they differ in case only (Go's readers take either).
Result<json::Value> parse_strict(std::string_view text, std::size_t max_bytes);

// `invalid` naming a member of `value` that is none of `names`; also where `value` is no object.
Result<> only_members(const json::Value& value, std::initializer_list<std::string_view> names, std::string_view what);

// The member's text, "" where there is none; `invalid` where it is something else.
Result<std::string> text_member(const json::Value& object, std::string_view name, std::string_view what);

}  // namespace corten::trust
