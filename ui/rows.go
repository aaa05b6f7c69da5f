package ui

import (
	"strconv"
	"strings"
	"time"

	"tertulia/chat"
)

// rowKind tells what a row of the message list shows.
type rowKind int

const (
	rowMessage rowKind = iota
	rowSystem          // a line the room itself adds
	rowDay             // the day of the messages that follow
	rowUnread          // the line above the first unread message
	rowMerge           // says that what follows was added after a separation
)

// standing is how far a message has come, as its row shows it.
type standing int

const (
	standingFinal    standing = iota // of another's message: nothing is shown
	standingTail                     // of another's message: it is lighter
	standingSaved                    // of an own message, as all below: it is on this disk
	standingReceived                 // another member has it
	standingDone                     // its place is final
	standingRead                     // and somebody read it
)

// quote is what a message's row shows of the message it answers.
type quote struct {
	id   string // of the answered message, "" = none
	name string
	who  string
	text string
}

// row is one line of the message list. Rows compare with ==: equal rows look
// the same.
type row struct {
	key   string // unique in a list and stable: the message's ID
	kind  rowKind
	text  string // of a row that is no spoken message
	body  string // of a spoken message, as it came: shown through visible alone
	note  string // the text is about the message (unreadable, too new), not of it
	name  string // the author, shown above the first of a run
	tag   string // of the author's key, where another goes by such a name
	who   string // what the avatar's colour derives from
	clock string
	day   string // of a day's row, as dayOf writes it
	mine  bool
	first bool // first of a run by one author
	last  bool // last of it
	stand standing
	late  bool   // it entered the final list after words written later
	index uint64 // position in the final list, 0 while tentative
	quote quote
	// Of an own message: how many of how many members have it, and who read it.
	received, members int
	readers           string
}

// tent says that the row's place is not final.
func (r *row) tent() bool {
	return r.stand == standingTail || r.stand == standingSaved || r.stand == standingReceived
}

// isMessage says that the row stands for a line of the room.
func (r *row) isMessage() bool { return r.kind == rowMessage || r.kind == rowSystem }

// runGap ends a run of one author's messages.
const runGap = 10 * time.Minute

// stretch is what rows are made of.
type stretch struct {
	messages []chat.Message // oldest first
	quotes   map[string]*chat.Message
	unread   string // ID of the message above which the unread line stands, "" = nowhere
	room     chat.Room
	now      time.Time
}

// rows lays the messages out, with a row before the first of each day, before
// what a merge added, and before the first that is unread.
func (l stretch) rows() []row {
	rows := make([]row, 0, len(l.messages)+8)
	merges := l.merges()
	tags := tagsOf(l.messages, l.quotes)
	day := ""
	for i := range l.messages {
		m := &l.messages[i]
		if d := dayOf(m.Time); d != day {
			day = d
			rows = append(rows, row{key: "day/" + m.ID, kind: rowDay, text: textOfDay(m.Time.Local(), l.now), day: d})
		}
		for j := range merges[m.ID] {
			merge := &merges[m.ID][j]
			rows = append(rows, row{key: "merge/" + m.ID + "/" + strconv.Itoa(j), kind: rowMerge, text: textOfMerge(merge, day, l.now)})
		}
		if m.ID == l.unread {
			rows = append(rows, row{key: unreadKey, kind: rowUnread, text: tr(textNewLine)})
		}
		r := rowOf(m)
		r.tag = tags[m.SenderID]
		if r.kind == rowMessage {
			r.first = i == 0 || !l.sameRun(i-1, merges)
			r.last = i == len(l.messages)-1 || !l.sameRun(i, merges)
			answered := l.quotes[m.ReplyTo]
			r.quote = quoteOf(m.ReplyTo, answered)
			if answered != nil {
				r.quote.name = withTag(r.quote.name, tags[answered.SenderID])
			}
			l.receipts(&r, m)
		} else if r.tag != "" {
			r.text += " (" + r.tag + ")"
		}
		rows = append(rows, r)
	}
	return rows
}

// unreadKey is the key of the row above the first unread message.
const unreadKey = "unread"

// merges are those of the room, by the message before which each is told.
func (l stretch) merges() map[string][]chat.Merge {
	out := make(map[string][]chat.Merge, len(l.room.Merges))
	for _, m := range l.room.Merges {
		out[m.Before] = append(out[m.Before], m)
	}
	return out
}

// receipts notes who has an own message and who read it.
func (l stretch) receipts(r *row, m *chat.Message) {
	const named = 5 // readers; more are counted
	if !m.Mine {
		return
	}
	r.received, r.members = min(m.Received, l.room.Members), l.room.Members
	if m.State != chat.Final {
		if m.Received > 1 {
			r.stand = standingReceived
		}
		return
	}
	var names []string
	more := 0
	for i := range l.room.Readers {
		if reader := &l.room.Readers[i]; reader.UpTo >= m.Index {
			if len(names) < named {
				names = append(names, visibleLine(reader.Name))
			} else {
				more++
			}
		}
	}
	if len(names) == 0 {
		return
	}
	r.stand, r.readers = standingRead, strings.Join(names, ", ")
	if more > 0 {
		r.readers += ", +" + count(uint64(more))
	}
}

// sameRun says that message i+1 goes on where message i ended.
func (l stretch) sameRun(i int, merges map[string][]chat.Merge) bool {
	next := &l.messages[i+1]
	return next.ID != l.unread && merges[next.ID] == nil && sameRun(&l.messages[i], next)
}

// quoteOf is what to show of m, the message id, which may be nil.
func quoteOf(id string, m *chat.Message) quote {
	const quoteBytes = 160
	if id == "" {
		return quote{}
	}
	if m == nil {
		return quote{id: id, text: tr(textNotHere)}
	}
	r := rowOf(m)
	text := r.note
	if text == "" {
		text = r.text + r.body
	}
	return quote{id: id, name: r.name, who: r.who, text: visibleLine(cut(text, quoteBytes))}
}

func rowOf(m *chat.Message) row {
	r := row{
		key:   m.ID,
		name:  visibleLine(m.Sender),
		who:   m.SenderID,
		clock: textOfClock(m.Time.Local()),
		mine:  m.Mine,
		stand: standingOf(m),
		late:  m.Late,
		index: m.Index,
	}
	if m.Unreadable {
		r.note = tr(textUnreadable)
		return r
	}
	switch m.Kind {
	case chat.KindText:
		r.body = m.Text
	case chat.KindJoined:
		r.kind, r.text = rowSystem, tr(textJoinedRoom, args{"Name": r.name})
	case chat.KindLeft:
		r.kind, r.text = rowSystem, tr(textLeftRoom, args{"Name": r.name})
	case chat.KindRenamed:
		r.kind, r.text = rowSystem, systemText(m.Text, tr(textRenamedSelf, args{"Name": r.name}))
	case chat.KindOrdering:
		r.kind, r.text = rowSystem, systemText(m.Text, tr(textOrderingSet))
	case chat.KindTitle:
		r.kind, r.text = rowSystem, visibleLine(m.Text)
	case chat.KindUnknown:
		r.note = tr(textUnknown)
	}
	return r
}

func standingOf(m *chat.Message) standing {
	final := m.State == chat.Final
	switch {
	case m.Mine && final:
		return standingDone
	case m.Mine:
		return standingSaved
	case final:
		return standingFinal
	}
	return standingTail
}

// standingText says in words where the row's message stands.
func standingText(r *row) string {
	var words []string
	switch {
	case !r.tent():
		words = append(words, tr(textTipFinal, args{"Index": count(r.index)}))
	case r.mine:
		words = append(words, tr(textTipSaved))
	default:
		words = append(words, tr(textTipTentative))
	}
	if r.late {
		words = append(words, tr(textTipLate))
	}
	if r.received > 0 {
		words = append(words, tr(textTipReceived, args{"Have": count(uint64(r.received)), "All": count(uint64(r.members))}))
	}
	if r.readers != "" {
		words = append(words, tr(textTipRead, args{"Names": r.readers}))
	}
	return strings.Join(words, " · ")
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
		return tr(textYou) + ": " + visibleLine(cut(r.body, previewBytes))
	}
	return r.name + ": " + visibleLine(cut(r.body, previewBytes))
}
