// What several commands share.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "cli/context.h"
#include "cli/flags.h"
#include "cli/meter.h"
#include "cli/validators.h"

namespace corten::cli {

// Does `action` for each name, several at a time, prints the names that went well in the order given, then the errors.
// Exit code 1 if any failed. With `missing_is_fine`, a not_found error is shown but does not count.
Outcome for_each(Context& context, const std::vector<std::string>& names,
                 const std::function<Result<>(client::Client&, const std::string& name)>& action,
                 bool missing_is_fine = false);

// --filter values as the API takes them; empty where there are none.
std::string filters_json(const std::vector<std::string>& given);

// Asks on standard output, reads a line; only "y" and "Y" are yes.
Result<bool> confirm(Context& context, std::string_view question);

// Copies a body to a descriptor.
Result<> copy_body(http::ClientResponse& response, int fd, TransferMeter* meter = nullptr);
// A source for request bodies that reads a descriptor. `meter` must outlive it.
http::BodySource body_from(int fd, TransferMeter* meter = nullptr);
// All that is to be read from `fd`: of a regular file without passing through us, its length said beforehand.
client::Client::Upload upload_from(int fd, TransferMeter* meter);

// "2024-05-01 10:00:00 +0200 CEST", as Go's Time.String().
std::string go_time(std::int64_t seconds);
// Nine digits of fraction, local zone: "2024-05-01T10:00:00.123456789+02:00".
std::string local_rfc3339_fixed(std::int64_t nanoseconds);
// "3 hours" since then.
std::string since(std::int64_t seconds);

// A short id without "sha256:".
std::string truncate_id(std::string_view id);

// Text for `go_quote`d commands in tables.
std::string join(const std::vector<std::string>& parts, std::string_view separator);

inline constexpr std::string_view format_usage =
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
    "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";
inline constexpr std::string_view plain_format_usage =
    "Format output using a custom template:\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
    "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

}  // namespace corten::cli
