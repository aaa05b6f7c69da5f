package ordering

import (
	"crypto/sha256"
	"maps"
	"slices"
)

// MaxOrigins is the number of chains one room may have: members times the
// instances they went through.
const MaxOrigins = 4096

// Vector says how much of each chain a replica holds: the highest contiguous seq
// by origin. Absent means 0.
type Vector map[Origin]uint64

// Clone returns a copy.
func (v Vector) Clone() Vector { return maps.Clone(v) }

// Covers reports whether v holds everything that w does.
func (v Vector) Covers(w Vector) bool {
	for o, s := range w {
		if v[o] < s {
			return false
		}
	}
	return true
}

// Merge raises v to hold everything that w does.
func (v Vector) Merge(w Vector) {
	for o, s := range w {
		v[o] = max(v[o], s)
	}
}

// Count returns the number of entries held.
func (v Vector) Count() uint64 {
	var n uint64
	for _, s := range v {
		n += s
	}
	return n
}

// Origins returns the origins in their order.
func (v Vector) Origins() []Origin {
	return slices.SortedFunc(maps.Keys(v), Origin.Compare)
}

// Hash is equal exactly for equal vectors.
func (v Vector) Hash() Hash {
	w := sha256.New()
	for _, o := range v.Origins() {
		if v[o] == 0 {
			continue
		}
		var e encoder
		e.origin(o)
		e.u64(v[o])
		w.Write(e.b)
	}
	return Hash(w.Sum(nil))
}

// Want asks for an origin's entries after a seq, on all branches; with a Tip, only
// for the run that holds this entry.
type Want struct {
	Origin Origin
	After  uint64
	Tip    Tip
}

// Message is what two replicas of a room say to each other: exactly one of
// *Push, *Digest, *Have, *Relay, *Ephemeral and the Signals.
type Message interface{ message() }

// Push carries a run to a peer that is believed to lack it. A hint: what is lost
// is pulled later.
type Push struct{ Run Run }

// Digest says which set of entries the sender holds, in few bytes. It opens
// anti-entropy; a peer that holds another set answers with Have.
type Digest struct {
	Hash  Hash
	Count uint64
}

// Have is the sender's vector. Answer asks for the receiver's in return.
type Have struct {
	Vector Vector
	Answer bool
}

func (*Push) message()   {}
func (*Digest) message() {}
func (*Have) message()   {}
