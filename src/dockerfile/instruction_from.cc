// FROM, HEALTHCHECK, ONBUILD.
#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"
#include "base/time.h"
#include "dockerfile/flags.h"
#include "dockerfile/instruction.h"
#include "dockerfile/parse.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

bool is_stage_name(std::string_view name) {
  return !name.empty() && name[0] >= 'a' && name[0] <= 'z' && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

Result<> check_interval(std::string_view name, std::string_view value) {
  if (value.empty()) return {};
  const auto interval = parse_duration(value);
  if (!interval) return fail(ErrorKind::invalid, "--{}: invalid duration {}", name, quoted(value));
  if (*interval != interval->zero() && *interval < std::chrono::milliseconds(1))
    return fail(ErrorKind::invalid, "Interval \"{}\" cannot be less than 1ms", name);
  return {};
}

Result<> check_retries(std::string_view value) {
  if (value.empty()) return {};
  int retries = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), retries);
  if (error != std::errc() || end != value.data() + value.size())
    return fail(ErrorKind::invalid, "--retries={}: want a number", shown(value));
  if (retries < 0) return fail(ErrorKind::invalid, "--retries cannot be negative ({})", retries);
  return {};
}

}  // namespace

Result<Body> parse_from(const Request& request) {
  constexpr std::array rules = {FlagRule{"platform"}};
  const Flags flags = TRY(Flags::read(request.flags, rules));
  const auto words = split_blanks(request.args);
  From from;
  from.platform = flags.text("platform");
  if (words.size() == 3 && equal_fold(words[1], "as")) {
    from.name = to_lower(words[2]);
    if (!is_stage_name(from.name))
      return fail(ErrorKind::invalid,
                  "invalid name for build stage: {}, name can't start with a number or contain symbols",
                  quoted(words[2]));
  } else if (words.size() != 1) {
    return fail(ErrorKind::invalid, "FROM requires either one or three arguments");
  }
  from.image = words[0];
  CHECK(check_word(from.image, request.escape));
  CHECK(check_word(from.platform, request.escape));
  return from;
}

Result<Body> parse_healthcheck(const Request& request) {
  constexpr std::array rules = {FlagRule{"interval"}, FlagRule{"timeout"}, FlagRule{"start-period"},
                                FlagRule{"start-interval"}, FlagRule{"retries"}};
  const Flags flags = TRY(Flags::read(request.flags, rules));
  if (request.args.empty()) return needs_argument(request);
  const std::size_t end = static_cast<std::size_t>(std::ranges::find_if(request.args, is_blank) - request.args.begin());
  const std::string type = to_upper(request.args.substr(0, end));
  const std::string_view rest = trim(request.args.substr(end));
  Healthcheck check;
  if (type == "NONE") {
    if (!rest.empty()) return fail(ErrorKind::invalid, "HEALTHCHECK NONE takes no arguments");
    check.none = true;
    return check;
  }
  if (type != "CMD") return fail(ErrorKind::invalid, "Unknown type {} in HEALTHCHECK (try CMD)", quoted(type));
  check.command = TRY(parse_command(request, rest));
  if (check.command.words.empty()) return fail(ErrorKind::invalid, "Missing command after HEALTHCHECK CMD");
  check.interval = flags.text("interval");
  check.timeout = flags.text("timeout");
  check.start_period = flags.text("start-period");
  check.start_interval = flags.text("start-interval");
  check.retries = flags.text("retries");
  CHECK(check_interval("interval", check.interval));
  CHECK(check_interval("timeout", check.timeout));
  CHECK(check_interval("start-period", check.start_period));
  CHECK(check_interval("start-interval", check.start_interval));
  CHECK(check_retries(check.retries));
  return check;
}

Result<Body> parse_onbuild(const Request& request) {
  CHECK(no_flags(request));
  if (request.args.empty()) return needs_argument(request);
  const std::size_t end = static_cast<std::size_t>(std::ranges::find_if(request.args, is_blank) - request.args.begin());
  const std::string trigger = to_upper(request.args.substr(0, end));
  if (trigger == "ONBUILD") return fail(ErrorKind::invalid, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (trigger == "FROM" || trigger == "MAINTAINER")
    return fail(ErrorKind::invalid, "{} isn't allowed as an ONBUILD trigger", trigger);
  std::string text(request.args);
  for (const Heredoc& heredoc : request.heredocs) {
    if (!text.ends_with('\n')) text += '\n';
    text += heredoc.content + heredoc.name + "\n";
  }
  if (auto sound = parse_instruction(text, request.escape); !sound)
    return fail(ErrorKind::invalid, "{}", sound.error().reason);
  return Onbuild{std::move(text)};
}

}  // namespace corten::dockerfile
