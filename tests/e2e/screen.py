"""A terminal's screen, as far as progress views need one: autowrap, cursor up, erase, scrolling, and a resize that breaks
lines anew as today's terminals do."""

import re

SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Screen:
    def __init__(self, rows=24, columns=80):
        self.rows, self.columns = rows, columns
        self.lines = [""]  # all that ever was, the screen at its end
        self.broken = [False]  # whether the line goes on in the next one
        self.top = 0
        self.row = self.column = 0  # row counts from the first line
        self.styles = set()
        self.pending = ""

    def visible(self):
        return [line.rstrip() for line in self.lines[self.top : self.top + self.rows]]

    def text(self):
        return "\n".join(line.rstrip() for line in self.lines)

    def feed(self, text):
        text = self.pending + text
        self.pending = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = SEQUENCE.match(text, at)
                if found is None:
                    if len(text) - at < 10 and re.fullmatch(r"\x1b(\[[0-9;?]*)?", text[at:]):
                        self.pending = text[at:]
                        return
                    raise AssertionError(f"a sequence that no progress view writes: {text[at : at + 20]!r}")
                self.sequence(found[1], found[2])
                at = found.end()
                continue
            self.character(text[at])
            at += 1

    def character(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.down(False)
        elif ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0:
            raise AssertionError(f"a control character on the terminal: {c!r}")
        else:
            if self.column == self.columns:
                self.down(True)
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + c + line[self.column + 1 :]
            self.column += 1

    def down(self, broken):
        self.broken[self.row] = broken
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
            self.broken.append(False)
        self.top = max(self.top, self.row - self.rows + 1)

    def sequence(self, numbers, letter):
        count = int(numbers or 1) if numbers.isdigit() or not numbers else 0
        if letter == "A":
            self.row = max(self.top, self.row - count)
        elif letter == "K" and numbers in ("", "2"):
            if numbers:
                self.lines[self.row] = ""
            self.lines[self.row] = self.lines[self.row][: self.column]
            self.broken[self.row] = False
        elif letter == "J" and not numbers:
            self.sequence("", "K")
            del self.lines[self.row + 1 :], self.broken[self.row + 1 :]
        elif letter == "m":
            self.styles.add(numbers)
        else:
            raise AssertionError(f"a sequence that no progress view writes: {numbers}{letter}")

    def resize(self, rows, columns):
        """The cursor must be at the beginning of an empty last line, as a progress view leaves it."""
        assert self.column == 0 and self.row == len(self.lines) - 1 and not self.lines[-1]
        whole, part = [], ""
        for line, goes_on in zip(self.lines, self.broken):
            part += line if not goes_on else line.ljust(self.columns)
            if not goes_on:
                whole.append(part.rstrip())
                part = ""
        self.rows, self.columns = rows, columns
        self.lines, self.broken = [], []
        for line in whole:
            pieces = [line[i : i + columns] for i in range(0, len(line), columns)] or [""]
            self.lines += pieces
            self.broken += [True] * (len(pieces) - 1) + [False]
        self.row = len(self.lines) - 1
        self.top = max(0, self.row - rows + 1)
