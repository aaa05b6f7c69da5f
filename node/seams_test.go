package node

import (
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
)

// line returns a message of a device's first instance.
func line(d byte, seq, ts uint64) *ordering.Entry {
	return &ordering.Entry{Origin: ordering.Origin{Device: ordering.DeviceKey{d}}, Seq: seq, TS: ts, Kind: ordering.KindMessage, WallMS: int64(ts) * 1000}
}

func TestASeamIsWhatCameLongAfterALineBelowWhichItBelongs(t *testing.T) {
	self, other := ordering.DeviceKey{1}, ordering.DeviceKey{2}
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	for _, c := range []struct {
		name  string
		tell  func(*seams)
		count int
	}{
		{"both wrote apart", func(s *seams) {
			s.learn(at(0), self, []*ordering.Entry{line(1, 1, 5)}, false)
			s.learn(at(60), self, []*ordering.Entry{line(2, 1, 5), line(2, 2, 6), line(2, 3, 7)}, true)
		}, 3},
		{"in several runs", func(s *seams) {
			s.learn(at(0), self, []*ordering.Entry{line(1, 1, 5), line(1, 2, 6)}, false)
			s.learn(at(60), self, []*ordering.Entry{line(2, 1, 5)}, true)
			s.learn(at(60), self, []*ordering.Entry{line(3, 1, 9)}, true)
		}, 2},
		{"at the same moment", func(s *seams) {
			s.learn(at(0), self, []*ordering.Entry{line(1, 1, 5)}, false)
			s.learn(at(1), self, []*ordering.Entry{line(2, 1, 5)}, false)
		}, 0},
		{"an answer, late", func(s *seams) {
			s.learn(at(0), self, []*ordering.Entry{line(1, 1, 5)}, false)
			s.learn(at(60), self, []*ordering.Entry{line(2, 1, 6)}, true)
		}, 0},
		{"only the others wrote", func(s *seams) {
			s.learn(at(0), self, []*ordering.Entry{line(2, 1, 5)}, false)
			s.learn(at(60), self, []*ordering.Entry{line(2, 2, 6), line(2, 3, 7)}, true)
			s.learn(at(70), self, []*ordering.Entry{line(3, 1, 6)}, true) // of the same fetch
		}, 0},
		{"what follows it live is not of it", func(s *seams) {
			s.learn(at(0), self, []*ordering.Entry{line(1, 1, 5)}, false)
			s.learn(at(60), self, []*ordering.Entry{line(2, 1, 5)}, true)
			s.learn(at(61), self, []*ordering.Entry{line(2, 2, 6), line(1, 2, 6)}, false)
		}, 1},
		{"after a restart", func(s *seams) {
			s.has(line(1, 1, 5))
			s.restored()
			s.learn(at(0), self, []*ordering.Entry{line(2, 1, 4)}, true)
		}, 1},
	} {
		s := newSeams()
		s.gone(at(-10), other)
		s.came(at(59), other)
		s.gone(at(-5), ordering.DeviceKey{3}) // and is still
		c.tell(&s)
		got := 0
		if s.open != nil {
			if !s.open.from.Equal(at(-10)) {
				t.Errorf("%s: since %s", c.name, s.open.from)
			}
			if done := s.close(); done != nil {
				got = done.count
				if done.first.Origin.Device != other || done.first.Seq != 1 {
					t.Errorf("%s: it begins with %+v", c.name, done.first)
				}
			}
		}
		if got != c.count {
			t.Errorf("%s: %d messages, want %d", c.name, got, c.count)
		}
	}
}

func TestSeamsKeepTheNewestMergesAndWhoIsAway(t *testing.T) {
	s := newSeams()
	for i := range chat.MaxMerges + 3 {
		s.keep(&seam{count: i + 1})
	}
	s.gone(time.UnixMilli(7), ordering.DeviceKey{1})
	back := newSeams()
	back.decode(s.encode())
	if n := len(back.merges); n != chat.MaxMerges || back.merges[n-1].Count != chat.MaxMerges+3 {
		t.Errorf("%d merges come back: %+v", n, back.merges)
	}
	if at := back.away[ordering.DeviceKey{1}]; at.UnixMilli() != 7 {
		t.Errorf("away since %s", at)
	}
	back.decode([]byte("{"))
}

func TestTwoPartsThatTalkedSeparatelyAreToldOf(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	a.say("together")
	sameLists(1, a, b)
	began := time.Now()
	b.stop()
	a.say("Ana alone")
	a.stop()
	b = b.again()
	first := b.say("Bea alone").ID
	b.say("Bea alone still")
	b.stop()
	a, b = a.again(), b.again()
	sameLists(4, a, b)
	for _, x := range []struct {
		r     *rig
		count int
	}{{a, 2}, {b, 1}} {
		x.r.until("the merge is told of", func() bool { return len(x.r.state(lobby).Merges) == 1 })
		m := x.r.state(lobby).Merges[0]
		if m.Count != x.count || m.From.Before(began.Truncate(time.Millisecond)) || m.To.Before(m.From) || x.r == a && m.Before != first {
			t.Errorf("%s: %+v, want %d messages since %s, from %s on", x.r.NodeID(), m, x.count, began, first)
		}
	}
	want := a.state(lobby).Merges[0]
	a.stop()
	a = a.again()
	if got := a.state(lobby).Merges; len(got) != 1 || got[0].Before != want.Before || !got[0].From.Equal(want.From) {
		t.Errorf("after a restart: %+v, want %+v", got, want)
	}
}

func TestWhoWasOnlyAwayIsToldOfNoMerge(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	a.say("together")
	sameLists(1, a, b)
	b.stop()
	a.sayMany("meanwhile", 20)
	b = b.again()
	sameLists(21, a, b)
	b.say("back")
	sameLists(22, a, b)
	for _, r := range []*rig{a, b} {
		if open := inRoom(r, func(r *room) bool { return r.seams.open != nil }); open || len(r.state(lobby).Merges) > 0 {
			t.Errorf("%s tells of %+v", r.NodeID(), r.state(lobby).Merges)
		}
	}
}
