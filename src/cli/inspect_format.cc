#include "cli/inspect_format.h"

#include <algorithm>

#include "json/codec.h"

namespace corten::cli {
namespace {

// Deeper lines are not indented further: a document of many brackets would otherwise grow with the square of its size.
constexpr std::size_t max_indent = 100;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The string literal that starts at `at`, with its quotes.
std::string_view string_at(std::string_view text, std::size_t at) {
  std::size_t end = at + 1;
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  return text.substr(at, end + 1 - at);
}

}  // namespace

std::string compact_json(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '"') {
      const auto literal = string_at(text, i);
      out += literal;
      i += literal.size();
    } else {
      if (!is_blank(text[i])) out += text[i];
      ++i;
    }
  }
  return out;
}

std::string indent_json(std::string_view text, std::string_view indent) {
  std::string out;
  std::size_t depth = 0;
  bool need_break = false;  // after an opening bracket, unless it closes at once
  const auto new_line = [&] {
    out += '\n';
    for (std::size_t i = 0; i < std::min(depth, max_indent); ++i) out += indent;
  };
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (is_blank(c)) {
      ++i;
      continue;
    }
    const bool closes = c == '}' || c == ']';
    if (need_break && !closes) {
      need_break = false;
      ++depth;
      new_line();
    }
    if (c == '"') {
      const auto literal = string_at(text, i);
      out += literal;
      i += literal.size();
      continue;
    }
    ++i;
    if (c == '{' || c == '[') {
      need_break = true;
      out += c;
    } else if (c == ',') {
      out += c;
      new_line();
    } else if (c == ':') {
      out += ": ";
    } else if (closes) {
      if (need_break) {
        need_break = false;
      } else {
        if (depth > 0) --depth;
        new_line();
      }
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

Result<Inspector> Inspector::create(std::string_view format) {
  Inspector inspector;
  if (format.empty()) return inspector;
  if (format == "json") {
    inspector.compact_ = true;
    return inspector;
  }
  auto parsed = gotemplate::Template::parse(format);
  if (!parsed) return std::unexpected(std::move(parsed).error().wrap("template parsing error"));
  inspector.template_ = std::move(*parsed);
  return inspector;
}

Result<> Inspector::add(std::string document, const gotemplate::Shape* shape) {
  while (!document.empty() && is_blank(document.back())) document.pop_back();
  if (!template_) {
    documents_.push_back(std::move(document));
    return {};
  }
  const json::Value value = TRY_AS(json::parse(document), "unable to read inspect data");
  auto text = shape == nullptr ? Result<std::string>(std::unexpected(Error(ErrorKind::invalid, "")))
                               : template_->execute(gotemplate::Value::view(value, shape));
  if (!text) text = template_->execute(gotemplate::Value::view(value), {.missing_key_is_error = true});
  if (!text) return std::unexpected(std::move(text).error().wrap("template parsing error"));
  text_ += *text + "\n";
  return {};
}

std::string Inspector::finish() const {
  if (template_) return text_.empty() ? "\n" : text_;
  std::string all = "[";
  for (std::size_t i = 0; i < documents_.size(); ++i) all += (i > 0 ? "," : "") + documents_[i];
  all += "]";
  return (compact_ ? compact_json(all) : indent_json(all)) + "\n";
}

}  // namespace corten::cli
