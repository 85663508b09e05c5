"""Screen of a terminal after a text was written to it, with the few control sequences that rich uses."""

import re

_TOKENS = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Shown:
    """The lines of an endless terminal, and whether its cursor is visible; colours are passed over."""

    def __init__(self, written: str):
        self.lines: list[str] = [""]
        self.cursor_is_visible = True
        row = column = 0
        for token in _TOKENS.finditer(written):
            private, number, command = token.groups()
            text = token.group()
            if text == "\r":
                column = 0
            elif text == "\n":
                row, column = row + 1, 0
                self.lines += [""] * (row + 1 - len(self.lines))
            elif command is None:
                line = self.lines[row].ljust(column)
                self.lines[row] = line[:column] + text + line[column + len(text) :]
                column += len(text)
            elif private and number == "25":
                self.cursor_is_visible = command == "h"
            elif command == "A":
                row -= int(number or 1)
                assert row >= 0, "the cursor left the screen at its top"
            elif command == "K":
                self.lines[row] = ""
            else:
                assert command == "m", f"an unknown control sequence {text!r}"
        self.text = "\n".join(line.rstrip() for line in self.lines).rstrip("\n")
