#include "http/head.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>

namespace corten::http {
namespace {

namespace beast = boost::beast;
using BeastError = beast::error_code;
using BeastText = beast::string_view;

constexpr std::uint32_t no_header_limit = 1U << 30;
constexpr std::size_t max_response_fields = 1000;

std::string_view view(BeastText text) { return {text.data(), text.size()}; }

// Receives Beast's callbacks and keeps what it saw. Bodies are not its business, see BodyReader.
template <bool is_request>
class HeadParser : public beast::http::basic_parser<is_request> {
 public:
  // Beast's own limits are off: heads are bounded by the caller, bodies by whoever reads them.
  explicit HeadParser(std::size_t max_fields) : max_fields_(max_fields) {
    this->header_limit(no_header_limit);
    this->body_limit(boost::none);
  }

  std::string method;
  std::string target;
  int status = 0;
  int version = 11;
  Headers headers;
  bool too_many_fields = false;

 protected:
  void on_request_impl(beast::http::verb, BeastText method_text, BeastText target_text, int version_number,
                       BeastError&) override {
    method = view(method_text);
    target = view(target_text);
    version = version_number;
  }
  void on_response_impl(int code, BeastText, int version_number, BeastError&) override {
    status = code;
    version = version_number;
  }
  void on_field_impl(beast::http::field, BeastText name, BeastText value, BeastError& error) override {
    if (headers.size() == max_fields_) {
      too_many_fields = true;
      error = beast::http::make_error_code(beast::http::error::header_limit);
      return;
    }
    headers.add(view(name), view(value));
  }
  void on_header_impl(BeastError&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, BeastError&) override {}
  std::size_t on_body_impl(BeastText, BeastError&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, BeastText, BeastError&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastText, BeastError&) override { return 0; }
  void on_finish_impl(BeastError&) override {}

 private:
  std::size_t max_fields_;
};

std::unexpected<HeadFailure> refuse(int status, std::string message) {
  return std::unexpected(HeadFailure{status, std::move(message)});
}

HeadFailure explain(const BeastError& failure, bool too_many_fields) {
  using beast::http::error;
  if (too_many_fields) return {431, "the request has too many header fields"};
  if (failure == error::bad_version) return {505, "unsupported HTTP version, use HTTP/1.1"};
  if (failure == error::bad_content_length || failure == error::multiple_content_length)
    return {400, "conflicting or malformed Content-Length"};
  if (failure == error::bad_transfer_encoding) return {400, "Transfer-Encoding given twice or beside Content-Length"};
  return {400, fmt::format("malformed HTTP request: {}", failure.message())};
}

std::size_t count_fields(const Headers& headers, std::string_view name) {
  return static_cast<std::size_t>(
      std::ranges::count_if(headers, [name](const auto& field) { return equals_ignoring_case(field.first, name); }));
}

// Splits "/path?query" or "http://host/path?query".
bool split_target(std::string_view target, RequestHead& head) {
  if (target.starts_with("http://") || target.starts_with("https://")) {
    target.remove_prefix(target.find("//") + 2);
    const auto end_of_host = target.find_first_of("/?");
    target = end_of_host == std::string_view::npos ? std::string_view() : target.substr(end_of_host);
    if (!target.starts_with('/')) head.raw_path = "/";
  } else if (target == "*") {
    if (head.method != "OPTIONS") return false;
  } else if (!target.starts_with('/')) {
    return false;
  }
  const auto question = target.find('?');
  head.raw_path += target.substr(0, question);
  if (question != std::string_view::npos) head.raw_query = target.substr(question + 1);
  return true;
}

// Only "chunked" is understood; anything else cannot be read safely.
std::expected<void, HeadFailure> decide_framing(RequestHead& head, bool chunked, std::optional<std::uint64_t> length) {
  if (const auto coding = head.headers.get("Transfer-Encoding")) {
    if (head.version_minor == 0) return refuse(400, "Transfer-Encoding needs HTTP/1.1");
    if (!equals_ignoring_case(*coding, "chunked") || !chunked)
      return refuse(501, "unsupported Transfer-Encoding, use chunked");
    head.framing = Framing::chunked;
  } else if (count_fields(head.headers, "Content-Length") > 1) {
    return refuse(400, "Content-Length given twice");
  } else if (length && *length > 0) {
    head.framing = Framing::length;
    head.length = *length;
  }
  return {};
}

}  // namespace

std::size_t head_length(std::string_view bytes, std::size_t& scanned) {
  const std::size_t from = scanned > 3 ? scanned - 3 : 0;
  const auto end = bytes.find("\r\n\r\n", from);
  scanned = bytes.size();
  return end == std::string_view::npos ? 0 : end + 4;
}

std::expected<RequestHead, HeadFailure> parse_request_head(std::string_view bytes, const HeadLimits& limits) {
  HeadParser<true> parser(limits.max_fields);
  BeastError error;
  parser.put({bytes.data(), bytes.size()}, error);
  if (error) return std::unexpected(explain(error, parser.too_many_fields));
  if (!parser.is_header_done()) return refuse(400, "malformed HTTP request");
  if (parser.target.size() > limits.max_target)
    return refuse(414, fmt::format("the request target is longer than {} bytes", limits.max_target));

  RequestHead head;
  head.method = std::move(parser.method);
  head.version_minor = parser.version - 10;
  head.headers = std::move(parser.headers);
  head.keep_alive = head.version_minor == 1 ? !head.headers.has_token("Connection", "close")
                                            : head.headers.has_token("Connection", "keep-alive");
  if (!split_target(parser.target, head)) return refuse(400, "malformed request target");

  const auto hosts = count_fields(head.headers, "Host");
  if (hosts > 1) return refuse(400, "too many Host headers");
  if (hosts == 0 && head.version_minor == 1) return refuse(400, "missing required Host header");
  if (const auto expect = head.headers.get("Expect")) {
    if (!equals_ignoring_case(*expect, "100-continue")) return refuse(417, "unsupported Expect header");
    head.expects_continue = head.version_minor == 1;
  }
  std::optional<std::uint64_t> length;
  if (const auto announced = parser.content_length()) length = *announced;
  if (auto framing = decide_framing(head, parser.chunked(), length); !framing) return std::unexpected(framing.error());
  return head;
}

Result<ResponseHead> parse_response_head(std::string_view bytes, bool to_head_request) {
  HeadParser<false> parser(max_response_fields);
  parser.skip(to_head_request);
  BeastError error;
  parser.put({bytes.data(), bytes.size()}, error);
  if (error) return fail(ErrorKind::unavailable, "malformed HTTP response: {}", error.message());
  if (!parser.is_header_done()) return fail(ErrorKind::unavailable, "malformed HTTP response");

  ResponseHead head;
  head.status = parser.status;
  head.version_minor = parser.version - 10;
  head.headers = std::move(parser.headers);
  head.keep_alive = head.version_minor == 1 ? !head.headers.has_token("Connection", "close")
                                            : head.headers.has_token("Connection", "keep-alive");
  const bool bodiless = to_head_request || head.status / 100 == 1 || head.status == 204 || head.status == 304;
  if (const auto announced = parser.content_length()) head.length = *announced;
  if (bodiless) return head;
  if (const auto coding = head.headers.get("Transfer-Encoding")) {
    if (!parser.chunked() || !equals_ignoring_case(*coding, "chunked"))
      return fail(ErrorKind::unavailable, "the server's Transfer-Encoding \"{}\" is not supported", *coding);
    head.framing = Framing::chunked;
  } else if (parser.content_length()) {
    head.framing = head.length > 0 ? Framing::length : Framing::none;
  } else {
    head.framing = Framing::until_close;
    head.keep_alive = false;
  }
  return head;
}

}  // namespace corten::http
