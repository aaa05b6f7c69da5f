package terminal

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Escape returns s for one line of a terminal: everything that could move the
// cursor, change colours, begin a new line or turn the direction of text is
// shown as a visible escape.
func Escape(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
				continue
			}
		}
		if unsafeRune(r) {
			b.WriteString(escapeRune(r))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// escapeName also takes the colon that ends a name in a message line, so that
// no name can contain another author's words.
func escapeName(s string) string { return strings.ReplaceAll(Escape(s), ":", `\x3a`) }

func escapeRune(r rune) string {
	switch r {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if r < 0x100 {
		return fmt.Sprintf(`\x%02x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// unsafeRune reports C0 and C1 controls, DEL, the marks and overrides of
// bidirectional text, and the line and paragraph separators.
func unsafeRune(r rune) bool {
	return r < 0x20 ||
		r >= 0x7f && r <= 0x9f ||
		r == 0x061c ||
		r == 0x200e || r == 0x200f ||
		r >= 0x2028 && r <= 0x202e ||
		r >= 0x2066 && r <= 0x2069
}

// wrap breaks the lines of text, already free of controls, so that none is
// wider than width columns and the terminal never breaks one itself, which
// would bring a stranger's words to the left margin. Zero means no limit.
// Runes outside ASCII count two columns.
func wrap(text string, width int) []string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = Escape(line)
		columns, begin := 0, 0
		for i, r := range line {
			w := 1
			if r >= utf8.RuneSelf {
				w = 2
			}
			if width > 0 && columns+w > width {
				lines = append(lines, line[begin:i])
				columns, begin = 0, i
			}
			columns += w
		}
		lines = append(lines, line[begin:])
	}
	return lines
}
