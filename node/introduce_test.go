package node

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/storage"
)

// told waits until a node knows where another listens.
func (r *rig) told(who *rig) {
	r.t.Helper()
	r.until("it is told where "+who.NodeID()+" is", func() bool {
		return slices.ContainsFunc(must(r.store.Peers(r.t.Context()))(r.t), func(p storage.Peer) bool { return p.Device == who.device() })
	})
}

// b is away while a admits c, and c d. Then b and d meet, and nobody else is there.
func TestWhoWasAdmittedMeanwhileIsListenedTo(t *testing.T) {
	t.Parallel()
	a, b, c, d := start(t, loopback(t, "a")), start(t, loopback(t, "b")), start(t, loopback(t, "c")), start(t, loopback(t, "d"))
	a.create(lobby)
	b.join(a.invite(chat.InviteOptions{}))
	b.stop()
	c.join(a.invite(chat.InviteOptions{}))
	d.join(c.invite(chat.InviteOptions{}))
	said := c.say("while b was away")
	d.untilShown(said.ID)
	d.told(b)
	a.stop()
	c.stop()
	b = b.again()
	b.untilShown(said.ID)
	b.untilShown(d.say("to b").ID)
	d.untilShown(b.say("to d").ID)
	if n := inRoom(b, func(r *room) int { return len(r.vouched) }); n > 0 {
		t.Errorf("%d are vouched for, who are members", n)
	}
}

func TestOnlyAMemberVouches(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3", "n4")
	a, b, c, gone := nodes[0], nodes[1], nodes[2], nodes[3]
	id := b.inner().id
	remove := func(who *rig) {
		a.remove(who)
		b.until(who.NodeID()+" is removed", func() bool { return !b.inner().view.Load().member[who.device()] })
	}
	remove(gone)
	key, stranger := testDevice(99)
	_, other := testDevice(98)

	// show hands b an Admit entry, of which only the signature matters yet.
	show := func(by ordering.DeviceKey, key ed25519.PrivateKey, whom ordering.DeviceKey, spoil func(*ordering.Run)) (listens bool) {
		e := ordering.Entry{Room: id, Origin: ordering.Origin{Device: by}, Seq: 77, TS: 77, Kind: ordering.KindAdmit, Body: ordering.Admit{Device: whom, Name: "x"}.Encode()}
		run := ordering.SignRun(key, ordering.Seal(e)).Run()
		spoil(&run)
		(*handler)(b.Node).Message(other, id, &ordering.Push{Run: run})
		return inRoom(b, func(r *room) bool { return r.hasVoucher(whom) })
	}
	good := func(*ordering.Run) {}
	if show(stranger, key, stranger, good) {
		t.Error("a stranger vouches for itself")
	}
	if show(c.device(), c.id.key, stranger, func(r *ordering.Run) { r.Sig[0] ^= 1 }) {
		t.Error("a forged entry vouches")
	}
	if show(gone.device(), gone.id.key, stranger, good) {
		t.Error("one who was removed vouches")
	}
	if show(c.device(), c.id.key, gone.device(), good) {
		t.Error("one who was removed is listened to")
	}
	if !show(c.device(), c.id.key, stranger, good) {
		t.Error("a member does not vouch")
	}
	if !show(stranger, key, other, good) {
		t.Error("who is vouched for does not")
	}
	remove(c)
	if n := inRoom(b, func(r *room) int { return len(r.vouched) }); n > 0 {
		t.Errorf("%d are listened to on the word of one who was removed", n)
	}
	for range maxShown {
		show(c.device(), c.id.key, stranger, good)
	}
	if show(a.device(), a.id.key, stranger, good) {
		t.Error("a stranger may show what it likes as often as it likes")
	}
}
