// What a TLS endpoint is made from. Files are PEM, read when the server or client is made.
#pragma once

#include <string>
#include <vector>

namespace corten::http {

struct TlsServerConfig {
  std::string certificate_file;  // with its chain
  std::string key_file;
  std::string ca_file;         // signers of client certificates; needed with verify_client
  bool verify_client = false;  // refuse clients without a certificate signed by ca_file (--tlsverify)
};

struct TlsClientConfig {
  std::string ca_file;                      // empty: the system's
  std::vector<std::string> extra_ca_files;  // trusted as well
  std::string certificate_file;             // empty: present none
  std::string key_file;
  std::string server_name;    // for SNI and verification; empty: the host connected to
  bool verify_server = true;  // false only for registries the user called insecure, and --tls without verify
};

}  // namespace corten::http
