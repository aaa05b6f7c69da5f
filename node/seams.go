package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
)

// Waits by which a separation is known.
const (
	apartLeast  = 5 * time.Second // what comes later than that below what was shown came from apart
	mergeQuiet  = time.Second     // without more of it, after which a merge is told of
	apartRecent = time.Minute     // connected again for so long, a member is no longer taken to have been away
	seamSamples = 32              // of what was shown, within apartLeast
)

// seams are the places of a room where parts that had talked separately came
// together. An entry shows one when it belongs below a line that was here for long:
// nobody who had seen that line wrote it, and it did not come in its time. The
// room's goroutine owns it; it is told the time.
type seams struct {
	top    uint64   // highest ts of a line held
	old    uint64   // of a line held for apartLeast or longer
	recent []sample // since, ascending
	open   *seam
	away   map[ordering.DeviceKey]time.Time // when a member was connected last
	back   map[ordering.DeviceKey]time.Time // since when it is connected
	merges []chat.Merge
}

type sample struct {
	at  time.Time
	top uint64
}

// seam is a merge under way.
type seam struct {
	from, to, last time.Time
	first          ordering.Key // of the messages added
	count          int
	by             map[ordering.DeviceKey]bool
}

func newSeams() seams {
	return seams{away: make(map[ordering.DeviceKey]time.Time), back: make(map[ordering.DeviceKey]time.Time)}
}

// has notes a line that is on disk from an earlier life.
func (s *seams) has(e *ordering.Entry) {
	if e.Kind.Sealed() {
		s.top = max(s.top, e.TS)
	}
}

// restored ends what has added: all of it was shown long ago.
func (s *seams) restored() { s.old = max(s.old, s.top) }

// forget begins anew: what was held is to be brought again.
func (s *seams) forget() { s.top, s.old, s.recent, s.open = 0, 0, nil, nil }

// gone and came note that a member is not connected any more, or again.
func (s *seams) gone(now time.Time, d ordering.DeviceKey) {
	s.away[d] = now
	delete(s.back, d)
}

func (s *seams) came(now time.Time, d ordering.DeviceKey) { s.back[d] = now }

// learn takes entries that are durable now; bulk says that others' were brought by
// a fetch.
func (s *seams) learn(now time.Time, self ordering.DeviceKey, entries []*ordering.Entry, bulk bool) {
	i := 0
	for i < len(s.recent) && now.Sub(s.recent[i].at) >= apartLeast {
		s.old = s.recent[i].top
		i++
	}
	s.recent = s.recent[i:]
	for _, e := range entries {
		s.has(e)
		if e.Origin.Device == self {
			continue
		}
		late := e.TS <= s.old && !s.steady(now, e.Origin.Device)
		if s.open == nil && late {
			s.open = &seam{to: now, by: make(map[ordering.DeviceKey]bool)}
		}
		if s.open != nil && (late || bulk) {
			s.open.add(now, e, s.partedFrom(now, e))
		}
	}
	if bulk || s.open != nil {
		return // what comes in bulk was not here before
	}
	last := uint64(0)
	if n := len(s.recent); n > 0 {
		last = s.recent[n-1].top
	}
	if s.top > max(last, s.old) {
		if len(s.recent) > 0 && (len(s.recent) == seamSamples || now.Sub(s.recent[len(s.recent)-1].at) < apartLeast/seamSamples) {
			s.recent[len(s.recent)-1] = sample{now, s.top} // a little younger than it is
			return
		}
		s.recent = append(s.recent, sample{now, s.top})
	}
}

// steady reports whether a device has been connected for long: what it says late it
// did not say apart.
func (s *seams) steady(now time.Time, d ordering.DeviceKey) bool {
	back, connected := s.back[d]
	return connected && now.Sub(back) >= apartRecent
}

// partedFrom returns since when an entry's author was away or, where that is not
// known, when it wrote.
func (s *seams) partedFrom(now time.Time, e *ordering.Entry) time.Time {
	t, known := s.away[e.Origin.Device]
	if !known || s.steady(now, e.Origin.Device) {
		t = time.UnixMilli(e.WallMS)
	}
	if t.After(now) { // by another clock
		return now
	}
	return t
}

func (s *seam) add(now time.Time, e *ordering.Entry, from time.Time) {
	s.last = now
	s.by[e.Origin.Device] = true
	if s.from.IsZero() || from.Before(s.from) {
		s.from = from
	}
	if e.Kind != ordering.KindMessage {
		return
	}
	if s.count++; s.count == 1 || e.Key().Compare(s.first) < 0 {
		s.first = e.Key()
	}
}

// due is when a merge under way is over, zero when there is none.
func (s *seams) due() time.Time {
	if s.open == nil {
		return time.Time{}
	}
	return s.open.last.Add(mergeQuiet)
}

// close ends the merge under way, nil when nothing was said in it.
func (s *seams) close() *seam {
	done := s.open
	s.open, s.recent, s.old = nil, nil, s.top
	if done.count == 0 {
		return nil
	}
	return done
}

// keep notes a merge that people are told of.
func (s *seams) keep(done *seam) {
	s.merges = append(slices.Clone(s.merges), chat.Merge{From: done.from, To: done.to, Before: done.first.EntryID.String(), Count: done.count})
	s.merges = s.merges[max(0, len(s.merges)-chat.MaxMerges):]
}

// keptSeams is how seams are kept on disk.
type keptSeams struct {
	Merges []chat.Merge
	Away   map[string]int64 // by device key in hex: Unix time in milliseconds
}

func (s *seams) encode() []byte {
	kept := keptSeams{Merges: s.merges, Away: make(map[string]int64)}
	for d, t := range s.away {
		kept.Away[hex.EncodeToString(d[:])] = t.UnixMilli()
	}
	b, err := json.Marshal(kept)
	if err != nil {
		panic("node: encode seams: " + err.Error())
	}
	return b
}

func (s *seams) decode(b []byte) {
	var kept keptSeams
	if json.Unmarshal(b, &kept) != nil {
		return // as if there were none
	}
	s.merges = kept.Merges
	for key, ms := range kept.Away {
		if raw, err := hex.DecodeString(key); err == nil && len(raw) == ordering.DeviceSize {
			s.away[ordering.DeviceKey(raw)] = time.UnixMilli(ms)
		}
	}
}

// saveSeams keeps them on disk, where nothing is lost by it that people said.
func (r *room) saveSeams() {
	maps.DeleteFunc(r.seams.away, func(d ordering.DeviceKey, _ time.Time) bool { return !r.core.Graph().IsMember(d) })
	if err := r.n.store.Put(context.WithoutCancel(r.ctx), settingSeams+r.id.String(), r.seams.encode()); err != nil {
		r.log.Debug("could not keep who was away", "error", err)
	}
}

// closeSeam tells of a merge, if those on this side had talked meanwhile too.
func (r *room) closeSeam(now time.Time) {
	due := r.seams.due()
	if due.IsZero() || now.Before(due) {
		return
	}
	if r.core.Fetching() {
		r.seams.open.last = now
		return
	}
	done := r.seams.close()
	if done == nil {
		return
	}
	writers, err := r.n.store.Writers(r.ctx, r.id, done.from)
	if err != nil {
		r.log.Warn("could not tell of a merge", "error", err)
		return
	}
	if slices.ContainsFunc(writers, func(o ordering.Origin) bool { return !done.by[o.Device] }) {
		r.seams.keep(done)
		r.saveSeams()
	}
}
