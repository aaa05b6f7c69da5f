package ui

import (
	"cmp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"tertulia/chat"
)

// lookalikes are letters that look like a Latin one, after case is folded; a
// choice of Unicode's confusables (UTS 39) in the scripts people's names here
// are written in.
var lookalikes = map[rune]string{
	'а': "a", 'в': "b", 'е': "e", 'ё': "e", 'з': "3", 'к': "k", 'м': "m", 'н': "h", 'о': "o", 'р': "p", 'с': "c",
	'т': "t", 'у': "y", 'х': "x", 'ѕ': "s", 'і': "l", 'ї': "l", 'ј': "j", 'ԁ': "d", 'һ': "h", 'ԛ': "q", 'ԝ': "w", 'ь': "b",
	'α': "a", 'β': "b", 'γ': "y", 'ε': "e", 'ζ': "z", 'η': "n", 'ι': "l", 'κ': "k", 'μ': "u", 'ν': "v", 'ο': "o", 'ρ': "p",
	'σ': "o", 'ς': "c", 'τ': "t", 'υ': "u", 'χ': "x", 'ω': "w",
	'ա': "w", 'օ': "o", 'ս': "u", 'հ': "h", 'ց': "g", 'զ': "q", 'յ': "j", 'ո': "n",
	'ı': "l", 'ł': "l", 'ø': "o", 'đ': "d", 'ħ': "h", 'ŧ': "t", 'ɑ': "a", 'ɡ': "g", 'ɩ': "l", 'ʏ': "y", 'ɴ': "n",
	'ᴀ': "a", 'ʙ': "b", 'ᴄ': "c", 'ᴅ': "d", 'ᴇ': "e", 'ɢ': "g", 'ʜ': "h", 'ɪ': "l", 'ᴊ': "j", 'ᴋ': "k", 'ʟ': "l", 'ᴍ': "m",
	'ᴏ': "o", 'ᴘ': "p", 'ʀ': "r", 'ꜱ': "s", 'ᴛ': "t", 'ᴜ': "u", 'ᴠ': "v", 'ᴡ': "w", 'ᴢ': "z",
	'i': "l", '1': "l", '|': "l", '!': "l", 'ǀ': "l", '׀': "l", '0': "o", '5': "s", '$': "s", '@': "a",
}

var lookalikePairs = strings.NewReplacer("rn", "m", "vv", "w", "cl", "d")

// outline is equal for names that a person may take for one another: without
// case, marks, spaces, signs and what cannot be seen, and with one letter for
// all that look like it.
func outline(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(name) {
		r = unicode.ToLower(unicode.ToUpper(r))
		if like, ok := lookalikes[r]; ok {
			b.WriteString(like)
			continue
		}
		if !isHidden(r) && unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.So, r) {
			b.WriteRune(r)
		}
	}
	return lookalikePairs.Replace(b.String())
}

// tagsOf gives everybody who has the name of another, or one like it, a piece
// of their key to be told apart by.
func tagsOf(messages []chat.Message, quotes map[string]*chat.Message) map[string]string {
	outlines := map[string]string{} // by name
	first := map[string]string{}    // key by outline
	var tags map[string]string
	see := func(m *chat.Message) {
		if m.SenderID == "" {
			return
		}
		o, ok := outlines[m.Sender]
		if !ok {
			o = outline(m.Sender)
			outlines[m.Sender] = o
		}
		id, ok := first[o]
		if !ok {
			first[o] = m.SenderID
		}
		if !ok || id == m.SenderID {
			return
		}
		if tags == nil {
			tags = map[string]string{}
		}
		tags[id], tags[m.SenderID] = shortKey(id), shortKey(m.SenderID)
	}
	for i := range messages {
		see(&messages[i])
	}
	for _, m := range quotes {
		see(m)
	}
	return tags
}

// shortKey is the beginning of a key, in groups of four.
func shortKey(id string) string {
	const shown = 8
	return visibleLine(cut(id, shown/2) + " " + strings.TrimPrefix(cut(id, shown), cut(id, shown/2)))
}

func withTag(name, tag string) string {
	if tag == "" {
		return name
	}
	return name + " (" + tag + ")"
}

// writers are people, by the name of the node each wrote on last.
type writers map[string]chat.Person

// learn takes messages in their order; newest says that nothing was written
// after them.
func (w writers) learn(messages []chat.Message, newest bool) {
	for i := range messages {
		m := &messages[i]
		if _, known := w[m.Origin]; m.Origin != "" && m.Sender != "" && (newest || !known) {
			w[m.Origin] = chat.Person{Name: m.Sender, ID: m.SenderID}
		}
	}
}

// name is what people call a node: who writes there, with the node's name where
// one could take that person for another's.
func (w writers) name(node string) string {
	person := w[node].Name
	if person == "" {
		return node
	}
	for other, p := range w {
		if other != node && outline(p.Name) == outline(person) {
			return withTag(person, node)
		}
	}
	return person
}

// both is name with the node's name.
func (w writers) both(node string) string {
	if person := w[node].Name; person != "" && person != node {
		return withTag(person, node)
	}
	return node
}

// key is what the colour of a node's face derives from: its person's key, else
// its own.
func (w writers) key(node, own string) string { return cmp.Or(w[node].ID, own, node) }

func (w writers) names(nodes []string) []string {
	out := make([]string, len(nodes))
	for i, node := range nodes {
		out[i] = w.name(node)
	}
	return out
}
