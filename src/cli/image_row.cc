#include "cli/image_row.h"

#include <map>

#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

Result<Value> row_id(const ImageRow& row, Arguments) {
  const std::string id = text_at(*row.summary, "Id");
  return text_value(row.truncate ? truncate_id(id) : id);
}
Result<Value> row_repository(const ImageRow& row, Arguments) { return text_value(row.repository); }
Result<Value> row_tag(const ImageRow& row, Arguments) { return text_value(row.tag); }
Result<Value> row_digest(const ImageRow& row, Arguments) { return text_value(row.digest); }
Result<Value> row_created_since(const ImageRow& row, Arguments) {
  const std::int64_t created = number_at(*row.summary, "Created");
  return text_value(created <= 0 ? "N/A" : since(created) + " ago");
}
Result<Value> row_created_at(const ImageRow& row, Arguments) {
  return text_value(go_time(number_at(*row.summary, "Created")));
}

Result<Value> row_size(const ImageRow& row, Arguments) {
  return text_value(human_size(real_at(*row.summary, "Size"), 3));
}
Result<Value> row_containers(const ImageRow& row, Arguments) {
  const std::int64_t count = number_at(*row.summary, "Containers");
  return text_value(count < 0 ? "N/A" : std::to_string(count));
}
Result<Value> row_shared(const ImageRow& row, Arguments) {
  const double size = real_at(*row.summary, "SharedSize");
  return text_value(size < 0 ? "N/A" : human_size(size));
}
Result<Value> row_unique(const ImageRow& row, Arguments) {
  const double shared = real_at(*row.summary, "SharedSize");
  const double size = real_at(*row.summary, "Size");
  return text_value(shared < 0 || size < 0 ? "N/A" : human_size(size - shared));
}
Result<Value> row_virtual_size(const ImageRow& row, Arguments) {
  return text_value(human_size(real_at(*row.summary, "Size")));
}

constexpr Column<ImageRow> columns[] = {
    {"ID", "IMAGE ID", row_id},
    {"Repository", "REPOSITORY", row_repository},
    {"Tag", "TAG", row_tag},
    {"Digest", "DIGEST", row_digest},
    {"CreatedSince", "CREATED", row_created_since},
    {"CreatedAt", "CREATED AT", row_created_at},
    {"Size", "SIZE", row_size},
    {"Containers", "CONTAINERS", row_containers},
    {"VirtualSize", "SIZE", row_virtual_size},
    {"SharedSize", "SHARED SIZE", row_shared},
    {"UniqueSize", "UNIQUE SIZE", row_unique},
};

struct Names {
  std::vector<std::string> tags;
  std::vector<std::string> digests;
};

}  // namespace

std::string image_table(bool digests) {
  return std::string("table {{.Repository}}\\t{{.Tag}}\\t") + (digests ? "{{.Digest}}\\t" : "") +
         "{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}";
}

std::string image_raw(bool digests) {
  return std::string("repository: {{.Repository}}\n{{if .Tag}}tag: {{.Tag}}\n{{end}}") +
         (digests ? "{{if .Digest}}digest: {{.Digest}}\n{{end}}" : "") +
         "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
}

void add_image_rows(const json::Value& image, bool truncate, bool digests, bool quiet, std::vector<ImageRow>& rows) {
  constexpr std::string_view none = "<none>";
  const auto add = [&](std::string_view repository, std::string_view tag, std::string_view digest) {
    rows.push_back({&image, std::string(repository), std::string(tag), std::string(digest), truncate});
  };
  if (quiet) return add(none, none, none);
  // In the order of their first appearance.
  std::vector<std::pair<std::string, Names>> repositories;
  const auto names_of = [&](const std::string& repository) -> Names& {
    for (auto& [name, names] : repositories) {
      if (name == repository) return names;
    }
    return repositories.emplace_back(repository, Names{}).second;
  };
  for (const auto& item : array_at(image, "RepoTags")) {
    const std::string text = text_of(item);
    const auto colon = text.rfind(':');
    if (colon == std::string::npos || text == "<none>:<none>") continue;
    names_of(text.substr(0, colon)).tags.push_back(text.substr(colon + 1));
  }
  for (const auto& item : array_at(image, "RepoDigests")) {
    const std::string text = text_of(item);
    const auto at = text.find('@');
    if (at == std::string::npos || text == "<none>@<none>") continue;
    names_of(text.substr(0, at)).digests.push_back(text.substr(at + 1));
  }
  if (repositories.empty()) return add(none, none, none);
  for (const auto& [repository, names] : repositories) {
    for (const auto& tag : names.tags) {
      if (!digests || names.digests.empty()) add(repository, tag, none);
      if (digests) {
        for (const auto& digest : names.digests) add(repository, tag, digest);
      }
    }
    if (!names.tags.empty()) continue;
    if (!digests) add(repository, none, "");
    if (digests) {
      for (const auto& digest : names.digests) add(repository, none, digest);
    }
  }
}

Result<std::string> format_images(std::string_view format, std::span<const ImageRow> rows, bool bold_headers) {
  return format_rows<ImageRow>(format, image_table(false), "*formatter.imageContext", columns, rows, bold_headers);
}

boost::json::array images_json(std::span<const ImageRow> rows) { return rows_json<ImageRow>(columns, rows); }

}  // namespace corten::cli
