package node

import (
	"cmp"
	"context"
	"slices"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/ordering/dag"
	"tertulia/ordering/linear"
	"tertulia/storage"
)

// How a room gets another order, and another name.

// wish is the order that the creator of a room asked for last.
type wish struct {
	at   ordering.Key
	mode ordering.Mode // zero: none but the one it began with
}

// take notes a KindSwitch entry.
func (w *wish) take(e *ordering.Entry) {
	if s, err := ordering.DecodeSwitch(e.Body); err == nil && e.Key().Compare(w.at) > 0 {
		w.at, w.mode = e.Key(), s.Mode
	}
}

// encrypted reports whether a kind's body is sealed with the room key.
func encrypted(k ordering.Kind) bool { return k.Sealed() && !k.Plain() }

// plainLine returns how an entry of a plain kind reads: its text is the name of the
// order or of the room.
func plainLine(e *ordering.Entry) *storage.Line {
	if t, err := ordering.DecodeTitle(e.Body); e.Kind == ordering.KindTitle && err == nil {
		return &storage.Line{Text: roomName(t.Name, e.Room), Readable: true}
	}
	s, err := ordering.DecodeSwitch(e.Body)
	if e.Kind != ordering.KindSwitch || err != nil {
		return &storage.Line{} // a preview; the graph takes none such
	}
	return &storage.Line{Text: string(orderOf(s.Mode)), Readable: true}
}

// SwitchOrder asks for another order of a room. Only the room's creator can. It
// returns when that is on this node's disk; the room has the other order once that
// is final itself. Of the order that the room has, it says nothing.
func (n *Node) SwitchOrder(ctx context.Context, ref string, order chat.Order) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	mode, ok := modeOf(order)
	if !ok {
		return chat.Errorf(chat.CodeInvalid, "There is no order %q.", order).WithHint("A room's order is lamport or leader.")
	}
	if err := n.creatorAlone(r.view.Load(), "switch its order"); err != nil {
		return err
	}
	has, err := ask(ctx, r, func() bool { return r.hasOrder(mode) })
	if err != nil || has {
		return err
	}
	_, _, err = r.sayAndWait(ctx, &saying{kind: ordering.KindSwitch, body: ordering.Switch{Mode: mode}.Encode()})
	return err
}

// creatorAlone returns an error unless this device made the room.
func (n *Node) creatorAlone(v *roomView, act string) error {
	made := slices.IndexFunc(v.members, func(m dag.Member) bool { return m.Creator })
	switch {
	case made < 0:
		return chat.Errorf(chat.CodeBusy, "%s is still being joined.", v.meta.Name).WithHint("Wait until its history is here.")
	case v.members[made].Device != n.id.origin.Device:
		return chat.Errorf(chat.CodeForbidden, "Only the member that made %s can %s.", v.meta.Name, act).
			WithHint("That is %s.", v.names[v.members[made].Device])
	}
	return nil
}

// RenameRoom gives a room another name. Only its creator can. It returns when that
// is on this node's disk; every member has the name once it is final.
func (n *Node) RenameRoom(ctx context.Context, ref, name string) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	if name, err = cleanName("The room's name", name); err != nil {
		return err
	}
	v := r.view.Load()
	if err := n.creatorAlone(v, "rename it"); err != nil || v.meta.Name == name {
		return err
	}
	_, _, err = r.sayAndWait(ctx, &saying{kind: ordering.KindTitle, body: ordering.Title{Name: name}.Encode()})
	return err
}

// noteTitle keeps the name that an entry gives the room until that is final.
func (r *room) noteTitle(e *ordering.Entry) {
	if t, err := ordering.DecodeTitle(e.Body); err == nil {
		r.titles[e.ID()] = roomName(t.Name, r.id)
	}
}

// named returns the name that the last of the finals gives the room, "" for none.
func (r *room) named(finals []linear.Final, installed []ordering.Listed) string {
	name := ""
	if len(r.titles) == 0 {
		return name
	}
	for _, l := range installed {
		name = cmp.Or(r.titles[l.EntryID], name)
	}
	for _, f := range finals {
		if f.Index > 0 {
			name = cmp.Or(r.titles[f.ID], name)
		}
	}
	return name
}

// hasOrder reports whether the room has an order or is about to get it.
func (r *room) hasOrder(mode ordering.Mode) bool {
	order := r.core.Order()
	wished := r.wish.mode
	if wished == 0 {
		wished = r.meta.Mode
	}
	return wished == mode && (order.Mode == mode || order.Tentative > 0)
}
