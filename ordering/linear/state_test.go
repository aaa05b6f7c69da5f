package linear

import (
	"bytes"
	"math/rand"
	"testing"

	"tertulia/ordering"
)

func TestResumeRefusesWhatDoesNotBelongTogether(t *testing.T) {
	_, r := filled(t, 300)
	emitted, recent, kept := r.disk()
	resume := func(emitted []Emitted, recent []Recent, kept []Kept) error {
		_, err := Resume(r.cfg, r.mark, emitted, recent, kept)
		return err
	}
	if err := resume(emitted, recent, kept); err != nil {
		t.Fatal(err)
	}
	other := r.cfg
	other.Room[0]++
	if _, err := Resume(other, r.mark, emitted, recent, kept); err == nil {
		t.Error("the mark of another room was taken")
	}
	for i := range r.mark {
		if _, err := Resume(r.cfg, r.mark[:i], emitted, recent, kept); err == nil {
			t.Fatalf("a mark of %d of %d bytes was taken", i, len(r.mark))
		}
	}
	hole := append(append([]Recent(nil), recent[0]), recent[:299]...)
	for name, err := range map[string]error{
		"a final too few":        resume(emitted, recent[1:], kept),
		"a final too many":       resume(emitted, append(recent[:1:1], recent...), kept),
		"the last final gone":    resume(emitted, recent[:299], kept),
		"a final twice":          resume(emitted, hole, kept),
		"no chains":              resume(nil, recent, kept),
		"a chain twice":          resume(append(emitted, emitted[0]), recent, kept),
		"a hash nobody keeps":    resume(emitted, recent, []Kept{{Index: 255}}),
		"a hash from the future": resume(emitted, recent, []Kept{{Index: 512}}),
	} {
		if err == nil {
			t.Errorf("%s: resumed", name)
		}
	}
}

func TestALargeRoomsStateIsWithinTheLimit(t *testing.T) {
	s, _ := newScene()
	l := New(Config{Room: s.room}, ordering.Leader, s.creator)
	for i := range ordering.MaxOrigins {
		o := ordering.Origin{Instance: ordering.Instance{1}}
		o.Device[0], o.Device[1] = byte(i), byte(i>>8)
		l.rights.act(&ordering.Entry{Kind: ordering.KindAdmit, Body: ordering.Admit{Device: o.Device, Name: "n"}.Encode()})
		l.chains[o], l.emitted[o] = &chain{o, 1, ordering.Hash{}}, 1
	}
	l.rights.act(&ordering.Entry{Kind: ordering.KindAdmit, Body: ordering.Admit{Device: ordering.DeviceKey{9, 99, 9}, Name: "n"}.Encode()})
	if n := len(l.rights.admitted); n != MaxDevices {
		t.Fatalf("%d devices, the limit is %d", n, MaxDevices)
	}
	state := l.State()
	if s, err := ParseState(state); err != nil || len(s.Mark) > MaxMark || len(state) > MaxState {
		t.Fatalf("%v: a mark of %d, a state of %d bytes", err, len(s.Mark), len(state))
	}
	// No chain beyond the limit begins.
	x := ordering.Seal(ordering.Entry{Origin: ordering.Origin{Instance: ordering.Instance{2}}, Seq: 1, TS: 1, Kind: 40})
	if a := l.Apply(1, 1, batch(0, x)); fates(a) != "lost " {
		t.Fatalf("an entry beyond the limit gave %q", fates(a))
	}
}

// FuzzParseState: whatever is read is written again byte for byte, and a list
// resumes from it or says why not.
func FuzzParseState(f *testing.F) {
	r := rand.New(rand.NewSource(1))
	for range 4 {
		w := newWorld(r)
		rep := newReplica(Config{}, w.scene)
		for _, rec := range w.log {
			rep.apply(rec.term, rec.command)
		}
		rep.Apply(1<<20, 9, &ordering.Checkpoint{Index: 1 << 20, Hash: ordering.Hash{1}})
		f.Add(rep.State())
		rep.Compare(rep.Index(), ordering.Hash{})
		f.Add(rep.State())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseState(b)
		if err != nil {
			return
		}
		room := ordering.RoomID(s.Mark[1 : 1+ordering.HashSize])
		l, err := Resume(Config{Room: room}, s.Mark, s.Emitted, nil, nil)
		if err != nil {
			if s.Index == 0 {
				t.Fatalf("an empty list does not resume: %v", err)
			}
			return
		}
		if !bytes.Equal(l.State(), b) {
			t.Fatal("it reads as another state")
		}
		l.Apply(s.Applied+1, 1, &ordering.Epoch{N: s.Epoch.N + 1, Base: s.Epoch.N, Mode: ordering.Leader, View: s.Epoch.View})
	})
}
