// Rekor's signed entry timestamps: a log's word, signed, that it saw a signature at a certain time. What makes the ten
// minutes of a Fulcio certificate last.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "trust/keys.h"

namespace corten::trust {

// As found beside a signature; nothing of it is true before trusted_time() says so.
struct LogEntry {
  std::string body;    // decoded: the log's own JSON
  std::string log_id;  // 64 hexadecimal digits: sha256 of the log's key
  std::int64_t log_index = 0;
  std::int64_t integrated_time = 0;  // seconds since 1970
  std::string promise;               // decoded signature, "" where there is none
};

// What the entry must be about.
struct Logged {
  std::string_view message;      // what was signed: its sha256 is in a hashedrekord
  std::string_view payload;      // what a DSSE envelope holds: its sha256 is in a dsse entry
  std::string_view signature;    // raw
  std::string_view certificate;  // DER
};

// cosign's annotation dev.sigstore.cosign/bundle.
Result<LogEntry> parse_log_bundle(std::string_view text);

// The time at which one of the logs says that it was told of exactly this signature by exactly this certificate.
// `invalid` says why not. Entry kinds: hashedrekord and dsse.
Result<Timestamp> trusted_time(const LogEntry& entry, const std::vector<PublicKey>& logs, const Logged& wanted);

}  // namespace corten::trust
