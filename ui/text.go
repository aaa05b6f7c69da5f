package ui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"fyne.io/fyne/v2"
)

// maxMarks is how many combining marks may stand on one letter: with more, text
// grows over its neighbours. Those beyond are left out.
const maxMarks = 4

// visible makes control, bidirectional and other characters that have no shape
// visible, so that no text can pass for what it is not. Line breaks stay, and
// tabs become spaces.
func visible(s string) string {
	odd := func(r rune) bool { return r != '\n' && (isHidden(r) || isMark(r)) }
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\t", "    ")
	if strings.IndexFunc(s, odd) < 0 {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	var b strings.Builder
	marks := 0
	for _, r := range s {
		if isMark(r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r != '\n' && isHidden(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		case marks <= maxMarks:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// visibleLine is visible for names and previews: one line, whatever is in s.
func visibleLine(s string) string {
	return strings.ReplaceAll(visible(s), "\n", " ")
}

// isHidden says that r has no shape of its own. The joiners are none of these:
// emoji and several scripts are written with them.
func isHidden(r rune) bool {
	switch {
	case r < 0x7f:
		return r < ' '
	case r == '\u200c' || r == '\u200d' || r >= 0xe0020 && r <= 0xe007f: // joiners, and the letters of flags
		return false
	case r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0': // fillers that count as letters
		return true
	}
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

func isMark(r rune) bool { return r >= 0x300 && unicode.In(r, unicode.Mn, unicode.Me) }

// cut returns the longest prefix of s of at most limit bytes that splits no
// character.
func cut(s string, limitBytes int) string {
	if len(s) <= limitBytes {
		return s
	}
	for limitBytes > 0 && !utf8.RuneStart(s[limitBytes]) {
		limitBytes--
	}
	return s[:limitBytes]
}

// initials is the first letter of name, for an avatar.
func initials(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return strings.ToUpper(string(r))
		}
	}
	return "•"
}

func textWidth(s string, size float32, style fyne.TextStyle) float32 {
	return fyne.MeasureText(s, size, style).Width
}

// wrap breaks text into lines no wider than width: at line breaks, else between
// words, else inside a word that fits on no line. It also returns the width of
// the widest line.
func wrap(text string, width, size float32) (lines []string, widest float32) {
	drawn, widest := newRuler(size).flow([]span{{text: text}}, width)
	for _, l := range drawn {
		lines = append(lines, l.text())
	}
	return lines, widest
}
