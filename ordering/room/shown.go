package room

import (
	"slices"

	"tertulia/ordering"
)

// shown is what members let us know they hold: by handing it over, in vectors and
// acknowledgements. What was merely sent to one does not count. It outlasts
// connections, and is for people alone.
type shown struct {
	self    ordering.DeviceKey
	by      map[ordering.DeviceKey]ordering.Vector
	version uint64 // rises with every change of who holds what this device wrote
}

func newShown(self ordering.DeviceKey) shown {
	return shown{self: self, by: make(map[ordering.DeviceKey]ordering.Vector)}
}

// holds notes that a device has an entry, and with it all that its chain has
// before and what it depends on.
func (s *shown) holds(d ordering.DeviceKey, e *ordering.Entry) {
	s.upTo(d, e.Origin, e.Seq)
	for _, dep := range e.Deps {
		s.upTo(d, dep.Origin, dep.Seq)
	}
}

func (s *shown) upTo(d ordering.DeviceKey, o ordering.Origin, seq uint64) {
	v := s.by[d]
	if v == nil {
		if len(s.by) >= 2*ordering.MaxMembers {
			return
		}
		v = make(ordering.Vector)
		s.by[d] = v
	}
	if old, ok := v[o]; seq > old && (ok || len(v) < ordering.MaxOrigins) {
		v[o] = seq
		if o.Device == s.self {
			s.version++
		}
	}
}

// all replaces what a device is known to hold by what it says itself.
func (s *shown) all(d ordering.DeviceKey, v ordering.Vector) {
	clear(s.by[d])
	s.version++
	for o, seq := range v {
		s.upTo(d, o, seq)
	}
}

// Held counts, of this device's chain, how many other members are known to hold
// it up to a seq.
type Held struct {
	Origin ordering.Origin
	Seqs   []uint64 // one a member, ascending
}

// By returns how many of the members hold the entry at seq.
func (h Held) By(seq uint64) int {
	i, _ := slices.BinarySearch(h.Seqs, seq)
	return len(h.Seqs) - i
}

// HeldVersion changes whenever Held or Holds may.
func (c *Core) HeldVersion() uint64 { return c.shown.version }

// Held tells of each chain of this device who holds how much of it.
func (c *Core) Held() []Held {
	var all []Held
	for o := range c.graph.Have() {
		if o.Device != c.cfg.Self.Device {
			continue
		}
		h := Held{Origin: o}
		for d, v := range c.shown.by {
			if d != c.cfg.Self.Device && c.graph.IsMember(d) {
				h.Seqs = append(h.Seqs, v[o])
			}
		}
		slices.Sort(h.Seqs)
		all = append(all, h)
	}
	return all
}

// Holds reports whether a member is known to hold an entry.
func (c *Core) Holds(d ordering.DeviceKey, id ordering.EntryID) bool {
	if d == c.cfg.Self.Device {
		return c.graph.Holds(id)
	}
	return id.Origin.Device == d || c.shown.by[d][id.Origin] >= id.Seq
}

// Fetching reports whether what others have is being brought here.
func (c *Core) Fetching() bool { return c.fetch.busy || c.fetch.wants }
