package ui

import (
	"context"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tertulia/chat"
)

const (
	noticePause      = 4 * time.Second // between two notifications of one room
	pageNews         = 30              // messages looked through when a room changes
	maxNewsTextBytes = 200             // of a notification
)

// attention tells a person who looks elsewhere of new messages: at most one
// notification in noticePause for each room, of those that came meanwhile.
type attention struct {
	rooms  map[string]*news // by id
	notify func(Notification)
}

// news is what came to a room.
type news struct {
	last    string // ID of the newest message when it was looked at
	unread  int
	arrival uint64 // of the last message heard of
	synced  bool   // the room had been fetched when it was looked at
	count   int    // of messages to tell of
	newest  *chat.Message
	told    bool      // there is a notification
	next    time.Time // no other before
}

// changed tells whether a room may have messages not heard of.
func (n *news) changed(r *chat.Room) bool {
	last := ""
	if r.Last != nil {
		last = r.Last.ID
	}
	was := *n
	n.last, n.unread = last, r.Unread
	return last != was.last || r.Unread > was.unread || !was.synced
}

// hear takes the newest messages of a room. quiet ones are not to be told of;
// worth chooses among the others.
func (n *news) hear(messages []chat.Message, quiet bool, worth func(*chat.Message) bool) {
	known := n.arrival
	for i := range messages {
		m := &messages[i]
		n.arrival = max(n.arrival, m.Arrival)
		if m.Arrival > known && !quiet && !m.Mine && m.Kind == chat.KindText && worth(m) {
			n.count++
			n.newest = m
		}
	}
}

// due takes out what is to be shown of a room now.
func (n *news) due(r *chat.Room, now time.Time) (Notification, bool) {
	if n.count == 0 || now.Before(n.next) {
		return Notification{}, false
	}
	note := Notification{Room: r.ID, Title: visibleLine(r.Name), Text: newsText(n.newest), Open: tr(textOpen)}
	if n.count > 1 {
		note.Title += " (" + textOfNew(n.count) + ")"
	}
	n.count, n.newest, n.told, n.next = 0, nil, true, now.Add(noticePause)
	return note, true
}

// forget drops what waits, and tells whether a notification is to be taken away.
func (n *news) forget() bool {
	was := n.told
	n.count, n.newest, n.told = 0, nil, false
	return was
}

func newsText(m *chat.Message) string {
	text := visibleLine(m.Text)
	if m.Unreadable {
		text = tr(textUnreadable)
	}
	if short := cut(text, maxNewsTextBytes); short != text {
		text = short + "…"
	}
	return visibleLine(m.Sender) + ": " + text
}

// names tells whether text has name in it as a word, in small letters or large.
func names(text, name string) bool {
	text, name = strings.ToLower(text), strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return false
	}
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_' }
	for at := 0; ; {
		i := strings.Index(text[at:], name)
		if i < 0 {
			return false
		}
		before, _ := utf8.DecodeLastRuneInString(text[:at+i])
		after, _ := utf8.DecodeRuneInString(text[at+i+len(name):])
		if !part(before) && !part(after) {
			return true
		}
		at += i + len(name)
	}
}

// attend looks for messages to tell of, and tells.
func (l *loop) attend(ctx context.Context) {
	if l.attention.notify == nil {
		return
	}
	now := l.now()
	for i := range l.view.Rooms {
		r := &l.view.Rooms[i]
		n, known := l.attention.rooms[r.ID]
		if !known {
			n = &news{}
			l.attention.rooms[r.ID] = n
		}
		synced := r.State == chat.Joined && r.Progress.Want == 0
		if n.changed(r) {
			l.listen(ctx, r, n, !known || !synced || !n.synced)
		}
		n.synced = synced
		if r.Unread == 0 || l.watched(r.ID) {
			if n.forget() {
				l.attention.notify(Notification{Room: r.ID})
			}
			continue
		}
		if note, ok := n.due(r, now); ok {
			l.attention.notify(note)
		}
	}
	for id := range l.attention.rooms {
		if !hasRoom(l.view.Rooms, id) {
			delete(l.attention.rooms, id)
		}
	}
}

// listen reads the newest messages of a room; quiet only notes them.
func (l *loop) listen(ctx context.Context, r *chat.Room, n *news, quiet bool) {
	page, err := l.node.Page(ctx, chat.PageQuery{Room: r.ID, Limit: pageNews})
	if err != nil {
		if ctx.Err() == nil {
			slog.Warn("new messages not read", "room", r.ID, "error", err)
		}
		return
	}
	alert := alertOf(r.Settings.Notify, *l.alert.Load())
	n.hear(page.Messages, quiet || alert == AlertNone || l.watched(r.ID), func(m *chat.Message) bool {
		return alert == AlertAll || names(m.Text, l.view.Username) || l.answersMine(ctx, r.ID, m)
	})
}

// answersMine tells whether m answers a message of the person's own.
func (l *loop) answersMine(ctx context.Context, room string, m *chat.Message) bool {
	if m.ReplyTo == "" {
		return false
	}
	page, err := l.node.Page(ctx, chat.PageQuery{Room: room, Around: m.ReplyTo, Limit: 1})
	return err == nil && len(page.Messages) == 1 && page.Messages[0].Mine
}

// watched tells whether the person has the room before the eyes.
func (l *loop) watched(room string) bool { return room == l.feed.room && l.seen.Load() }

// nextNews is when something that waits is to be told, the zero time if nothing is.
func (l *loop) nextNews() time.Time {
	var next time.Time
	for _, n := range l.attention.rooms {
		if n.count > 0 && (next.IsZero() || n.next.Before(next)) {
			next = n.next
		}
	}
	return next
}
