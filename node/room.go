package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/ordering/dag"
	"tertulia/ordering/linear"
	core "tertulia/ordering/room"
	"tertulia/p2p/wire"
	"tertulia/storage"
)

// Limits and waits of a room's owner.
const (
	inboxSize    = 1024 // things waiting for the room's goroutine
	drainMost    = 256  // of these, taken before one commit
	probeBytes   = 1 << 20
	probeEvery   = time.Second // between tries while the disk takes nothing
	previewSize  = 50          // newest messages shown while history comes
	fetchTimeout = 10 * time.Minute
	handoverLook = 20 * time.Millisecond
	handoverWait = 2 * time.Second // for another to lead, before this node leaves
)

// room owns the core of one room. Its goroutine alone touches the fields below
// the line; others post to the inbox and read the view.
type room struct {
	n     *Node
	id    ordering.RoomID
	log   *slog.Logger
	ring  keyring
	inbox chan func()
	again chan struct{} // one place: look again at whom the room is shared with
	done  chan struct{} // closed when run returned
	view  atomic.Pointer[roomView]

	started atomic.Bool

	// ---
	ctx      context.Context // of run: ends what the room started
	self     ordering.Origin // under which this device writes here
	core     *core.Core
	meta     storage.Room
	grants   []keyGrant
	gone     ordering.Key // of the last entry by which somebody left or was removed
	wish     wish
	sayings  []*saying
	waits    []func(error) // told when the next commit is done
	peers    map[ordering.DeviceKey]uint64
	census   int    // MembersVersion last told to the node
	held     uint64 // HeldVersion last shown
	written  uint64 // transactions on the disk when people were last told of a change
	people   people
	receipts uint64   // version of people last shown
	readers  []reader // as last made durable
	seams    seams
	pulled   time.Time                   // when a fetch brought something last
	titles   map[ordering.EntryID]string // names that entries give the room
	turns    []chat.Turn
	settings chat.RoomSettings

	broken   bool      // the disk took no writes; the core is not to be trusted
	probeAt  time.Time // when to try the disk again
	saves    bool      // what was set aside is being said again
	rekeyAt  time.Time // when to write a new room key unless somebody else did
	keysAt   time.Time // when to ask for missing keys again
	wantKeys map[ordering.KeyID]*wanted
	stallAt  time.Time // when joining is taken to be stuck

	introduced map[ordering.DeviceKey]uint64             // to whom this device showed how it was admitted, and in which session
	vouched    map[ordering.DeviceKey]ordering.DeviceKey // who is listened to, and who admitted it
}

// roomView is what others may know of a room, made anew after each change.
type roomView struct {
	meta      storage.Room
	members   []dag.Member
	names     map[ordering.DeviceKey]string
	member    map[ordering.DeviceKey]bool
	connected []ordering.DeviceKey
	entries   uint64
	parked    int
	refused   map[ordering.Reason]uint64 // by the graph, since the room was loaded
	self      bool                       // this device may write
	origin    ordering.Origin            // and under which it does
	order     core.Order
	guests    map[ordering.DeviceKey]bool // no members, and told of the room: seats of the control log, and who was vouched for
	held      []core.Held                 // of this device's chains, what others hold
	readers   []reader
	read      map[readerKey]uint64 // receipts that are known
	typing    []chat.Person
	merges    []chat.Merge
	settings  chat.RoomSettings
}

func newRoom(n *Node, meta storage.Room) *room {
	return &room{
		n: n, id: meta.ID, meta: meta, ctx: context.Background(),
		log:      n.log.With("room", meta.ID.String()[:8]),
		inbox:    make(chan func(), inboxSize),
		again:    make(chan struct{}, 1),
		done:     make(chan struct{}),
		peers:    make(map[ordering.DeviceKey]uint64),
		wantKeys: make(map[ordering.KeyID]*wanted),
		census:   -1,
		people:   newPeople(),
		seams:    newSeams(),
		titles:   make(map[ordering.EntryID]string),

		introduced: make(map[ordering.DeviceKey]uint64),
		vouched:    make(map[ordering.DeviceKey]ordering.DeviceKey),
	}
}

// load restores the core from disk. It is called before run, and again when a
// write failed.
func (r *room) load(ctx context.Context) error {
	self, err := r.n.originIn(ctx, r.id)
	if err != nil {
		return err
	}
	saved, err := r.saved(ctx)
	if err != nil {
		return err
	}
	c := core.New(core.Config{
		Room: r.id, Self: self, Key: r.n.id.key, Priority: int32(r.n.cfg.Priority), Seed: rand.Uint64(),
		Waits: core.Waits{Stable: r.n.cfg.Stability, Hold: r.n.cfg.Hold}, Keep: r.n.cfg.Keep,
	}, saved)
	var grants []keyGrant
	var gone ordering.Key
	var asked wish
	clear(r.titles)
	for stored, err := range r.n.store.Restore(ctx, r.id) {
		if err != nil {
			return err
		}
		e := stored.Entry
		c.Restore(e, stored.Run, stored.Beside)
		r.seams.has(e)
		switch e.Kind {
		case ordering.KindKey:
			grants = appendGrant(grants, e)
		case ordering.KindLeave, ordering.KindRemove:
			gone = later(gone, e.Key())
		case ordering.KindSwitch:
			asked.take(e)
		case ordering.KindTitle:
			r.noteTitle(e)
		case ordering.KindGenesis, ordering.KindAdmit, ordering.KindInvite, ordering.KindRevoke, ordering.KindNull,
			ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed:
		}
	}
	keys, err := r.n.store.Keys(ctx, r.id)
	if err != nil {
		return err
	}
	for _, k := range keys {
		r.ring.add(roomKey(k.Key))
	}
	for _, g := range grants {
		if _, held := r.ring.get(g.id); !held {
			r.wantKey(g.id)
		}
	}
	if err := r.loadAside(ctx); err != nil {
		return err
	}
	now := time.Now()
	if err := c.Resume(now); err != nil {
		return fmt.Errorf("node: resume the order of room %s: %w", r.id, err)
	}
	c.Health(now, r.n.diskOK(), r.n.draining.Load())
	r.core, r.self, r.grants, r.gone, r.wish, r.census = c, self, grants, gone, asked, -1
	clear(r.peers)
	if r.owesKey() {
		r.planRekey()
	}
	return nil
}

// saved reads where the order stood.
func (r *room) saved(ctx context.Context) (s core.Saved, err error) {
	store := r.n.store
	if s.Control, s.Mark, err = store.Control(ctx, r.id); err != nil {
		return s, err
	}
	if s.Emitted, err = store.Emitted(ctx, r.id); err != nil {
		return s, err
	}
	if s.Recent, err = store.Recent(ctx, r.id); err != nil {
		return s, err
	}
	if s.Kept, err = store.Kept(ctx, r.id); err != nil {
		return s, err
	}
	if s.Seal, err = store.Get(ctx, settingSeal+r.id.String()); err != nil {
		return s, err
	}
	s.Seen, err = store.Seen(ctx, r.id)
	return s, err
}

// run owns the room until ctx ends.
func (r *room) run(ctx context.Context) error {
	defer close(r.done)
	r.ctx = ctx
	r.reopen()
	r.reconcile()
	r.salvage()
	r.flush()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := time.Hour
		if d := r.deadline(); !d.IsZero() {
			wait = max(0, time.Until(d))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			r.drain()
			r.flush()
			r.leave(timer)
			r.part()
			return nil
		case f := <-r.inbox:
			f()
			r.drain()
		case <-r.again:
			r.reconcile()
		case <-timer.C:
		}
		r.flush()
	}
}

// leave hands leadership over before this node goes (B9), for as long as
// handoverWait.
func (r *room) leave(timer *time.Timer) {
	until := time.Now().Add(handoverWait)
	r.core.Health(time.Now(), r.n.diskOK(), true)
	r.flush()
	for !r.broken && !r.core.MayLeave() && time.Now().Before(until) {
		wait := time.Until(until)
		if d := r.deadline(); !d.IsZero() {
			wait = min(wait, max(0, time.Until(d)))
		}
		timer.Reset(wait)
		select {
		case f := <-r.inbox:
			f()
			r.drain()
		case <-r.again:
			r.reconcile()
		case <-timer.C:
		}
		r.flush()
	}
}

func (r *room) drain() {
	for range drainMost {
		select {
		case f := <-r.inbox:
			f()
		default:
			return
		}
	}
}

func (r *room) deadline() time.Time {
	if r.broken {
		return r.probeAt
	}
	next := r.core.Deadline()
	for _, t := range []time.Time{r.rekeyAt, r.keysAt, r.stallAt, r.people.deadline(), r.seams.due()} {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

var errStopping = chat.Errorf(chat.CodeUnreachable, "The node is stopping.").WithHint("Start it again.")

// post hands f to the room's goroutine, and waits while the inbox is full.
func (r *room) post(ctx context.Context, f func()) error {
	select {
	case r.inbox <- f:
		return nil
	case <-r.done:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hint hands f to the room's goroutine unless the inbox is full: what is dropped
// is repaired by anti-entropy.
func (r *room) hint(f func()) {
	select {
	case r.inbox <- f:
	default:
		r.n.count(ordering.TooMany)
	}
}

// ask runs f on the room's goroutine and returns its answer.
func ask[T any](ctx context.Context, r *room, f func() T) (T, error) {
	answer := make(chan T, 1)
	var none T
	if err := r.post(ctx, func() { answer <- f() }); err != nil {
		return none, err
	}
	return await(ctx, r, answer)
}

// await waits for an answer that the room's goroutine owes.
func await[T any](ctx context.Context, r *room, answer <-chan T) (T, error) {
	var none T
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-r.done:
		select {
		case a := <-answer:
			return a, nil
		default:
			return none, errStopping
		}
	}
}

// flush brings what happened to disk, then to the peers, then to people.
func (r *room) flush() {
	now := time.Now()
	if r.broken {
		r.fail(r.n.diskError())
		if now.Before(r.probeAt) || !r.mend() {
			return
		}
	}
	for {
		r.speak()
		r.core.Tick(time.Now())
		r.due(time.Now())
		ready := r.core.Ready()
		if ready.Empty() && len(r.waits) == 0 && len(r.sayings) == 0 {
			r.core.Advance(time.Now())
			break
		}
		keys, err := r.persist(ready)
		if err != nil {
			r.breakDown(err)
			return
		}
		for _, tell := range r.waits {
			tell(nil)
		}
		r.waits = nil
		if ready.Install != nil {
			if err := r.load(r.ctx); err != nil {
				r.breakDown(err)
				return
			}
			r.reconcile()
			continue
		}
		r.send(ready)
		r.core.Advance(time.Now())
		r.learn(ready.Persist, keys)
		r.tell(ready.Events)
		if r.broken {
			return
		}
	}
	r.pursueJoining(time.Now())
	r.show()
}

// send says what the core wants said.
func (r *room) send(ready core.Ready) {
	for _, m := range ready.Send {
		r.n.net.Send(m.To, r.id, m.Msg)
	}
	for _, run := range ready.Publish {
		r.n.net.Publish(r.id, run)
	}
	if ready.Fetch != nil {
		r.fetch(*ready.Fetch)
	}
	if ready.FetchFinals != nil {
		r.fetchFinals(*ready.FetchFinals)
	}
	if ready.Load != nil {
		r.readBack(ready.Load)
	}
}

// tell tells people what happened to the order.
func (r *room) tell(events []core.Event) {
	for _, e := range events {
		at := chat.Event{Room: r.meta.Name, RoomID: r.id.String(), Term: e.Term, Epoch: e.Epoch}
		switch e.Kind {
		case core.LeaderChanged:
			at.Type = chat.EventLeader
			if e.Leader == (ordering.Origin{}) {
				r.turn(at, "")
				continue // soon there is another
			}
			at.Leader = r.nameOf(e.Leader)
		case core.EpochOpened:
			at.Type, at.Order = chat.EventEpoch, orderOf(e.Mode)
			for _, o := range e.View {
				at.View = append(at.View, r.nameOf(o))
			}
			slices.Sort(at.View)
		case core.Diverged:
			r.log.Error("replicas differ in the final order; this one froze", "index", e.Index)
			continue
		case core.Forked:
			r.log.Warn("a member signed two entries for one place of its chain; it takes no part in the order", "member", r.nameOf(e.Origin), "origin", e.Origin.Tag())
			r.n.emit(chat.Event{Type: chat.EventPeer, Room: r.id.String(), NodeID: r.nameOf(e.Origin), State: string(chat.PeerForked)})
			continue
		case core.SetBack:
			r.goOnAnew()
			continue
		}
		r.turn(at, e.Reason)
		r.log.Info("order", "event", string(at.Type), "term", at.Term, "leader", at.Leader, "epoch", at.Epoch)
		r.n.emit(at)
	}
}

// turn notes a change in who leads or in what moves the room's order.
func (r *room) turn(e chat.Event, reason string) {
	if v := r.view.Load(); e.Order == "" && v != nil {
		e.Order = orderOf(v.mode())
	}
	r.turns = append(r.turns, chat.Turn{
		Time: time.Now(), Type: e.Type, Term: e.Term, Leader: e.Leader, Epoch: e.Epoch, Order: e.Order, View: e.View, Reason: reason,
	})
	r.turns = slices.Clone(r.turns[max(0, len(r.turns)-chat.MaxTurns):])
}

// nameOf returns a member's name as it is shown in the room.
func (r *room) nameOf(o ordering.Origin) string {
	if v := r.view.Load(); v != nil && v.names[o.Device] != "" {
		return v.names[o.Device]
	}
	return "~" + o.Tag()
}

// persist makes durable what a Ready wants durable, in one commit, runs with
// their readable text; it returns the room keys that came with them.
func (r *room) persist(ready core.Ready) ([]roomKey, error) {
	if !ready.Durable() {
		return nil, nil
	}
	w := &storage.Write{Room: r.id, Finals: ready.Final, Mark: ready.Mark, Seen: ready.Seen}
	if !ready.Control.Empty() {
		w.Control = &ready.Control
	}
	if ready.Seal != nil {
		w.Put = map[string][]byte{settingSeal + r.id.String(): ready.Seal}
	}
	if in := ready.Install; in != nil {
		w.Install = &storage.Install{Saved: in.Saved, Mark: in.Mark, First: in.First, Order: in.Order, Entries: in.Entries, Hashes: in.Hashes, Emitted: in.Emitted}
	}
	var keys []roomKey
	for _, a := range ready.Persist {
		run := a.Run.Run()
		for i, e := range run.Entries[a.Skip:] {
			s := storage.Entry{Entry: e, Line: r.line(e, a.Run.Plain[a.Skip+i]), Beside: a.Branch != ordering.Hash{}, Quiet: r.quiet(e)}
			if e.Kind == ordering.KindTitle {
				r.noteTitle(e)
			}
			if e == run.Last() {
				s.Run, s.Sig = len(run.Entries), run.Sig
			}
			w.Entries = append(w.Entries, s)
			if e.Kind != ordering.KindKey {
				continue
			}
			if g, err := ordering.DecodeKeyGrant(e.Body); err == nil {
				if k, ok := acceptGrant(g, r.n.id.key); ok {
					keys = append(keys, k)
					w.Keys = append(w.Keys, storage.RoomKey{ID: k.id(), Key: k})
				}
			}
		}
	}
	var installed []ordering.Listed
	if ready.Install != nil {
		installed = ready.Install.Order
	}
	meta := r.meta
	if meta.Name = cmp.Or(r.named(ready.Final, installed), meta.Name); meta.Name != r.meta.Name {
		w.Meta = &meta
	}
	// The outcome must be known, also while stopping.
	if err := r.n.store.Commit(context.WithoutCancel(r.ctx), w); err != nil {
		return nil, err
	}
	r.meta = meta
	if len(ready.Final) > 0 {
		r.tellReading()
	}
	for _, e := range w.Entries {
		r.log.Debug("journaled", "entry", e.Entry.ID().String(), "kind", int(e.Entry.Kind))
	}
	for _, f := range ready.Final {
		if f.Fate == linear.Lost {
			r.log.Debug("lost to another branch", "entry", f.ID.String())
			continue
		}
		r.log.Debug("final", "entry", f.ID.String(), "index", f.Index)
	}
	return keys, nil
}

// quiet reports whether nobody here waits to read an entry: it is no message, or
// this node's person wrote it.
func (r *room) quiet(e *ordering.Entry) bool {
	if e.Kind.Known() && e.Kind != ordering.KindMessage {
		return true
	}
	own, ok := r.n.profile()
	return ok && e.Client != nil && e.Client.Key == own.person
}

// line returns how an entry reads, nil for one that takes no line.
func (r *room) line(e *ordering.Entry, plain []byte) *storage.Line {
	switch {
	case !e.Kind.Sealed():
		return nil
	case !encrypted(e.Kind):
		return plainLine(e)
	}
	l := &storage.Line{}
	if e.Client != nil {
		l.SenderKey = e.Client.Key
	}
	if plain == nil {
		var err error
		if plain, err = r.ring.open(e); errors.Is(err, errNoKey) { // the key may have come since it was verified
			l.KeyID, _ = keyOf(e)
			r.wantKey(l.KeyID)
			return l
		}
	}
	p, err := ordering.DecodePayload(plain)
	if err != nil {
		return l // no key will make it readable
	}
	if l.Sender, err = cleanName("A name", p.Name); err != nil {
		l.Sender = e.Origin.Tag()
	}
	l.Text, l.ReplyTo, l.Readable = p.Text, p.ReplyTo, true
	return l
}

// learn draws the consequences of entries that are durable now.
func (r *room) learn(accepted []dag.Accepted, keys []roomKey) {
	for _, k := range keys {
		r.addKey(k)
	}
	r.learnSeams(accepted)
	for _, a := range accepted {
		for _, e := range a.Entries() {
			if e.Client != nil {
				r.people.wrote(e.Origin.Device, ordering.PersonKey(e.Client.Key))
			}
			switch e.Kind {
			case ordering.KindKey:
				r.grants = appendGrant(r.grants, e)
			case ordering.KindLeave, ordering.KindRemove:
				r.gone = later(r.gone, e.Key())
			case ordering.KindSwitch:
				r.wish.take(e)
			case ordering.KindAdmit:
				if m, err := ordering.DecodeAdmit(e.Body); err == nil && m.Device != r.n.id.origin.Device {
					r.n.emit(chat.Event{Type: chat.EventPeer, NodeID: m.Name, State: string(chat.PeerJoined)})
				}
			case ordering.KindGenesis, ordering.KindInvite, ordering.KindRevoke, ordering.KindNull,
				ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed, ordering.KindTitle:
			}
		}
	}
	if len(accepted) > 0 {
		r.stallAt = time.Time{}
		r.planRekey()
	}
}

func (r *room) saveMeta() error {
	m := r.meta
	return r.n.store.Commit(context.WithoutCancel(r.ctx), &storage.Write{Room: r.id, Meta: &m})
}

// fail answers everybody who waits with an error.
func (r *room) fail(err error) {
	for _, tell := range r.waits {
		tell(err)
	}
	r.waits = nil
	for _, s := range r.sayings {
		s.reply(ordering.Ref{}, false, err)
	}
	r.sayings = nil
}

// breakDown is called when a commit failed: the core knows entries that are not
// on disk, so it is not used again. Reading goes on.
func (r *room) breakDown(err error) {
	r.broken, r.probeAt = true, time.Now().Add(probeEvery)
	r.n.setDisk(err)
	r.fail(r.n.diskError())
	r.log.Error("the disk takes no writes", "error", err)
	r.n.notify()
}

// mend tries the disk and, if it takes writes, goes on from what it holds.
func (r *room) mend() bool {
	err := r.n.store.Put(r.ctx, "probe", make([]byte, probeBytes)) // as much as a large commit
	if err == nil {
		err = r.n.store.Put(r.ctx, "probe", nil)
	}
	if err == nil {
		err = r.load(r.ctx)
	}
	if err != nil {
		r.probeAt = time.Now().Add(probeEvery)
		return false
	}
	r.broken = false
	r.n.setDisk(nil)
	r.reconcile()
	r.log.Info("the disk takes writes again")
	return true
}

// show publishes the room's view, and says so when people may see another: where it
// differs, or the disk does. A room has a look at itself ten times a second.
func (r *room) show() {
	g := r.core.Graph()
	old := r.view.Load()
	v := &roomView{meta: r.meta, connected: r.core.Connected(), entries: g.Have().Count(), parked: g.Parked(), refused: maps.Clone(g.Refused()), self: g.IsMember(r.n.id.origin.Device), origin: r.self, order: r.core.Order(),
		readers: r.readers, typing: r.people.writing(), merges: r.seams.merges, settings: r.settings}
	r.showPeople(v, old)
	if r.census != g.MembersVersion() {
		r.endVouching()
	}
	v.guests = make(map[ordering.DeviceKey]bool)
	for d := range r.vouched {
		v.guests[d] = true
	}
	for _, o := range slices.Concat(v.order.Voters, v.order.Outgoing, v.order.Learners) {
		v.guests[o.Device] = true
	}
	if old != nil && r.census == g.MembersVersion() && maps.Equal(v.guests, old.guests) {
		v.members, v.names, v.member = old.members, old.names, old.member
		r.view.Store(v)
		if written := r.n.store.Transactions(); written != r.written || !reflect.DeepEqual(v, old) {
			r.written = written
			r.n.notify()
		}
		return
	}
	r.census = g.MembersVersion()
	v.members = g.Known()
	v.names = namesOf(v.members, g.Have())
	v.member = make(map[ordering.DeviceKey]bool)
	for _, m := range v.members {
		if !m.Former {
			v.member[m.Device] = true
		}
	}
	r.people.admit(time.Now(), v.member)
	r.view.Store(v)
	r.n.membersChanged()
	r.n.notify()
}

// mode is the order of the open epoch or, until the room's beginning is here, the
// one that it is said to have.
func (v *roomView) mode() ordering.Mode { return cmp.Or(v.order.Mode, v.meta.Mode) }

// eligible reports whether a device may be told of the room.
func (v *roomView) eligible(d ordering.DeviceKey) bool {
	return v != nil && (v.member[d] || v.guests[d] || v.meta.State == string(chat.Joining) && v.meta.Via == d)
}

// former reports whether a device was a member and is none.
func (v *roomView) former(d ordering.DeviceKey) bool {
	return slices.ContainsFunc(v.members, func(m dag.Member) bool { return m.Former && m.Device == d })
}

// reconcile connects the core with the members that share the room now.
func (r *room) reconcile() {
	sharing := r.n.sharing(r.id)
	now := time.Now()
	left := false
	for d := range r.peers {
		if p, ok := sharing[d]; !ok || p.session != r.peers[d] || !r.mayShare(d) {
			r.core.Disconnect(now, d)
			delete(r.peers, d)
			delete(r.people.told, d)
			delete(r.people.typing, d)
			r.seams.gone(now, d)
			left = true
		}
	}
	for d, p := range sharing {
		if _, ok := r.peers[d]; !ok && r.mayShare(d) {
			r.core.Connect(now, d)
			r.core.Observe(now, d, p.vital)
			r.peers[d] = p.session
			r.seams.came(now, d)
			r.people.plan(now)
		}
	}
	if left {
		r.saveSeams()
	}
	r.introduce()
}

func (r *room) mayShare(d ordering.DeviceKey) bool {
	return r.core.Graph().IsMember(d) || r.core.HasSeat(d) || r.hasVoucher(d) || r.meta.State == string(chat.Joining) && r.meta.Via == d
}

// verify checks a run from outside and opens what can be opened. It is called
// off the room's goroutine.
func (r *room) verify(run ordering.Run) (ordering.Verified, error) {
	v, err := ordering.VerifyRun(run)
	if ref, ok := errors.AsType[*ordering.Refusal](err); ok {
		r.n.count(ref.Reason) // the graph counts what it refuses itself
	}
	if err != nil {
		return v, err
	}
	for i, e := range run.Entries {
		if encrypted(e.Kind) {
			v.Plain[i], _ = r.ring.open(e) // nil: not readable yet
		}
	}
	return v, nil
}

// received takes a pushed run, verified, from a peer.
func (r *room) received(from ordering.DeviceKey, v ordering.Verified) {
	r.hint(func() {
		if r.broken {
			return
		}
		r.log.Debug("received", "entry", v.Run().Last().ID().String())
		r.refused(r.core.Receive(time.Now(), from, v))
	})
}

// refused logs why a run was not taken. A duplicate is no news.
func (r *room) refused(err error) {
	if ref, ok := errors.AsType[*ordering.Refusal](err); ok && ref.Reason != ordering.Duplicate {
		r.log.Debug("refused", "entry", ref.ID.String(), "reason", string(ref.Reason))
	}
}

// fetch brings entries from a peer's disk.
func (r *room) fetch(f core.Fetch) {
	r.n.goFor(func(whole context.Context) {
		ctx, cancel := context.WithTimeout(whole, fetchTimeout)
		_, err := r.n.net.Fetch(ctx, f.From, wire.FetchRequest{Room: r.id, Wants: f.Wants}, func(run ordering.Run) error {
			v, err := r.verify(run)
			if err != nil {
				r.refused(err)
				return err
			}
			return r.post(ctx, func() {
				if !r.broken {
					r.pulled = time.Now()
					r.refused(r.core.Pulled(r.pulled, f.From, v))
				}
			})
		})
		cancel()
		if err != nil {
			r.log.Debug("fetch ended early", "peer", r.n.nameOf(f.From), "error", err)
		}
		r.post(whole, func() { r.core.Fetched(time.Now(), f.From, err) }) //nolint:errcheck // stopping
	})
}

// fetchFinals brings a part of the final list from a peer.
func (r *room) fetchFinals(f core.FetchFinals) {
	r.n.goFor(func(whole context.Context) {
		ctx, cancel := context.WithTimeout(whole, fetchTimeout)
		err := r.n.net.Finals(ctx, f.From, wire.FinalsRequest{Room: r.id, After: f.After}, func(first uint64, part []ordering.Listed) error {
			return r.post(ctx, func() {
				if !r.broken {
					r.core.FinalsPulled(time.Now(), f.From, first, part)
				}
			})
		})
		cancel()
		r.post(whole, func() { r.core.FinalsEnded(time.Now(), f.From, err) }) //nolint:errcheck // stopping
	})
}

// readBack hands the core runs from the own disk.
func (r *room) readBack(wants []ordering.Want) {
	asked := r.core
	r.n.goFor(func(ctx context.Context) {
		var runs []ordering.Run
		for run, err := range r.n.store.Runs(ctx, r.id, wants, core.LoadBytes) {
			if err != nil {
				r.log.Warn("could not read back what waits for its place", "error", err)
				break
			}
			runs = append(runs, run)
		}
		r.post(ctx, func() { //nolint:errcheck // stopping
			if r.core == asked {
				r.core.Loaded(time.Now(), runs)
			}
		})
	})
}

// due does what its time has come for.
func (r *room) due(now time.Time) {
	if !r.rekeyAt.IsZero() && !now.Before(r.rekeyAt) {
		r.rekeyAt = time.Time{}
		r.rekey()
	}
	r.tellPeople(now)
	r.closeSeam(now)
	if len(r.peers) > 0 && !now.Before(r.keysAt) {
		r.askKeys(now)
	}
}

// loadAside reads what is kept of the room beside its entries, once.
func (r *room) loadAside(ctx context.Context) error {
	if r.core != nil {
		return nil
	}
	b, err := r.n.store.Get(ctx, settingRoom+r.id.String())
	if err != nil {
		return err
	}
	if b != nil {
		if err := json.Unmarshal(b, &r.settings); err != nil {
			r.log.Warn("could not read the room's settings", "error", err)
		}
	}
	if b, err = r.n.store.Get(ctx, settingSeams+r.id.String()); err != nil {
		return err
	}
	r.seams.decode(b)
	if err := r.loadPeople(ctx); err != nil {
		return err
	}
	r.readers = r.people.readers()
	return nil
}

// learnSeams looks for merges in what came.
func (r *room) learnSeams(accepted []dag.Accepted) {
	var entries []*ordering.Entry
	for _, a := range accepted {
		entries = append(entries, a.Entries()...)
	}
	if len(entries) == 0 {
		return
	}
	if r.meta.State != string(chat.Joined) {
		for _, e := range entries {
			r.seams.has(e)
		}
		return
	}
	now := time.Now()
	r.seams.learn(now, r.n.id.origin.Device, entries, r.core.Fetching() || now.Sub(r.pulled) < mergeQuiet)
}

// part notes that all are out of reach from here on: the node ends.
func (r *room) part() {
	now := time.Now()
	for d := range r.peers {
		r.seams.gone(now, d)
	}
	if len(r.peers) > 0 {
		r.saveSeams()
	}
}

// showPeople fills in what the view tells of receipts, anew where they changed.
func (r *room) showPeople(v, old *roomView) {
	if version := r.core.HeldVersion() + uint64(r.core.Graph().MembersVersion()); old == nil || r.held != version {
		r.held, v.held = version, r.core.Held()
	} else {
		v.held = old.held
	}
	if old != nil && r.people.version == r.receipts {
		v.read = old.read
		return
	}
	r.receipts = r.people.version
	v.read = make(map[readerKey]uint64, len(r.people.receipts))
	for k, x := range r.people.receipts {
		v.read[k] = x.UpTo
	}
}
