package node

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"tertulia/chat"
	"tertulia/node/invite"
	"tertulia/ordering"
	"tertulia/ordering/dag"
	"tertulia/storage"
)

// A data directory that is older than what members remember of it, a restored
// backup, goes on as a new instance (PROTOCOL.md 1, Crash). Its chains may have
// been continued by what was lost, so that whatever it wrote since may be a fork:
// the room whose members say so begins anew from what they hold, and what only
// this copy has is said again under the new instance, with the stamps of those who
// said it. Until that is done the old copy is kept aside (storage.SetAside).

// Waits of saying again what was set aside.
const (
	salvageAgain   = 5 * time.Second // after it failed, or not all of it is final yet; doubling
	salvageSlowest = 10 * time.Minute
)

const setBackInWords = "This data directory is an older copy of what this device wrote. It goes on as a new instance and fetches what it lacks."

// origin is who writes here: this device, under the instance of its directory.
func (n *Node) origin() ordering.Origin {
	return ordering.Origin{Device: n.id.origin.Device, Instance: *n.instance.Load()}
}

// originIn is who writes in a room.
func (n *Node) originIn(ctx context.Context, id ordering.RoomID) (ordering.Origin, error) {
	o := n.origin()
	kept, err := n.store.Get(ctx, settingKept+id.String())
	if len(kept) == ordering.InstanceSize {
		copy(o.Instance[:], kept)
	}
	return o, err
}

// goOnAnew is called when members remember more of this replica than its disk
// holds: the room begins anew, and so does the instance of every other. On the disk
// this is one commit.
func (r *room) goOnAnew() {
	if s := r.meta.State; s != string(chat.Joined) && s != string(chat.Joining) {
		return // nothing is said in it any more
	}
	r.n.renewing.Lock()
	defer r.n.renewing.Unlock()
	instance := *r.n.instance.Load()
	put := make(map[string][]byte)
	drawn := r.self.Instance == instance
	if drawn {
		rand.Read(instance[:])
		put[settingInstance] = instance[:]
		r.n.keepAlone(put)
	}
	put[settingKept+r.id.String()] = nil
	m := r.meta
	m.State, m.Reason, m.Via, m.Target, m.Invite = string(chat.Joining), setBackInWords, ordering.DeviceKey{}, nil, r.wayBack()
	err := r.n.store.SetAside(context.WithoutCancel(r.ctx), r.self.Device, &storage.Write{Room: r.id, Meta: &m, Entries: r.genesis(), Put: put})
	if err != nil {
		r.breakDown(err)
		return
	}
	r.log.Warn("this data directory is older than what members remember of it; it goes on as a new instance",
		"was", r.self.Tag(), "is", ordering.Origin{Device: r.self.Device, Instance: instance}.Tag())
	r.meta, r.stallAt, r.rekeyAt = m, time.Time{}, time.Time{}
	r.seams.forget()
	if drawn {
		r.n.instance.Store(&instance)
		r.n.renewOthers(r)
	}
	if err := r.load(r.ctx); err != nil {
		r.breakDown(err)
		return
	}
	r.reconcile()
	r.show()
	r.n.membersChanged()
	r.n.goFor(r.askToJoin)
	r.n.emit(chat.Event{Type: chat.EventRoom, Room: m.Name, RoomID: r.id.String(), State: m.State, Reason: m.Reason})
}

// keepAlone puts the instance of each room in which this replica is the only
// voter: nobody else could ever seat another, so such a room goes on as it is until
// somebody remembers more of it.
func (n *Node) keepAlone(put map[string][]byte) {
	for _, r := range n.rooms.Load().list {
		v := r.view.Load()
		if len(v.order.Voters) == 1 && v.order.Voters[0] == v.origin && len(v.order.Outgoing) == 0 {
			put[settingKept+r.id.String()] = v.origin.Instance[:]
		}
	}
}

// renewOthers has all rooms but one go on under the directory's instance.
func (n *Node) renewOthers(but *room) {
	for _, r := range n.rooms.Load().list {
		if r != but {
			n.goFor(func(ctx context.Context) { r.post(ctx, r.renew) }) //nolint:errcheck // stopping
		}
	}
}

// renew goes on under the instance that is the room's now.
func (r *room) renew() {
	self, err := r.n.originIn(r.ctx, r.id)
	if r.broken || err == nil && self == r.self {
		return // mending reads it anyway
	}
	if err == nil {
		for _, tell := range r.waits { // of what the old core had taken
			tell(errRenewed)
		}
		r.waits = nil
		err = r.load(r.ctx)
	}
	if err != nil {
		r.breakDown(err)
		return
	}
	r.reconcile()
}

var errRenewed = errors.New("node: the room goes on under another instance")

// genesis returns the entry with which the room begins, none if it is not here.
func (r *room) genesis() []storage.Entry {
	for run, err := range r.n.store.Runs(r.ctx, r.id, []ordering.Want{{Origin: r.core.Graph().Creator()}}, 1) {
		if e := run.First(); err == nil && e == run.Last() && e.Kind == ordering.KindGenesis {
			return []storage.Entry{{Entry: e, Run: 1, Sig: run.Sig}}
		}
		break
	}
	return nil
}

// wayBack is a link by which this device, a member already, asks the members to be
// shown the room: its secret opens nothing.
func (r *room) wayBack() string {
	l := invite.Link{Room: r.id, Name: r.meta.Name}
	rand.Read(l.Secret[:])
	ask := r.core.Connected()
	for _, m := range r.core.Graph().Members() {
		ask = append(ask, m.Device)
	}
	for _, d := range ask {
		known := d == r.self.Device || slices.ContainsFunc(l.Peers, func(p invite.Peer) bool { return p.Device == d })
		if addrs := worthTelling(r.n.net.AddrsOf(d)); !known && len(addrs) > 0 && len(l.Peers) < invite.MaxPeers {
			l.Peers = append(l.Peers, invite.Peer{Device: d, Addrs: addrs})
		}
	}
	if old, _ := invite.Parse(r.meta.Invite, time.Time{}); len(l.Peers) == 0 {
		l.Peers = old.Peers
	}
	return l.String()
}

// salvage begins to say again what was set aside, once the room is joined.
func (r *room) salvage() {
	if r.saves || r.meta.State != string(chat.Joined) {
		return
	}
	r.saves = true
	r.n.goFor(func(ctx context.Context) {
		for pause := salvageAgain; ; pause = min(2*pause, salvageSlowest) {
			done, err := r.sayAside(ctx)
			if done || ctx.Err() != nil {
				break
			}
			if err != nil {
				r.log.Warn("could not say again all that was set aside", "error", err)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
		r.post(ctx, func() { r.saves = false }) //nolint:errcheck // stopping
	})
}

// sayAside says again what was set aside, and drops it once the own words in it are
// final: until then another branch may still win over that by which the room has
// them. Own words carry their old stamps, and others' runs are themselves, so what
// the room has already is no news to it, however often this is done.
func (r *room) sayAside(ctx context.Context) (done bool, err error) {
	asides, err := r.n.store.Asides(ctx, r.id)
	if err != nil {
		return false, err
	}
	done = true
	for _, a := range asides {
		wants := make([]ordering.Want, len(a.Origins))
		for i, o := range a.Origins {
			wants[i].Origin = o
		}
		final := true
		for run, err := range r.n.store.Runs(ctx, a.ID, wants, 0) {
			if err != nil {
				return false, err
			}
			if run.Origin().Device == r.n.id.origin.Device {
				said, err := r.sayAgain(ctx, run)
				if err != nil {
					return false, err
				}
				final = final && said == 0
			} else if err := r.offer(ctx, run); err != nil {
				return false, err
			}
		}
		if !final {
			done = false
			continue
		}
		if err := r.n.store.DropAside(ctx, a.ID); err != nil {
			return false, err
		}
		r.log.Info("what was set aside is said")
	}
	return done, nil
}

// sayAgain says what people said in an own run and is not final, and renews those
// own acts that others wait for. It returns how many that were, once they are
// durable.
func (r *room) sayAgain(ctx context.Context, run ordering.Run) (int, error) {
	var says []*saying
	answers := make(chan error, len(run.Entries))
	for _, e := range run.Entries {
		s := &saying{kind: e.Kind, stamp: e.Client, reply: func(_ ordering.Ref, _ bool, err error) { answers <- err }}
		if final, err := r.isSaid(ctx, e.Client); err != nil {
			return 0, err
		} else if final {
			continue
		}
		switch {
		case !e.Kind.Sealed() || e.Kind.Plain():
			s.body = e.Body
		case e.Client == nil:
			continue
		default:
			var err error
			if s.plain, err = r.ring.open(e); err != nil {
				r.log.Warn("cannot say again what cannot be opened", "entry", e.ID().String(), "error", err)
				continue
			}
		}
		says = append(says, s)
	}
	said, err := ask(ctx, r, func() int {
		says = slices.DeleteFunc(says, func(s *saying) bool { return s.stamp == nil && !r.owes(s) })
		r.sayings = append(r.sayings, says...)
		return len(says)
	})
	if err != nil {
		return 0, err
	}
	waits := 0
	for range said {
		one, err := await(ctx, r, answers)
		switch {
		case err != nil:
			return 0, err
		case chat.CodeOf(one) == chat.CodeConflict: // another text took the id meanwhile
		case one != nil:
			return 0, one
		default:
			waits++
		}
	}
	return waits, nil
}

// isSaid reports whether what a client handed in is final.
func (r *room) isSaid(ctx context.Context, s *ordering.Stamp) (bool, error) {
	if s == nil {
		return false, nil
	}
	row, found, err := r.n.store.Client(ctx, r.id, s.Key, s.ID)
	return found && row.Final.Index > 0, err
}

// owes reports whether an own act without a stamp is unknown to the room.
func (r *room) owes(s *saying) bool {
	g := r.core.Graph()
	switch s.kind {
	case ordering.KindInvite:
		i, err := ordering.DecodeInvite(s.body)
		return err == nil && g.CheckInvite(i.Key, ordering.DeviceKey{}, 0) == dag.UnknownInvite
	case ordering.KindRevoke:
		v, err := ordering.DecodeRevoke(s.body)
		problem := g.CheckInvite(v.Key, ordering.DeviceKey{}, 0)
		return err == nil && problem != dag.Revoked && problem != dag.UnknownInvite
	case ordering.KindRemove:
		v, err := ordering.DecodeRemove(s.body)
		return err == nil && g.IsMember(v.Device)
	case ordering.KindSwitch:
		v, err := ordering.DecodeSwitch(s.body)
		return err == nil && !r.hasOrder(v.Mode)
	case ordering.KindTitle:
		v, err := ordering.DecodeTitle(s.body)
		return err == nil && !slices.Contains(slices.Collect(maps.Values(r.titles)), roomName(v.Name, r.id))
	case ordering.KindGenesis, ordering.KindAdmit, ordering.KindKey, ordering.KindLeave, ordering.KindNull,
		ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed:
	}
	return false
}

// offer takes a run of somebody else's that the members did not have, unless it
// stands on what nobody has any more; it returns when that is durable.
func (r *room) offer(ctx context.Context, run ordering.Run) error {
	v, err := r.verify(run)
	if err != nil {
		r.refused(err)
		return nil
	}
	answer := make(chan error, 1)
	err = r.post(ctx, func() {
		switch {
		case r.broken:
			answer <- r.n.diskError()
		case r.core.Graph().Holds(run.Last().ID()) || !r.founded(run):
			answer <- nil
		default:
			r.refused(r.core.Receive(time.Now(), r.self.Device, v))
			r.waits = append(r.waits, func(err error) { answer <- err })
		}
	})
	if err != nil {
		return err
	}
	kept, err := await(ctx, r, answer)
	return errors.Join(err, kept)
}

// founded reports whether the room holds all that a run stands on.
func (r *room) founded(run ordering.Run) bool {
	g := r.core.Graph()
	if first := run.First(); first.Seq > 1 && !g.Holds(ordering.EntryID{Origin: first.Origin, Seq: first.Seq - 1}) {
		return false
	}
	for _, e := range run.Entries {
		for _, d := range e.Deps {
			if h, ok := g.HashOf(d.EntryID); !ok || h != d.Hash {
				return false
			}
		}
	}
	return true
}
