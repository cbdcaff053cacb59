// Fields of an answer, by path. What is absent or of another type reads as empty.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "json/codec.h"

namespace corten::cli {

inline const json::Value* field(const json::Value& value, std::string_view key) {
  return value.is_object() ? value.get_object().if_contains(key) : nullptr;
}

template <class... Keys>
const json::Value* find(const json::Value& value, std::string_view key, Keys... rest) {
  const json::Value* found = field(value, key);
  if constexpr (sizeof...(rest) == 0) {
    return found;
  } else {
    return found == nullptr ? nullptr : find(*found, rest...);
  }
}

template <class... Keys>
std::string text_at(const json::Value& value, Keys... keys) {
  const json::Value* found = find(value, keys...);
  return found != nullptr && found->is_string() ? std::string(std::string_view(found->get_string())) : std::string();
}

template <class... Keys>
std::int64_t number_at(const json::Value& value, Keys... keys) {
  const json::Value* found = find(value, keys...);
  if (found == nullptr) return 0;
  if (found->is_int64()) return found->get_int64();
  if (found->is_uint64()) return static_cast<std::int64_t>(found->get_uint64());
  return found->is_double() ? static_cast<std::int64_t>(found->get_double()) : 0;
}

template <class... Keys>
double real_at(const json::Value& value, Keys... keys) {
  const json::Value* found = find(value, keys...);
  if (found == nullptr || !found->is_number()) return 0;
  return found->is_double()  ? found->get_double()
         : found->is_int64() ? static_cast<double>(found->get_int64())
                             : static_cast<double>(found->get_uint64());
}

template <class... Keys>
bool bool_at(const json::Value& value, Keys... keys) {
  const json::Value* found = find(value, keys...);
  return found != nullptr && found->is_bool() && found->get_bool();
}

template <class... Keys>
const json::Array& array_at(const json::Value& value, Keys... keys) {
  static const json::Array none;
  const json::Value* found = find(value, keys...);
  return found != nullptr && found->is_array() ? found->get_array() : none;
}

template <class... Keys>
const json::Object& object_at(const json::Value& value, Keys... keys) {
  static const json::Object none;
  const json::Value* found = find(value, keys...);
  return found != nullptr && found->is_object() ? found->get_object() : none;
}

inline std::string text_of(const json::Value& value) {
  return value.is_string() ? std::string(std::string_view(value.get_string())) : std::string();
}

}  // namespace corten::cli
