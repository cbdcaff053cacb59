// Variables that are there without an ARG.
#pragma once

#include <array>
#include <string_view>

namespace corten::dockerfile {

// Build arguments that need no ARG and leave no trace in an image's history or a cache's keys.
inline constexpr std::array<std::string_view, 10> proxy_args = {
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY",
    "ftp_proxy",  "NO_PROXY",   "no_proxy",    "ALL_PROXY",   "all_proxy",
};

// Set by the builder in the global scope: FROM sees them as they are, a stage where it has an ARG of that name.
inline constexpr std::array<std::string_view, 10> platform_args = {
    "BUILDPLATFORM",  "BUILDOS",  "BUILDOSVERSION",  "BUILDARCH",  "BUILDVARIANT",
    "TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT",
};
// The name of the stage that is built.
inline constexpr std::string_view target_stage_arg = "TARGETSTAGE";

// Build arguments that mean something to the builder itself.
inline constexpr std::string_view source_date_epoch = "SOURCE_DATE_EPOCH";
inline constexpr std::string_view builder_args_prefix = "BUILDKIT_";

// What a RUN finds in PATH where neither the base image nor the Dockerfile sets it.
inline constexpr std::string_view default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace corten::dockerfile
