// Programs that keep passwords for us: docker-credential-NAME, found on the PATH, run without a shell.
//
// Protocol of docker-credential-helpers: the verb ("get", "store", "erase") is the argument, input and answer go over
// standard input and output; on failure the program exits with a code other than 0 and says why on standard output.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::cli {

inline constexpr std::size_t most_helper_output = 256 << 10;
// Helpers may ask the user for a passphrase, hence the length.
inline constexpr std::chrono::seconds helper_patience{120};

// What the program wrote to standard output. Its standard error is `error_fd`. `not_found` where it says that it knows
// nothing of what was asked for; `invalid` for a name that is no file name; a program that writes more than
// most_helper_output or takes longer than `patience` is killed. Nothing of `input` and of a good answer is in an error.
Result<std::string> run_credential_helper(std::string_view name, std::string_view verb, std::string_view input,
                                          int error_fd, std::chrono::milliseconds patience = helper_patience);

// The helper that Docker takes where config.json has neither credentials nor a choice: "pass", "secretservice" or none.
std::string default_credential_helper();

}  // namespace corten::cli
