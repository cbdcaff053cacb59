// Which image runs on which machine. The rules are containerd's: an image for an older processor of the same family
// runs on a newer one. Docker has an exception for what is here already (oci::matches): an image that names no variant
// is taken to run on every one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/image.h"

namespace corten::oci {

// The most that this machine runs: host_platform() and, of an x86 processor, its level ("linux/amd64/v3").
Platform best_host_platform();

// How good an image for `have` is to who asks for `want`: 0 is what was asked for, more is an older processor's, and
// nullopt cannot be used.
std::optional<unsigned> distance(const Platform& want, const Platform& have);

// not_found, with Docker's text, where the image `name` is not for the platform that was asked for.
Result<> require_platform(const Platform& want, const Platform& image, std::string_view name);

// What images say of themselves, for terminals and logs: at most 100 bytes, everything but printable ASCII as '?'.
std::string shown(std::string_view text);

// The entry of an index to take for `want`: the nearest, of equals the first; entries that name no platform come last.
// Attestations (Docker's annotation) are never taken. nullptr where nothing fits.
const Descriptor* best_entry(const std::vector<Descriptor>& entries, const Platform& want);

}  // namespace corten::oci
