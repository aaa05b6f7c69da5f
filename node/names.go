package node

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/ordering/dag"
)

// cleanName checks a name that somebody entered: NFC, 1 to 64 characters, no
// controls. What it is opens the error's sentence.
func cleanName(what, name string) (string, error) {
	name = strings.TrimSpace(norm.NFC.String(name))
	n := utf8.RuneCountInString(name)
	switch {
	case !utf8.ValidString(name), strings.ContainsFunc(name, invisible):
		return "", chat.Errorf(chat.CodeInvalid, "%s has characters that cannot be shown.", what).
			WithHint("Use letters, digits, spaces and signs.")
	case n == 0:
		return "", chat.Errorf(chat.CodeInvalid, "%s is empty.", what).WithHint("Enter 1 to %d characters.", chat.MaxNameRunes)
	case n > chat.MaxNameRunes:
		return "", chat.Errorf(chat.CodeInvalid, "%s has %d characters.", what, n).WithHint("Enter at most %d.", chat.MaxNameRunes)
	}
	return name, nil
}

// roomName is a room's name as others gave it, or the beginning of its id where
// that cannot be shown.
func roomName(name string, id ordering.RoomID) string {
	if clean, err := cleanName("The room's name", name); err == nil {
		return clean
	}
	return id.String()[:12]
}

func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// namesOf gives each member the name to show: its node id, with a tag where two
// members have the same, or the tag alone.
func namesOf(members []dag.Member, have ordering.Vector) map[ordering.DeviceKey]string {
	count := make(map[string]int)
	for _, m := range members {
		count[m.Name]++
	}
	names := make(map[ordering.DeviceKey]string, len(members))
	for _, m := range members {
		name, err := cleanName("The node id", m.Name)
		switch {
		case err != nil || name != m.Name || strings.Contains(name, "~"):
			name = "~" + tagOf(m.Device, have) // a name that could pass for another
		case count[name] > 1:
			name += "~" + tagOf(m.Device, have)
		}
		names[m.Device] = name
	}
	return names
}

// tagOf returns the tag of a device's first origin that wrote here.
func tagOf(d ordering.DeviceKey, have ordering.Vector) string {
	for _, o := range have.Origins() {
		if o.Device == d {
			return o.Tag()
		}
	}
	return ordering.Origin{Device: d}.Tag()
}
