// For remote's own tests: a registry that tells the truth, on a loopback port, with a place to make it lie.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "http/server.h"
#include "oci/digest.h"
#include "oci/image.h"
#include "remote/registry.h"

namespace corten::remote::test {

using namespace std::chrono_literals;

// A request as it came.
struct Seen {
  std::string line;  // "GET /v2/a/blobs/x?y"
  std::string authorization;
  std::string range;
};

class TestRegistry {
 public:
  // True: the request has been answered.
  using Lie = std::function<bool(http::Request&, http::ResponseWriter&)>;

  explicit TestRegistry(std::string host = "127.0.0.1") : host_(std::move(host)) {
    server_ = *http::Server::create(
        {}, [this](http::Request& request, http::ResponseWriter& writer) { serve(request, writer); });
    EXPECT_TRUE(server_->listen(http::TcpEndpoint{.host = host_, .port = 0, .tls = {}}));
    EXPECT_TRUE(server_->start());
    const auto address = server_->addresses().back();
    port_ = address.substr(address.rfind(':') + 1);
  }
  ~TestRegistry() { static_cast<void>(server_->shutdown(1s)); }

  // Before any client comes.
  void lie(Lie lie) { lie_ = std::move(lie); }
  std::string domain() const { return host_ + ":" + port_; }
  std::string url(std::string_view target) const { return "http://" + domain() + std::string(target); }

  oci::Descriptor add_blob(std::string bytes) EXCLUDES(mutex_) {
    const auto digest = oci::Digest::of(bytes);
    oci::Descriptor descriptor{.media_type = std::string(oci::media_type::oci_layer), .digest = digest.text()};
    descriptor.size = static_cast<std::int64_t>(bytes.size());
    const MutexLock lock(mutex_);
    blobs_[digest.text()] = std::move(bytes);
    return descriptor;
  }
  void add_manifest(const std::string& name, std::string bytes, std::string_view type = oci::media_type::oci_manifest)
      EXCLUDES(mutex_) {
    const auto digest = oci::Digest::of(bytes).text();
    const MutexLock lock(mutex_);
    manifests_[name] = manifests_[digest] = {std::string(type), std::move(bytes)};
  }
  bool has_blob(const std::string& digest) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return blobs_.contains(digest);
  }
  std::vector<Seen> seen() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return seen_;
  }
  std::vector<std::string> lines() EXCLUDES(mutex_) {
    std::vector<std::string> result;
    for (const auto& one : seen()) result.push_back(one.line);
    return result;
  }
  std::size_t count(std::string_view part) EXCLUDES(mutex_) {
    std::size_t found = 0;
    for (const auto& line : lines()) found += line.find(part) != std::string::npos ? 1 : 0;
    return found;
  }

  std::unique_ptr<Registry> client(Credentials credentials = {}, Options options = quick()) const {
    auto hosts = *Hosts::create({.mirrors = {}, .insecure_registries = {}, .certs_dir = "", .proxy = {}});
    auto endpoint = *hosts->for_push(domain());
    endpoint.bases.erase(endpoint.bases.begin());  // https, which nobody speaks here
    return Registry::create(hosts, endpoint, std::move(credentials), std::move(options));
  }
  // Without the patience that real networks need.
  static Options quick() {
    Options options;
    options.first_back_off = 1ms;
    options.max_back_off = 2ms;
    options.idle_timeout = 5s;
    options.head_timeout = 5s;
    return options;
  }

 private:
  void serve(http::Request& request, http::ResponseWriter& writer) EXCLUDES(mutex_) {
    const auto text = [&](std::string_view name) { return std::string(request.headers.get(name).value_or("")); };
    {
      const MutexLock lock(mutex_);
      auto line = request.method + " " + request.raw_path;
      if (!request.raw_query.empty()) line += "?" + request.raw_query;
      seen_.push_back({line, text("Authorization"), text("Range")});
    }
    if (lie_ && lie_(request, writer)) return;
    tell_truth(request, writer);
  }
  void tell_truth(http::Request& request, http::ResponseWriter& writer) EXCLUDES(mutex_) {
    const auto& path = request.path;
    const auto last = path.substr(path.rfind('/') + 1);
    const bool reads = request.method == "GET" || request.method == "HEAD";
    if (path == "/v2/") return static_cast<void>(writer.write_all(200, "{}"));
    if (path.find("/blobs/uploads/") != std::string::npos) return upload(request, writer);
    if (reads && path.find("/blobs/") != std::string::npos) return send_blob(last, request, writer);
    if (path.find("/manifests/") != std::string::npos) return manifest(last, request, writer);
    refuse(writer, 404, "UNSUPPORTED");
  }
  static void refuse(http::ResponseWriter& writer, int status, std::string_view code) {
    static_cast<void>(
        writer.write_all(status, fmt::format(R"({{"errors":[{{"code":"{}","message":"it is so"}}]}})", code)));
  }
  void send_blob(const std::string& digest, http::Request& request, http::ResponseWriter& writer) EXCLUDES(mutex_) {
    std::string bytes;
    {
      const MutexLock lock(mutex_);
      const auto found = blobs_.find(digest);
      if (found == blobs_.end()) return refuse(writer, 404, "BLOB_UNKNOWN");
      bytes = found->second;
    }
    const auto range = request.headers.get("Range");
    if (!range) return static_cast<void>(writer.write_all(200, bytes, "application/octet-stream"));
    const auto start = std::stoull(std::string(range->substr(range->find('=') + 1)));
    writer.headers().add("Content-Range", fmt::format("bytes {}-{}/{}", start, bytes.size() - 1, bytes.size()));
    static_cast<void>(writer.write_all(206, std::string_view(bytes).substr(start), "application/octet-stream"));
  }
  void manifest(const std::string& name, http::Request& request, http::ResponseWriter& writer) EXCLUDES(mutex_) {
    if (request.method == "PUT") {
      add_manifest(name, *request.read_all(), request.headers.get("Content-Type").value_or(""));
      return static_cast<void>(writer.write_empty(201));
    }
    std::pair<std::string, std::string> found;
    {
      const MutexLock lock(mutex_);
      const auto place = manifests_.find(name);
      if (place == manifests_.end()) return refuse(writer, 404, "MANIFEST_UNKNOWN");
      found = place->second;
    }
    writer.headers().add("Docker-Content-Digest", oci::Digest::of(found.second).text());
    static_cast<void>(writer.write_all(200, found.second, found.first));
  }
  void upload(http::Request& request, http::ResponseWriter& writer) EXCLUDES(mutex_) {
    const auto received = request.read_all(64 << 20);
    if (!received) return;  // the client gave up
    const auto& body = *received;
    const auto mount = request.query.get("mount");
    const MutexLock lock(mutex_);
    if (request.method == "POST" && mount && blobs_.contains(std::string(*mount)))
      return static_cast<void>(writer.write_empty(201));
    if (request.method == "DELETE") return static_cast<void>(writer.write_empty(204));
    if (request.method == "PUT") {
      session_ += body;
      const auto digest = std::string(request.query.get_or("digest", ""));
      if (oci::Digest::of(session_).text() != digest) return refuse(writer, 400, "DIGEST_INVALID");
      blobs_[digest] = std::exchange(session_, "");
      return static_cast<void>(writer.write_empty(201));
    }
    session_ = request.method == "PATCH" ? session_ + body : "";
    writer.headers().add("Location", "/v2/x/blobs/uploads/7?_state=a%2Fb");
    static_cast<void>(writer.write_empty(202));
  }

  const std::string host_;
  Lie lie_;  // constant once a client has come
  std::unique_ptr<http::Server> server_;
  std::string port_;
  Mutex mutex_;
  std::map<std::string, std::string> blobs_ GUARDED_BY(mutex_);
  std::map<std::string, std::pair<std::string, std::string>> manifests_ GUARDED_BY(mutex_);
  std::string session_ GUARDED_BY(mutex_);
  std::vector<Seen> seen_ GUARDED_BY(mutex_);
};

inline std::string read_all(Result<BlobStream>& stream) {
  if (!stream) return "no stream: " + stream.error().text();
  std::string text;
  std::vector<std::byte> piece(7000);
  for (;;) {
    const auto count = stream->read(piece);
    if (!count) return "error: " + count.error().text();
    if (*count == 0) return text;
    text.append(reinterpret_cast<const char*>(piece.data()), *count);
  }
}

inline std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 1;
  for (char& c : text) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return text;
}

inline const std::string simple_manifest =
    R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]})";

inline oci::Reference reference(const TestRegistry& registry, const std::string& rest) {
  return *oci::parse_reference(registry.domain() + "/" + rest);
}

}  // namespace corten::remote::test
