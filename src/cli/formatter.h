// Lists as --format asks for them: a table of columns, a Go template for each row, or JSON lines.
//
// A command describes its columns once (name, header, how to compute); Listing turns rows into text:
//   "table"              the command's own table
//   "table {{.ID}}\t…"   the user's table, with headers
//   "json"               one JSON object a line
//   "{{.ID}}"            the template, a line a row
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/style.h"
#include "gotemplate/template.h"

namespace corten::cli {

// One value of a row; `arguments` are those of a call such as {{.Label "x"}}.
template <class Row>
struct Column {
  std::string_view name;
  std::string_view header;  // empty: none, the column is only for templates
  Result<gotemplate::Value> (*get)(const Row& row, std::span<const gotemplate::Value> arguments);
  bool in_json = true;
};

template <class Row>
class RowObject : public gotemplate::Object {
 public:
  // `cell`: values are cells of a table, and control characters in them are replaced.
  RowObject(std::string_view type_name, std::span<const Column<Row>> columns, const Row& row, bool cell = false)
      : type_name_(type_name), columns_(columns), row_(row), cell_(cell) {}

  std::string_view type_name() const override { return type_name_; }

  Result<std::optional<gotemplate::Value>> get(std::string_view name,
                                               std::span<const gotemplate::Value> arguments) const override {
    for (const auto& column : columns_) {
      if (column.name != name) continue;
      auto value = column.get(row_, arguments);
      if (!value) return std::unexpected(std::move(value).error());
      if (cell_ && value->is_string()) return std::optional(gotemplate::Value::string(printable(value->text())));
      return std::optional(std::move(*value));
    }
    return std::nullopt;
  }

  boost::json::value to_json() const override {
    std::map<std::string_view, boost::json::value> sorted;
    for (const auto& column : columns_) {
      if (!column.in_json) continue;
      auto value = column.get(row_, {});
      if (value && value->json() != nullptr) sorted[column.name] = *value->json();
    }
    boost::json::object out;
    for (auto& [name, value] : sorted) out[name] = std::move(value);
    return out;
  }

 private:
  std::string_view type_name_;
  std::span<const Column<Row>> columns_;
  const Row& row_;
  bool cell_;
};

// A parsed --format and the text made so far.
class Listing {
 public:
  // `format`: what the user gave, empty for the default table `table`. The error is Docker's "template parsing error".
  static Result<Listing> create(std::string_view format, std::string_view table);

  bool is_table() const { return is_table_; }
  // Field names to headers; only used by tables.
  void set_headers(std::vector<std::pair<std::string_view, std::string_view>> headers) {
    headers_ = std::move(headers);
  }
  Result<> add(const gotemplate::Object& row);
  // The whole text, a table's headers in bold if wanted.
  Result<std::string> finish(bool bold_headers = false) const;
  // What add() made since the last call, for output that is not a table and must not wait.
  std::string take();

 private:
  gotemplate::Template template_;
  gotemplate::Template header_template_;
  bool is_table_ = false;
  std::vector<std::pair<std::string_view, std::string_view>> headers_;
  std::string body_;
};

template <class Row>
Result<std::string> format_rows(std::string_view format, std::string_view table, std::string_view type_name,
                                std::span<const Column<Row>> columns, std::span<const Row> rows,
                                bool bold_headers = false) {
  Listing listing = TRY(Listing::create(format, table));
  std::vector<std::pair<std::string_view, std::string_view>> headers;
  for (const auto& column : columns) {
    if (!column.header.empty()) headers.emplace_back(column.name, column.header);
  }
  listing.set_headers(std::move(headers));
  for (const auto& row : rows) CHECK(listing.add(RowObject<Row>(type_name, columns, row, listing.is_table())));
  return listing.finish(bold_headers);
}

// The rows as --format json has them, in one array.
template <class Row>
boost::json::array rows_json(std::span<const Column<Row>> columns, std::span<const Row> rows) {
  boost::json::array out;
  for (const auto& row : rows) out.push_back(RowObject<Row>("", columns, row).to_json());
  return out;
}

// "{{json .}}"-like documents for `inspect`: see inspect_format.h.

inline gotemplate::Value text_value(std::string_view text) { return gotemplate::Value::string(text); }

// At most `width` columns, the last a "…".
std::string ellipsis(std::string_view text, std::size_t width);

}  // namespace corten::cli
