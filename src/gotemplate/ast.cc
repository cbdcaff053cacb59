#include "gotemplate/ast.h"

namespace corten::gotemplate {

std::string Node::shown() const {
  std::string out;
  switch (kind) {
    case NodeKind::field:
      for (const auto& name : names) out += "." + name;
      return out;
    case NodeKind::variable:
      for (const auto& name : names) out += (out.empty() ? "" : ".") + name;
      return out;
    case NodeKind::chain:
      out = pipe->kind == NodeKind::pipe ? "(" + pipe->shown() + ")" : pipe->shown();
      for (const auto& name : names) out += "." + name;
      return out;
    case NodeKind::pipe:
      for (std::size_t i = 0; i < names.size(); ++i) out += (i > 0 ? ", " : "") + names[i];
      if (!names.empty()) out += assigns ? " = " : " := ";
      for (std::size_t i = 0; i < children.size(); ++i) out += (i > 0 ? " | " : "") + children[i]->shown();
      return out;
    case NodeKind::command:
      for (std::size_t i = 0; i < children.size(); ++i) {
        if (i > 0) out += ' ';
        const bool nested = children[i]->kind == NodeKind::pipe;
        out += nested ? "(" + children[i]->shown() + ")" : children[i]->shown();
      }
      return out;
    case NodeKind::action: return "{{" + pipe->shown() + "}}";
    case NodeKind::call_template:
      return "{{template " + quote(text) + (pipe != nullptr ? " " + pipe->shown() : "") + "}}";
    case NodeKind::dot: return ".";
    case NodeKind::nil: return "nil";
    default: return text;
  }
}

}  // namespace corten::gotemplate
