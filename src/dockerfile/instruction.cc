#include "dockerfile/instruction.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/text.h"
#include "dockerfile/expand.h"
#include "dockerfile/flags.h"
#include "dockerfile/text.h"
#include "json/codec.h"

namespace corten::dockerfile {
namespace {

// Whether a text that is no JSON was most likely meant as an array: a shell's test has a blank after its bracket, and
// no comma between quotes.
bool looks_like_array(std::string_view text) {
  const std::string_view inner = trim(text.substr(1));
  if (inner.empty() || (inner[0] != '"' && inner[0] != '\'')) return false;
  if (!text.ends_with(']')) return false;
  const auto between = [&](std::string_view quote) {
    const std::size_t at = text.find(quote);
    return at != std::string_view::npos;
  };
  return !is_blank(text[1]) || between("\",") || between("',") || between("\" ,") || between("' ,");
}

// nullopt: no array.
Result<std::optional<std::vector<std::string>>> exec_form(const Request& request, std::string_view args) {
  if (!args.starts_with('[')) return std::nullopt;
  const auto value = json::parse(args);
  if (!value || !value->is_array()) {
    if (looks_like_array(args))
      request.notes.push_back(
          {"JSONArgsRecommended",
           fmt::format("{} begins like a JSON array and is none, so it is taken as plain text: strings are in double "
                       "quotes with commas between them",
                       request.keyword)});
    return std::nullopt;
  }
  std::vector<std::string> words;
  for (const json::Value& item : value->get_array()) {
    if (!item.is_string())
      return fail(ErrorKind::invalid, "when using JSON array syntax, arrays must be comprised of strings only");
    words.emplace_back(item.get_string());
    if (words.back().find('\0') != std::string::npos)
      return fail(ErrorKind::invalid, "a zero byte in an argument, which no program can be given");
  }
  return words;
}

std::unexpected<Error> exactly_one(const Request& request) {
  return fail(ErrorKind::invalid, "{} requires exactly one argument", request.keyword);
}

// One argument to the end of the line.
Result<std::string> rest_of_line(const Request& request) {
  CHECK(no_flags(request));
  if (request.args.empty()) return exactly_one(request);
  CHECK(check_word(request.args, request.escape));
  return std::string(request.args);
}

Result<std::vector<Pair>> parse_pairs(const Request& request) {
  CHECK(no_flags(request));
  const auto words = split_quoted(request.args, request.escape);
  if (words.empty()) return needs_argument(request);
  std::vector<Pair> pairs;
  if (words[0].find('=') == std::string::npos) {
    const std::size_t blank = request.args.find_first_of(" \t\v\f\r");
    if (blank == std::string_view::npos) return fail(ErrorKind::invalid, "{} must have two arguments", request.keyword);
    pairs.push_back({std::string(request.args.substr(0, blank)), std::string(trim(request.args.substr(blank)))});
    request.notes.push_back(
        {"LegacyKeyValueFormat", fmt::format("\"{0} key=value\" should be used instead of legacy \"{0} key value\" "
                                             "format",
                                             request.keyword)});
  } else {
    for (const std::string& word : words) {
      const std::size_t equals = word.find('=');
      if (equals == std::string::npos)
        return fail(ErrorKind::invalid, "Syntax error - can't find = in {}. Must be of the form: name=value",
                    quoted(word));
      pairs.push_back({word.substr(0, equals), word.substr(equals + 1)});
    }
  }
  for (const Pair& pair : pairs) {
    if (pair.name.empty()) return fail(ErrorKind::invalid, "{} names can not be blank", request.keyword);
    CHECK(check_word(pair.name, request.escape));
    CHECK(check_word(pair.value, request.escape));
  }
  return pairs;
}

Result<Body> parse_arg(const Request& request) {
  CHECK(no_flags(request));
  Arg arg;
  for (const std::string& word : split_quoted(request.args, request.escape)) {
    const std::size_t equals = word.find('=');
    Arg::One one{word.substr(0, equals), std::nullopt};
    if (equals != std::string::npos) one.value = word.substr(equals + 1);
    if (one.name.empty()) return fail(ErrorKind::invalid, "ARG names can not be blank");
    CHECK(check_word(one.name, request.escape));
    CHECK(check_word(one.value.value_or(""), request.escape));
    arg.names.push_back(std::move(one));
  }
  if (arg.names.empty()) return needs_argument(request);
  return arg;
}

Result<Body> parse_expose(const Request& request) {
  CHECK(no_flags(request));
  Expose expose{split_blanks(request.args)};
  if (expose.ports.empty()) return needs_argument(request);
  for (const std::string& port : expose.ports) CHECK(check_word(port, request.escape));
  return expose;
}

Result<Body> parse_volume(const Request& request) {
  CHECK(no_flags(request));
  Volume volume{TRY(parse_list(request))};
  if (volume.paths.empty()) return needs_argument(request);
  for (const std::string& path : volume.paths) {
    if (trim(path).empty()) return fail(ErrorKind::invalid, "VOLUME specified can not be an empty string");
    CHECK(check_word(path, request.escape));
  }
  return volume;
}

Result<Body> parse_shell(const Request& request) {
  CHECK(no_flags(request));
  if (request.args.empty()) return needs_argument(request);
  auto words = TRY(exec_form(request, request.args));
  if (!words) return fail(ErrorKind::invalid, "SHELL requires the arguments to be in JSON form");
  if (words->empty()) return needs_argument(request);
  return Shell{std::move(*words)};
}

Result<Body> parse_cmd(const Request& request) {
  CHECK(no_flags(request));
  return Cmd{TRY(parse_command(request, request.args))};
}

Result<Body> parse_entrypoint(const Request& request) {
  CHECK(no_flags(request));
  return Entrypoint{TRY(parse_command(request, request.args))};
}

// As rest_of_line, but one word: what comes behind a blank can only be a slip ("USER a # why").
Result<std::string> one_word(const Request& request) {
  auto text = TRY(rest_of_line(request));
  if (text.find('$') == std::string::npos && split_quoted(text, request.escape).size() > 1) return exactly_one(request);
  return text;
}

using Parser = Result<Body> (*)(const Request&);
struct Known {
  std::string_view keyword;
  Parser parser;
};

// The order is that in which a name is suggested where two are equally near.
constexpr std::array instructions = {
    Known{"RUN", parse_run},
    Known{"FROM", parse_from},
    Known{"COPY", parse_copy},
    Known{"ADD", parse_copy},
    Known{"ENV", [](const Request& r) -> Result<Body> { return Env{TRY(parse_pairs(r))}; }},
    Known{"ARG", parse_arg},
    Known{"CMD", parse_cmd},
    Known{"ENTRYPOINT", parse_entrypoint},
    Known{"LABEL", [](const Request& r) -> Result<Body> { return Label{TRY(parse_pairs(r))}; }},
    Known{"EXPOSE", parse_expose},
    Known{"VOLUME", parse_volume},
    Known{"USER", [](const Request& r) -> Result<Body> { return User{TRY(one_word(r))}; }},
    Known{"WORKDIR", [](const Request& r) -> Result<Body> { return Workdir{TRY(rest_of_line(r))}; }},
    Known{"HEALTHCHECK", parse_healthcheck},
    Known{"SHELL", parse_shell},
    Known{"STOPSIGNAL", [](const Request& r) -> Result<Body> { return Stopsignal{TRY(one_word(r))}; }},
    Known{"ONBUILD", parse_onbuild},
    Known{"MAINTAINER",
          [](const Request& r) -> Result<Body> {
            CHECK(no_flags(r));
            if (r.args.empty()) return exactly_one(r);
            return Maintainer{std::string(r.args)};
          }},
};

}  // namespace

std::unexpected<Error> needs_argument(const Request& request) {
  return fail(ErrorKind::invalid, "{} requires at least one argument", request.keyword);
}

Result<> no_flags(const Request& request) {
  CHECK(Flags::read(request.flags, {}));
  return {};
}

Result<> check_word(std::string_view word, char escape) {
  CHECK(expand(word, [](std::string_view) { return std::optional<std::string>("x"); }, {.escape = escape}));
  return {};
}

Result<CommandLine> parse_command(const Request& request, std::string_view args) {
  CommandLine command;
  if (auto words = TRY(exec_form(request, args))) {
    command.shell = false;
    command.words = std::move(*words);
  } else if (!args.empty()) {
    command.words.emplace_back(args);
  }
  return command;
}

Result<std::vector<std::string>> parse_list(const Request& request) {
  if (auto words = TRY(exec_form(request, request.args))) return std::move(*words);
  return split_blanks(request.args);
}

bool is_instruction(std::string_view keyword) {
  return std::ranges::find(instructions, keyword, &Known::keyword) != instructions.end();
}

Result<Body> parse_body(const Request& request) {
  const auto found = std::ranges::find(instructions, request.keyword, &Known::keyword);
  if (found != instructions.end()) return found->parser(request);
  std::vector<std::string_view> names;
  for (const Known& known : instructions) names.push_back(known.keyword);
  return fail(ErrorKind::invalid, "unknown instruction: {}{}", shown(request.keyword),
              did_you_mean(request.keyword, names));
}

}  // namespace corten::dockerfile
