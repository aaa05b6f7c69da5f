package linear

import (
	"crypto/sha256"

	"tertulia/ordering"
)

// DigestSize is the length of a Digest, in bytes.
const DigestSize = 16

// Digest stands for a client's key, id and payload hash. Zero is no stamp.
type Digest [DigestSize]byte

// DigestOf returns the digest of a stamp, zero for nil.
func DigestOf(s *ordering.Stamp) (d Digest) {
	if s == nil {
		return d
	}
	b := make([]byte, 0, len(s.Key)+len(s.Hash)+ordering.MaxClientID)
	b = append(b, s.Key[:]...)
	b = append(b, s.Hash[:]...)
	b = append(b, s.ID...) // last, so that no length is needed
	h := sha256.Sum256(b)
	copy(d[:], h[:])
	return d
}

// window remembers the stamps of the newest Window indexes (L7).
type window struct {
	shown []shown // ascending by index, without holes
	at    map[Digest]uint64
}

// shown is an entry in the final list.
type shown struct {
	index uint64
	stamp Digest
	chain *chain
	seq   uint64
}

func newWindow() window { return window{at: make(map[Digest]uint64)} }

func (w *window) add(s shown) {
	w.shown = append(w.shown, s)
	if s.stamp != (Digest{}) {
		w.at[s.stamp] = s.index
	}
	if len(w.shown) > Window {
		if old := w.shown[0]; w.at[old.stamp] == old.index {
			delete(w.at, old.stamp)
		}
		w.shown = w.shown[1:]
	}
}

// find returns the entry in the window that has the stamp.
func (w *window) find(d Digest) (ordering.EntryID, bool) {
	i, ok := w.at[d]
	if !ok || i < w.shown[0].index || i-w.shown[0].index >= uint64(len(w.shown)) {
		return ordering.EntryID{}, false
	}
	s := w.shown[i-w.shown[0].index]
	return ordering.EntryID{Origin: s.chain.origin, Seq: s.seq}, true
}

// trail remembers order hashes: those at multiples of CheckpointEvery for good,
// and those at the newest HashWindow indexes.
type trail struct {
	kept   map[uint64]ordering.Hash
	newest []Kept // ascending by index, without holes
}

func newTrail() trail { return trail{kept: make(map[uint64]ordering.Hash)} }

func (t *trail) add(i uint64, h ordering.Hash) {
	if i%ordering.CheckpointEvery == 0 {
		t.kept[i] = h
	}
	t.newest = append(t.newest, Kept{i, h})
	if len(t.newest) > HashWindow {
		t.newest = t.newest[1:]
	}
}

func (t *trail) at(i uint64) (ordering.Hash, bool) {
	if h, ok := t.kept[i]; ok {
		return h, true
	}
	if len(t.newest) == 0 || i < t.newest[0].Index || i-t.newest[0].Index >= uint64(len(t.newest)) {
		return ordering.Hash{}, false
	}
	k := t.newest[i-t.newest[0].Index]
	return k.Hash, k.Index == i
}
