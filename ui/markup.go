package ui

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLinkBytes is the longest address that can be clicked.
const maxLinkBytes = 2048

// manner is how a stretch of a message's text is drawn.
type manner int

const (
	mannerPlain manner = iota
	mannerLink
	mannerCode  // within a line
	mannerBlock // lines of code, on a ground of their own
)

// span is a stretch of text in one manner. The text of a link is its address:
// no words can stand for another.
type span struct {
	text   string
	manner manner
}

const fence = "```"

// spansOf finds links, `code` and ```blocks of code``` in text, which visible
// has made.
func spansOf(text string) []span {
	var out []span
	for {
		before, code, after, found := cutBlock(text)
		if before != "" || !found && len(out) == 0 {
			out = appendInline(out, before)
		}
		if !found {
			return out
		}
		out = append(out, span{code, mannerBlock})
		if text = after; text == "" {
			return out
		}
	}
}

// cutBlock cuts text around its first block of code; before is all of it when
// there is none. A block stands on lines of its own, and may begin with the
// name of its language.
func cutBlock(text string) (before, code, after string, found bool) {
	before, rest, opened := strings.Cut(text, fence)
	code, after, closed := strings.Cut(rest, fence)
	if !opened || !closed || strings.TrimSpace(code) == "" {
		return text, "", "", false
	}
	if first, others, ok := strings.Cut(code, "\n"); ok && strings.IndexFunc(first, notName) < 0 {
		code = others
	}
	return strings.TrimSuffix(before, "\n"), strings.TrimSuffix(code, "\n"), strings.TrimPrefix(after, "\n"), true
}

func notName(r rune) bool {
	return r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("+-#._", r)
}

// closeFence ends a block of code that text, which was cut, leaves open.
func closeFence(text string) string {
	if strings.Count(text, fence)%2 == 1 {
		return text + "\n" + fence
	}
	return text
}

// appendInline adds text with the links and the code within its lines.
func appendInline(out []span, text string) []span {
	plain := 0 // where the text begins that is in no span yet
	add := func(from, to int, m manner, what string) {
		if from > plain {
			out = append(out, span{text: text[plain:from]})
		}
		out = append(out, span{what, m})
		plain = to
	}
	for i := 0; i < len(text); {
		switch text[i] {
		case '`':
			n := codeAt(text[i:])
			if n > 0 {
				add(i, i+n, mannerCode, text[i+1:i+n-1])
			}
			i += max(n, 1)
		case 'h', 'H', 't', 'T':
			if last, _ := utf8.DecodeLastRuneInString(text[:i]); unicode.IsLetter(last) || unicode.IsDigit(last) {
				i++
				continue
			}
			n, ok := linkAt(text[i:])
			if ok {
				add(i, i+n, mannerLink, text[i:i+n])
			}
			i += max(n, 1)
		default:
			i++
		}
	}
	if plain < len(text) || len(out) == 0 {
		out = append(out, span{text: text[plain:]})
	}
	return out
}

// codeAt is the length of the code in s, marks included, that begins with a
// mark and ends on the same line; 0 when there is none.
func codeAt(s string) int {
	if n := strings.IndexAny(s[1:], "`\n"); n > 0 && s[1+n] == '`' {
		return n + 2
	}
	return 0
}

// linkAt tells how long the address is that s begins with, and whether it can
// be clicked. One that names a user before the host, or whose host has letters
// beyond ASCII, can pass for another and cannot.
func linkAt(s string) (length int, ok bool) {
	scheme := ""
	for _, known := range []string{"https://", "http://", inviteScheme} {
		if len(s) > len(known) && strings.EqualFold(s[:len(known)], known) {
			scheme = known
			break
		}
	}
	if scheme == "" {
		return 0, false
	}
	length = len(s)
	if end := strings.IndexFunc(s, notInLink); end >= 0 {
		length = end
	}
	length = len(trimLink(s[:length]))
	rest := s[len(scheme):max(length, len(scheme))]
	if length > maxLinkBytes {
		return length, false
	}
	if scheme == inviteScheme {
		const leastInvite = 8 // fewer letters are somebody's words
		return length, len(rest) >= leastInvite
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	return length, host != "" && strings.IndexFunc(host, notInHost) < 0
}

const inviteScheme = "tertulia:"

// isInvite says that a link asks to join a room.
func isInvite(link string) bool {
	return len(link) >= len(inviteScheme) && strings.EqualFold(link[:len(inviteScheme)], inviteScheme)
}

func notInLink(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("\"<>\\^`{|}", r)
	}
	return !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

func notInHost(r rune) bool {
	return r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-:[]_", r)
}

// trimLink leaves out the marks that end a sentence, and a bracket that was
// opened before the link.
func trimLink(s string) string {
	for s != "" {
		switch last := s[len(s)-1]; {
		case strings.IndexByte(".,;:!?'*_~", last) >= 0,
			last == ')' && strings.Count(s, ")") > strings.Count(s, "("),
			last == ']' && strings.Count(s, "]") > strings.Count(s, "["):
			s = s[:len(s)-1]
		default:
			return s
		}
	}
	return s
}
