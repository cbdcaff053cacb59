// list, history, usage: what only reads the catalogue.
#include <fnmatch.h>

#include <algorithm>

#include "image/images_impl.h"

namespace corten::image {
namespace {

bool label_matches(const std::map<std::string, std::string>& labels, const std::string& wanted) {
  const std::size_t equals = wanted.find('=');
  const auto found = labels.find(wanted.substr(0, equals));
  return found != labels.end() && (equals == std::string::npos || found->second == wanted.substr(equals + 1));
}

bool pattern_matches(const std::string& pattern, const oci::Reference& name) {
  return ::fnmatch(pattern.c_str(), name.familiar().c_str(), FNM_PATHNAME) == 0 ||
         ::fnmatch(pattern.c_str(), name.familiar_name().c_str(), FNM_PATHNAME) == 0;
}

class Filter {
 public:
  static Result<Filter> make(const ListOptions& options, const Catalog& catalog) {
    Filter out(options, catalog);
    if (!options.before.empty()) out.before_ = TRY(out.created_of(options.before));
    if (!options.since.empty()) out.since_ = TRY(out.created_of(options.since));
    return out;
  }

  // Fills the summary's names; false when the image is not wanted.
  bool take(ImageSummary& summary) const {
    const Image& image = *summary.image;
    if (before_ && image.created >= *before_) return false;
    if (since_ && image.created <= *since_) return false;
    if (options_.until && image.created >= *options_.until) return false;
    for (const std::string& label : options_.labels)
      if (!label_matches(image.config.config.labels, label)) return false;
    const bool has_children = !catalog_.children_of(image.id).empty();
    if (options_.dangling == true && has_children) return false;
    add_names(summary);
    if (summary.repo_tags.empty() && summary.repo_digests.empty()) {
      if (!options_.all && has_children) return false;
      return options_.dangling != false && options_.references.empty();
    }
    return options_.dangling != true || summary.repo_tags.empty();
  }

 private:
  Filter(const ListOptions& options, const Catalog& catalog) : options_(options), catalog_(catalog) {}

  Result<Timestamp> created_of(const std::string& reference) const {
    const ImagePtr image = TRY(catalog_.find(reference));
    if (image == nullptr) return no_such_image(reference);
    return image->created;
  }

  void add_names(ImageSummary& summary) const {
    for (const std::string& name : catalog_.names_of(summary.image->id)) {
      const auto parsed = oci::parse_reference(name);
      if (!parsed) continue;
      const auto& patterns = options_.references;
      if (!patterns.empty() && std::none_of(patterns.begin(), patterns.end(),
                                            [&](const std::string& p) { return pattern_matches(p, *parsed); }))
        continue;
      (is_digest_name(name) ? summary.repo_digests : summary.repo_tags).push_back(parsed->familiar());
    }
  }

  const ListOptions& options_;
  const Catalog& catalog_;
  std::optional<Timestamp> before_, since_;
};

}  // namespace

Result<std::vector<ImageSummary>> Images::Impl::list(const ListOptions& options) const {
  const CatalogPtr catalog = this->catalog();
  const Filter filter = TRY(Filter::make(options, *catalog));
  std::vector<ImageSummary> out;
  for (const auto& [id, image] : catalog->images) {
    ImageSummary summary{image, {}, {}};
    if (filter.take(summary)) out.push_back(std::move(summary));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const ImageSummary& a, const ImageSummary& b) { return a.image->created > b.image->created; });
  return out;
}

Result<std::vector<HistoryItem>> Images::Impl::history(std::string_view reference) const {
  const CatalogPtr catalog = this->catalog();
  ImagePtr image = TRY(catalog->find(reference));
  if (image == nullptr) return no_such_image(reference);
  std::vector<HistoryItem> out;
  std::size_t layer = 0;
  for (const oci::History& entry : image->config.history) {
    HistoryItem item;
    item.id = "<missing>";
    if (const auto created = parse_rfc3339(entry.created))
      item.created = std::chrono::duration_cast<std::chrono::seconds>(created->time_since_epoch()).count();
    item.created_by = entry.created_by;
    item.comment = entry.comment;
    if (!entry.empty_layer) {
      if (layer == image->chains.size())
        return fail(ErrorKind::internal, "too many non-empty layers in History section");
      if (const auto info = store_.snapshots().layer(image->chains[layer++]))
        item.size = static_cast<std::int64_t>(info->bytes);
    }
    out.insert(out.begin(), std::move(item));
  }
  // Each image that this one was made from is where its own history begins.
  for (std::size_t at = 0; at < out.size();) {
    out[at].id = image->id;
    for (const std::string& name : catalog->names_of(image->id))
      if (!is_digest_name(name)) out[at].tags.push_back(familiar_of(name));
    const auto parent = catalog->images.find(image->parent);
    if (parent == catalog->images.end()) break;
    image = parent->second;
    const std::size_t depth = image->config.history.size();
    if (depth >= out.size() - at) break;
    at = out.size() - depth;
  }
  return out;
}

UsageReport Images::Impl::usage() const {
  const CatalogPtr catalog = this->catalog();
  UsageReport out;
  std::map<std::string, unsigned> users;
  for (const auto& [id, image] : catalog->images)
    for (const std::string& chain : image->chains) ++users[chain];
  std::map<std::string, std::uint64_t> sizes;
  {
    const MutexLock lock(pins_mutex_);
    for (const store::LayerInfo& layer : store_.snapshots().layers()) {
      sizes[layer.chain_id] = layer.bytes;
      // What only a lease keeps is for its holder to tell of: the build cache has a row of its own.
      if (users.contains(layer.chain_id) || !pins_.contains(layer.chain_id)) out.layers_size += layer.bytes;
    }
  }
  // Nobody's yet, so that it shows as what could be given back.
  out.layers_size += store_.content().partial_bytes();
  for (const auto& [id, image] : catalog->images) {
    ImageUsage usage{id, 0, 0};
    for (const std::string& chain : image->chains) (users[chain] > 1 ? usage.shared : usage.unique) += sizes[chain];
    out.images.push_back(std::move(usage));
  }
  return out;
}

}  // namespace corten::image
