package linear

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Emitted is how far a chain was emitted, and the hash of the entry there.
type Emitted struct {
	Origin ordering.Origin
	Seq    uint64
	Hash   ordering.Hash
}

// Recent is one of the newest Window finals that are Shown.
type Recent struct {
	Index     uint64
	ID        ordering.EntryID
	Stamp     Digest
	OrderHash ordering.Hash
}

// Kept is an order hash at an index.
type Kept struct {
	Index uint64
	Hash  ordering.Hash
}

// MaxMark and MaxState are the most bytes that Mark and State return.
const (
	MaxMark   = 1<<10 + ordering.HashSize + ordering.MaxView*ordering.OriginSize + MaxDevices*ordering.DeviceSize + 4 + MaxVoids*(ordering.HashSize+ordering.OriginSize+8) + ordering.MaxOrigins*ordering.OriginSize
	MaxState  = MaxMark + 2 + ordering.MaxOrigins*(ordering.OriginSize+8+ordering.HashSize)
	stateForm = 2
	forkForm  = 3 // with voids
)

// State is a list's state without the finals themselves: what a snapshot of the
// control log carries (P8). The replica that takes it up has the final list up
// to Index already.
type State struct {
	Mark      []byte
	Emitted   []Emitted // ascending
	Applied   uint64
	Epoch     Epoch
	Index     uint64
	OrderHash ordering.Hash
	// SourceHash vouches for the sources of the final list as OrderHash does for its
	// entries, so that whoever sends the list with a snapshot cannot make them up.
	SourceHash ordering.Hash
}

// Vector returns Emitted as a vector.
func (s State) Vector() ordering.Vector {
	v := make(ordering.Vector, len(s.Emitted))
	for _, e := range s.Emitted {
		v[e.Origin] = e.Seq
	}
	return v
}

// Mark returns everything of the list that its finals do not tell, in its only
// encoding: the owner keeps the newest with each commit. It is a few hundred
// bytes and 32 for every device of the room.
func (l *List) Mark() []byte {
	e := encoder{b: make([]byte, 0, 1024+len(l.rights.coded))}
	form := uint8(stateForm)
	if len(l.voids)+len(l.flooded) > 0 {
		form = forkForm
	}
	e.u8(form)
	e.raw(l.cfg.Room[:])
	e.u64(l.applied)
	e.u64(l.epoch.N)
	e.u8(uint8(l.epoch.Mode))
	e.u8(uint8(l.wish))
	e.u16(len(l.epoch.View))
	for _, o := range l.epoch.View {
		e.origin(o)
	}
	e.u64(l.index)
	e.raw(l.order[:])
	e.raw(l.sources[:])
	for _, k := range []ordering.Key{l.closed[0], l.closed[1], l.open[0], l.open[1]} {
		e.u64(k.TS)
		e.origin(k.Origin)
		e.u64(k.Seq)
	}
	if l.rights.coded == nil {
		l.rights.coded = l.rights.encode()
	}
	e.raw(l.rights.coded)
	e.flag(l.ahead != nil)
	if l.ahead != nil {
		e.u64(l.ahead.Index)
		e.raw(l.ahead.Hash[:])
	}
	e.flag(l.frozen)
	if l.frozen {
		e.u64(l.divergedAt)
	}
	if form == forkForm {
		e.u16(len(l.voids))
		for _, h := range slices.SortedFunc(maps.Keys(l.voids), compareHashes) {
			e.raw(h[:])
			e.origin(l.voids[h].Origin)
			e.u64(l.voids[h].Seq)
		}
		e.u16(len(l.flooded))
		for _, o := range slices.SortedFunc(maps.Keys(l.flooded), ordering.Origin.Compare) {
			e.origin(o)
		}
	}
	return e.b
}

// State returns the Mark and how far each chain was emitted, in its only
// encoding. A frozen list's is not for others.
func (l *List) State() []byte {
	mark := l.Mark()
	e := encoder{b: slices.Grow(mark, 2+len(l.chains)*(ordering.OriginSize+8+ordering.HashSize))}
	e.u16(len(l.chains))
	for _, o := range l.emitted.Origins() {
		c := l.chains[o]
		e.origin(o)
		e.u64(c.seq)
		e.raw(c.hash[:])
	}
	return e.b
}

var errState = errors.New("linear: not a list's state")

// readMark reads what Mark wrote into a list that has nothing else.
func readMark(d *decoder) *List {
	form := d.u8()
	d.check(form == stateForm || form == forkForm)
	l := blank(Config{Room: ordering.RoomID(d.hash())})
	l.applied = d.u64()
	l.epoch.N = d.u64()
	l.epoch.Mode = ordering.Mode(d.u8())
	d.check(l.epoch.Mode == ordering.Lamport || l.epoch.Mode == ordering.Leader)
	l.wish = ordering.Mode(d.u8())
	d.check(l.wish <= ordering.Leader)
	l.epoch.View = make([]ordering.Origin, d.count(1, ordering.MaxView))
	for i := range l.epoch.View {
		l.epoch.View[i] = d.origin()
		d.check(i == 0 || l.epoch.View[i-1].Compare(l.epoch.View[i]) < 0)
	}
	l.index = d.u64()
	l.order = d.hash()
	l.sources = d.hash()
	for _, s := range []*summit{&l.closed, &l.open} {
		for i := range s {
			s[i].TS = d.u64()
			s[i].Origin = d.origin()
			s[i].Seq = d.u64()
		}
		none := s[1] == ordering.Key{}
		d.check(none || s[0].Compare(s[1]) > 0 && s[0].Origin != s[1].Origin)
	}
	l.rights.creator = d.device()
	d.devices(l.rights.admitted)
	d.devices(l.rights.removed)
	d.check(len(l.rights.admitted)+len(l.rights.removed) <= MaxDevices)
	for k := range l.rights.removed {
		d.check(!l.rights.admitted[k])
	}
	if d.flag() {
		l.ahead = &ordering.Checkpoint{Index: d.u64(), Hash: d.hash()}
		d.check(l.ahead.Index > l.index && l.ahead.Index%ordering.CheckpointEvery == 0)
	}
	if l.frozen = d.flag(); l.frozen {
		l.divergedAt = d.u64()
		d.check(l.divergedAt <= l.index)
	}
	if form == forkForm {
		var last ordering.Hash
		for i := range d.count(0, MaxVoids) {
			h, id := d.hash(), ordering.EntryID{Origin: d.origin(), Seq: d.u64()}
			if d.check((i == 0 || compareHashes(last, h) < 0) && id.Seq > 0); d.bad {
				break
			}
			l.voids[h], last = id, h
		}
		var before ordering.Origin
		for i := range d.count(0, ordering.MaxOrigins) {
			o := d.origin()
			if d.check(i == 0 || before.Compare(o) < 0); d.bad {
				break
			}
			l.flooded[o], before = true, o
		}
		d.check(len(l.voids)+len(l.flooded) > 0)
	}
	return l
}

// ParseState reads what State wrote and keeps its bytes. All is checked that can
// be without the final list; that Mark and chains belong together is for the
// control log's quorum to vouch for.
func ParseState(b []byte) (State, error) {
	if len(b) > MaxState {
		return State{}, errState
	}
	d := decoder{b: b}
	l := readMark(&d)
	s := State{Mark: b[:len(b)-len(d.b)], Applied: l.applied, Epoch: l.epoch, Index: l.index, OrderHash: l.order, SourceHash: l.sources}
	n := d.count(0, ordering.MaxOrigins)
	for i := range n {
		if d.bad {
			break
		}
		s.Emitted = append(s.Emitted, Emitted{Origin: d.origin(), Seq: d.u64(), Hash: d.hash()})
		d.check(s.Emitted[i].Seq > 0 && (i == 0 || s.Emitted[i-1].Origin.Compare(s.Emitted[i].Origin) < 0))
	}
	if d.bad || len(d.b) > 0 {
		return State{}, errState
	}
	return s, nil
}

// Resume returns the list that wrote the mark: with how far each chain was
// emitted, all of the newest Window finals that are Shown, ascending, and the
// order hashes at multiples of ordering.CheckpointEvery. The error means that
// these do not belong together.
func Resume(cfg Config, mark []byte, emitted []Emitted, recent []Recent, kept []Kept) (*List, error) {
	d := decoder{b: mark}
	l := readMark(&d)
	if d.bad || len(d.b) > 0 || l.cfg.Room != cfg.Room {
		return nil, fmt.Errorf("linear: resume: %w", errState)
	}
	l.cfg = cfg
	for _, e := range emitted {
		if e.Seq == 0 || l.emitted[e.Origin] != 0 || len(l.emitted) >= ordering.MaxOrigins {
			return nil, errors.New("linear: resume: a chain without a seq, one given twice, or too many")
		}
		l.emitted[e.Origin] = e.Seq
		l.chains[e.Origin] = &chain{e.Origin, e.Seq, e.Hash}
	}
	for _, k := range kept {
		if k.Index == 0 || k.Index > l.index || k.Index%ordering.CheckpointEvery != 0 {
			return nil, fmt.Errorf("linear: resume: no order hash is kept at %d", k.Index)
		}
		l.trail.kept[k.Index] = k.Hash
	}
	if want := min(l.index, Window); uint64(len(recent)) != want {
		return nil, fmt.Errorf("linear: resume: %d recent finals where there are %d", len(recent), want)
	}
	if n := len(recent); n > 0 && recent[n-1].OrderHash != l.order {
		return nil, fmt.Errorf("linear: resume: the order hash at %d is another", l.index)
	}
	for i, r := range recent {
		c := l.chains[r.ID.Origin]
		if r.Index != l.index-uint64(len(recent)-1-i) || c == nil || r.ID.Seq == 0 || r.ID.Seq > c.seq {
			return nil, fmt.Errorf("linear: resume: the recent finals do not end at %d without a hole", l.index)
		}
		if cfg.Mutant != mutant.ForgetWindow {
			l.window.add(shown{r.Index, r.Stamp, c, r.ID.Seq})
		}
		l.trail.add(r.Index, r.OrderHash)
	}
	return l, nil
}

// encode writes the rights in their only encoding.
func (r *rights) encode() []byte {
	e := encoder{b: make([]byte, 0, 4+ordering.DeviceSize*(1+len(r.admitted)+len(r.removed)))}
	e.raw(r.creator[:])
	e.devices(r.admitted)
	e.devices(r.removed)
	return e.b
}

type encoder struct{ b []byte }

func (e *encoder) u8(v uint8)               { e.b = append(e.b, v) }
func (e *encoder) u16(n int)                { e.b = binary.BigEndian.AppendUint16(e.b, uint16(n)) }
func (e *encoder) u64(v uint64)             { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) raw(v []byte)             { e.b = append(e.b, v...) }
func (e *encoder) origin(o ordering.Origin) { e.raw(o.Device[:]); e.raw(o.Instance[:]) }

func (e *encoder) flag(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

func (e *encoder) devices(set map[ordering.DeviceKey]bool) {
	e.u16(len(set))
	for _, k := range slices.SortedFunc(maps.Keys(set), compareDevices) {
		e.raw(k[:])
	}
}

func compareHashes(a, b ordering.Hash) int { return bytes.Compare(a[:], b[:]) }

func compareDevices(a, b ordering.DeviceKey) int { return bytes.Compare(a[:], b[:]) }

// decoder reads what encoder wrote. Once something was wrong it is bad and
// returns zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) check(ok bool) { d.bad = d.bad || !ok }

// fill reads as many bytes as into has.
func (d *decoder) fill(into []byte) {
	if d.check(len(d.b) >= len(into)); d.bad {
		return
	}
	d.b = d.b[copy(into, d.b):]
}

func (d *decoder) u8() uint8 {
	var b [1]byte
	d.fill(b[:])
	return b[0]
}

func (d *decoder) u64() uint64 {
	var b [8]byte
	d.fill(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// count reads a number of items from low to high, 0 if it is none.
func (d *decoder) count(low, high int) int {
	var b [2]byte
	d.fill(b[:])
	n := int(binary.BigEndian.Uint16(b[:]))
	if d.check(n >= low && n <= high); d.bad {
		return 0
	}
	return n
}

func (d *decoder) flag() bool {
	v := d.u8()
	d.check(v <= 1)
	return v == 1
}

func (d *decoder) hash() (h ordering.Hash)        { d.fill(h[:]); return h }
func (d *decoder) device() (k ordering.DeviceKey) { d.fill(k[:]); return k }
func (d *decoder) origin() (o ordering.Origin) {
	o.Device = d.device()
	d.fill(o.Instance[:])
	return o
}

func (d *decoder) devices(into map[ordering.DeviceKey]bool) {
	var last ordering.DeviceKey
	for i := range d.count(0, MaxDevices) {
		k := d.device()
		if d.check(i == 0 || compareDevices(last, k) < 0); d.bad {
			return
		}
		into[k], last = true, k
	}
}
