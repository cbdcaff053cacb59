#include "gotemplate/format.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "gotemplate/literal.h"

namespace corten::gotemplate {
namespace {

constexpr int max_width = 10000;

struct Spec {
  bool minus = false, plus = false, sharp = false, space = false, zero = false;
  std::optional<int> width = {};
  std::optional<int> precision = {};
};

std::size_t rune_count(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(decode_utf8(text).second);
  return count;
}

std::string first_runes(std::string_view text, std::size_t count) {
  std::size_t bytes = 0;
  for (; count > 0 && bytes < text.size(); --count) bytes += decode_utf8(text.substr(bytes)).second;
  return std::string(text.substr(0, bytes));
}

// %v of an operand: the literal nil and missing values print as <nil> here, not as <no value>.
std::string plain(const Value& value) {
  if (value.is_missing()) return "<no value>";
  const bool untyped = value.shape() == nullptr || value.shape()->kind == Shape::Kind::any;
  return value.is_null() && untyped ? "<nil>" : print(value, true);
}

class Formatter {
 public:
  Formatter(std::string_view format, std::span<const Value> arguments) : format_(format), arguments_(arguments) {}

  std::string run() {
    while (at_ < format_.size()) {
      const char c = format_[at_++];
      if (c != '%') {
        out_ += c;
        continue;
      }
      directive();
    }
    if (next_ < arguments_.size()) extra();
    return std::move(out_);
  }

 private:
  void directive() {
    Spec spec;
    for (bool flag = true; flag && at_ < format_.size();) {
      switch (format_[at_]) {
        case '-': spec.minus = true; break;
        case '+': spec.plus = true; break;
        case '#': spec.sharp = true; break;
        case ' ': spec.space = true; break;
        case '0': spec.zero = true; break;
        default: flag = false;
      }
      if (flag) ++at_;
    }
    spec.width = number("%!(BADWIDTH)");
    if (spec.width && *spec.width < 0) {
      spec.minus = true;
      spec.width = -*spec.width;
    }
    if (at_ < format_.size() && format_[at_] == '.') {
      ++at_;
      spec.precision = number("%!(BADPREC)");
      if (!spec.precision) spec.precision = 0;
      if (*spec.precision < 0) spec.precision = std::nullopt;
    }
    if (at_ >= format_.size()) {
      out_ += "%!(NOVERB)";
      return;
    }
    const auto [verb, length] = decode_utf8(format_.substr(at_));
    const std::string_view verb_text = format_.substr(at_, length);
    at_ += length;
    if (verb == '%') {
      out_ += '%';
    } else if (next_ >= arguments_.size()) {
      out_ += fmt::format("%!{}(MISSING)", verb_text);
    } else {
      operand(spec, verb, verb_text, arguments_[next_++]);
    }
  }

  std::optional<int> number(std::string_view bad) {
    if (at_ < format_.size() && format_[at_] == '*') {
      ++at_;
      if (next_ < arguments_.size() && arguments_[next_].is_integer()) {
        const std::int64_t given = arguments_[next_++].json()->to_number<std::int64_t>();
        if (given >= -max_width && given <= max_width) return static_cast<int>(given);
      } else if (next_ < arguments_.size()) {
        ++next_;
      }
      out_ += bad;
      return std::nullopt;
    }
    int value = 0;
    const char* const from = format_.data() + at_;
    if (at_ >= format_.size() || *from < '0' || *from > '9') return std::nullopt;
    const auto [end, error] = std::from_chars(from, format_.data() + format_.size(), value);
    at_ += static_cast<std::size_t>(end - from);
    if (error != std::errc() || value > max_width) return std::nullopt;
    return value;
  }

  void extra() {
    out_ += "%!(EXTRA ";
    for (bool first = true; next_ < arguments_.size(); ++next_) {
      if (!std::exchange(first, false)) out_ += ", ";
      const Value& value = arguments_[next_];
      out_ += value.is_null() ? "<nil>" : value.type_name() + "=" + plain(value);
    }
    out_ += ')';
  }

  void pad(const Spec& spec, std::string text, bool numeric = false) {
    const std::size_t length = rune_count(text);
    const std::size_t width = spec.width ? static_cast<std::size_t>(*spec.width) : 0;
    if (length >= width) {
      out_ += text;
    } else if (spec.minus) {
      out_ += text;
      out_.append(width - length, ' ');
    } else if (spec.zero) {
      const std::size_t sign = numeric && !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
      out_ += text.substr(0, sign);
      out_.append(width - length, '0');
      out_ += text.substr(sign);
    } else {
      out_.append(width - length, ' ');
      out_ += text;
    }
  }

  void bad_verb(std::string_view verb, const Value& value) {
    if (value.is_null()) {
      out_ += fmt::format("%!{}(<nil>)", verb);
    } else {
      out_ += fmt::format("%!{}({}={})", verb, value.type_name(), plain(value));
    }
  }

  void operand(const Spec& spec, char32_t verb, std::string_view verb_text, const Value& value) {
    if (verb == 'T') return pad(spec, value.is_null() ? "<nil>" : value.type_name());
    if (value.is_missing() || (value.is_null() && verb == 'v') || value.as_object() != nullptr) {
      return verb == 'v' || !value.is_missing() ? pad(spec, plain(value)) : bad_missing(verb_text);
    }
    if (value.is_null()) return bad_verb(verb_text, value);
    if (value.is_bool()) return verb == 't' || verb == 'v' ? pad(spec, plain(value)) : bad_verb(verb_text, value);
    if (value.is_integer()) return integer(spec, verb, verb_text, value);
    if (value.is_float()) return floating(spec, verb, verb_text, value);
    if (value.is_string()) return text(spec, verb, verb_text, value);
    if (value.is_list() && verb != 'v') return list(spec, verb, verb_text, value);
    pad(spec, plain(value));
  }

  void bad_missing(std::string_view verb) { out_ += fmt::format("%!{}(<nil>)", verb); }

  void list(const Spec& spec, char32_t verb, std::string_view verb_text, const Value& value) {
    out_ += '[';
    bool first = true;
    for (const auto& element : value.json()->get_array()) {
      if (!std::exchange(first, false)) out_ += ' ';
      operand(spec, verb, verb_text, value.child(element, nullptr));
    }
    out_ += ']';
  }

  void integer(const Spec& spec, char32_t verb, std::string_view verb_text, const Value& value) {
    const auto& json = *value.json();
    const bool negative = json.is_int64() && json.get_int64() < 0;
    const std::uint64_t size = json.is_uint64() ? json.get_uint64()
                               : negative       ? ~static_cast<std::uint64_t>(json.get_int64()) + 1
                                                : static_cast<std::uint64_t>(json.get_int64());
    std::string digits;
    std::string prefix;
    switch (verb) {
      case 'v':
      case 'd': digits = fmt::format("{}", size); break;
      case 'b': digits = fmt::format("{:b}", size), prefix = spec.sharp ? "0b" : ""; break;
      case 'o': digits = fmt::format("{:o}", size), prefix = spec.sharp ? "0" : ""; break;
      case 'O': digits = fmt::format("{:o}", size), prefix = "0o"; break;
      case 'x': digits = fmt::format("{:x}", size), prefix = spec.sharp ? "0x" : ""; break;
      case 'X': digits = fmt::format("{:X}", size), prefix = spec.sharp ? "0X" : ""; break;
      case 'U': digits = fmt::format("{:04X}", size), prefix = "U+"; break;
      case 'c':
      case 'q': {
        std::string rune;
        append_utf8(rune, size > 0x10ffff ? 0xfffd : static_cast<char32_t>(size));
        return pad(spec, verb == 'c' ? rune : "'" + rune + "'");
      }
      default: return bad_verb(verb_text, value);
    }
    if (spec.precision && digits.size() < static_cast<std::size_t>(*spec.precision)) {
      digits.insert(0, static_cast<std::size_t>(*spec.precision) - digits.size(), '0');
    }
    const std::string sign = negative ? "-" : spec.plus ? "+" : spec.space ? " " : "";
    Spec without_zero = spec;
    if (spec.precision || spec.minus) without_zero.zero = false;
    pad(without_zero, sign + prefix + digits, true);
  }

  static std::string exponent_form(double number, int precision, bool shortest, bool upper) {
    char buffer[64];
    const auto end = shortest ? std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific)
                              : std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific,
                                              std::min(precision, 40));
    std::string text(buffer, end.ptr);
    if (upper) text[text.find('e')] = 'E';
    return text;
  }

  void floating(const Spec& spec, char32_t verb, std::string_view verb_text, const Value& value) {
    const double number = value.json()->get_double();
    std::string text;
    switch (verb) {
      case 'v': text = spec.precision ? fmt::format("{:.{}g}", number, *spec.precision) : print_float(number); break;
      case 'g':
      case 'G': text = spec.precision ? fmt::format("{:.{}g}", number, *spec.precision) : print_float(number); break;
      case 'f':
      case 'F': text = fmt::format("{:.{}f}", number, spec.precision.value_or(6)); break;
      case 'e':
      case 'E': text = exponent_form(number, spec.precision.value_or(6), false, verb == 'E'); break;
      default: return bad_verb(verb_text, value);
    }
    if (!text.starts_with('-')) text.insert(0, spec.plus ? "+" : spec.space ? " " : "");
    pad(spec, std::move(text), true);
  }

  void text(const Spec& spec, char32_t verb, std::string_view verb_text, const Value& value) {
    std::string content(value.text());
    if (spec.precision) content = first_runes(content, static_cast<std::size_t>(*spec.precision));
    switch (verb) {
      case 'v': return pad(spec, spec.sharp ? quote(content) : content);
      case 's': return pad(spec, content);
      case 'q':
        return pad(spec, spec.sharp && content.find('`') == std::string::npos ? "`" + content + "`" : quote(content));
      case 'x':
      case 'X': {
        std::string hex;
        for (const char c : content) {
          if (spec.space && !hex.empty()) hex += ' ';
          hex += verb == 'x' ? fmt::format("{:02x}", static_cast<unsigned char>(c))
                             : fmt::format("{:02X}", static_cast<unsigned char>(c));
        }
        return pad(spec, hex);
      }
      default: bad_verb(verb_text, value);
    }
  }

  std::string_view format_;
  std::span<const Value> arguments_;
  std::size_t at_ = 0;
  std::size_t next_ = 0;
  std::string out_;
};

}  // namespace

std::string sprintf(std::string_view format, std::span<const Value> arguments) {
  return Formatter(format, arguments).run();
}

std::string sprint(std::span<const Value> arguments) {
  std::string out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (i > 0 && !arguments[i - 1].is_string() && !arguments[i].is_string()) out += ' ';
    out += plain(arguments[i]);
  }
  return out;
}

std::string sprintln(std::span<const Value> arguments) {
  std::string out;
  for (std::size_t i = 0; i < arguments.size(); ++i) out += (i > 0 ? " " : "") + plain(arguments[i]);
  return out + "\n";
}

}  // namespace corten::gotemplate
