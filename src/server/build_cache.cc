// POST /build/prune, and rows for system df.
#include "server/build_cache.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <array>

#include "build/cache.h"
#include "context/pool.h"
#include "context/sync.h"
#include "server/build_state.h"
#include "server/filters.h"

namespace corten::server {
namespace {

using build::CacheUsage;
using json::Array;
using json::Object;
using json::Value;

Object row(const CacheUsage& usage, ApiVersion version) {
  Object object{{"ID", usage.id}};
  // A list since 1.42; the one parent before.
  if (version >= ApiVersion{1, 42}) {
    if (!usage.parents.empty()) object["Parents"] = json::to_json(usage.parents);
  } else {
    object["Parent"] = usage.parents.empty() ? "" : usage.parents.front();
  }
  object["Type"] = usage.type;
  object["Description"] = usage.description;
  object["InUse"] = usage.in_use;
  object["Shared"] = usage.shared;
  object["Size"] = usage.size;
  object["CreatedAt"] = format_rfc3339(usage.created);
  object["LastUsedAt"] = usage.last_used == Timestamp() ? Value(nullptr) : Value(format_rfc3339(usage.last_used));
  object["UsageCount"] = usage.uses;
  return object;
}

bool starts_with_any(const std::vector<std::string>& values, std::string_view text) {
  return values.empty() ||
         std::ranges::any_of(values, [&](const std::string& value) { return text.starts_with(value); });
}

bool has_parent(const std::vector<std::string>& wanted, const CacheUsage& usage) {
  return wanted.empty() ||
         std::ranges::any_of(usage.parents, [&](const std::string& parent) { return starts_with_any(wanted, parent); });
}

bool described(const std::vector<std::string>& wanted, const CacheUsage& usage) {
  return wanted.empty() || std::ranges::any_of(wanted, [&](const std::string& text) {
           return usage.description.find(text) != std::string::npos;
         });
}

// The filters that are flags: "inuse", "shared" and "private" come with or without a value.
Result<std::optional<bool>> flag(const Filters& filters, std::string_view name) {
  if (!filters.has(name)) return std::nullopt;
  const auto& values = filters.of(name);
  if (values.size() == 1 && values[0].empty()) return true;
  return TRY(filters.boolean(name, true));
}

struct Wanted {
  Filters filters;
  std::optional<Timestamp> before;
  std::optional<bool> in_use, shared, is_private;

  bool operator()(const CacheUsage& usage) const {
    // `system prune` asks all kinds of things with the same filters; nothing in the cache has labels.
    if (filters.has("label") || filters.has("label!")) return false;
    if (before && usage.last_used >= *before) return false;
    if (in_use && usage.in_use != *in_use) return false;
    if (shared && usage.shared != *shared) return false;
    if (is_private && usage.shared == *is_private) return false;
    return starts_with_any(filters.of("id"), usage.id) && has_parent(filters.of("parent"), usage) &&
           filters.exact("type", usage.type) && described(filters.of("description"), usage);
  }
};

Result<Wanted> wanted_of(const Call& call) {
  Wanted wanted;
  wanted.filters = TRY(Filters::parse(call.query("filters"), {"description", "id", "inuse", "label", "label!", "parent",
                                                              "private", "shared", "type", "unused-for", "until"}));
  for (const std::string_view name : {"until", "unused-for"}) {
    if (!wanted.filters.has(name)) continue;
    if (wanted.filters.of(name).size() > 1)
      return fail(ErrorKind::invalid, "\"{}\" filter can only be specified once", name);
    wanted.before = TRY(parse_time_filter(wanted.filters.of(name)[0], now()));
  }
  wanted.in_use = TRY(flag(wanted.filters, "inuse"));
  wanted.shared = TRY(flag(wanted.filters, "shared"));
  wanted.is_private = TRY(flag(wanted.filters, "private"));
  return wanted;
}

Result<std::optional<std::uint64_t>> bytes_of(const Call& call, std::string_view name) {
  const std::int64_t bytes = TRY(call.number(name, 0));
  if (bytes < 0) return fail(ErrorKind::invalid, "{} is invalid, expects an integer >= 0: {}", name, bytes);
  return bytes == 0 ? std::optional<std::uint64_t>() : std::optional(static_cast<std::uint64_t>(bytes));
}

std::uint64_t free_bytes(const std::string& path) {
  struct statvfs disk{};
  if (::statvfs(path.c_str(), &disk) != 0) return 0;
  return static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
}

// How much is to be left: never below what is reserved, at most what may be used, and less where the disk is short.
Result<std::optional<std::uint64_t>> keep_bytes(const Call& call, std::uint64_t size) {
  auto reserved = TRY(bytes_of(call, "reserved-space"));
  if (!reserved) reserved = TRY(bytes_of(call, "keep-storage"));
  const auto most = TRY(bytes_of(call, "max-used-space"));
  const auto free_wanted = TRY(bytes_of(call, "min-free-space"));
  if (!reserved && !most && !free_wanted) return std::nullopt;
  if (!most && !free_wanted) return reserved;
  std::uint64_t keep = most.value_or(size);
  if (free_wanted) {
    const std::uint64_t have = free_bytes(call.services.store.data_root());
    const std::uint64_t missing = have < *free_wanted ? *free_wanted - have : 0;
    keep = std::min(keep, size > missing ? size - missing : 0);
  }
  return std::max(keep, reserved.value_or(0));
}

void publish_pruned(Call& call, std::uint64_t bytes) {
  engine::Event event;
  event.type = "builder";
  event.action = "prune";
  event.attributes["reclaimed"] = std::to_string(bytes);
  call.services.engine.events().publish(std::move(event));
}

// Contexts' contents are a cache, too: with the rest they go when all is to go.
Result<std::uint64_t> prune_contexts(const BuildServices& build, const build::CachePrune& options) {
  build.sessions.expire();
  build.state.expire_contexts();
  if (!options.all || options.wanted || options.keep_bytes) return 0;
  return build.pool.prune(0);
}

Result<> prune(Call& call) {
  build::CachePrune options;
  options.all = call.flag("all");
  Wanted wanted = TRY(wanted_of(call));
  if (!call.services.build) return call.answer(200, Object{{"CachesDeleted", nullptr}, {"SpaceReclaimed", 0}});
  options.keep_bytes = TRY(keep_bytes(call, build_cache_size(call)));
  if (!wanted.filters.empty()) options.wanted = std::move(wanted);
  const build::CachePruned pruned = TRY(call.services.build->cache.prune(options));
  const std::uint64_t bytes = pruned.bytes + TRY(prune_contexts(*call.services.build, options));
  publish_pruned(call, bytes);
  return call.answer(200, Object{{"CachesDeleted", pruned.ids.empty() ? Value(nullptr) : json::to_json(pruned.ids)},
                                 {"SpaceReclaimed", bytes}});
}

constexpr std::array table{Route{"POST", "/build/prune", prune}};

}  // namespace

Array build_cache_rows(const Call& call) {
  Array rows;
  if (!call.services.build) return rows;
  for (const CacheUsage& usage : call.services.build->cache.list()) rows.push_back(row(usage, call.version));
  return rows;
}

std::uint64_t build_cache_size(const Call& call) {
  std::uint64_t size = 0;
  if (!call.services.build) return size;
  for (const CacheUsage& usage : call.services.build->cache.list())
    if (!usage.shared) size += usage.size;
  return size;
}

std::span<const Route> build_cache_routes() { return table; }

}  // namespace corten::server
