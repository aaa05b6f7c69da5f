package node

import (
	"context"
	"slices"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/ordering/dag"
	"tertulia/p2p/wire"
	"tertulia/storage"
)

// A room's keys: which one seals, which are asked for, when a new one is due.

// Limits and waits of a room's keys.
const (
	keysEvery   = 5 * time.Second // between asking members for a room key, doubling
	keysRarely  = 10 * time.Minute
	maxWanted   = 1024 // room keys asked for
	rekeyFirst  = 500 * time.Millisecond
	rekeyStep   = 2 * time.Second // more for each member that ranks before us
	reopenBatch = 256             // entries made readable in one commit
)

// keyGrant says that an entry at a place handed out a room key.
type keyGrant struct {
	at ordering.Key
	id ordering.KeyID
	to []ordering.DeviceKey
}

// wanted says when to ask for a room key again.
type wanted struct {
	at    time.Time
	pause time.Duration
}

func later(a, b ordering.Key) ordering.Key {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

func appendGrant(grants []keyGrant, e *ordering.Entry) []keyGrant {
	g, err := ordering.DecodeKeyGrant(e.Body)
	if err != nil {
		return grants
	}
	grant := keyGrant{at: e.Key(), id: g.ID}
	for _, k := range g.Keys {
		grant.to = append(grant.to, k.Device)
	}
	grants = append(grants, grant)
	slices.SortFunc(grants, func(a, b keyGrant) int { return a.at.Compare(b.at) })
	return grants
}

// addKey takes a room key that is on disk and opens what it sealed.
func (r *room) addKey(k roomKey) {
	r.ring.add(k)
	delete(r.wantKeys, k.id())
	for {
		sealed, err := r.n.store.Unreadable(r.ctx, r.id, k.id(), reopenBatch)
		if err != nil || len(sealed) == 0 {
			return
		}
		w := &storage.Write{Room: r.id}
		for _, e := range sealed {
			// What cannot be opened now never will: it loses its key id.
			w.Opened = append(w.Opened, storage.Opened{ID: e.ID(), Line: *r.line(e, nil)})
		}
		if err := r.n.store.Commit(r.ctx, w); err != nil {
			r.log.Warn("could not store opened messages", "error", err)
			return
		}
	}
}

// reopen looks again at lines whose key was not here when they came: what a
// crash between a key and its lines left behind is opened, and for the rest the
// key is asked for.
func (r *room) reopen() {
	ids, err := r.n.store.Sealed(r.ctx, r.id)
	if err != nil {
		r.log.Warn("could not look for sealed messages", "error", err)
		return
	}
	for _, id := range ids {
		if k, ok := r.ring.get(id); ok {
			r.addKey(k)
		} else {
			r.wantKey(id)
		}
	}
}

// wantKey notes a key that members may have. Who invents key ids gets them asked
// for ever more rarely.
func (r *room) wantKey(id ordering.KeyID) {
	if _, ok := r.wantKeys[id]; !ok && len(r.wantKeys) < maxWanted {
		r.wantKeys[id] = &wanted{pause: keysEvery}
	}
}

// granted yields the grants of those who are members now, the newest in the
// predicted order first. One who was removed does not say what the others seal
// with.
func (r *room) granted(yield func(keyGrant) bool) {
	for _, g := range slices.Backward(r.grants) {
		if r.core.Graph().IsMember(g.at.Origin.Device) && !yield(g) {
			return
		}
	}
}

// currentKey is the newest room key that is here, or the room's first.
func (r *room) currentKey() (roomKey, bool) {
	for g := range r.granted {
		if k, ok := r.ring.get(g.id); ok {
			return k, true
		}
	}
	for id, k := range r.ring.all() {
		if !slices.ContainsFunc(r.grants, func(g keyGrant) bool { return g.id == id }) {
			return k, true
		}
	}
	return roomKey{}, false
}

// newestKeys returns the keys that a joiner is told at once, the room's first and
// the newest; it asks for others when it meets them.
func (r *room) newestKeys() []wire.RoomKey {
	var keys []wire.RoomKey
	told := make(map[ordering.KeyID]bool)
	tell := func(id ordering.KeyID) {
		if k, ok := r.ring.get(id); ok && !told[id] && len(keys) < wire.MaxRoomKeys {
			told[id] = true
			keys = append(keys, wire.RoomKey{ID: id, Key: k})
		}
	}
	for id := range r.ring.all() {
		if !slices.ContainsFunc(r.grants, func(g keyGrant) bool { return g.id == id }) {
			tell(id)
		}
	}
	for _, g := range slices.Backward(r.grants) {
		tell(g.id)
	}
	return keys
}

// owesKey reports whether somebody who is no member holds the newest room key: it
// was handed out before they went, or to them beside it.
func (r *room) owesKey() bool {
	for g := range r.granted {
		return g.at.Compare(r.gone) < 0 || slices.ContainsFunc(g.to, func(d ordering.DeviceKey) bool { return !r.core.Graph().IsMember(d) })
	}
	return slices.ContainsFunc(r.core.Graph().Known(), func(m dag.Member) bool { return m.Former })
}

// planRekey sets the time at which this member writes a new room key, if one is
// due: the first of those connected soon, the others in turn in case it does not.
func (r *room) planRekey() {
	if !r.core.Graph().IsMember(r.n.id.origin.Device) || r.meta.State != string(chat.Joined) || !r.owesKey() {
		r.rekeyAt = time.Time{}
		return
	}
	if !r.rekeyAt.IsZero() {
		return
	}
	rank := 0
	for _, d := range r.core.Connected() {
		if r.core.Graph().IsMember(d) && string(d[:]) < string(r.n.id.origin.Device[:]) {
			rank++
		}
	}
	r.rekeyAt = time.Now().Add(rekeyFirst + time.Duration(rank)*rekeyStep)
}

// rekey hands a new room key to those who are members now.
func (r *room) rekey() {
	var devices []ordering.DeviceKey
	for _, m := range r.core.Graph().Members() {
		devices = append(devices, m.Device)
	}
	g, err := grant(newRoomKey(), devices)
	if err != nil {
		r.log.Error("could not make a room key", "error", err)
		return
	}
	r.say(&saying{kind: ordering.KindKey, body: g.Encode(), reply: func(_ ordering.Ref, _ bool, err error) {
		if err != nil {
			r.log.Warn("could not write a new room key", "error", err)
		}
	}})
}

// askKeys asks the connected members, one after the other, for keys that sealed
// entries here and were never handed to this device.
func (r *room) askKeys(now time.Time) {
	r.keysAt = now.Add(keysEvery)
	var ids []ordering.KeyID
	for id, w := range r.wantKeys {
		if !now.Before(w.at) && len(ids) < wire.MaxRoomKeys {
			ids = append(ids, id)
			w.at, w.pause = now.Add(w.pause), min(2*w.pause, keysRarely)
		}
	}
	if len(ids) == 0 {
		return
	}
	peers := r.core.Connected()
	r.n.goFor(func(ctx context.Context) {
		for _, d := range peers {
			reply, err := r.n.net.Keys(ctx, d, wire.KeysRequest{Room: r.id, IDs: ids})
			if err != nil || len(reply.Keys) == 0 {
				continue
			}
			w := &storage.Write{Room: r.id}
			for _, k := range reply.Keys {
				if roomKey(k.Key).id() == k.ID && slices.Contains(ids, k.ID) {
					w.Keys = append(w.Keys, storage.RoomKey{ID: k.ID, Key: k.Key})
				}
			}
			if len(w.Keys) == 0 || r.n.store.Commit(ctx, w) != nil {
				continue
			}
			r.post(ctx, func() { //nolint:errcheck // stopping
				for _, k := range w.Keys {
					r.addKey(roomKey(k.Key))
				}
			})
			return
		}
	})
}
