#include "cli/flags.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/time.h"
#include "gotemplate/value.h"

namespace corten::cli {
namespace {

Result<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return fail(ErrorKind::invalid, "strconv.ParseBool: parsing {}: invalid syntax", gotemplate::quote(text));
}

Result<std::uint64_t> parse_unsigned(std::string_view text, std::uint64_t limit) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range || (error == std::errc() && number > limit)) {
    return fail(ErrorKind::invalid, "strconv.ParseUint: parsing {}: value out of range", gotemplate::quote(text));
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorKind::invalid, "strconv.ParseUint: parsing {}: invalid syntax", gotemplate::quote(text));
  }
  return number;
}

Result<> check_duration(std::string_view text) {
  if (parse_duration(text)) return {};
  const bool digits = !text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos;
  return fail(ErrorKind::invalid, "time: {} duration {}", digits ? "missing unit in" : "invalid",
              gotemplate::quote(text));
}

Result<> check_value(const Flag& flag, std::string_view value) {
  switch (flag.kind) {
    case FlagKind::boolean: TRY(parse_bool(value)); break;
    case FlagKind::integer: TRY(parse_go_int(value)); break;
    case FlagKind::uint16: TRY(parse_unsigned(value, UINT16_MAX)); break;
    case FlagKind::unsigned_integer: TRY(parse_unsigned(value, UINT64_MAX)); break;
    case FlagKind::duration: CHECK(check_duration(value)); break;
    case FlagKind::bytes: TRY(parse_bytes(value)); break;
    case FlagKind::swap_bytes:
      if (value != "-1") TRY(parse_bytes(value));
      break;
    case FlagKind::decimal: TRY(parse_cpus(value)); break;
    case FlagKind::strings: TRY(parse_csv(value)); break;
    case FlagKind::string:
    case FlagKind::list: break;
  }
  if (flag.validate != nullptr) CHECK(flag.validate(value));
  return {};
}

std::string flag_label(const Flag& flag) {
  return flag.shorthand == 0 ? fmt::format("--{}", flag.name) : fmt::format("-{}, --{}", flag.shorthand, flag.name);
}

std::string_view from_environment(const Flag& flag) {
  const char* value = flag.environment == nullptr ? nullptr : std::getenv(flag.environment);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

const Flag* find_long(std::span<const Flag> flags, std::string_view name) {
  for (const auto& flag : flags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

const Flag* find_short(std::span<const Flag> flags, char letter) {
  for (const auto& flag : flags) {
    if (flag.shorthand == letter) return &flag;
  }
  return nullptr;
}

class FlagParser {
 public:
  FlagParser(std::span<const Flag> flags, std::span<const std::string> words, ParsedLine& line)
      : flags_(flags), words_(words), line_(line) {}

  Result<> run(bool interspersed) {
    while (next_ < words_.size()) {
      const std::string& word = words_[next_++];
      if (word == "--") {
        take_rest();
      } else if (word.size() < 2 || word[0] != '-') {
        line_.arguments.push_back(word);
        if (!interspersed) take_rest();
      } else if (word.starts_with("--")) {
        CHECK(long_flag(std::string_view(word).substr(2)));
      } else {
        CHECK(short_flags(std::string_view(word).substr(1)));
      }
      if (line_.help) return {};
    }
    return {};
  }

 private:
  void take_rest() {
    for (; next_ < words_.size(); ++next_) line_.arguments.push_back(words_[next_]);
  }

  Result<> set(const Flag& flag, std::string_view value) {
    auto done = line_.flags.set(flag, value);
    if (done) return {};
    return fail(ErrorKind::invalid, "invalid argument {} for \"{}\" flag: {}", gotemplate::quote(value),
                flag_label(flag), done.error().text());
  }

  Result<> long_flag(std::string_view text) {
    if (text.starts_with('-') || text.starts_with('=')) return fail(ErrorKind::invalid, "bad flag syntax: --{}", text);
    const auto equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const Flag* flag = find_long(flags_, name);
    if (name == "help" && (flag == nullptr || equals == std::string_view::npos)) {
      line_.help = true;
      return {};
    }
    if (flag == nullptr) return fail(ErrorKind::invalid, "unknown flag: --{}", name);
    if (equals != std::string_view::npos) return set(*flag, text.substr(equals + 1));
    if (flag->kind == FlagKind::boolean) return set(*flag, "true");
    if (next_ >= words_.size()) return fail(ErrorKind::invalid, "flag needs an argument: --{}", name);
    return set(*flag, words_[next_++]);
  }

  Result<> short_flags(std::string_view letters) {
    while (!letters.empty()) {
      const std::string_view all = letters;
      const char letter = letters.front();
      letters.remove_prefix(1);
      const Flag* flag = find_short(flags_, letter);
      if (flag == nullptr) {
        if (letter == 'h') {
          line_.help = line_.help_deprecated = true;
          return {};
        }
        return fail(ErrorKind::invalid, "unknown shorthand flag: {} in -{}", "'" + std::string(1, letter) + "'", all);
      }
      if (letters.starts_with('=')) return set(*flag, letters.substr(1));
      if (flag->kind == FlagKind::boolean) {
        CHECK(set(*flag, "true"));
        continue;
      }
      if (!letters.empty()) return set(*flag, letters);
      if (next_ >= words_.size()) return fail(ErrorKind::invalid, "flag needs an argument: '{}' in -{}", letter, all);
      return set(*flag, words_[next_++]);
    }
    return {};
  }

  std::span<const Flag> flags_;
  std::span<const std::string> words_;
  ParsedLine& line_;
  std::size_t next_ = 0;
};

// The first line of at most `width` bytes of `text` and what follows; up to `slop` more if that takes all of it.
std::pair<std::string_view, std::string_view> wrap_once(std::size_t width, std::size_t slop, std::string_view text) {
  if (width + slop > text.size()) return {text, {}};
  const std::string_view head = text.substr(0, width);
  const auto blank = head.find_last_of(" \t\n");
  if (blank == std::string_view::npos || blank == 0) return {text, {}};
  const auto line_end = head.rfind('\n');
  if (line_end != std::string_view::npos && line_end > 0 && line_end < blank) {
    return {head.substr(0, line_end), text.substr(line_end + 1)};
  }
  return {text.substr(0, blank), text.substr(blank + 1)};
}

std::string indent_lines(std::string_view text, std::size_t indent) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out.append(indent, ' ');
  }
  return out;
}

std::string wrap(std::size_t indent, std::size_t columns, std::string_view text) {
  if (columns == 0) return indent_lines(text, indent);
  std::string out;
  std::size_t width = columns > indent ? columns - indent : 0;
  if (width < 24) {
    // Too narrow: the whole text goes below.
    indent = 16;
    width = columns > indent ? columns - indent : 0;
    out = "\n" + std::string(indent, ' ');
  }
  if (width < 24) return indent_lines(text, indent);
  constexpr std::size_t slop = 5;
  width -= slop;
  for (bool first = true; first || !text.empty(); first = false) {
    const auto [line, rest] = wrap_once(width, slop, text);
    if (!first) out += "\n" + std::string(indent, ' ');
    out += indent_lines(line, indent);
    text = rest;
  }
  return out;
}

}  // namespace

Result<std::int64_t> parse_go_int(std::string_view text) {
  std::string_view digits = text;
  if (digits.starts_with('+') && digits.size() > 1 && digits[1] != '-') digits.remove_prefix(1);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc::result_out_of_range) {
    return fail(ErrorKind::invalid, "strconv.ParseInt: parsing {}: value out of range", gotemplate::quote(text));
  }
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return fail(ErrorKind::invalid, "strconv.ParseInt: parsing {}: invalid syntax", gotemplate::quote(text));
  }
  return number;
}

Result<std::int64_t> parse_bytes(std::string_view text) {
  const auto last = text.find_last_of("0123456789. ");
  if (last == std::string_view::npos) return fail(ErrorKind::invalid, "invalid size: '{}'", text);
  const std::string_view number = text.substr(0, text[last] == ' ' ? last : last + 1);
  std::string suffix(text.substr(last + 1));
  double size = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), size);
  if (error != std::errc() || end != number.data() + number.size()) {
    return fail(ErrorKind::invalid, "strconv.ParseFloat: parsing {}: invalid syntax", gotemplate::quote(number));
  }
  if (size < 0) return fail(ErrorKind::invalid, "invalid size: '{}'", text);
  for (char& c : suffix) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (!suffix.empty() && suffix != "b") {
    const auto power = std::string_view("kmgtp").find(suffix[0]);
    const std::string_view rest = std::string_view(suffix).substr(1);
    if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) {
      return fail(ErrorKind::invalid, "invalid suffix: '{}'", text.substr(last + 1));
    }
    size *= std::pow(1024.0, static_cast<double>(power + 1));
  }
  if (size >= 9.2e18) return fail(ErrorKind::invalid, "invalid size: '{}'", text);
  return static_cast<std::int64_t>(size);
}

Result<std::int64_t> parse_cpus(std::string_view text) {
  std::string_view body = text;
  const bool negative = body.starts_with('-');
  if (negative || body.starts_with('+')) body.remove_prefix(1);
  const auto dot = body.find('.');
  const std::string_view whole = body.substr(0, dot);
  std::string_view part = dot == std::string_view::npos ? std::string_view() : body.substr(dot + 1);
  const auto digits = [](std::string_view s) { return s.find_first_not_of("0123456789") == std::string_view::npos; };
  if (!digits(whole) || !digits(part) || (whole.empty() && part.empty()) || whole.size() > 9) {
    return fail(ErrorKind::invalid, "failed to parse {} as a rational number", text);
  }
  while (part.ends_with('0')) part.remove_suffix(1);
  if (part.size() > 9) return fail(ErrorKind::invalid, "value is too precise");
  std::string nanos(part);
  nanos.append(9 - nanos.size(), '0');
  std::int64_t value = 0;
  for (const char c : std::string(whole) + nanos) value = value * 10 + (c - '0');
  return negative ? -value : value;
}

Result<std::vector<std::string>> parse_csv(std::string_view text) {
  std::vector<std::string> fields(1);
  std::size_t i = 0;
  while (i < text.size()) {
    if (text[i] == '"' && fields.back().empty()) {
      for (++i;; ++i) {
        if (i >= text.size())
          return fail(ErrorKind::invalid, "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                      i + 1);
        if (text[i] != '"') {
          fields.back() += text[i];
        } else if (i + 1 < text.size() && text[i + 1] == '"') {
          fields.back() += text[++i];
        } else {
          break;
        }
      }
      ++i;
      if (i < text.size() && text[i] != ',') {
        return fail(ErrorKind::invalid, "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    i);
      }
    } else if (text[i] == '"') {
      return fail(ErrorKind::invalid, "parse error on line 1, column {}: bare \" in non-quoted-field", i + 1);
    } else if (text[i] != ',') {
      fields.back() += text[i++];
    }
    if (i < text.size() && text[i] == ',') {
      fields.emplace_back();
      ++i;
    }
  }
  return fields;
}

Result<> FlagValues::set(const Flag& flag, std::string_view value) {
  CHECK(check_value(flag, value));
  auto& values = given_[flag.name];
  if (flag.kind == FlagKind::strings) {
    for (auto& field : TRY(parse_csv(value))) values.push_back(std::move(field));
  } else {
    if (flag.kind != FlagKind::list) values.clear();
    values.emplace_back(value);
  }
  return {};
}

std::string_view FlagValues::last(std::string_view name) const {
  if (const auto it = given_.find(name); it != given_.end()) return it->second.back();
  const Flag* flag = find_long(flags_, name);
  if (flag == nullptr) return {};
  const std::string_view variable = from_environment(*flag);
  return variable.empty() ? flag->initial : variable;
}

bool FlagValues::boolean(std::string_view name) const { return parse_bool(last(name)).value_or(false); }
std::string FlagValues::string(std::string_view name) const { return std::string(last(name)); }
std::int64_t FlagValues::integer(std::string_view name) const {
  const std::string_view text = last(name);
  if (text.empty()) return 0;
  return parse_go_int(text).value_or(0);
}
std::chrono::nanoseconds FlagValues::duration(std::string_view name) const {
  return parse_duration(last(name)).value_or(std::chrono::nanoseconds(0));
}
std::int64_t FlagValues::bytes(std::string_view name) const {
  const std::string_view text = last(name);
  return text == "-1" ? -1 : parse_bytes(text).value_or(0);
}
std::int64_t FlagValues::nano_cpus(std::string_view name) const { return parse_cpus(last(name)).value_or(0); }
const std::vector<std::string>& FlagValues::list(std::string_view name) const {
  static const std::vector<std::string> none;
  const auto it = given_.find(name);
  return it == given_.end() ? none : it->second;
}

Result<ParsedLine> parse_flags(std::span<const Flag> flags, std::span<const std::string> words, bool interspersed) {
  ParsedLine line;
  line.flags = FlagValues(flags);
  CHECK(FlagParser(flags, words, line).run(interspersed));
  return line;
}

std::string flag_usages(std::span<const Flag> flags, std::size_t columns) {
  std::vector<std::pair<std::string, std::string>> lines;
  std::size_t widest = 0;
  for (const auto& flag : flags) {
    if (flag.hidden) continue;
    std::string line = flag.shorthand != 0 ? fmt::format("  -{}, --{}", flag.shorthand, flag.name)
                                           : fmt::format("      --{}", flag.name);
    if (!flag.type_name.empty()) line += fmt::format(" {}", flag.type_name);
    widest = std::max(widest, line.size() + 1);
    std::string usage(flag.usage);
    if (const auto variable = from_environment(flag); !variable.empty())
      usage += fmt::format(" (default {})", gotemplate::quote(variable));
    lines.emplace_back(std::move(line), std::move(usage));
  }
  std::string out;
  for (const auto& [line, usage] : lines) {
    out += line;
    out.append(widest - line.size() + 2, ' ');
    out += wrap(widest + 2, columns, usage);
    out += '\n';
  }
  return out;
}

}  // namespace corten::cli
