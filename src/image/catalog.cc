#include "image/catalog.h"

#include "base/id.h"

namespace corten::image {
namespace {

constexpr std::string_view algorithm = "sha256:";

std::string full_id(std::string_view text) {
  return text.starts_with(algorithm) ? std::string(text) : std::string(algorithm) + std::string(text);
}

bool is_whole_id(std::string_view text) { return oci::Digest::parse(full_id(text)).has_value(); }

}  // namespace

bool is_digest_name(std::string_view full_name) { return full_name.find('@') != std::string_view::npos; }

std::string familiar_of(std::string_view full_name) {
  const auto reference = oci::parse_reference(full_name);
  return reference ? reference->familiar() : std::string(full_name);
}

std::unexpected<Error> no_such_image(std::string_view reference) {
  if (is_whole_id(reference)) return fail(ErrorKind::not_found, "No such image: {}", full_id(reference));
  const auto parsed = oci::parse_reference(reference);
  return fail(ErrorKind::not_found, "No such image: {}",
              parsed ? parsed->with_default_tag().familiar() : std::string(reference.substr(0, 300)));
}

bool is_id_prefix(std::string_view id, std::string_view text) {
  return !text.empty() && (id.starts_with(text) || id.substr(algorithm.size()).starts_with(text));
}

Result<ImagePtr> Catalog::find(std::string_view reference) const {
  if (is_whole_id(reference)) {
    const auto found = images.find(full_id(reference));
    return found == images.end() ? nullptr : found->second;
  }
  const bool id_like = reference.starts_with(algorithm) && is_hex(reference.substr(algorithm.size()));
  if (!id_like) {
    const oci::Reference parsed = TRY(oci::parse_reference(reference));
    if (const auto tag = tags.find(parsed.with_default_tag().full()); tag != tags.end()) return images.at(tag->second);
    // With a digest the tag is only decoration.
    if (!parsed.digest.empty())
      if (const auto tag = tags.find(parsed.name() + "@" + parsed.digest); tag != tags.end())
        return images.at(tag->second);
  }
  const std::string prefix = full_id(reference);
  const auto first = images.lower_bound(prefix);
  if (first == images.end() || !first->first.starts_with(prefix)) return nullptr;
  const auto second = std::next(first);
  if (second != images.end() && second->first.starts_with(prefix)) return nullptr;  // ambiguous: as unknown to Docker
  return first->second;
}

std::vector<std::string> Catalog::names_of(std::string_view id) const {
  std::vector<std::string> out;
  for (const auto& [name, image] : tags)
    if (image == id) out.push_back(name);
  return out;
}

std::vector<std::string> Catalog::children_of(std::string_view id) const {
  std::vector<std::string> out;
  for (const auto& [child, image] : images)
    if (image->parent == id) out.push_back(child);
  return out;
}

ImageSummary Catalog::summary_of(const ImagePtr& image) const {
  ImageSummary out{image, {}, {}};
  for (const std::string& name : names_of(image->id))
    (is_digest_name(name) ? out.repo_digests : out.repo_tags).push_back(familiar_of(name));
  return out;
}

}  // namespace corten::image
