#include "oci/platform.h"

#include <gtest/gtest.h>

namespace corten::oci {
namespace {

Platform platform(const char* text) {
  auto parsed = parse_platform(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(Platform{});
}

// As an image's config or an index says it: nothing is filled in.
Platform stated(std::string architecture, std::string variant = "", std::string os = "linux") {
  Platform out;
  out.os = std::move(os);
  out.architecture = std::move(architecture);
  out.variant = std::move(variant);
  return out;
}

std::vector<Descriptor> entries(std::initializer_list<std::optional<Platform>> platforms) {
  std::vector<Descriptor> out;
  for (const auto& each : platforms) {
    Descriptor entry;
    entry.size = static_cast<std::int64_t>(out.size());
    entry.platform = each;
    out.push_back(std::move(entry));
  }
  return out;
}

// The number of the entry taken, -1 for none.
std::int64_t taken(const std::vector<Descriptor>& from, const char* want) {
  const Descriptor* entry = best_entry(from, platform(want));
  return entry == nullptr ? -1 : entry->size;
}

TEST(Platform, ParsesAsContainerdDoes) {
  for (const auto& [text, shown] : std::initializer_list<std::pair<const char*, const char*>>{
           {"linux/amd64", "linux/amd64"},
           {"linux/x86_64", "linux/amd64"},
           {"Linux/AMD64/v1", "linux/amd64"},
           {"linux/amd64/v3", "linux/amd64/v3"},
           {"linux/aarch64", "linux/arm64"},
           {"linux/aarch64/v8", "linux/arm64/v8"},
           {"linux/arm64/8", "linux/arm64/v8"},
           {"linux/arm64/9.0", "linux/arm64/v9"},
           {"linux/arm", "linux/arm"},
           {"linux/arm/7", "linux/arm/v7"},
           {"linux/armhf", "linux/arm"},
           {"linux/armel", "linux/arm/v6"},
           {"linux/i386", "linux/386"},
           {"macos/arm64", "darwin/arm64"},
           {"riscv64", "linux/riscv64"},
           {"arm", "linux/arm"},
           {"armel", "linux/arm/v6"},
       })
    EXPECT_EQ(platform(text).text(), shown) << text;
  EXPECT_EQ(platform("linux"), host_platform());
  EXPECT_EQ(platform("windows").os, "windows");
}

TEST(Platform, RefusesWhatIsNone) {
  for (const char* bad :
       {"", "/", "linux/", "/amd64", "linux/a/b/c", "nonsense", "li nux/amd64", "linux//v7", "a\x1b/b"})
    EXPECT_FALSE(parse_platform(bad)) << bad;
  EXPECT_EQ(parse_platform("nonsense").error().text(),
            "\"nonsense\": unknown operating system or architecture: invalid argument");
  EXPECT_EQ(parse_platform("a/b/c/d").error().text(), "\"a/b/c/d\": cannot parse platform specifier: invalid argument");
  EXPECT_LT(parse_platform(std::string(100'000, '/')).error().text().size(), 300U);
  EXPECT_LT(parse_platform(std::string(100'000, 'a')).error().text().size(), 300U);
}

TEST(Platform, AnImageRunsOnItsOwnAndOnNewerProcessors) {
  const auto runs = [](const char* want, const Platform& have) { return matches(platform(want), have); };
  EXPECT_TRUE(runs("linux/arm64", stated("arm64", "v8")));
  EXPECT_TRUE(runs("linux/arm64/v8", stated("aarch64")));
  EXPECT_FALSE(runs("linux/arm64", stated("amd64")));
  EXPECT_FALSE(runs("linux/arm64", stated("arm64", "", "windows")));

  EXPECT_TRUE(runs("linux/amd64/v3", stated("amd64", "v2")));
  EXPECT_TRUE(runs("linux/amd64/v3", stated("amd64")));
  EXPECT_TRUE(runs("linux/amd64", stated("386")));
  EXPECT_FALSE(runs("linux/amd64/v2", stated("amd64", "v3")));
  EXPECT_FALSE(runs("linux/amd64", stated("amd64", "v2")));
  EXPECT_FALSE(runs("linux/386", stated("amd64")));

  EXPECT_TRUE(runs("linux/arm/v7", stated("arm", "v5")));
  EXPECT_FALSE(runs("linux/arm/v6", stated("arm", "v7")));
  EXPECT_FALSE(runs("linux/arm/v7", stated("arm", "v4")));
  EXPECT_TRUE(runs("linux/arm64", stated("arm", "v7")));
  EXPECT_FALSE(runs("linux/arm/v7", stated("arm64")));

  EXPECT_TRUE(runs("linux/arm64/v8.2", stated("arm64", "v8.1")));
  EXPECT_FALSE(runs("linux/arm64/v8.1", stated("arm64", "v8.2")));
  EXPECT_TRUE(runs("linux/arm64/v9", stated("arm64", "v8.5")));
  EXPECT_FALSE(runs("linux/arm64/v9", stated("arm64", "v8.6")));
  EXPECT_TRUE(runs("linux/arm64/v9.1", stated("arm64", "v8.6")));
}

TEST(Platform, AnImageThatNamesNoVariantIsTakenAtItsWord) {
  EXPECT_TRUE(matches(platform("linux/arm/v6"), stated("arm")));
  EXPECT_TRUE(matches(platform("linux/ppc64le/power9"), stated("ppc64le")));
  EXPECT_FALSE(matches(platform("linux/ppc64le/power9"), stated("ppc64le", "power10")));
  EXPECT_FALSE(matches(platform("linux/arm64"), Platform{}));
  // Of an index's entries that is not assumed: 32-bit ARM without a variant is v7.
  EXPECT_EQ(taken(entries({stated("arm")}), "linux/arm/v6"), -1);
  EXPECT_EQ(taken(entries({stated("arm")}), "linux/arm/v7"), 0);
  // Nonsense in a variant is compared as text and never overflows.
  for (const char* odd : {"v", "v.", "v8.", "v8.x", "v-1", "v99999999999999999999", "v8.99999999999", "\xff"}) {
    EXPECT_FALSE(matches(platform("linux/arm64/v9.9"), stated("arm64", odd))) << odd;
    EXPECT_TRUE(matches(stated("arm64", odd), stated("arm64", odd))) << odd;
  }
}

TEST(Platform, TheNearestEntryOfAnIndexIsTaken) {
  EXPECT_EQ(taken(entries({stated("arm", "v5"), stated("arm", "v7"), stated("arm", "v6")}), "linux/arm/v7"), 1);
  EXPECT_EQ(taken(entries({stated("arm", "v5"), stated("arm", "v7"), stated("arm", "v6")}), "linux/arm/v6"), 2);
  EXPECT_EQ(taken(entries({stated("386"), stated("amd64")}), "linux/amd64"), 1);
  EXPECT_EQ(taken(entries({stated("amd64"), stated("amd64", "v3"), stated("amd64", "v2")}), "linux/amd64"), 0);
  EXPECT_EQ(taken(entries({stated("amd64"), stated("amd64", "v4"), stated("amd64", "v2")}), "linux/amd64/v3"), 2);
  EXPECT_EQ(taken(entries({stated("arm", "v7"), stated("arm64")}), "linux/arm64"), 1);
  EXPECT_EQ(taken(entries({stated("arm", "v6"), stated("arm", "v7")}), "linux/arm64"), 1);
  EXPECT_EQ(taken(entries({stated("arm64"), stated("arm64", "v8.2"), stated("arm64", "v8.5")}), "linux/arm64/v9"), 2);
  EXPECT_EQ(taken(entries({stated("arm", "v7"), stated("arm64", "v9")}), "linux/arm64/v9.99"), 1);
  // Of equals the first, as listed.
  EXPECT_EQ(taken(entries({stated("amd64"), stated("x86_64")}), "linux/amd64"), 0);
}

TEST(Platform, WithoutAFitNothingIsTaken) {
  EXPECT_EQ(taken({}, "linux/amd64"), -1);
  EXPECT_EQ(taken(entries({stated("arm64"), stated("amd64", "", "windows")}), "linux/amd64"), -1);
  EXPECT_EQ(taken(entries({stated("amd64", "v3")}), "linux/amd64"), -1);
}

TEST(Platform, EntriesThatNameNoneComeLastAndAttestationsNever) {
  auto list = entries({std::nullopt, Platform{}, stated("386"), stated("amd64")});
  EXPECT_EQ(taken(list, "linux/amd64"), 3);
  EXPECT_EQ(taken(list, "linux/s390x"), 0);
  list[3].annotations["vnd.docker.reference.type"] = "attestation-manifest";
  EXPECT_EQ(taken(list, "linux/amd64"), 2);
}

TEST(Platform, ARefusalCarriesNothingOfTheImagesOntoATerminal) {
  const Platform want{.architecture = "amd64", .os = "linux"};
  EXPECT_TRUE(require_platform(want, want, "x:1"));
  const auto refused =
      require_platform(want, {.architecture = "a\x1b[2J\n" + std::string(200, 'b'), .os = "linux"}, "x:1");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::not_found);
  EXPECT_EQ(refused.error().text(), "image with reference x:1 was found but its platform (linux/a?[2J?" +
                                        std::string(88, 'b') + ") does not match the specified platform (linux/amd64)");
}

TEST(Platform, ThisMachineRunsItsOwnImages) {
  EXPECT_TRUE(matches(best_host_platform(), host_platform()));
  EXPECT_EQ(best_host_platform().architecture, host_platform().architecture);
#if defined(__x86_64__)
  EXPECT_EQ(host_platform().text(), "linux/amd64");
  EXPECT_TRUE(best_host_platform().variant.starts_with('v'));
#endif
}

}  // namespace
}  // namespace corten::oci
