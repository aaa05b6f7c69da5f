package ui

import (
	"context"
	"fmt"
	"slices"

	"tertulia/chat"
)

// Limits of what a window holds of a room.
const (
	pageMessages = 100 // messages in one request
	feedMessages = 600 // messages held; beyond, those at the far end are let go
	pageQuotes   = 20  // answered messages asked for in one go
	maxQuotes    = 500 // answered messages kept that are not among the held
)

// feed is a stretch of one room's messages, held in order: usually the newest,
// or an older stretch while history is read. One goroutine owns it.
type feed struct {
	node     Node
	room     string // id; "" = none
	messages []chat.Message
	older    bool // there are messages before the first held
	newer    bool // there are messages after the last held
	newest   int  // counts loadNewest
	quoted   map[string]*chat.Message
}

// open turns to a room and loads its newest page, or, when around is the ID of
// a message that is here, the page around it; then it returns the ID under which
// this is shown.
func (f *feed) open(ctx context.Context, room, around string) (string, error) {
	f.room, f.messages, f.older, f.newer, f.quoted = room, nil, false, false, nil
	if room == "" {
		return "", nil
	}
	if around != "" {
		id, err := f.loadAround(ctx, around)
		if err == nil || chat.CodeOf(err) != chat.CodeNotFound {
			return id, err
		}
	}
	return "", f.loadNewest(ctx)
}

// loadNewest drops what is held for the newest page.
func (f *feed) loadNewest(ctx context.Context) error {
	p, err := f.page(ctx, chat.PageQuery{Limit: pageMessages})
	if err != nil {
		return err
	}
	f.messages, f.older, f.newer = p.Messages, p.Older, false
	f.newest++
	return nil
}

// loadOlder adds a page before what is held. The message at, which is at the
// top of the view, and a page after it are never let go. A first message that
// became final since it was read has moved: the reload that this change brings
// about mends what then is missing or twice there.
func (f *feed) loadOlder(ctx context.Context, at string) error {
	if !f.older || len(f.messages) == 0 || f.index(at)+2*pageMessages > chat.MaxPage {
		return nil
	}
	p, err := f.page(ctx, chat.PageQuery{Before: f.messages[0].Position, Limit: pageMessages})
	if err != nil {
		return err
	}
	f.messages = join(p.Messages, f.messages)
	f.older = p.Older
	if keep := max(feedMessages, f.index(at)+pageMessages); len(f.messages) > keep {
		f.messages = f.messages[:keep:keep]
		f.newer = true
	}
	return nil
}

// loadNewer adds a page after what is held. The message at and those after it
// are never let go.
func (f *feed) loadNewer(ctx context.Context, at string) error {
	if !f.newer || len(f.messages) == 0 {
		return nil
	}
	p, err := f.page(ctx, chat.PageQuery{After: f.messages[len(f.messages)-1].Position, Limit: pageMessages})
	if err != nil {
		return err
	}
	f.messages = join(f.messages, p.Messages)
	f.newer = p.Newer
	f.letGoOldest(at)
	return nil
}

// reload reads the held stretch again: a message may come to stand anywhere in
// the tentative tail, become readable, or become final and move. Following the
// end, it reads the newest messages; else a stretch around what is in view,
// whose IDs are given topmost first: a position is no place to read on from,
// since it changes when its message becomes final.
func (f *feed) reload(ctx context.Context, following bool, view []string) error {
	if f.room == "" {
		return nil
	}
	if len(f.messages) == 0 {
		return f.loadNewest(ctx)
	}
	if following {
		p, err := f.page(ctx, chat.PageQuery{Limit: min(max(pageMessages, len(f.messages)), feedMessages)})
		if err != nil {
			return err
		}
		if !f.newer {
			f.messages, f.older = p.Messages, p.Older
			return nil
		}
		return f.loadNewest(ctx)
	}
	p, err := f.around(ctx, f.steadiest(view))
	if err != nil {
		return err
	}
	if p.Messages == nil { // nothing that is in view is shown any longer
		return f.loadNewest(ctx)
	}
	f.messages, f.older, f.newer = p.Messages, p.Older, p.Newer
	return nil
}

// steadiest orders the messages in view by how likely they are to stay where
// they are: the final ones never move, and of a tentative tail not all settle
// at once.
func (f *feed) steadiest(view []string) []string {
	var final, tentative []string
	for _, id := range view {
		switch i := f.index(id); {
		case i < 0:
		case f.messages[i].State == chat.Final:
			final = append(final, id)
		default:
			tentative = append(tentative, id)
		}
	}
	if len(final)+len(tentative) == 0 {
		return []string{f.messages[0].ID}
	}
	return append(final, tentative...)
}

// around reads as many messages on both sides of one of ids as are held now.
// The one is the first that is where it was; when all moved, the first that
// is still shown. The page is empty when none is.
func (f *feed) around(ctx context.Context, ids []string) (chat.Page, error) {
	const tries = 3
	if len(ids) > tries {
		ids = []string{ids[0], ids[len(ids)/2], ids[len(ids)-1]}
	}
	var moved chat.Page
	for _, id := range ids {
		i := f.index(id)
		limit := min(max(pageMessages, 2*max(i, len(f.messages)-1-i)+1), feedMessages)
		p, err := f.page(ctx, chat.PageQuery{Around: id, Limit: limit})
		if chat.CodeOf(err) == chat.CodeNotFound {
			continue
		}
		if err != nil {
			return p, err
		}
		if j := indexIn(p.Messages, id); j >= 0 && p.Messages[j].State == f.messages[i].State {
			return p, nil
		}
		if moved.Messages == nil {
			moved = p
		}
	}
	return moved, nil
}

// loadAround holds a stretch around the message id, and returns the ID under
// which it is shown: that of another if it is a repeat.
func (f *feed) loadAround(ctx context.Context, id string) (string, error) {
	m, err := f.find(ctx, id)
	if err != nil {
		return "", err
	}
	p, err := f.page(ctx, chat.PageQuery{Around: m.ID, Limit: pageMessages})
	if err != nil {
		return "", err
	}
	f.messages, f.older, f.newer = p.Messages, p.Older, p.Newer
	return m.ID, nil
}

// loadPage holds the page that q asks for and returns the ID of its first
// message; the newest page and "" when it is empty.
func (f *feed) loadPage(ctx context.Context, q chat.PageQuery) (string, error) {
	q.Limit = pageMessages
	p, err := f.page(ctx, q)
	if err != nil {
		return "", err
	}
	if len(p.Messages) == 0 {
		return "", f.loadNewest(ctx)
	}
	f.messages, f.older, f.newer = p.Messages, p.Older, p.Newer
	return p.Messages[0].ID, nil
}

// before counts the messages of room before those held; it is exact unless the
// first is amid the tentative ones.
func (f *feed) before(room *chat.Room) uint64 {
	switch {
	case len(f.messages) == 0:
		return 0
	case f.messages[0].Index > 0:
		return f.messages[0].Index - 1
	case f.newer:
		return room.FinalIndex
	}
	return max(room.Total, uint64(len(f.messages))) - uint64(len(f.messages))
}

// find returns the message id, or the one that it repeats.
func (f *feed) find(ctx context.Context, id string) (chat.Message, error) {
	p, err := f.page(ctx, chat.PageQuery{Around: id, Limit: 1})
	if err != nil {
		return chat.Message{}, err
	}
	if len(p.Messages) == 0 {
		return chat.Message{}, chat.Errorf(chat.CodeNotFound, "%s", tr(textNotHere))
	}
	return p.Messages[0], nil
}

// quotes returns the messages that held ones answer, by the ID they answer.
// One that is not here yet is asked for again later.
func (f *feed) quotes(ctx context.Context) map[string]*chat.Message {
	out := map[string]*chat.Message{}
	asked := 0
	for i := range f.messages {
		id := f.messages[i].ReplyTo
		if id == "" || out[id] != nil {
			continue
		}
		if at := f.index(id); at >= 0 {
			out[id] = &f.messages[at]
			continue
		}
		if m := f.quoted[id]; m != nil {
			out[id] = m
			continue
		}
		if asked == pageQuotes {
			continue
		}
		asked++
		m, err := f.find(ctx, id)
		if err != nil {
			continue
		}
		out[id] = &m
		if m.Unreadable {
			continue
		}
		if f.quoted == nil || len(f.quoted) >= maxQuotes {
			f.quoted = map[string]*chat.Message{}
		}
		f.quoted[id] = &m
	}
	return out
}

// index is where the message id is, -1 when it is not held.
func (f *feed) index(id string) int {
	return indexIn(f.messages, id)
}

func indexIn(messages []chat.Message, id string) int {
	return slices.IndexFunc(messages, func(m chat.Message) bool { return m.ID == id })
}

func (f *feed) letGoOldest(at string) {
	extra := len(f.messages) - feedMessages
	if i := f.index(at); i >= 0 {
		extra = min(extra, i)
	}
	if extra > 0 {
		f.messages = append([]chat.Message(nil), f.messages[extra:]...)
		f.older = true
	}
}

func (f *feed) page(ctx context.Context, q chat.PageQuery) (chat.Page, error) {
	q.Room = f.room
	p, err := f.node.Page(ctx, q)
	if err != nil {
		return chat.Page{}, fmt.Errorf("ui: read messages: %w", err)
	}
	return p, nil
}

// join makes one new list of two that are each in order, a's before b's. A
// message in both is kept once, as it is in b.
func join(a, b []chat.Message) []chat.Message {
	in := make(map[string]bool, len(b))
	for i := range b {
		in[b[i].ID] = true
	}
	out := make([]chat.Message, 0, len(a)+len(b))
	for i := range a {
		if !in[a[i].ID] {
			out = append(out, a[i])
		}
	}
	return append(out, b...)
}
