#include "cli/manifest_store.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/id.h"
#include "cli/files.h"
#include "cli/inspect_format.h"
#include "cli/json_get.h"
#include "cli/terminal.h"
#include "http/headers.h"
#include "remote/text.h"

namespace corten::cli {
namespace {

// A manifest of at most 4 MiB, twice: as it is and in base64.
constexpr std::size_t most_file = 16 << 20;
constexpr std::size_t most_images = 1000;

std::string safe_name(const oci::Reference& reference) {
  std::string name = reference.full();
  for (char& c : name) c = c == ':' ? '-' : c == '/' ? '_' : c;
  return name;
}

Error no_such(const oci::Reference& reference) {
  return {ErrorKind::not_found, "No such manifest: " + reference.full()};
}

bool is_missing(const Error& error) { return error.sys_errno() == ENOENT; }

Result<> make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return sys_fail_text(error.value(), "mkdir " + path);
  return {};
}

}  // namespace

std::string go_escaped(std::string_view json) {
  std::string out;
  for (const char c : json) {
    if (c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string to_text(const ImageManifest& image) {
  const bool docker = image.descriptor.media_type == oci::media_type::docker_manifest;
  const json::Object head{{"Ref", image.reference},
                          {"Descriptor", json::to_json(image.descriptor)},
                          {"Raw", http::base64_encode(image.raw)}};
  std::string text = json::write(head);
  text.pop_back();
  // The manifest in its own words: decoded and written again, a member that we do not know could change.
  text += fmt::format(",\"{}\":{}}}", docker ? "SchemaV2Manifest" : "OCIManifest", compact_json(image.raw));
  return go_escaped(text);
}

Result<ImageManifest> parse_image_manifest(std::string_view text) {
  const json::Value document = TRY(json::parse(text));
  ImageManifest image;
  image.reference = text_at(document, "Ref");
  const json::Value* descriptor = field(document, "Descriptor");
  if (descriptor == nullptr) return fail(ErrorKind::invalid, "it has no Descriptor");
  image.descriptor = TRY(json::from_json<oci::Descriptor>(*descriptor, "Descriptor"));
  CHECK_AS(oci::parse_reference(image.reference), "Ref");
  CHECK_AS(oci::Digest::parse(image.descriptor.digest), "Descriptor.digest");
  if (const std::string raw = text_at(document, "Raw"); !raw.empty()) {
    auto bytes = remote::base64_decode(raw);
    if (!bytes) return fail(ErrorKind::invalid, "Raw is no base64");
    image.raw = *std::move(bytes);
    return image;
  }
  // Docker's clients of before 23.0 kept the manifest only as a part of the document.
  for (const std::string_view name : {"SchemaV2Manifest", "OCIManifest"}) {
    if (const json::Value* manifest = field(document, name); manifest != nullptr) image.raw = json::write(*manifest);
  }
  return image;
}

std::string ManifestStore::folder(const oci::Reference& list) const { return root_ + "/" + safe_name(list); }

std::string ManifestStore::file(const oci::Reference& list, const oci::Reference& image) const {
  return folder(list) + "/" + safe_name(image);
}

Result<ImageManifest> ManifestStore::get(const oci::Reference& list, const oci::Reference& image) const {
  const std::string path = file(list, image);
  auto text = read_file(path, most_file);
  if (!text && is_missing(text.error())) return std::unexpected(no_such(image));
  if (!text) return std::unexpected(std::move(text).error());
  return wrap(parse_image_manifest(*text), path);
}

Result<std::vector<ImageManifest>> ManifestStore::images(const oci::Reference& list) const {
  const std::string path = folder(list);
  std::vector<std::string> names;
  {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(path.c_str()), ::closedir);
    if (!entries && errno == ENOENT) return std::unexpected(no_such(list));
    if (!entries) return sys_fail("open {}", path);
    while (const dirent* entry = ::readdir(entries.get()))
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  if (names.size() > most_images)
    return fail(ErrorKind::invalid, "{} has more than {} images in it", path, most_images);
  std::ranges::sort(names);
  std::vector<ImageManifest> images;
  for (const auto& name : names) {
    const std::string file = fmt::format("{}/{}", path, name);
    const std::string text = TRY(read_file(file, most_file));
    images.push_back(TRY_AS(parse_image_manifest(text), file));
  }
  return images;
}

bool ManifestStore::has(const oci::Reference& list) const {
  struct stat info{};
  return ::stat(folder(list).c_str(), &info) == 0;
}

Result<> ManifestStore::save(const oci::Reference& list, const oci::Reference& image,
                             const ImageManifest& manifest) const {
  CHECK(make_folder(folder(list)));
  // Not beside the others, where Docker's client would read what a crash of ours may leave.
  const std::string part = fmt::format("{}/.part-{}", root_, random_id().substr(0, 12));
  NewFile written = TRY(NewFile::create(part));
  CHECK_AS(write_all(written.fd(), to_text(manifest)), part);
  CHECK(written.commit());
  const std::string path = file(list, image);
  if (::rename(part.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(part.c_str());
    return sys_fail_text(why, fmt::format("rename {} to {}", part, path));
  }
  return {};
}

Result<> ManifestStore::remove(const oci::Reference& list) const {
  std::error_code error;
  const auto removed = std::filesystem::remove_all(folder(list), error);
  if (error) return sys_fail_text(error.value(), "remove " + folder(list));
  if (removed == 0) return std::unexpected(no_such(list));
  return {};
}

}  // namespace corten::cli
