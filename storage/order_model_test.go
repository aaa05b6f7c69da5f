package storage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/linear"
)

// modelEntry is an entry as the naive model of a room keeps it.
type modelEntry struct {
	id       ordering.EntryID
	hash     ordering.Hash
	stamp    linear.Digest
	text     string
	line     bool
	readable bool
	emitted  bool
	final    linear.Final // once emitted
	read     bool         // of one in the final list
	quiet    bool         // read from the beginning
	tail     []byte       // its place in the tail
}

func (e *modelEntry) place() []byte {
	if e.final.Index > 0 {
		return FinalPlace(e.final.Index)
	}
	return e.tail
}

// model is a room that looks at all its entries for every question.
type model struct {
	entries  []*modelEntry
	head     uint64
	hash     ordering.Hash
	readTail []byte
	emitted  map[ordering.Origin]linear.Emitted
}

func (m *model) twins(e *modelEntry) (all []*modelEntry) {
	for _, o := range m.entries {
		if o != e && o.line && o.readable && e.readable && e.stamp != (linear.Digest{}) && o.stamp == e.stamp {
			all = append(all, o)
		}
	}
	return all
}

func (m *model) shown(e *modelEntry) bool {
	if !e.line || e.emitted {
		return e.final.Index > 0
	}
	for _, o := range m.twins(e) {
		if o.final.Index > 0 || !o.emitted && bytes.Compare(o.tail, e.tail) < 0 {
			return false
		}
	}
	return true
}

// visible returns the shown lines in the order of their places.
func (m *model) visible() (all []*modelEntry) {
	for _, e := range m.entries {
		if m.shown(e) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *modelEntry) int { return bytes.Compare(a.place(), b.place()) })
	return all
}

func (m *model) unread() (n uint64) {
	for _, e := range m.visible() {
		if e.emitted && !e.read || !e.emitted && !e.quiet && bytes.Compare(e.tail, m.readTail) > 0 {
			n++
		}
	}
	return n
}

func (m *model) emit(e *modelEntry, f linear.Final) {
	if f.Index > 0 {
		was := e.tail
		for _, o := range m.twins(e) {
			if m.shown(o) && !o.emitted && bytes.Compare(o.tail, was) < 0 {
				was = o.tail
			}
		}
		e.read = e.quiet || bytes.Compare(was, m.readTail) <= 0
		m.head, m.hash = f.Index, f.OrderHash
	}
	e.emitted, e.final = true, f
	m.emitted[e.id.Origin] = linear.Emitted{Origin: e.id.Origin, Seq: e.id.Seq, Hash: e.hash}
}

// settle moves the mark in the tail to a line that stands there.
func (m *model) settle(upTo []byte) {
	m.readTail = tailBegins
	for _, e := range m.visible() {
		if !e.emitted && bytes.Compare(e.tail, upTo) <= 0 {
			m.readTail = e.tail
		}
	}
}

func (m *model) markRead(to []byte) {
	index := m.head
	upTo := m.readTail
	if isFinal(to) {
		index = indexAt(to)
	} else {
		for _, e := range m.entries {
			if e.id == idAt(to) && e.emitted {
				index = e.final.Index
			}
		}
		if bytes.Compare(to, upTo) > 0 {
			upTo = to
		}
	}
	for _, e := range m.entries {
		if e.final.Index > 0 && e.final.Index <= index {
			e.read = true
		}
	}
	m.settle(upTo)
}

// play drives a store and the model with the same random writes.
type play struct {
	t       *testing.T
	r       *rand.Rand
	s       *reopening
	m       *model
	room    ordering.RoomID
	authors []*author
	places  [][]byte // that lines ever had
	hides   int      // percent of lines that take no index
}

func newPlay(t *testing.T, seed uint64) *play {
	room := testRoom(1)
	p := &play{
		t: t, r: rand.New(rand.NewPCG(seed, 2)), s: openAgain(t), room: room, hides: []int{30, 90}[seed%2],
		m: &model{hash: ordering.Hash(room), readTail: tailBegins, emitted: map[ordering.Origin]linear.Emitted{}},
	}
	for i := range uint64(4) {
		p.authors = append(p.authors, newAuthor(i, room))
	}
	return p
}

// add makes an entry of any kind and gives it to the model.
func (p *play) add() Entry {
	a := p.authors[p.r.IntN(len(p.authors))]
	ts := 1 + p.r.Uint64N(60)
	e := &modelEntry{text: fmt.Sprint(len(p.m.entries)), line: true, readable: true}
	var x Entry
	switch kind := p.r.IntN(10); {
	case kind == 0:
		x = a.sealRun(Entry{Entry: a.entry(ts, ordering.KindNull, nil, "")})[0]
		e.line, e.readable = false, false
	case kind < 6:
		said := fmt.Sprint(p.r.IntN(8))
		x = a.handed(ts, seed(50), said, said)
		x.Line.Text = e.text
		e.stamp = linear.DigestOf(x.Entry.Client)
	default:
		x = a.say(ts, e.text)
	}
	if e.line && chance(p.r, 20) {
		x.Line = &Line{KeyID: ordering.KeyID{7}}
		e.readable = false
	}
	x.Quiet = chance(p.r, 20)
	e.quiet = x.Quiet
	e.id, e.hash, e.tail = x.Entry.ID(), x.Entry.Hash(), tailPlace(x.Entry.Key())
	p.m.entries = append(p.m.entries, e)
	if e.line {
		p.places = append(p.places, e.tail)
	}
	return x
}

// emit makes the next entry of some chain final.
func (p *play) emit() (linear.Final, bool) {
	a := p.authors[p.r.IntN(len(p.authors))]
	for _, e := range p.m.entries {
		if e.id.Origin != a.origin || e.emitted {
			continue
		}
		f := linear.Final{
			ID: e.id, Hash: e.hash, Fate: linear.Silent,
			Source: ordering.Source{Epoch: p.r.Uint64N(3), Term: p.r.Uint64N(9), Late: chance(p.r, 20), Leader: p.authors[p.r.IntN(2)].origin},
		}
		if e.line {
			f.Fate = linear.Shown
			if chance(p.r, p.hides) {
				f.Fate = []linear.Fate{linear.Repeat, linear.Void}[p.r.IntN(2)]
			}
		}
		if f.Fate == linear.Shown {
			f.Index, f.OrderHash = p.m.head+1, ordering.NextOrderHash(p.m.hash, e.hash)
			p.places = append(p.places, FinalPlace(f.Index))
		}
		p.m.emit(e, f)
		return f, true
	}
	return linear.Final{}, false
}

// open makes an unreadable line readable.
func (p *play) open() (Opened, bool) {
	for _, e := range p.m.entries {
		if e.line && !e.readable && chance(p.r, 30) {
			e.readable = true
			return Opened{ID: e.id, Line: Line{Sender: "Ana", Text: e.text, Readable: true}}, true
		}
	}
	return Opened{}, false
}

func (p *play) step() {
	w := &Write{Room: p.room}
	switch {
	case chance(p.r, 15) && len(p.places) > 0:
		w.ReadTo = p.places[p.r.IntN(len(p.places))]
		p.m.markRead(w.ReadTo)
	case chance(p.r, 15):
		if o, ok := p.open(); ok {
			w.Opened = []Opened{o}
		}
	default:
		for range p.r.IntN(4) {
			w.Entries = append(w.Entries, p.add())
		}
		upTo := p.m.readTail
		for range p.r.IntN(4) {
			if f, ok := p.emit(); ok {
				w.Finals = append(w.Finals, f)
			}
		}
		if len(w.Finals) > 0 {
			p.m.settle(upTo)
		}
	}
	p.s.write(w)
}

func (p *play) check(what string) {
	p.t.Helper()
	ctx := p.t.Context()
	want := p.m.visible()
	rows, err := page(p.t, p.s.Store, p.room)
	if err != nil || len(rows) != len(want) {
		p.t.Fatalf("%s: %d lines, %v; want %d", what, len(rows), err, len(want))
	}
	for i, e := range want {
		row := rows[i]
		text := e.text
		if !e.readable {
			text = ""
		}
		f := Final{e.final.Index, e.final.Fate, e.final.OrderHash, e.final.Source}
		if row.ID != e.id || row.Line.Text != text || row.Final != f || !bytes.Equal(row.Place(), e.place()) || row.Hidden {
			p.t.Fatalf("%s: line %d is %+v\nwant %+v", what, i, row, e)
		}
	}
	total, unread, err := p.s.Counts(ctx, p.room)
	if err != nil || total != uint64(len(want)) || unread != p.m.unread() {
		p.t.Fatalf("%s: total %d, unread %d, %v; want %d and %d", what, total, unread, err, len(want), p.m.unread())
	}
	n := int(p.m.head)
	list, err := p.s.Listed(ctx, p.room, 0, MaxListed)
	if err != nil || len(list) != n {
		p.t.Fatalf("%s: a final list of %d, %v; want %d", what, len(list), err, n)
	}
	recent, err := p.s.Recent(ctx, p.room)
	if err != nil || len(recent) != n {
		p.t.Fatalf("%s: %d recent finals, %v; want %d", what, len(recent), err, n)
	}
	for i, e := range want[:n] {
		if r := (linear.Recent{Index: e.final.Index, ID: e.id, Stamp: e.stamp, OrderHash: e.final.OrderHash}); recent[i] != r || list[i] != (ordering.Listed{EntryID: e.id, Source: e.final.Source}) {
			p.t.Fatalf("%s: final %d is %v, %+v; want %+v", what, i, list[i], recent[i], r)
		}
	}
	if index, hash, err := p.s.Head(ctx, p.room); err != nil || index != p.m.head || hash != p.m.hash {
		p.t.Fatalf("%s: head %d, %s, %v; want %d, %s", what, index, hash, err, p.m.head, p.m.hash)
	}
	emitted, err := p.s.Emitted(ctx, p.room)
	if err != nil || len(emitted) != len(p.m.emitted) {
		p.t.Fatalf("%s: %d emitted chains, %v; want %d", what, len(emitted), err, len(p.m.emitted))
	}
	for _, e := range emitted {
		if p.m.emitted[e.Origin] != e {
			p.t.Fatalf("%s: emitted %+v, want %+v", what, e, p.m.emitted[e.Origin])
		}
	}
}

func TestTheFinalListAgreesWithANaiveModel(t *testing.T) {
	for seed := range uint64(10) {
		p := newPlay(t, seed)
		for step := range 90 {
			p.step()
			if chance(p.r, 3) {
				p.s.restart()
			}
			p.check(fmt.Sprintf("seed %d, step %d", seed, step))
		}
		for _, e := range p.m.entries {
			if !e.line {
				continue
			}
			r, err := p.s.Find(t.Context(), p.room, ordering.OriginTag(e.id.Origin), e.id.Seq)
			if err != nil || r.Hidden == p.m.shown(e) || r.Final.Fate != e.final.Fate || r.Final.Late != e.final.Late {
				t.Fatalf("seed %d: %+v, %v; want %+v", seed, r, err, e)
			}
		}
	}
}
