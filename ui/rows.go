package ui

import (
	"time"

	"tertulia/chat"
)

// rowKind tells what a row of the message list shows.
type rowKind int

const (
	rowMessage rowKind = iota
	rowSystem          // a line the room itself adds
	rowDay             // the day of the messages that follow
)

// row is one line of the message list. Rows compare with ==: equal rows look
// the same.
type row struct {
	key   string // unique in a list and stable: the message's ID; of a day, its first message's
	kind  rowKind
	text  string
	note  string // the text is about the message (unreadable, too new), not of it
	name  string // the author, shown above the first of a run
	who   string // what the avatar's colour derives from
	clock string
	size  int // bytes of the whole text where it was folded, else 0
	mine  bool
	first bool // first of a run by one author
	last  bool // last of it
	tent  bool // its place is not final
}

// runGap ends a run of one author's messages.
const runGap = 10 * time.Minute

// rowsOf lays messages (oldest first) out as rows, with a row before the first
// message of each day.
func rowsOf(messages []chat.Message, now time.Time) []row {
	rows := make([]row, 0, len(messages)+8)
	day := ""
	for i := range messages {
		m := &messages[i]
		if d := dayOf(m.Time); d != day {
			day = d
			rows = append(rows, row{key: "day/" + m.ID, kind: rowDay, text: textOfDay(m.Time.Local(), now)})
		}
		r := rowOf(m)
		if r.kind == rowMessage {
			r.first = i == 0 || !sameRun(&messages[i-1], m)
			r.last = i == len(messages)-1 || !sameRun(m, &messages[i+1])
		}
		rows = append(rows, r)
	}
	return rows
}

func rowOf(m *chat.Message) row {
	r := row{
		key:   m.ID,
		name:  visibleLine(m.Sender),
		who:   m.SenderID,
		clock: textOfClock(m.Time.Local()),
		mine:  m.Mine,
		tent:  m.State == chat.Tentative,
	}
	if m.Unreadable {
		r.note = tr(textUnreadable)
		return r
	}
	switch m.Kind {
	case chat.KindText:
		r.text = visible(m.Text)
		if len(r.text) > foldBytes {
			r.size = len(m.Text)
			r.text = cut(r.text, foldBytes) + "…"
		}
	case chat.KindJoined:
		r.kind, r.text = rowSystem, tr(textJoinedRoom, args{"Name": r.name})
	case chat.KindLeft:
		r.kind, r.text = rowSystem, tr(textLeftRoom, args{"Name": r.name})
	case chat.KindRenamed:
		r.kind, r.text = rowSystem, systemText(m.Text, tr(textRenamedSelf, args{"Name": r.name}))
	case chat.KindOrdering:
		r.kind, r.text = rowSystem, systemText(m.Text, tr(textOrderingSet))
	case chat.KindUnknown:
		r.note = tr(textUnknown)
	}
	return r
}

func systemText(own, otherwise string) string {
	if own == "" {
		return otherwise
	}
	return visibleLine(own)
}

func spoken(m *chat.Message) bool {
	return m.Unreadable || m.Kind == chat.KindText || m.Kind == chat.KindUnknown
}

func sameRun(a, b *chat.Message) bool {
	gap := b.Time.Sub(a.Time)
	return spoken(a) && spoken(b) && a.SenderID == b.SenderID && a.Sender == b.Sender && a.Mine == b.Mine &&
		dayOf(a.Time) == dayOf(b.Time) && gap < runGap && gap > -runGap
}

// preview is the message as one line of the room list.
func preview(m *chat.Message) string {
	const previewBytes = 160
	r := rowOf(m)
	switch {
	case r.note != "":
		return r.note
	case r.kind == rowSystem:
		return r.text
	case m.Mine:
		return tr(textYou) + ": " + visibleLine(cut(r.text, previewBytes))
	}
	return r.name + ": " + visibleLine(cut(r.text, previewBytes))
}
