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
)

// feed is a stretch of one room's messages, held in order: usually the newest,
// or an older stretch while history is read. One goroutine owns it.
type feed struct {
	node     Node
	room     string // id; "" = none
	messages []chat.Message
	older    bool // there are messages before the first held
	newer    bool // there are messages after the last held
	newest   int  // counts loadNewest: the list then goes to the end
}

// open turns to a room and loads its newest page.
func (f *feed) open(ctx context.Context, room string) error {
	f.room, f.messages, f.older, f.newer = room, nil, false, false
	if room == "" {
		return nil
	}
	return f.loadNewest(ctx)
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
// top of the view, and a page after it are never let go.
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

// reload reads the held stretch again: in a tentative order a message may come
// to stand anywhere, and any may have become readable or final. Following the
// end, it also takes in what is new.
func (f *feed) reload(ctx context.Context, following bool, at string) error {
	if f.room == "" {
		return nil
	}
	if len(f.messages) == 0 {
		return f.loadNewest(ctx)
	}
	first := f.messages[0]
	limit := min(max(feedMessages, len(f.messages)), chat.MaxPage)
	if f.newer {
		limit = min(len(f.messages), chat.MaxPage)
	}
	p, err := f.page(ctx, chat.PageQuery{After: first.Position, Limit: limit})
	if err != nil {
		return err
	}
	if p.Newer && following {
		return f.loadNewest(ctx)
	}
	messages := join([]chat.Message{first}, p.Messages)
	newer := p.Newer
	if !f.older {
		before, err := f.page(ctx, chat.PageQuery{Before: first.Position, Limit: pageMessages})
		if err != nil {
			return err
		}
		messages, f.older = join(before.Messages, messages), before.Older
	}
	f.messages, f.newer = messages, newer
	if following {
		f.letGoOldest(at)
	}
	return nil
}

// index is where the message id is, -1 when it is not held.
func (f *feed) index(id string) int {
	return slices.IndexFunc(f.messages, func(m chat.Message) bool { return m.ID == id })
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
