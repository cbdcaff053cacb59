#include "oci/platform.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace corten::oci {
namespace {

constexpr const char* docker_reference_type = "vnd.docker.reference.type";
// Further away than any version of the own family is.
constexpr unsigned other_family = 1000;

struct ArchName {
  std::string_view from, architecture, variant;
};
constexpr std::array arch_names = {
    ArchName{"x86_64", "amd64", ""},  ArchName{"x86-64", "amd64", ""},
    ArchName{"i386", "386", ""},      ArchName{"i686", "386", ""},
    ArchName{"aarch64", "arm64", ""}, ArchName{"armhf", "arm", "v7"},
    ArchName{"armel", "arm", "v6"},   ArchName{"armv7l", "arm", "v7"},
    ArchName{"armv6l", "arm", "v6"},  ArchName{"loongarch64", "loong64", ""},
};
constexpr std::array known_os = {"linux", "windows", "darwin", "freebsd", "android", "netbsd", "openbsd", "solaris"};
constexpr std::array known_arch = {"386",    "amd64",    "arm",   "arm64",   "loong64", "mips",  "mips64",
                                   "mipsle", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"};

void to_lower(std::string& text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

void normalise(Platform& platform) {
  for (std::string* text : {&platform.os, &platform.architecture, &platform.variant}) to_lower(*text);
  if (platform.os.empty()) platform.os = "linux";
  if (platform.os == "macos") platform.os = "darwin";
  for (const ArchName& name : arch_names) {
    if (platform.architecture != name.from) continue;
    platform.architecture = name.architecture;
    if (platform.variant.empty() || !name.variant.empty()) platform.variant = name.variant;
  }
  std::string& variant = platform.variant;
  if (platform.architecture == "386") variant.clear();
  if (platform.architecture == "amd64" && variant == "v1") variant.clear();
  if (platform.architecture == "arm64") {
    if (variant == "8" || variant == "v8" || variant == "8.0" || variant == "v8.0") variant.clear();
    if (variant == "9" || variant == "9.0" || variant == "v9.0") variant = "v9";
  }
  if (platform.architecture == "arm") {
    if (variant.empty()) variant = "v7";
    if (variant[0] >= '0' && variant[0] <= '9') variant.insert(0, "v");
  }
}

// "v8.2" is 802, "v7" 700, "" what the family begins with; 0 for anything else.
unsigned version_of(const Platform& platform) {
  if (platform.variant.empty())
    return platform.architecture == "amd64" ? 100 : platform.architecture == "arm64" ? 800 : 0;
  std::string_view text = platform.variant;
  if (!text.starts_with('v')) return 0;
  unsigned major = 0, minor = 0;
  const auto whole = std::from_chars(text.data() + 1, text.data() + text.size(), major);
  if (whole.ec != std::errc() || major > 99) return 0;
  text.remove_prefix(static_cast<std::size_t>(whole.ptr - text.data()));
  if (text.empty()) return major * 100;
  const auto part = std::from_chars(text.data() + 1, text.data() + text.size(), minor);
  if (text[0] != '.' || part.ec != std::errc() || part.ptr != text.data() + text.size() || minor > 99) return 0;
  return major * 100 + minor;
}

// Whether a processor of version `can` runs programs for version `needs`, both of one family.
bool runs(std::string_view architecture, unsigned can, unsigned needs) {
  if (architecture == "amd64") return needs >= 100 && needs <= can;
  if (architecture == "arm") return needs >= 500 && needs <= can;
  if (architecture != "arm64") return false;
  if (needs / 100 == can / 100) return needs <= can;
  // Version 9.n has what 8.(n + 5) has.
  return can / 100 == 9 && needs / 100 == 8 && needs - 800 <= can - 900 + 5;
}

// Steps from the one processor down to the other, in containerd's order of preference.
std::optional<unsigned> family_distance(const Platform& want, const Platform& have) {
  if (want.architecture == have.architecture) {
    if (want.variant == have.variant) return 0;
    const unsigned can = version_of(want), needs = version_of(have);
    if (can == 0 || needs == 0 || !runs(want.architecture, can, needs)) return std::nullopt;
    const unsigned versions = can / 100 - needs / 100;
    if (want.architecture != "arm64") return versions;
    // Down through version 9, then from the newest of version 8 on.
    return versions == 0 ? can - needs : 100 + (99 - needs % 100);
  }
  if (want.architecture == "amd64" && have.architecture == "386") return other_family;
  // The 32-bit side of a 64-bit ARM processor.
  if (want.architecture == "arm64" && have.architecture == "arm") {
    const unsigned needs = version_of(have);
    if (needs >= 500 && needs <= 800) return other_family + (800 - needs) / 100;
  }
  return std::nullopt;
}

bool is_name(std::string_view part) {
  return !part.empty() && std::ranges::all_of(part, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

template <class List>
bool contains(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t slash = text.find('/');
    parts.emplace_back(text.substr(0, slash));
    if (slash == std::string_view::npos || parts.size() > 3) return parts;
    text.remove_prefix(slash + 1);
  }
}

// One word: an operating system for this machine's processor, or a processor.
Result<Platform> parse_word(std::string_view text) {
  Platform out = host_platform();
  Platform word;
  word.os = word.architecture = text;
  normalise(word);
  if (contains(known_os, word.os)) {
    out.os = word.os;
    return out;
  }
  if (!contains(known_arch, word.architecture))
    return fail(ErrorKind::invalid, "{:?}: unknown operating system or architecture: invalid argument", text);
  out.architecture = word.architecture;
  out.variant = word.architecture == "arm" && word.variant == "v7" ? "" : word.variant;
  return out;
}

#if defined(__x86_64__)
std::string processor_level() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "v3";
  return __builtin_cpu_supports("x86-64-v2") ? "v2" : "v1";
}
#endif

}  // namespace

std::string Platform::text() const { return os + "/" + architecture + (variant.empty() ? "" : "/" + variant); }

Platform host_platform() {
  utsname name{};
  ::uname(&name);
  Platform out;
  out.os = "linux";
  out.architecture = name.machine;
  normalise(out);
  return out;
}

Platform best_host_platform() {
  Platform out = host_platform();
#if defined(__x86_64__)
  if (out.architecture == "amd64") out.variant = processor_level();
#endif
  if (out.architecture == "arm64" && out.variant.empty()) out.variant = "v8";
  return out;
}

Result<Platform> parse_platform(std::string_view text) {
  const std::vector<std::string> parts = split(text);
  if (parts.size() > 3)
    return fail(ErrorKind::invalid, "{:?}: cannot parse platform specifier: invalid argument", text.substr(0, 100));
  for (const std::string& part : parts) {
    if (is_name(part)) continue;
    return fail(ErrorKind::invalid,
                "{:?} is an invalid component of {:?}: platform specifier component must be of letters, digits, "
                "'_', '-' and '.': invalid argument",
                part.substr(0, 100), text.substr(0, 100));
  }
  if (parts.size() == 1) return parse_word(text.substr(0, 100));
  Platform out;
  out.os = parts[0];
  out.architecture = parts[1];
  if (parts.size() == 3) out.variant = parts[2];
  normalise(out);
  // What was not said stays unsaid, and what was said stays: both mean the same, this is what is shown of it.
  if (parts.size() == 2 && out.architecture == "arm" && out.variant == "v7") out.variant.clear();
  if (parts.size() == 3 && out.architecture == "arm64" && out.variant.empty()) out.variant = "v8";
  return out;
}

std::optional<unsigned> distance(const Platform& want, const Platform& have) {
  Platform a = want, b = have;
  normalise(a);
  normalise(b);
  if (a.os != b.os) return std::nullopt;
  return family_distance(a, b);
}

bool matches(const Platform& want, const Platform& have) {
  if (distance(want, have)) return true;
  if (!have.variant.empty()) return false;
  // Most configs of images for ARM say nothing of the variant; normalising makes "v7" of that.
  Platform a = want, b = have;
  normalise(a);
  normalise(b);
  return a.os == b.os && a.architecture == b.architecture;
}

Result<> require_platform(const Platform& want, const Platform& image, std::string_view name) {
  if (matches(want, image)) return {};
  return fail(ErrorKind::not_found,
              "image with reference {} was found but its platform ({}) does not match the specified platform ({})",
              name, shown(image.text()), want.text());
}

std::string shown(std::string_view text) {
  std::string out(text.substr(0, 100));
  std::ranges::replace_if(out, [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return out;
}

const Descriptor* best_entry(const std::vector<Descriptor>& entries, const Platform& want) {
  constexpr unsigned unnamed = std::numeric_limits<unsigned>::max();
  const Descriptor* best = nullptr;
  unsigned best_distance = 0;
  for (const Descriptor& entry : entries) {
    if (entry.annotations.contains(docker_reference_type)) continue;
    std::optional<unsigned> how_far = unnamed;
    if (entry.platform && !(entry.platform->os.empty() && entry.platform->architecture.empty()))
      how_far = distance(want, *entry.platform);
    if (!how_far || (best != nullptr && *how_far >= best_distance)) continue;
    best = &entry;
    best_distance = *how_far;
  }
  return best;
}

}  // namespace corten::oci
