// rmi and prune, with Docker's rules and texts.
#include <algorithm>

#include "base/id.h"
#include "image/images_impl.h"

namespace corten::image {
namespace {

// The name without tag or digest.
std::string repository_of(const std::string& full_name) {
  const auto parsed = oci::parse_reference(full_name);
  return parsed ? parsed->name() : full_name;
}

// At most one tag, and all names in one repository.
bool is_single_reference(const std::vector<std::string>& names) {
  if (names.size() <= 1) return true;
  if (std::count_if(names.begin(), names.end(), [](const std::string& name) { return !is_digest_name(name); }) > 1)
    return false;
  return std::all_of(names.begin(), names.end(),
                     [&](const std::string& name) { return repository_of(name) == repository_of(names[0]); });
}

struct Conflict {
  bool hard = false;
  bool used = false;
  std::string message;
};

std::unexpected<Error> conflict_error(std::string_view id, const Conflict& conflict) {
  return fail(ErrorKind::conflict, "conflict: unable to delete {} ({}) - {}", short_id(id),
              conflict.hard ? "cannot be forced" : "must be forced", conflict.message);
}

enum Check : unsigned { children = 1, running = 2, referenced = 4, stopped = 8 };

}  // namespace

// One call of remove(); write_mutex_ is held by its owner for each step, not for the question who uses an image.
class Remover {
 public:
  Remover(Images::Impl& impl, const UsersOf& users) : impl_(impl), users_(users) {}

  std::vector<DeleteItem> items;

  Result<> run(std::string_view reference, bool force, bool prune) {
    const CatalogPtr catalog = impl_.catalog();
    const ImagePtr image = TRY(catalog->find(reference));
    if (image == nullptr) return no_such_image(reference);
    const std::string id = image->id;
    const std::vector<std::string> names = catalog->names_of(id);
    // A short name may be the beginning of the id, too ("b"); then it is the name, as in every other command.
    const auto parsed = oci::parse_reference(reference);
    const bool is_name = parsed && catalog->tags.contains(parsed->with_default_tag().full());
    if (!is_name && is_id_prefix(id, reference)) {
      if (!is_single_reference(names)) return remove_image(id, force, prune, false, {});
      if (const auto conflict = check(id, force ? children | running : children | running | stopped, names))
        return conflict_error(id, *conflict);
      return remove_image(id, force, prune, false, names);
    }
    if (!force && is_single_reference(names)) {
      if (const auto users = users_of(id); !users.empty())
        return fail(ErrorKind::conflict,
                    "conflict: unable to remove repository reference \"{}\" (must force) - container {} is using its "
                    "referenced image {}",
                    reference, short_id(users[0].container_id), short_id(id));
    }
    const std::vector<std::string> going = TRY(names_meant(reference, names, *catalog));
    if (going.size() < names.size()) return untag(id, going);
    return remove_image(id, force, prune, true, going);
  }

 private:
  // The name, and with the last tag of a repository its digests.
  static Result<std::vector<std::string>> names_meant(std::string_view reference, const std::vector<std::string>& names,
                                                      const Catalog& catalog) {
    const oci::Reference parsed = TRY(oci::parse_reference(reference));
    std::string full = parsed.with_default_tag().full();
    if (!catalog.tags.contains(full) && !parsed.digest.empty()) full = parsed.name() + "@" + parsed.digest;
    std::vector<std::string> out = {full};
    if (is_digest_name(full)) return out;
    const bool other_tag = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return name != full && !is_digest_name(name) && repository_of(name) == parsed.name();
    });
    if (other_tag) return out;
    for (const std::string& name : names)
      if (is_digest_name(name) && repository_of(name) == parsed.name()) out.push_back(name);
    return out;
  }

  // Deletes the image with the names `going` in one step. `quiet`: what keeps the image is no error, it then only loses
  // them.
  Result<> remove_image(const std::string& id, bool force, bool prune, bool quiet,
                        const std::vector<std::string>& going) {
    const unsigned mask = force ? children | running : children | running | referenced | stopped;
    if (const auto conflict = check(id, mask, going)) {
      const bool dangling = names_beyond(id, going).empty() && impl_.catalog()->children_of(id).empty();
      if (quiet && (!dangling || conflict->used)) return untag(id, going);
      return conflict_error(id, *conflict);
    }
    std::vector<std::string> layers;
    std::string parent;
    {
      const MutexLock lock(impl_.write_mutex_);
      const CatalogPtr catalog = impl_.catalog();
      const auto found = catalog->images.find(id);
      if (found == catalog->images.end()) return no_such_image(id);
      // A name or a child that came meanwhile keeps it.
      if ((!force && !names_beyond(id, going).empty()) || !catalog->children_of(id).empty())
        return fail(ErrorKind::conflict, "conflict: image {} was put to use meanwhile", short_id(id));
      parent = found->second->parent;
      for (const std::string& name : going) items.push_back({true, familiar_of(name)});
      for (const std::string& name : names_beyond(id, going)) items.push_back({true, familiar_of(name)});
      layers = TRY(impl_.delete_locked(id));
    }
    items.push_back({false, id});
    for (const std::string& layer : layers) items.push_back({false, layer});
    if (!prune || parent.empty() || !impl_.catalog()->images.contains(parent)) return {};
    return remove_image(parent, false, true, true, {});
  }

  std::vector<std::string> names_beyond(const std::string& id, const std::vector<std::string>& going) const {
    std::vector<std::string> out = impl_.catalog()->names_of(id);
    std::erase_if(out,
                  [&](const std::string& name) { return std::find(going.begin(), going.end(), name) != going.end(); });
    return out;
  }

  Result<> untag(const std::string& id, const std::vector<std::string>& names) {
    if (names.empty()) return {};
    const MutexLock lock(impl_.write_mutex_);
    CHECK(impl_.untag_locked(id, names));
    for (const std::string& name : names) items.push_back({true, familiar_of(name)});
    return {};
  }

  std::vector<ImageUser> users_of(const std::string& id) const {
    return users_ ? users_(id) : std::vector<ImageUser>{};
  }

  std::optional<Conflict> check(const std::string& id, unsigned mask, const std::vector<std::string>& going) const {
    const CatalogPtr catalog = impl_.catalog();
    if ((mask & children) != 0 && !catalog->children_of(id).empty())
      return Conflict{true, false, "image has dependent child images"};
    const auto users = users_of(id);
    if ((mask & running) != 0)
      for (const ImageUser& user : users)
        if (user.running)
          return Conflict{true, true,
                          fmt::format("image is being used by running container {}", short_id(user.container_id))};
    if ((mask & referenced) != 0 && !names_beyond(id, going).empty())
      return Conflict{false, false, "image is referenced in multiple repositories"};
    if ((mask & stopped) != 0)
      for (const ImageUser& user : users)
        if (!user.running)
          return Conflict{false, true,
                          fmt::format("image is being used by stopped container {}", short_id(user.container_id))};
    return std::nullopt;
  }

  Images::Impl& impl_;
  const UsersOf& users_;
};

Result<std::vector<DeleteItem>> Images::Impl::remove(std::string_view reference, const RemoveOptions& options) {
  Remover remover(*this, options.users);
  CHECK(remover.run(reference, options.force, options.prune_parents));
  return std::move(remover.items);
}

Result<PruneReport> Images::Impl::prune(const PruneOptions& options) {
  const CatalogPtr before = catalog();
  std::map<std::string, std::uint64_t> sizes;
  for (const store::LayerInfo& layer : store_.snapshots().layers()) sizes[layer.chain_id] = layer.bytes;
  PruneReport out;
  for (const auto& [id, image] : before->images) {
    const ImageSummary summary = before->summary_of(image);
    const bool has_children = !before->children_of(id).empty();
    if (options.dangling_only ? has_children || !summary.repo_tags.empty()
                              : has_children && summary.repo_tags.empty() && summary.repo_digests.empty())
      continue;
    if (options.wanted && !options.wanted(summary)) continue;
    // By name, so that an image a container uses only loses nothing; what cannot go stays without complaint.
    std::vector<std::string> names = before->names_of(id);
    if (names.empty()) names.push_back(id);
    for (const std::string& name : names) {
      Remover remover(*this, options.users);
      if (!remover.run(name, false, true)) continue;
      out.items.insert(out.items.end(), remover.items.begin(), remover.items.end());
    }
  }
  for (const DeleteItem& item : out.items)
    if (const auto size = sizes.find(item.what); !item.untagged && size != sizes.end())
      out.space_reclaimed += size->second;
  // What broken pulls have left has neither time nor labels.
  if (!options.wanted) out.space_reclaimed += store_.content().remove_partial();
  return out;
}

}  // namespace corten::image
