#include "image/changes.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/time.h"
#include "json/codec.h"

namespace corten::image {
namespace {

constexpr std::size_t max_line = 64 << 10;

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

// ["a","b"] is the exec form; anything else is a line for the shell.
std::optional<std::vector<std::string>> exec_form(std::string_view rest) {
  if (!rest.starts_with('[')) return std::nullopt;
  const auto value = json::parse(rest);
  if (!value || !value->is_array()) return std::nullopt;
  std::vector<std::string> words;
  for (const json::Value& item : value->get_array()) {
    if (!item.is_string()) return std::nullopt;
    words.emplace_back(item.get_string());
  }
  return words;
}

std::vector<std::string> command(const oci::RunConfig& config, std::string_view rest) {
  if (auto words = exec_form(rest)) return *words;
  std::vector<std::string> line = config.shell;
  if (line.empty()) line = {"/bin/sh", "-c"};
  line.emplace_back(rest);
  return line;
}

void set_variable(std::vector<std::string>& env, const std::string& name, const std::string& value) {
  const std::string prefix = name + "=";
  const auto found = std::ranges::find_if(env, [&](const std::string& item) { return item.starts_with(prefix); });
  if (found == env.end())
    env.push_back(prefix + value);
  else
    *found = prefix + value;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

// NAME=value NAME2="other value", or the old form NAME the rest of the line.
Result<Pairs> name_values(std::string_view instruction, std::string_view rest) {
  const auto words = TRY(split_words(rest));
  if (words.empty()) return fail(ErrorKind::invalid, "{} requires at least one argument", instruction);
  Pairs pairs;
  if (words[0].find('=') == std::string::npos) {
    const std::size_t space = rest.find_first_of(" \t");
    if (space == std::string_view::npos) return fail(ErrorKind::invalid, "{} must have two arguments", instruction);
    pairs.emplace_back(rest.substr(0, space), trim(rest.substr(space)));
    return pairs;
  }
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(ErrorKind::invalid, "Syntax error - can't find = in \"{}\". Must be of the form: name=value", word);
    pairs.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return pairs;
}

Result<std::string> port_key(const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::string number = text.substr(0, slash);
  const std::string protocol = slash == std::string::npos ? "tcp" : text.substr(slash + 1);
  int port = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port);
  const bool is_number = error == std::errc() && end == number.data() + number.size() && port > 0 && port < 65536;
  if (!is_number) return fail(ErrorKind::invalid, "invalid containerPort: {}", text);
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp")
    return fail(ErrorKind::invalid, "invalid proto: {}", protocol);
  return fmt::format("{}/{}", port, protocol);
}

Result<> health_check(oci::RunConfig& config, std::string_view rest) {
  oci::Healthcheck check;
  while (rest.starts_with("--")) {
    const std::string_view word = rest.substr(0, rest.find_first_of(" \t"));
    rest = trim(rest.substr(word.size()));
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(2, equals == std::string_view::npos ? equals : equals - 2);
    const std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
    if (name == "interval") {
      check.interval = TRY(parse_duration(value));
    } else if (name == "timeout") {
      check.timeout = TRY(parse_duration(value));
    } else if (name == "start-period") {
      check.start_period = TRY(parse_duration(value));
    } else if (name == "start-interval") {
      check.start_interval = TRY(parse_duration(value));
    } else if (name == "retries") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), check.retries);
      if (error != std::errc() || end != value.data() + value.size() || check.retries < 0)
        return fail(ErrorKind::invalid, "HEALTHCHECK --retries={}: want a number", value);
    } else {
      return fail(ErrorKind::invalid, "HEALTHCHECK: unknown flag: --{}", name);
    }
  }
  if (rest == "NONE" || rest == "none") {
    check.test = {"NONE"};
  } else if (rest.starts_with("CMD")) {
    const std::string_view line = trim(rest.substr(3));
    if (line.empty()) return fail(ErrorKind::invalid, "Missing command after HEALTHCHECK CMD");
    if (auto words = exec_form(line)) {
      check.test = {"CMD"};
      check.test.insert(check.test.end(), words->begin(), words->end());
    } else {
      check.test = {"CMD-SHELL", std::string(line)};
    }
  } else {
    return fail(ErrorKind::invalid, "Unknown type \"{}\" in HEALTHCHECK (try CMD)", rest.substr(0, rest.find(' ')));
  }
  config.healthcheck = std::move(check);
  return {};
}

Result<> working_directory(oci::RunConfig& config, std::string_view rest) {
  if (rest.starts_with('/'))
    config.working_dir = rest;
  else
    config.working_dir = fmt::format("{}{}{}", config.working_dir, config.working_dir.ends_with('/') ? "" : "/", rest);
  return {};
}

Result<> apply_one(oci::RunConfig& config, std::string_view line) {
  const std::size_t space = line.find_first_of(" \t");
  std::string instruction(line.substr(0, space));
  std::ranges::transform(instruction, instruction.begin(), [](unsigned char c) { return std::toupper(c); });
  const std::string_view rest = space == std::string_view::npos ? "" : trim(line.substr(space));
  const auto word_list = [&]() -> Result<std::vector<std::string>> {
    if (auto words = exec_form(rest)) return *words;
    return split_words(rest);
  };
  if (rest.empty() && instruction != "CMD" && instruction != "ENTRYPOINT")
    return fail(ErrorKind::invalid, "{} requires at least one argument", instruction);
  if (instruction == "CMD") {
    config.cmd = command(config, rest);
  } else if (instruction == "ENTRYPOINT") {
    config.entrypoint = command(config, rest);
  } else if (instruction == "ENV") {
    for (const auto& [name, value] : TRY(name_values(instruction, rest))) set_variable(config.env, name, value);
  } else if (instruction == "LABEL") {
    for (const auto& [name, value] : TRY(name_values(instruction, rest))) config.labels[name] = value;
  } else if (instruction == "EXPOSE") {
    for (const std::string& word : TRY(split_words(rest))) config.exposed_ports[TRY(port_key(word))];
  } else if (instruction == "VOLUME") {
    for (const std::string& word : TRY(word_list())) config.volumes[word];
  } else if (instruction == "USER") {
    config.user = rest;
  } else if (instruction == "WORKDIR") {
    return working_directory(config, rest);
  } else if (instruction == "ONBUILD") {
    config.on_build.emplace_back(rest);
  } else if (instruction == "STOPSIGNAL") {
    config.stop_signal = rest;
  } else if (instruction == "SHELL") {
    const auto words = exec_form(rest);
    if (!words || words->empty()) return fail(ErrorKind::invalid, "SHELL requires the arguments to be in JSON form");
    config.shell = *words;
  } else if (instruction == "HEALTHCHECK") {
    return health_check(config, rest);
  } else {
    return fail(ErrorKind::invalid, "{} is not a valid change command", instruction);
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else if (c == '\\' && quote == '"' && i + 1 < text.size()) {
        word += text[++i];
      } else {
        word += c;
      }
    } else if (c == '"' || c == '\'') {
      quote = c;
      in_word = true;
    } else if (c == '\\' && i + 1 < text.size()) {
      word += text[++i];
      in_word = true;
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != 0) return fail(ErrorKind::invalid, "unexpected end of statement while looking for matching {}", quote);
  if (in_word) words.push_back(std::move(word));
  return words;
}

Result<> apply_changes(oci::RunConfig& config, const std::vector<std::string>& changes) {
  for (const std::string& change : changes) {
    if (change.size() > max_line) return fail(ErrorKind::invalid, "a change instruction is longer than 64 KiB");
    std::string_view rest = change;
    while (!rest.empty()) {
      const std::string_view line = trim(rest.substr(0, rest.find('\n')));
      rest.remove_prefix(
          std::min(rest.size(), rest.find('\n') == std::string_view::npos ? rest.size() : rest.find('\n') + 1));
      if (!line.empty()) CHECK(apply_one(config, line));
    }
  }
  return {};
}

}  // namespace corten::image
