package node

import (
	"maps"
	"slices"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/ordering/dag"
)

// A member that comes back may meet one who was admitted meanwhile, while all who
// saw that are away. The Admit entry and its past are not there yet, so to the one
// that comes back the other is a stranger, of whom it would take nothing. So a
// member shows to whoever is a member and does not share the room with it by whose
// hand it came in: the Admit entries that led to it. Who takes the author of one of
// them for a member, and knows nothing of the device it names, listens to that
// device from then on: it says how far it is, and serves nothing. What is pulled
// brings the entries themselves, and the graph judges as ever.

const (
	maxIntroduction = 16 // Admit entries that a device is introduced with
	maxShown        = 64 // Admit entries that are looked at for one connection of a stranger
	maxVouched      = 64 // devices a room listens to that are no members by its graph
)

// introduce shows members that do not share the room with this device how it came in,
// once for each of their connections.
func (r *room) introduce() {
	g := r.core.Graph()
	if r.meta.State != string(chat.Joined) || !g.IsMember(r.self.Device) {
		return
	}
	var to []ordering.DeviceKey
	for d, p := range r.n.unaware(r.id) {
		if g.IsMember(d) && r.introduced[d] != p.session {
			r.introduced[d] = p.session
			to = append(to, d)
		}
	}
	if len(to) == 0 {
		return
	}
	for _, at := range g.Admissions(r.self.Device, maxIntroduction) {
		for run, err := range r.n.store.Runs(r.ctx, r.id, []ordering.Want{{Origin: at.Origin, After: at.Seq - 1}}, 1) {
			if err != nil || run.First().Ref() != at {
				break // it is shown again at the next connection
			}
			for _, d := range to {
				r.n.net.Send(d, r.id, &ordering.Push{Run: run})
			}
		}
	}
}

// meet takes an Admit entry that a stranger shows, and reports whether it was looked
// at.
func (h *handler) meet(d ordering.DeviceKey, r *room, run ordering.Run) bool {
	n := (*Node)(h)
	if len(run.Entries) != 1 || run.First().Kind != ordering.KindAdmit {
		return false
	}
	n.mu.Lock()
	p := n.peers[d]
	p.shown++
	n.peers[d] = p
	n.mu.Unlock()
	if p.shown > maxShown {
		return false
	}
	v, err := r.verify(run)
	if err != nil {
		r.refused(err)
		return true
	}
	admit, err := ordering.DecodeAdmit(run.First().Body)
	if err != nil {
		return false
	}
	return r.post(n.ctx, func() { r.vouch(v.Run().Origin().Device, admit.Device) }) == nil
}

// vouch has the room listen to a device that a member admitted.
func (r *room) vouch(author, device ordering.DeviceKey) {
	if r.broken || r.meta.State != string(chat.Joined) || len(r.vouched) >= maxVouched || !r.mayVouch(author) || r.isKnown(device) {
		return
	}
	r.vouched[device] = author
	r.show()
}

// endVouching drops those of whom the graph knows by now, and those whose word is
// worth nothing any more, and then those for whom these vouched.
func (r *room) endVouching() {
	for before := -1; before != len(r.vouched); {
		before = len(r.vouched)
		maps.DeleteFunc(r.vouched, func(d, author ordering.DeviceKey) bool { return r.isKnown(d) || !r.mayVouch(author) })
	}
}

func (r *room) mayVouch(d ordering.DeviceKey) bool {
	return r.core.Graph().IsMember(d) || r.hasVoucher(d)
}

func (r *room) hasVoucher(d ordering.DeviceKey) bool {
	_, ok := r.vouched[d]
	return ok
}

// isKnown reports whether the device is, or was, a member.
func (r *room) isKnown(d ordering.DeviceKey) bool {
	return slices.ContainsFunc(r.core.Graph().Known(), func(m dag.Member) bool { return m.Device == d })
}
