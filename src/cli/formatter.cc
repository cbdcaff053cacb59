#include "cli/formatter.h"

#include "cli/tabwriter.h"
#include "gotemplate/literal.h"

namespace corten::cli {
namespace {

using gotemplate::Functions;
using gotemplate::Value;

// In the header row these leave the column's title alone.
const Functions& header_functions() {
  static const Functions functions = [] {
    Functions all = gotemplate::docker_functions();
    for (const char* name : {"json", "title", "lower", "upper", "truncate"}) {
      all[name] = [](std::span<const Value> arguments) -> Result<Value> {
        return arguments.empty() ? Value::string("") : arguments[0];
      };
    }
    return all;
  }();
  return functions;
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::string prepare(std::string_view format) {
  const auto from = format.find_first_not_of(' ');
  if (from == std::string_view::npos) return {};
  std::string text(format.substr(from, format.find_last_not_of(' ') - from + 1));
  return replace_all(replace_all(std::move(text), "\\t", "\t"), "\\n", "\n");
}

std::unexpected<Error> parsing_error(Error error) {
  return std::unexpected(std::move(error).wrap("template parsing error"));
}

}  // namespace

Result<Listing> Listing::create(std::string_view format, std::string_view table) {
  Listing listing;
  std::string text;
  if (format.empty() || format == "table") {
    format = table;
  }
  if (format == "json") format = "{{json .}}";
  listing.is_table_ = format.starts_with("table");
  text = prepare(listing.is_table_ ? format.substr(5) : format);
  auto parsed = gotemplate::Template::parse(text);
  if (!parsed) return parsing_error(std::move(parsed).error());
  listing.template_ = std::move(*parsed);
  if (listing.is_table_) {
    auto header = gotemplate::Template::parse(text, header_functions());
    if (!header) return parsing_error(std::move(header).error());
    listing.header_template_ = std::move(*header);
  }
  return listing;
}

Result<> Listing::add(const gotemplate::Object& row) {
  auto line = template_.execute(Value::object(row));
  if (!line) return parsing_error(std::move(line).error());
  body_ += *line;
  body_ += '\n';
  return {};
}

std::string Listing::take() { return std::exchange(body_, {}); }

Result<std::string> Listing::finish(bool bold_headers) const {
  if (!is_table_) return body_;
  boost::json::object titles;
  for (const auto& [name, title] : headers_) titles[name] = title;
  const boost::json::value data(std::move(titles));
  auto header = header_template_.execute(Value::view(data));
  if (!header) return parsing_error(std::move(header).error());
  return coloured(align_tabs(*header + "\n" + body_), bold_headers ? Colour::bold : Colour::none);
}

std::string ellipsis(std::string_view text, std::size_t width) {
  std::size_t runes = 0;
  std::size_t cut = 0;
  for (std::size_t at = 0; at < text.size(); ++runes) {
    if (runes + 1 == width) cut = at;
    at += gotemplate::decode_utf8(text.substr(at)).second;
  }
  if (runes <= width) return std::string(text);
  return width <= 1 ? std::string(text.substr(0, width)) : std::string(text.substr(0, cut)) + "…";
}

}  // namespace corten::cli
