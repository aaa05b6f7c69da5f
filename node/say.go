package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	core "tertulia/ordering/room"
)

// How what is said becomes entries.

const runBudget = 240 << 10 // bytes of entries said as one run

// saying is an entry on its way in.
type saying struct {
	kind  ordering.Kind
	stamp *ordering.Stamp
	plain []byte // of encrypted kinds: the payload
	body  []byte // of the others
	reply func(ref ordering.Ref, duplicate bool, err error)
}

// person makes the entry of what a person does.
func (r *room) person(key ed25519.PrivateKey, kind ordering.Kind, id string, p ordering.Payload) *saying {
	stamp, plain := stamped(key, r.id, r.n.id.origin.Device, id, p)
	return &saying{kind: kind, stamp: stamp, plain: plain}
}

// stamped makes the payload of what a person does, and the client's signature.
func stamped(key ed25519.PrivateKey, room ordering.RoomID, node ordering.DeviceKey, id string, p ordering.Payload) (*ordering.Stamp, []byte) {
	p.Salt = saltOf(key, room, id)
	plain := p.Encode()
	return ordering.SignClient(key, room, 0, node, id, plain), plain
}

// say adds an entry to those that go into the next run.
func (r *room) say(s *saying) { r.sayings = append(r.sayings, s) }

// speak writes what was said: as few runs as hold it.
func (r *room) speak() {
	says := r.sayings
	r.sayings = nil
	if len(says) == 0 {
		return
	}
	if r.meta.State != string(chat.Joined) || !r.core.Graph().IsMember(r.n.id.origin.Device) {
		err := chat.Errorf(chat.CodeBusy, "%s is still being joined.", r.meta.Name).WithHint("Wait until its history is here, then send again.")
		if r.meta.State == stateLeft || r.core.Graph().MemberCount() > 0 && r.meta.State == string(chat.Joined) {
			err = chat.Errorf(chat.CodeForbidden, "This device is no longer a member of %s.", r.meta.Name).WithHint("Ask a member for a new invite.")
		}
		for _, s := range says {
			s.reply(ordering.Ref{}, false, err)
		}
		return
	}
	pending := make(map[string]*repeats)
	says = slices.DeleteFunc(says, func(s *saying) bool { return r.repeated(s, pending) })
	for len(says) > 0 {
		n := r.sayRun(says)
		says = says[n:]
	}
}

// repeats are those that handed in a client id more than once within a batch.
type repeats struct {
	hash ordering.Hash
	also []*saying
}

// repeated answers a saying whose client id was handed in before.
func (r *room) repeated(s *saying, pending map[string]*repeats) bool {
	if s.stamp == nil {
		return false
	}
	conflict := chat.Errorf(chat.CodeConflict, "The client id %q was used with another text.", s.stamp.ID).
		WithHint("Take a new id for a new message.")
	key := string(s.stamp.Key[:]) + s.stamp.ID
	if p, ok := pending[key]; ok {
		if p.hash != s.stamp.Hash {
			s.reply(ordering.Ref{}, false, conflict)
		} else {
			p.also = append(p.also, s)
		}
		return true
	}
	row, found, err := r.n.store.Client(context.WithoutCancel(r.ctx), r.id, s.stamp.Key, s.stamp.ID)
	switch {
	case err != nil:
		s.reply(ordering.Ref{}, false, err)
		return true
	case found && row.ClientHash == s.stamp.Hash:
		s.reply(ordering.Ref{EntryID: row.ID, Hash: row.Hash}, true, nil)
		return true
	case found:
		s.reply(ordering.Ref{}, false, conflict)
		return true
	}
	p := &repeats{hash: s.stamp.Hash}
	pending[key] = p
	first := s.reply
	s.reply = func(ref ordering.Ref, duplicate bool, err error) {
		first(ref, duplicate, err)
		for _, again := range p.also {
			again.reply(ref, err == nil, err)
		}
	}
	return false
}

// sayRun says as many as fit one run, at least one, and returns how many.
func (r *room) sayRun(says []*saying) int {
	key, ok := r.currentKey()
	seq := r.core.NextSeq()
	var drafts []core.Draft
	size, n := 0, 0
	for ; n < len(says) && n < ordering.MaxRunEntries; n++ {
		s := says[n]
		size += len(s.plain) + len(s.body) + 512 + ordering.MaxDeps*(ordering.OriginSize+8+ordering.HashSize)/ordering.MaxRunEntries
		alone := !encrypted(s.kind)
		if n > 0 && (size > runBudget || alone) {
			break
		}
		d := core.Draft{Kind: s.kind, Client: s.stamp, Body: s.body, Plain: s.plain}
		if encrypted(s.kind) {
			if !ok {
				s.reply(ordering.Ref{}, false, chat.Errorf(chat.CodeBusy, "The key of %s is not here yet.", r.meta.Name).
					WithHint("It comes from another member as soon as one is reachable."))
				if n == 0 {
					return 1
				}
				break
			}
			id := ordering.EntryID{Origin: r.self, Seq: seq + uint64(n)}
			d.Body = key.seal(s.plain, place(r.id, 0, id, s.kind))
		}
		drafts = append(drafts, d)
		if alone {
			n++
			break
		}
	}
	now := time.Now()
	refs, err := r.core.Say(now, now, drafts...)
	said := says[:n]
	if err != nil {
		err = fmt.Errorf("node: say: %w", err)
		if errors.Is(err, core.ErrSetBack) {
			err = chat.Errorf(chat.CodeBusy, "This data directory is an older copy: %s is about to be fetched anew.", r.meta.Name).WithHint("Send again in a moment.")
		}
		for _, s := range said {
			s.reply(ordering.Ref{}, false, err)
		}
		return n
	}
	for i, ref := range refs {
		r.log.Debug("said", "entry", ref.EntryID.String())
		s := said[i]
		r.waits = append(r.waits, func(err error) { s.reply(ref, false, err) })
	}
	return n
}
