// Package room is the pure core of one room at one replica. Its owner hands it
// what happened (words said, runs received, peers that came and went, the time)
// and then takes a Ready, in the manner of etcd's raft:
//
//  1. make durable what stands before Send, in one commit,
//  2. send what Ready.Send, Publish and the fetches say,
//  3. call Advance,
//  4. show people what was made durable.
//
// So nothing is spoken that could be forgotten, and nothing shown that could
// vanish. If 1 fails, the owner throws the Core away and restores another from its
// disk. A Core has no goroutine, clock or I/O.
//
// A message's way: Say or Receive puts it into the graph (core.go), where it is
// tentative at once; the leader proposes it in a Batch to the control log
// (order.go); the committed Batch moves it into the final list. Who leads is
// settled in lead.go, who is told what in standing.go, and what cannot be told
// directly goes by relay.go.
package room

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/dag"
	"tertulia/ordering/linear"
	"tertulia/ordering/mutant"
)

// Limits and waits of a room.
const (
	MaxDirect      = 32               // members up to which runs are pushed to each directly; beyond, they are published
	DigestInterval = 10 * time.Second // between digests to each peer
	FetchDelay     = 20 * time.Millisecond
	FetchRetry     = 2 * time.Second // after a fetch that failed or brought nothing
	fetchable      = 10_000          // entries that count in the choice of whom to fetch from
)

// Config says who this replica is.
type Config struct {
	Room     ordering.RoomID
	Self     ordering.Origin
	Key      ed25519.PrivateKey // of Self.Device
	Priority int32              // comes before the name in the rank by which leaders are chosen
	Seed     uint64             // of the jitter in elections; differs between replicas
	Waits    Waits              // zero fields mean the defaults
	Keep     Keep               // zero fields mean the defaults
	Mutant   mutant.Mutant      // None but in tests
}

// Waits are the patience of a replica. All are about liveness alone.
type Waits struct {
	Stable  time.Duration // up so long, a member may vote (10 s)
	Hold    time.Duration // T_hold: before a higher rank takes over (10 s)
	Evict   time.Duration // T_evict: after suspicion, until the view goes on without a member (1 s)
	Readmit time.Duration // up so long, an evicted member is in the view again (5 s), doubled with each flap
	Replace time.Duration // down so long, a voter is replaced (10 min)
}

func (w Waits) withDefaults() Waits {
	w.Stable = cmp.Or(w.Stable, 10*time.Second)
	w.Hold = cmp.Or(w.Hold, 10*time.Second)
	w.Evict = cmp.Or(w.Evict, time.Second)
	w.Readmit = min(cmp.Or(w.Readmit, 5*time.Second), w.Stable)
	w.Replace = cmp.Or(w.Replace, 10*time.Minute)
	return w
}

// Keep says how much of the control log is kept behind what is final.
type Keep struct {
	Records int    // above which the log is compacted (4096)
	Bytes   int    // the same (8 MiB)
	Behind  uint64 // records that stay for who lags a little (512)
}

func (k Keep) withDefaults() Keep {
	k.Records = cmp.Or(k.Records, 4096)
	k.Bytes = cmp.Or(k.Bytes, 8<<20)
	k.Behind = cmp.Or(k.Behind, 512)
	return k
}

// Core is the state machine of a room. Use New, then Restore and Resume.
type Core struct {
	cfg   Config
	now   time.Time // as last told
	graph *dag.Graph
	peers map[ordering.DeviceKey]*peer
	fetch fetch
	ready Ready
	taken bool // a Ready is out that was not advanced

	sorted  []ordering.DeviceKey                   // the keys of peers; nil: to be made anew
	known   map[ordering.Origin]*known             // what replicas said of themselves, connected or not
	live    map[ordering.DeviceKey]ordering.Origin // under which instance each said it lives
	health  Vital                                  // of ourselves
	order   *order                                 // nil until the genesis is here
	genesis *ordering.Genesis
	saved   Saved // until order begins

	final    ordering.Vector // as on disk, until order begins
	restored []restored      // the runs on disk, until order begins
	tail     []kept          // the entries on disk that are not final, until order begins
	members  int             // the version of who may write, as last looked at
	standAt  time.Time       // when a standing is due, as of the last Ready
	setBack  bool            // peers remember more of us than we do: we fall silent
	shown    shown
	relays   relays
	tips     map[tipOf]bool     // entries of other branches that others told of and are lacking here
	proofs   []ordering.EntryID // places with two entries, to be told to all who are connected
}

// peer is a connected member.
type peer struct {
	vital           Vital
	hears           map[ordering.DeviceKey]bool // whom it is connected with
	since           time.Time                   // up and unsuspected without a break
	down            time.Time                   // suspected since; zero: not
	met             bool                        // it told what it remembers of us; until then it hears our standing alone
	told            told                        // of our standing
	holds           ordering.Vector             // what it is known to hold
	digest          time.Time                   // when the next digest is due
	failed          time.Time                   // fetches from it rest until then
	asked, regained bool                        // it wants our standing; it is heard again, so both want the other's
}

// Vital is what the failure detector (B1) knows of a connected peer.
type Vital struct {
	Suspected bool
	DiskOK    bool
	Draining  bool // about to leave
	RTT       time.Duration
	Hears     []ordering.DeviceKey // whom it hears
}

// fetch is the one bulk transfer a room has under way.
type fetch struct {
	from  ordering.DeviceKey
	busy  bool
	due   time.Time // not before; lets pushes under way arrive first
	wants bool      // something known elsewhere is lacking here
	got   bool      // it brought something
	forks bool      // it is for branches alone
	again time.Time // no fetch for branches alone before it
	turn  int       // of the peer that is asked for branches next
}

// Envelope is a message to one peer.
type Envelope struct {
	To  ordering.DeviceKey
	Msg ordering.Message
}

// Fetch asks for entries from a peer's disk; the owner reports with Fetched.
type Fetch struct {
	From  ordering.DeviceKey
	Wants []ordering.Want
}

// Ready is what the owner must do now, in the order of the fields.
type Ready struct {
	// One durable commit of all that changed, before anything below.
	Persist []dag.Accepted // in this order
	Final   []linear.Final // of entries stored before or now, in this order
	Control control.Save
	Mark    []byte          // the final list's small state, replaced whole; nil: unchanged
	Seal    []byte          // what this replica sealed last; nil: unchanged
	Seen    []ordering.Seen // what peers showed of themselves
	Install *Install        // then the owner makes a new Core from its disk

	Send        []Envelope
	Publish     []ordering.Run // on the hint channel of large rooms
	Fetch       *Fetch
	FetchFinals *FetchFinals
	Load        []ordering.Want // runs after these, at most LoadBytes, from the own disk; the owner answers with Loaded
	Events      []Event         // for people
}

// Durable reports whether there is something to commit.
func (r Ready) Durable() bool {
	return len(r.Persist) > 0 || len(r.Final) > 0 || !r.Control.Empty() || r.Mark != nil || r.Seal != nil || len(r.Seen) > 0 || r.Install != nil
}

// Empty reports whether there is nothing to do.
func (r Ready) Empty() bool {
	return !r.Durable() && len(r.Send) == 0 && len(r.Publish) == 0 && r.Fetch == nil && r.FetchFinals == nil && r.Load == nil && len(r.Events) == 0
}

// New returns the core of a room whose graph is empty: go on with Restore of every
// entry on disk and Resume, then Receive of the genesis if nothing was restored.
func New(cfg Config, saved Saved) *Core {
	cfg.Waits, cfg.Keep = cfg.Waits.withDefaults(), cfg.Keep.withDefaults()
	return &Core{
		cfg: cfg, saved: saved, final: finalBefore(saved), graph: dag.New(cfg.Room), shown: newShown(cfg.Self.Device), peers: make(map[ordering.DeviceKey]*peer),
		known: make(map[ordering.Origin]*known), live: make(map[ordering.DeviceKey]ordering.Origin), health: Vital{DiskOK: true}, relays: newRelays(), tips: make(map[tipOf]bool),
	}
}

// Found makes the genesis entry of a new room. Its id is the entry's hash.
func Found(self ordering.Origin, key ed25519.PrivateKey, g ordering.Genesis, wall time.Time) ordering.Verified {
	return ordering.SignRun(key, ordering.Seal(ordering.Entry{
		Origin: self, Seq: 1, TS: 1, WallMS: wall.UnixMilli(), Kind: ordering.KindGenesis, Body: g.Encode(),
	}))
}

// Graph gives read access to what is held.
func (c *Core) Graph() *dag.Graph { return c.graph }

// Restore adds an entry read back from the own disk, in acceptance order. Run is
// the length of the run that ends with it, or 0; beside says that another entry
// stands in its place of the chain.
func (c *Core) Restore(e *ordering.Entry, run int, beside bool) {
	branch := c.graph.Restore(e, beside)
	c.learnGenesis(e)
	if e.Seq > c.final[e.Origin] {
		c.tail = append(c.tail, kept{e.Bare(), branch != ordering.Hash{}})
	}
	if run > 0 && e.Seq > c.final[e.Origin] {
		c.restored = append(c.restored, restored{e.Ref(), e.Seq - uint64(run) + 1})
	}
}

// kept is an entry on disk that is not final.
type kept struct {
	entry  *ordering.Entry
	beside bool // of another branch than its chain's
}

// finalBefore is how far each chain was final on disk.
func finalBefore(s Saved) ordering.Vector {
	v := make(ordering.Vector, len(s.Emitted))
	for _, e := range s.Emitted {
		v[e.Origin] = e.Seq
	}
	return v
}

// restored is a run on disk.
type restored struct {
	last  ordering.Ref
	first uint64
}

func (c *Core) learnGenesis(e *ordering.Entry) {
	if e.Kind != ordering.KindGenesis {
		return
	}
	if g, err := ordering.DecodeGenesis(e.Body); err == nil {
		c.genesis = &g
	}
}

// Draft is an entry to be written. Plain is the payload of a sealed kind, for
// showing.
type Draft struct {
	Kind   ordering.Kind
	Client *ordering.Stamp
	Body   []byte
	Plain  []byte
}

// Errors of Say.
var (
	ErrNotMember = errors.New("room: this device is not a member")
	ErrTooMuch   = errors.New("room: more than an entry or one run holds")
	ErrSetBack   = errors.New("room: this replica was set back to an older disk")
)

// NextSeq returns the seq that the next entry said here will have; a sealed body
// is bound to it.
func (c *Core) NextSeq() uint64 { return c.graph.Have()[c.cfg.Self] + 1 }

// Say writes entries as one run (L1): at most MaxRunEntries and MaxRunBytes. It
// never waits on the network; the caller has checked the stamps. The refs are of the entries in order; they are
// durable once the Ready that has them is persisted.
func (c *Core) Say(now time.Time, wall time.Time, drafts ...Draft) ([]ordering.Ref, error) {
	switch {
	case c.setBack:
		return nil, ErrSetBack
	case !c.graph.IsMember(c.cfg.Self.Device):
		return nil, ErrNotMember
	}
	next := c.graph.Next(c.cfg.Self)
	var entries []*ordering.Entry
	var refs []ordering.Ref
	size := 0
	for _, d := range drafts {
		next.WallMS, next.Kind, next.Client, next.Body = wall.UnixMilli(), d.Kind, d.Client, d.Body
		e, err := ordering.DecodeEntry(ordering.Seal(next).Bytes()) // what others would refuse is never said
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTooMuch, err)
		}
		entries, refs = append(entries, e), append(refs, e.Ref())
		size += len(e.Bytes()) + 4
		next.Seq, next.Prev, next.TS, next.Deps = e.Seq+1, e.Hash(), e.TS+1, nil
	}
	if len(entries) == 0 || len(entries) > ordering.MaxRunEntries || size+128 > ordering.MaxRunBytes {
		return nil, ErrTooMuch
	}
	run := ordering.SignRun(c.cfg.Key, entries...)
	for i, d := range drafts {
		run.Plain[i] = d.Plain
	}
	if err := c.Receive(now, c.cfg.Self.Device, run); err != nil {
		return nil, err
	}
	return refs, nil
}

// Receive takes a run that a peer pushed, or the own device said (L2). The error
// is a *ordering.Refusal; it concerns the run alone.
func (c *Core) Receive(now time.Time, from ordering.DeviceKey, run ordering.Verified) error {
	return c.accept(now, from, run, true)
}

// Pulled takes a run that a fetch brought.
func (c *Core) Pulled(now time.Time, from ordering.DeviceKey, run ordering.Verified) error {
	err := c.accept(now, from, run, false)
	if err == nil && c.fetch.busy && c.fetch.from == from {
		c.fetch.got = true
	}
	return err
}

func (c *Core) accept(now time.Time, from ordering.DeviceKey, run ordering.Verified, live bool) error {
	c.now = now
	accepted, err := c.graph.Accept(from, run)
	if p, refusal := c.peers[from], refusalOf(err); p != nil && (refusal == "" || refusal == ordering.Duplicate) {
		p.hold(run.Run().Last())
		c.shown.holds(from, run.Run().Last())
	}
	if err != nil {
		return err
	}
	c.took(accepted, live)
	if len(accepted) == 0 { // parked: its bringer holds its past
		if p := c.peers[from]; p != nil {
			for o, seq := range c.graph.Missing(run) {
				p.holdUpTo(o, seq)
			}
		}
		c.seekBranches()
		c.lack(now)
	}
	return nil
}

// took notes runs that the graph took: they are made durable, passed on, and wait
// for their place in the final order.
func (c *Core) took(accepted []dag.Accepted, live bool) {
	defer func() {
		if c.graph.MembersVersion() != c.members {
			c.members = c.graph.MembersVersion()
			c.stir() // who left or was removed gives its seat back
		}
	}()
	for _, a := range accepted {
		c.ready.Persist = append(c.ready.Persist, a)
		if a.Branch != (ordering.Hash{}) {
			c.foundFork(a)
		}
		for _, e := range a.Entries() {
			c.learnGenesis(e)
		}
		if c.order == nil && c.genesis != nil {
			c.begin()
		}
		if live || a.Branch != (ordering.Hash{}) && a.Branch == a.Entries()[0].Hash() {
			c.spread(a)
		}
		if c.order != nil {
			emitted := c.order.list.Emitted()[a.Run.Run().Origin()]
			if a.Run.Run().Last().Seq > emitted {
				c.order.queue.Add(a.Run.Run(), c.now)
			}
			for _, e := range a.Entries() {
				c.order.held.Add(e, a.Branch != ordering.Hash{}, c.now)
			}
			c.order.held.Passed(a.Run.Run().Origin(), emitted)
		}
	}
}

func refusalOf(err error) ordering.Reason {
	if r, ok := errors.AsType[*ordering.Refusal](err); ok {
		return r.Reason
	}
	return ""
}

// hold notes that the peer holds an entry and what its author wrote before it.
func (p *peer) hold(e *ordering.Entry) { p.holdUpTo(e.Origin, e.Seq) }

func (p *peer) holdUpTo(o ordering.Origin, seq uint64) {
	if held, ok := p.holds[o]; ok || len(p.holds) < ordering.MaxOrigins {
		p.holds[o] = max(held, seq)
	}
}

// spread pushes a run to the peers that do not get it from its author or from
// whoever brought it.
func (c *Core) spread(a dag.Accepted) {
	run := a.Run.Run()
	last := run.Last()
	author := run.Origin().Device
	own := author == c.cfg.Self.Device
	members := c.graph.MemberCount()
	if own && (members > MaxDirect || len(c.peers) < members-1) && c.metAnybody() {
		c.ready.Publish = append(c.ready.Publish, run)
	}
	if members > MaxDirect {
		return
	}
	bringer := c.peers[a.From]
	forked := a.Branch != ordering.Hash{} // whoever has the other branch is to have both
	for _, d := range c.leaderFirst() {
		p := c.peers[d]
		if d == author || d == a.From || !p.met || !c.graph.IsMember(d) && last.Kind != ordering.KindRemove || p.holds[last.Origin] >= last.Seq && !forked {
			continue
		}
		if !own && !forked && (p.hears[author] || bringer != nil && bringer.hears[d]) {
			continue
		}
		p.hold(last)
		c.send(d, &ordering.Push{Run: run})
	}
}

// metAnybody reports whether some member has told what it remembers of us. Before,
// nothing is spoken, not even as a hint (PROTOCOL.md 1, Crash).
func (c *Core) metAnybody() bool {
	for _, p := range c.peers {
		if p.met {
			return true
		}
	}
	return false
}

func compareDevices(a, b ordering.DeviceKey) int {
	return ordering.Origin{Device: a}.Compare(ordering.Origin{Device: b})
}

func (c *Core) send(to ordering.DeviceKey, m ordering.Message) {
	c.ready.Send = append(c.ready.Send, Envelope{to, m})
}

// Connect says that a member is connected and shares the room.
func (c *Core) Connect(now time.Time, d ordering.DeviceKey) {
	c.now = now
	if d == c.cfg.Self.Device {
		return
	}
	c.sorted = nil
	c.peers[d] = &peer{
		vital: Vital{DiskOK: true}, since: now,
		holds: make(ordering.Vector), hears: make(map[ordering.DeviceKey]bool), digest: now.Add(DigestInterval),
	}
	c.stand(d, false)
	c.stir()
}

// Disconnect says that a member is gone, or no longer shares the room.
func (c *Core) Disconnect(now time.Time, d ordering.DeviceKey) {
	c.now = now
	if p, k := c.peers[d], c.known[c.instance(d)]; p != nil && k != nil {
		k.at = now // up to now it was up, unless it was suspected
		if !p.down.IsZero() {
			k.at = p.down
		}
	}
	delete(c.peers, d)
	c.sorted = nil
	if c.fetch.busy && c.fetch.from == d {
		c.fetch.busy = false
		c.lack(now)
	}
	c.lost(d)
	c.stir()
}

// Connected returns the members that share the room now.
func (c *Core) Connected() []ordering.DeviceKey {
	if c.sorted == nil {
		c.sorted = slices.SortedFunc(maps.Keys(c.peers), compareDevices)
	}
	return slices.Clone(c.sorted)
}

// Observe says what the failure detector knows of a connected member.
func (c *Core) Observe(now time.Time, d ordering.DeviceKey, v Vital) {
	c.now = now
	p := c.peers[d]
	if p == nil {
		return
	}
	switch {
	case v.Suspected && !p.vital.Suspected:
		p.down = now
		c.unheard(d)
	case !v.Suspected && p.vital.Suspected:
		p.since, p.down = now, time.Time{}
		p.regained = true // what either said meanwhile may be lost
	}
	p.vital = v
	clear(p.hears)
	for _, o := range v.Hears {
		p.hears[o] = true
	}
	c.stir()
}

// Health says how we are ourselves: whether our disk takes writes, and whether
// we are about to leave (B2, B9).
func (c *Core) Health(now time.Time, diskOK, draining bool) {
	c.now = now
	c.health.DiskOK, c.health.Draining = diskOK, draining
	c.stir()
}

// Hear takes what a connected member says. Pushes go through Receive, once
// verified. The error is a *ordering.Refusal, for counting.
func (c *Core) Hear(now time.Time, d ordering.DeviceKey, m ordering.Message) error {
	c.now = now
	p := c.peers[d]
	if p == nil {
		return nil
	}
	switch m := m.(type) {
	case *ordering.Digest:
		// Both sides send digests; one of them opens the exchange.
		if compareDevices(c.cfg.Self.Device, d) > 0 && m.Hash != c.graph.Sync().Hash() {
			c.send(d, &ordering.Have{Vector: c.graph.Sync().Clone(), Answer: true})
		}
	case *ordering.Have:
		clear(p.holds)
		p.holds.Merge(m.Vector)
		c.shown.all(d, m.Vector)
		if m.Answer {
			c.send(d, &ordering.Have{Vector: c.graph.Sync().Clone()})
		}
		c.lack(now)
	case ordering.Signal:
		return c.heed(d, m, true)
	case *ordering.Relay:
		return c.relay(d, m)
	case *ordering.Ephemeral: // the owner's own affair
	case *ordering.Push: // not verified: a mistake of the owner
		panic("room: a push goes through Receive")
	}
	return nil
}

func (c *Core) digest(d ordering.DeviceKey) {
	have := c.graph.Sync()
	c.send(d, &ordering.Digest{Hash: have.Hash(), Count: have.Count()})
}

// Fetched says that the fetch from a peer ended; what it brought was handed to
// Pulled before. A peer that failed or brought nothing rests a while.
func (c *Core) Fetched(now time.Time, from ordering.DeviceKey, err error) {
	if !c.fetch.busy || c.fetch.from != from {
		return
	}
	c.fetch.busy = false
	if c.fetch.forks {
		if c.fetch.got {
			c.fetch.turn = max(0, c.fetch.turn-1) // whoever has one has its past
		}
	} else if p := c.peers[from]; p != nil && (err != nil || !c.fetch.got) {
		p.failed = now.Add(FetchRetry)
	}
	if c.fetch.got {
		for _, d := range c.Connected() {
			switch {
			case d == from || !c.peers[d].met:
			case compareDevices(c.cfg.Self.Device, d) > 0: // a digest from here opens nothing (see Hear)
				c.send(d, &ordering.Have{Vector: c.graph.Sync().Clone()})
			default:
				c.digest(d)
			}
		}
	}
	c.fetch.wants = true
	c.fetch.due = now
}

// lack notes that something may be fetched, a little later: what is missing is
// often on its way.
func (c *Core) lack(now time.Time) {
	if due := now.Add(FetchDelay); !c.fetch.wants || due.Before(c.fetch.due) {
		c.fetch.wants, c.fetch.due = true, due
	}
}

// Tick lets time pass. The owner calls it at Deadline, or more often.
func (c *Core) Tick(now time.Time) {
	c.now = now
	for _, d := range c.Connected() {
		if p := c.peers[d]; p.met && !now.Before(p.digest) {
			p.digest = now.Add(DigestInterval)
			c.digest(d)
		}
	}
	if c.fetch.wants && !c.fetch.busy && !now.Before(c.fetch.due) {
		c.startFetch(now)
	}
	c.tickOrder()
}

// startFetch asks the peer that holds most of what is lacking here.
func (c *Core) startFetch(now time.Time) {
	c.fetch.wants = false
	if c.fetchBranches(now) {
		return
	}
	var best Fetch
	var most uint64
	var resting time.Time
	reach := c.graph.Reach()
	for _, d := range c.Connected() {
		p := c.peers[d]
		wants, n := c.lacking(reach, p.holds)
		if n == 0 {
			continue
		}
		if now.Before(p.failed) {
			if resting.IsZero() || p.failed.Before(resting) {
				resting = p.failed
			}
			continue
		}
		if n > most {
			best, most = Fetch{From: d, Wants: wants}, n
		}
	}
	if most == 0 {
		if c.branchesWanted() && (resting.IsZero() || c.fetch.again.Before(resting)) {
			resting = c.fetch.again
		}
		if !resting.IsZero() {
			c.fetch.wants, c.fetch.due = true, resting
		}
		return
	}
	c.fetch.busy, c.fetch.from, c.fetch.got, c.fetch.forks = true, best.From, false, false
	c.ready.Fetch = &best
}

// lacking returns what a holder of v has beyond reach, and how many entries that
// is, as far as one fetch could bring them: a boast wins nothing.
func (c *Core) lacking(reach, v ordering.Vector) (wants []ordering.Want, n uint64) {
	have := c.graph.Sync()
	for _, o := range v.Origins() {
		if v[o] > reach[o] {
			wants = append(wants, ordering.Want{Origin: o, After: have[o]})
			n += min(v[o]-reach[o], fetchable)
		}
	}
	return wants, min(n, fetchable)
}

// Deadline returns when Tick is next of use; the zero time means never.
func (c *Core) Deadline() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, p := range c.peers {
		if p.met {
			sooner(p.digest)
		}
	}
	if c.fetch.wants && !c.fetch.busy {
		sooner(c.fetch.due)
	}
	for _, t := range []time.Time{c.standAt, c.orderDue()} {
		if !t.IsZero() {
			sooner(t)
		}
	}
	return next
}

// Ready returns what is to be done and not yet taken. Advance follows it.
func (c *Core) Ready() Ready {
	if c.taken {
		panic("room: Ready before the last one was advanced")
	}
	c.pump()
	c.tickStandings()
	if c.order != nil {
		c.order.durable = c.order.held.Pending()
	}
	r := c.ready
	c.rememberAll(&r)
	c.ready = Ready{}
	c.taken = true
	return r
}

// Advance says that the last Ready is durable and was sent.
func (c *Core) Advance(now time.Time) {
	c.now, c.taken = now, false
	c.advanceOrder()
}
