// The parsed form of a template. Nodes keep their byte position for error texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gotemplate/value.h"

namespace corten::gotemplate {

enum class NodeKind : std::uint8_t {
  text,
  action,
  list,
  if_else,
  range,
  with,
  call_template,
  break_loop,
  continue_loop,
  pipe,
  command,
  field,
  variable,
  chain,
  identifier,
  dot,
  nil,
  constant,
};

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Node {
  NodeKind kind;
  std::size_t position = 0;
  std::string text = {};                // of text, identifier and constants as written; the name of a template
  std::vector<std::string> names = {};  // of field, variable ("$x" first) and chain; declared variables of a pipe
  bool assigns = false;                 // a pipe's "=" instead of ":="
  bool is_string = false;               // of a constant
  Value value = {};                     // of a constant
  NodePtr pipe = {};                    // of action, if, range, with, template; the base of a chain
  NodePtr body = {};
  NodePtr otherwise = {};
  std::vector<NodePtr> children = {};  // of a list, the commands of a pipe, the words of a command

  // As written, up to white space.
  std::string shown() const;
};

// The named templates of one text; the main one is under "".
using Forest = std::map<std::string, NodePtr, std::less<>>;

}  // namespace corten::gotemplate
