package lamport

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

var start = time.Unix(1000, 0)

// at is so many milliseconds after the start.
func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func member(b byte) (o ordering.Origin) {
	o.Device[0], o.Instance[0] = b, 1
	return o
}

var (
	ann, bob, cat = member(1), member(2), member(3)
	eve           = member(9) // never in the view
	all           = []ordering.Origin{ann, bob, cat}
)

// books are the entries of a room by name: the author's letter and the seq.
type books map[string]*ordering.Entry

func name(o ordering.Origin, seq uint64) string {
	return fmt.Sprintf("%c%d", 'a'-1+rune(o.Device[0]), seq)
}

// write adds the author's next entry, whose deps are the named ones.
func (b books) write(o ordering.Origin, deps ...string) string {
	e := ordering.Entry{Origin: o, Seq: 1, TS: 1, Kind: ordering.KindJoined}
	for b[name(o, e.Seq)] != nil {
		prev := b[name(o, e.Seq)]
		e.Prev, e.TS, e.Seq = prev.Hash(), prev.TS+1, e.Seq+1
	}
	for _, d := range deps {
		e.Deps = append(e.Deps, b[d].Ref())
		e.TS = max(e.TS, b[d].TS+1)
	}
	slices.SortFunc(e.Deps, func(x, y ordering.Ref) int { return x.Origin.Compare(y.Origin) })
	n := name(o, e.Seq)
	b[n] = ordering.Seal(e)
	return n
}

// tip is the end of an author's chain, as everybody but a forker has it.
func (b books) tip(o ordering.Origin, seq uint64) ordering.Tip {
	if seq == 0 {
		return ordering.Tip{}
	}
	return ordering.TipOf(seq, b[name(o, seq)].Hash())
}

// ack is what a member of the view says in an epoch: its clock, and how long the
// chains are that it holds.
func (b books) ack(epoch, clock uint64, seqs ...uint64) ordering.Ack {
	a := ordering.Ack{Epoch: epoch, Clock: clock}
	for i, seq := range seqs {
		a.Have = append(a.Have, b.tip(all[i], seq))
	}
	return a
}

// keeper is a replica's queue with the graph it looks into.
type keeper struct {
	*Queue
	books books
	have  ordering.Vector
}

func (k *keeper) HashOf(id ordering.EntryID) (ordering.Hash, bool) {
	if id.Seq == 0 || id.Seq > k.have[id.Origin] {
		return ordering.Hash{}, false
	}
	return k.books[name(id.Origin, id.Seq)].Hash(), true
}

// At implements Chains: nobody forks here.
func (k *keeper) At(tip ordering.Ref, seq uint64) (ordering.Hash, bool) {
	if seq > tip.Seq {
		return ordering.Hash{}, false
	}
	return k.HashOf(ordering.EntryID{Origin: tip.Origin, Seq: seq})
}

func newKeeper(b books, self ordering.Origin, m mutant.Mutant) *keeper {
	k := &keeper{books: b, have: make(ordering.Vector)}
	k.Queue = New(Config{Self: self, Chains: k, Mutant: m}, make(ordering.Vector), 0)
	k.Open(1, all, nil, start)
	return k
}

// accept takes entries that are not on disk yet, and hold those and syncs.
func (k *keeper) accept(names ...string) {
	for _, n := range names {
		e := k.books[n]
		k.have[e.Origin] = e.Seq
		k.Add(e, false, start)
	}
}

func (k *keeper) hold(names ...string) {
	k.accept(names...)
	k.Persisted(k.Pending())
}

// restart forgets all but the disk and what is final.
func (k *keeper) restart(seal *Seal, final ...string) {
	clock := uint64(0)
	var kept []*ordering.Entry
	k.have = k.Durable().Clone()
	for n, e := range k.books {
		if e.Seq <= k.have[e.Origin] {
			clock = max(clock, e.TS)
			if !slices.Contains(final, n) {
				kept = append(kept, e)
			}
		}
	}
	k.Queue = New(k.cfg, k.have, clock)
	for _, e := range kept {
		k.Kept(e, false, start)
	}
	k.Open(1, all, seal, start)
}

// names says entries aloud.
func names(entries []*ordering.Entry) string {
	var list []string
	for _, e := range entries {
		list = append(list, name(e.Origin, e.Seq))
	}
	return strings.Join(list, " ")
}

// settled takes what is final.
func (k *keeper) settled() string {
	entries := k.Stable(k.have)
	var hashes []ordering.Hash
	for _, e := range entries {
		hashes = append(hashes, e.Hash())
	}
	k.Emitted(hashes)
	return names(entries)
}

func (k *keeper) wantSettled(t *testing.T, want string) {
	t.Helper()
	if got := k.settled(); got != want {
		t.Fatalf("final: %q, want %q", got, want)
	}
}
