package node

import (
	"errors"
	"sync"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/node/invite"
	"tertulia/ordering"
	"tertulia/p2p/wire"
	"tertulia/storage"
)

// What hostile members, crashes and hasty callers try.

func TestWhatWasVerifiedBeforeItsKeyCameIsReadable(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	key := must(a.clientKey(t.Context(), "Ana"))(t)
	readable := inRoom(a, func(r *room) bool {
		k, _ := r.currentKey()
		e := r.core.Graph().Next(r.n.id.origin)
		stamp, plain := stamped(key, r.id, r.n.id.origin.Device, "c1", ordering.Payload{Name: "Ana", Text: "hello"})
		e.Kind, e.Client = ordering.KindMessage, stamp
		e.Body = k.seal(plain, place(r.id, 0, e.ID(), e.Kind))
		l := r.line(ordering.Seal(e), nil) // as if the key had come after the check
		return l.Readable && l.Text == "hello"
	})
	if !readable {
		t.Error("not readable although the key is here")
	}
}

func TestAJoinerIsToldNoMoreKeysThanAFrameHolds(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	first := a.keyInUse()
	keys := inRoom(a, func(r *room) []wire.RoomKey {
		for n := range uint64(wire.MaxRoomKeys + 100) {
			k := newRoomKey()
			r.ring.add(k)
			r.grants = append(r.grants, keyGrant{at: ordering.Key{TS: n + 10, EntryID: ordering.EntryID{Origin: r.n.id.origin, Seq: n + 2}}, id: k.id()})
		}
		return r.newestKeys()
	})
	if len(keys) != wire.MaxRoomKeys || keys[0].ID != first {
		t.Errorf("%d keys, the room's first among them: %t", len(keys), keys[0].ID == first)
	}
}

func TestWhoWasRemovedDoesNotSayWhatTheOthersSealWith(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	a, c := nodes[0], nodes[2]
	// n3 hands out a key with a clock far ahead, then is removed.
	evil := newRoomKey()
	if err := a.RemoveMember(t.Context(), lobby, "n3"); err != nil {
		t.Fatal(err)
	}
	used := inRoom(a, func(r *room) ordering.KeyID {
		r.ring.add(evil)
		r.grants = append(r.grants, keyGrant{at: ordering.Key{TS: 1 << 40, EntryID: ordering.EntryID{Origin: c.id.origin, Seq: 99}}, id: evil.id(), to: []ordering.DeviceKey{a.device(), nodes[1].device()}})
		k, _ := r.currentKey()
		return k.id()
	})
	if used == evil.id() {
		t.Error("the others seal with the key of one who was removed")
	}
}

func TestARoomWhoseHistoryIsHereIsJoinedAfterACrashInBetween(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	// As a crash leaves it that comes after the last entry and before the state.
	err := inRoom(a, func(r *room) error {
		r.meta.State, r.meta.Via, r.meta.Target = string(chat.Joining), ordering.DeviceKey{1}, r.core.Graph().Have().Clone()
		return r.saveMeta()
	})
	if err != nil {
		t.Fatal(err)
	}
	a.stop()
	a.again().untilState(lobby, chat.Joined)
}

func TestInventedHeadsDoNotHoldAJoinerForEver(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	b := nodes[1]
	inRoom(b, func(r *room) bool {
		r.meta.State, r.meta.Via = string(chat.Joining), nodes[0].device()
		r.meta.Target = r.core.Graph().Have().Clone()
		r.meta.Target[ordering.Origin{Device: ordering.DeviceKey{7}}] = 5
		r.stallAt = time.Now()
		return true
	})
	b.untilState(lobby, chat.Joined)
}

func TestAJoinerAsksAnotherMemberWhenTheOneThatAdmittedItIsGone(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	c := start(t, loopback(t, "n3"))
	link := nodes[0].invite(chat.InviteOptions{})
	meta := must(c.JoinRoom(t.Context(), link))(t)
	c.untilState(meta.ID, chat.Joined)
	// As if the admitting member had gone before it told anybody.
	inRoom(c, func(r *room) bool {
		r.meta.State, r.meta.Via = string(chat.Joining), ordering.DeviceKey{7}
		r.meta.Target = ordering.Vector{ordering.Origin{Device: ordering.DeviceKey{7}}: 5}
		for d := range r.peers {
			r.core.Disconnect(time.Now(), d)
			delete(r.peers, d)
		}
		r.stallAt = time.Now()
		return true
	})
	c.until("it was admitted by another", func() bool { return c.state(lobby).State == chat.Joined })
}

func TestARoomIsEnteredOnceHoweverOftenItsInviteIsPasted(t *testing.T) {
	t.Parallel()
	a, b := start(t, loopback(t, "n1")), start(t, loopback(t, "n2"))
	a.create(lobby)
	link := a.invite(chat.InviteOptions{})
	var hands sync.WaitGroup
	for range 8 {
		hands.Go(func() {
			if _, err := b.JoinRoom(t.Context(), link); err != nil {
				t.Error(err)
			}
		})
	}
	hands.Wait()
	b.untilState(lobby, chat.Joined)
	if rooms := must(b.Rooms(t.Context()))(t); len(rooms) != 1 {
		t.Errorf("%d rooms", len(rooms))
	}
}

func TestARoomHasOneGoroutine(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	inRoom(a, func(*room) bool { return true }) // it runs
	a.startRoom(a.inner())
	if n := len(a.runRooms); n != 0 {
		t.Errorf("started %d times more", n)
	}
}

func TestABadAddressInAnInviteIsRefusedAndHarmsNoStart(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	l := must(invite.Parse(a.invite(chat.InviteOptions{}), time.Now()))(t)
	l.Room[0] ^= 1
	l.Peers = []invite.Peer{{Device: a.device(), Addrs: []string{"hello"}}}
	_, err := a.JoinRoom(t.Context(), l.String())
	wantCode(t, err, chat.CodeInvalid)
	// One that an older program stored does not keep the node from starting.
	stored := storage.Room{ID: l.Room, Name: "other", State: string(chat.Joining), Invite: l.String(), Mode: ordering.Lamport}
	if err := a.store.Commit(t.Context(), &storage.Write{Room: l.Room, Meta: &stored}); err != nil {
		t.Fatal(err)
	}
	a.stop()
	a.again().untilState(lobby, chat.Joined)
}

func TestABrokenRoomWaitsForItsDiskWithoutSpinning(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	soon := inRoom(a, func(r *room) time.Duration {
		r.broken, r.probeAt = true, time.Now().Add(probeEvery)
		r.keysAt = time.Now().Add(-time.Hour) // something else is overdue
		d := time.Until(r.deadline())
		r.broken = false
		return d
	})
	if soon < probeEvery/2 {
		t.Errorf("it looks again after %s", soon)
	}
}

// People write as soon as the disk takes writes again; peers are told once it is
// steady, so that one at the edge does not change who leads with every try.
func TestADiskThatFailedCountsAgainOnceItIsSteady(t *testing.T) {
	t.Parallel()
	r := start(t, loopback(t, "n1"))
	is := func(when string, writes, counts bool) {
		t.Helper()
		if w := must(r.Status(t.Context()))(t).Disk == "ok"; w != writes || r.diskOK() != counts {
			t.Errorf("%s: takes writes %t, counts %t; want %t, %t", when, w, r.diskOK(), writes, counts)
		}
	}
	is("at first", true, true)
	r.setDisk(nil)
	is("without a failure", true, true)
	r.setDisk(errors.New("full"))
	is("full", false, false)
	r.setDisk(nil)
	r.steady(time.Now())
	is("freed", true, false)
	r.setDisk(errors.New("full"))
	r.steady(time.Now().Add(time.Hour))
	is("full again", false, false)
	r.setDisk(nil)
	r.setDisk(nil) // by another room
	r.steady(time.Now().Add(diskSteady))
	is("steady", true, true)
}
