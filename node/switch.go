package node

import (
	"context"
	"slices"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/ordering/dag"
	"tertulia/storage"
)

// How a room gets another order.

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

// encrypted reports whether a kind's body is sealed with the room key. A switch is a
// line of the history too, but who keeps the order must read it.
func encrypted(k ordering.Kind) bool { return k.Sealed() && k != ordering.KindSwitch }

// switchLine returns how a KindSwitch entry reads: its text is the order's name.
func switchLine(e *ordering.Entry) *storage.Line {
	s, err := ordering.DecodeSwitch(e.Body)
	if err != nil {
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
	v := r.view.Load()
	made := slices.IndexFunc(v.members, func(m dag.Member) bool { return m.Creator })
	switch {
	case made < 0:
		return chat.Errorf(chat.CodeBusy, "%s is still being joined.", v.meta.Name).WithHint("Wait until its history is here.")
	case v.members[made].Device != n.id.origin.Device:
		return chat.Errorf(chat.CodeForbidden, "Only the member that made %s can switch its order.", v.meta.Name).
			WithHint("That is %s.", v.names[v.members[made].Device])
	}
	has, err := ask(ctx, r, func() bool { return r.hasOrder(mode) })
	if err != nil || has {
		return err
	}
	_, _, err = r.sayAndWait(ctx, &saying{kind: ordering.KindSwitch, body: ordering.Switch{Mode: mode}.Encode()})
	return err
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
