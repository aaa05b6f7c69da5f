package ui

import (
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"fyne.io/fyne/v2"
)

// foldBytes is where the message list stops showing a message and offers the
// rest in a window of its own: the toolkit takes a quarter of a second for 64 KiB.
const foldBytes = 4096

// visible makes control and bidirectional formatting characters visible, so
// that no text can pass for what it is not. Line breaks and tabs stay.
func visible(s string) string {
	hidden := func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || isBidi(r) || r == '\u2028' || r == '\u2029')
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\t", "    ")
	if strings.IndexFunc(s, hidden) < 0 {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// visibleLine is visible for names and previews: one line, whatever is in s.
func visibleLine(s string) string {
	return strings.ReplaceAll(visible(s), "\n", " ")
}

func isBidi(r rune) bool {
	return r == '\u061c' || r == '\u200e' || r == '\u200f' ||
		r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

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
	var style fyne.TextStyle
	space := textWidth(" ", size, style)
	add := func(line string, w float32) {
		lines = append(lines, strings.TrimRight(line, " "))
		widest = max(widest, w)
	}
	for paragraph := range strings.SplitSeq(text, "\n") {
		w := wordWidth(paragraph, width, size)
		if w <= width {
			add(paragraph, w)
			continue
		}
		line, used := "", float32(0)
		for word := range strings.SplitSeq(paragraph, " ") {
			w := wordWidth(word, width, size)
			if line != "" && used+space+w <= width {
				line, used = line+" "+word, used+space+w
				continue
			}
			if line != "" {
				add(line, used)
			}
			for w > width {
				n := fit(word, width, size)
				add(word[:n], textWidth(word[:n], size, style))
				word = word[n:]
				w = wordWidth(word, width, size)
			}
			line, used = word, w
		}
		add(line, used)
	}
	return lines, widest
}

// fit returns how many bytes of word fit in width, at least one character.
func fit(word string, width, size float32) int {
	ends := make([]int, 0, 64)
	limit := maxRunes(width, size)
	for i := range word {
		if i > 0 {
			ends = append(ends, i)
		}
		if len(ends) == limit {
			break
		}
	}
	if len(ends) == 0 {
		return len(word)
	}
	n := sort.Search(len(ends), func(i int) bool { return textWidth(word[:ends[i]], size, fyne.TextStyle{}) > width })
	return ends[max(n-1, 0)]
}

// wordWidth is the width of word, or at least more than limit where it is
// plain without measuring: measuring takes long for long words.
func wordWidth(word string, limit, size float32) float32 {
	if len(word) > 4*maxRunes(limit, size) {
		return limit + 1
	}
	return textWidth(word, size, fyne.TextStyle{})
}

// maxRunes bounds the characters of a line by those of the narrowest letters.
func maxRunes(width, size float32) int { return int(width/(size*0.2)) + 1 }
