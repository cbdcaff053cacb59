#include "engine/names.h"

#include <algorithm>
#include <array>
#include <random>

namespace corten::engine {
namespace {

constexpr std::array<std::string_view, 64> adjectives{
    "able",  "airy",    "amber",  "apt",    "avid",   "azure",  "bold",    "brave",  "breezy", "bright", "brisk",
    "calm",  "candid",  "cheery", "clever", "cosy",   "crisp",  "curious", "daring", "deft",   "eager",  "earnest",
    "fair",  "fleet",   "fond",   "frank",  "gentle", "glad",   "golden",  "grand",  "hardy",  "honest", "humble",
    "jolly", "keen",    "kind",   "lively", "lucid",  "mellow", "merry",   "mild",   "modest", "neat",   "nimble",
    "noble", "patient", "plucky", "polite", "proud",  "quick",  "quiet",   "rapid",  "robust", "rusty",  "serene",
    "sharp", "silent",  "steady", "sturdy", "swift",  "tidy",   "vivid",   "warm",   "witty"};

constexpr std::array<std::string_view, 96> surnames{
    "abel",      "agnesi",     "ampere",    "avogadro",   "babbage",      "banach",       "bell",     "bernoulli",
    "bohr",      "boltzmann",  "bose",      "boyle",      "brahe",        "cantor",       "carnot",   "cauchy",
    "cavendish", "chandra",    "chebyshev", "clausius",   "copernicus",   "coulomb",      "curie",    "dalton",
    "darwin",    "dijkstra",   "dirac",     "doppler",    "einstein",     "eratosthenes", "erdos",    "euclid",
    "euler",     "faraday",    "fermat",    "fermi",      "feynman",      "fourier",      "franklin", "galileo",
    "galois",    "gauss",      "germain",   "goedel",     "hamilton",     "heisenberg",   "hertz",    "herschel",
    "hilbert",   "hooke",      "hopper",    "hubble",     "huygens",      "hypatia",      "jacobi",   "joule",
    "kelvin",    "kepler",     "kirchhoff", "knuth",      "kovalevskaya", "lagrange",     "laplace",  "lavoisier",
    "leavitt",   "leibniz",    "lovelace",  "mach",       "markov",       "maxwell",      "meitner",  "mendel",
    "mendeleev", "newton",     "nobel",     "noether",    "ohm",          "pascal",       "pasteur",  "pauli",
    "payne",     "planck",     "poincare",  "ramanujan",  "riemann",      "ritchie",      "roentgen", "rutherford",
    "shannon",   "somerville", "tesla",     "torricelli", "turing",       "volta",        "watt",     "wilkes"};

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

Result<std::string> check_name(std::string_view name) {
  const std::string_view given = name;
  if (name.starts_with('/')) name.remove_prefix(1);
  const bool fine = name.size() >= 2 && name.size() <= 255 && is_alphanumeric(name.front()) &&
                    std::ranges::all_of(name.substr(1),
                                        [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
  if (!fine) {
    return fail(ErrorKind::invalid, "Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                given.substr(0, 300));
  }
  return std::string(name);
}

std::string random_name(unsigned attempt) {
  thread_local std::minstd_rand random{std::random_device{}()};
  std::string name(adjectives[random() % adjectives.size()]);
  name += '_';
  name += surnames[random() % surnames.size()];
  if (attempt > 5) name += std::to_string(random() % (attempt > 20 ? 1'000'000 : 100));
  return name;
}

}  // namespace corten::engine
