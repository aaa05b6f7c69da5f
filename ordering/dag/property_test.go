package dag

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"tertulia/ordering"
)

var (
	seed   = flag.Int64("seed", 0, "replay the one world of this seed")
	worlds = flag.Int("worlds", 100, "how many worlds to try")
)

// portrait is equal for equal graphs.
func portrait(g *Graph) string {
	heads := slices.SortedFunc(maps.Keys(g.heads), compareHashes)
	return fmt.Sprint(g.Sync().Hash(), g.have.Count()+uint64(len(g.beside)), g.clock, heads, g.Known(), g.MembersVersion(), g.Creator())
}

// predicted is the hash of all entries' bytes in the predicted order.
func (a *author) predicted() [32]byte {
	byID := make(map[ordering.EntryID]*ordering.Entry)
	for _, v := range a.log {
		for _, e := range v.Run().Entries {
			byID[e.ID()] = e
		}
	}
	h := sha256.New()
	for _, e := range slices.SortedFunc(maps.Values(byID), func(a, b *ordering.Entry) int { return a.Key().Compare(b.Key()) }) {
		h.Write(e.Bytes())
	}
	return [32]byte(h.Sum(nil))
}

// eachWorld calls f with a source of chance per seed.
func eachWorld(t *testing.T, f func(t *testing.T, r *rand.Rand)) {
	from, to := int64(1), int64(*worlds)+1
	if testing.Short() {
		to = 20
	}
	if *seed != 0 {
		from, to = *seed, *seed+1
	}
	for s := from; s < to; s++ {
		t.Run(fmt.Sprint("seed ", s), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay: go test -tags ci ./ordering/dag -run '%s$' -seed=%d", t.Name()[:bytes.IndexByte([]byte(t.Name()), '/')], s)
				}
			}()
			f(t, rand.New(rand.NewSource(s)))
		})
	}
}

// chronicle has people write, meet and fall out at random, and returns the
// creator's log after everybody met and the creator named all that there is.
func chronicle(t testing.TB, r *rand.Rand) (*scene, []ordering.Verified) {
	s, ana := newScene(t)
	people := []*author{ana}
	for b := byte(2); b < 7; b++ {
		people = append(people, s.author(b))
	}
	people = append(people, s.instance(2, 2), s.instance(3, 2))
	meet := func(a, b *author, n int) {
		for _, v := range b.log[:n] {
			if !a.g.Holds(last(v).ID()) {
				if err := a.take(b.origin.Device, v); err != nil && reason(err) != ordering.Duplicate {
					t.Fatalf("honest words refused: %v", err)
				}
			}
		}
	}
	for _, p := range people[1 : 2+r.Intn(4)] {
		ana.admit(p)
	}
	for _, p := range people[1:] {
		meet(p, ana, len(ana.log))
	}
	invites := []ordering.InviteKey{s.open}
	for range 20 + r.Intn(150) {
		a, b := people[r.Intn(len(people))], people[r.Intn(len(people))]
		if !a.g.IsMember(a.origin.Device) {
			meet(a, b, r.Intn(len(b.log)+1))
			continue
		}
		var v ordering.Verified
		invite := invites[r.Intn(len(invites))]
		switch n := r.Intn(100); {
		case n < 40:
			meet(a, b, r.Intn(len(b.log)+1))
			continue
		case n < 75:
			a.say(1 + r.Intn(3))
			continue
		case n < 87:
			v = a.admitBy(invite, b)
		case n < 91:
			// At times the key of an invite that others made beside this one.
			if r.Intn(3) > 0 {
				invite = ordering.InviteKey{2, byte(len(invites))}
				invites = append(invites, invite)
			}
			v = a.acting(ordering.KindInvite, ordering.Invite{Key: invite, Uses: uint32(r.Intn(3))}.Encode())
		case n < 93:
			v = a.acting(ordering.KindRevoke, ordering.Revoke{Key: invite}.Encode())
		case n < 96 && a != ana:
			v = a.acting(ordering.KindLeave, nil)
		case n < 98 && b != ana:
			a = ana
			v = a.acting(ordering.KindRemove, ordering.Remove{Device: b.origin.Device}.Encode())
		default:
			v = a.acting(ordering.KindKey, ordering.KeyGrant{}.Encode())
		}
		if err := a.take(a.origin.Device, v); err != nil && reason(err) != ordering.NotAllowed {
			t.Fatal(err)
		}
	}
	for range people { // everybody meets everybody
		for _, a := range people {
			for _, b := range people {
				meet(a, b, len(b.log))
			}
			if a.g.IsMember(a.origin.Device) {
				a.say(1)
			}
		}
	}
	ana.say(1)
	return s, ana.log
}

func TestEqualSetsMakeEqualGraphsWhateverTheOrder(t *testing.T) {
	entries, removals, held := 0, 0, 0
	eachWorld(t, func(t *testing.T, r *rand.Rand) {
		s, log := chronicle(t, r)
		var want string
		var order [32]byte
		for n := range 6 {
			at := s.author(9)
			deliveries := slices.Clone(log)
			if n > 0 {
				for range len(log) / 2 {
					deliveries = append(deliveries, log[r.Intn(len(log))])
				}
				r.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
			}
			for i, v := range deliveries {
				from := ordering.DeviceKey{byte(r.Intn(8))}
				if err := at.take(from, v); err != nil && reason(err) != ordering.Duplicate {
					t.Fatalf("refused: %v", err)
				}
				for _, p := range at.g.parked {
					if len(p.missing) == 0 {
						held++
						break
					}
				}
				if i%16 == 0 {
					at.sound()
				}
			}
			at.sound()
			if at.g.Parked() > 0 {
				t.Errorf("%d runs wait though all was delivered", at.g.Parked())
			}
			if n == 0 {
				want, order = portrait(at.g), at.predicted()
				entries += int(at.g.Have().Count())
				for _, m := range at.g.Known() {
					if m.Former {
						removals++
					}
				}
				continue
			}
			if got := portrait(at.g); got != want {
				t.Fatalf("order %d: graphs differ\n%s\n%s", n, got, want)
			}
			if at.predicted() != order {
				t.Fatalf("order %d: the predicted orders differ", n)
			}
			if e := at.next(); e.TS != at.g.Clock()+1 || len(e.Deps) > ordering.MaxDeps {
				t.Fatalf("the next entry has ts %d and %d deps", e.TS, len(e.Deps))
			}
		}
	})
	t.Logf("%d entries; %d members left or were removed; %d times a run was held back", entries, removals, held)
	if *seed == 0 && (removals == 0 || held == 0) {
		t.Error("the worlds are too tame")
	}
}

func TestTheSameDeliveriesGiveTheSameOutputsInTheSameOrder(t *testing.T) {
	eachWorld(t, func(t *testing.T, r *rand.Rand) {
		s, log := chronicle(t, r)
		for range len(log) / 4 {
			log = append(log, log[r.Intn(len(log))])
		}
		r.Shuffle(len(log), func(i, j int) { log[i], log[j] = log[j], log[i] })
		var first []string
		for n := range 4 {
			g := New(s.id)
			var out []string
			for _, v := range log {
				accepted, err := g.Accept(ordering.DeviceKey{}, v)
				line := fmt.Sprint(err, g.Parked(), len(g.Missing(v)), g.Reach()[v.Run().Origin()])
				for _, a := range accepted {
					line += fmt.Sprint(" ", last(a.Run).Hash(), a.Skip)
				}
				out = append(out, line)
			}
			if n == 0 {
				first = out
			} else if !slices.Equal(first, out) {
				t.Fatal("outputs differ")
			}
		}
	})
}

func FuzzAccept(f *testing.F) {
	r := rand.New(rand.NewSource(1))
	for _, n := range []int{8, 40, 120, 400} {
		b := make([]byte, n)
		r.Read(b)
		f.Add(b)
	}
	f.Fuzz(mischief)
}

func TestNoMischiefBreaksTheGraph(t *testing.T) {
	eachWorld(t, func(t *testing.T, r *rand.Rand) {
		b := make([]byte, 600)
		r.Read(b)
		mischief(t, b)
	})
}

// mischief makes runs by the bytes it is given: right ones, and ones that are
// wrong in every way a signature allows, and delivers them in any order.
func mischief(t *testing.T, b []byte) {
	if len(b) > 1000 {
		b = b[:1000]
	}
	byteAt := func() int {
		if len(b) == 0 {
			return 0
		}
		v := b[0]
		b = b[1:]
		return int(v)
	}
	s, ana := newScene(t)
	at := s.author(9)
	people := []*author{ana, s.author(2), s.author(3), s.author(4), s.instance(2, 2)}
	made := []ordering.Verified{s.genesis}
	kinds := []ordering.Kind{
		ordering.KindJoined, ordering.KindJoined, ordering.KindNull, ordering.KindAdmit, ordering.KindAdmit, ordering.KindInvite,
		ordering.KindRevoke, ordering.KindLeave, ordering.KindRemove, ordering.KindKey, ordering.KindMessage, 99, 9,
	}
	for len(b) > 0 {
		a, other := people[byteAt()%len(people)], people[byteAt()%len(people)]
		switch op := byteAt() % 8; op {
		case 0, 1, 2: // deliver
			v := made[byteAt()%len(made)]
			if err := at.take(other.origin.Device, v); err != nil && reason(err) == "" {
				t.Fatalf("an unnamed refusal: %v", err)
			}
		case 3: // somebody reads something, so that entries build on others
			_, _ = a.g.Accept(other.origin.Device, made[byteAt()%len(made)])
		default:
			e := a.g.Next(a.origin)
			e.Kind = kinds[byteAt()%len(kinds)]
			key := ordering.InviteKey{1 + byte(byteAt()%2)}
			switch e.Kind {
			case ordering.KindAdmit:
				e.Body = ordering.Admit{Device: other.origin.Device, Invite: key, Name: "n"}.Encode()
			case ordering.KindInvite:
				e.Body = ordering.Invite{Key: key, Uses: uint32(byteAt() % 3)}.Encode()
			case ordering.KindRevoke:
				e.Body = ordering.Revoke{Key: key}.Encode()
			case ordering.KindRemove:
				e.Body = ordering.Remove{Device: other.origin.Device}.Encode()
			case ordering.KindKey:
				e.Body = ordering.KeyGrant{}.Encode()
			}
			past := made[byteAt()%len(made)]
			switch op {
			case 4, 5: // as it should be
			case 6: // fields turned
				switch byteAt() % 7 {
				case 0:
					e.TS += uint64(byteAt())
				case 1:
					e.Seq += uint64(byteAt())
				case 2:
					e.Prev[0] ^= byte(byteAt())
				case 3:
					e.Room[0] ^= byte(byteAt())
				case 4:
					e.Gen = uint64(byteAt())
				case 5:
					e.TS, e.Seq = 1<<63, 1<<63+uint64(byteAt())
				case 6:
					e.WallMS = int64(byteAt()) // a fork, if said twice
				}
			case 7: // another past
				d := last(past).Ref()
				d.Seq += uint64(byteAt() % 3)
				e.Deps = nil
				if d.Origin != e.Origin {
					e.Deps = []ordering.Ref{d}
				}
			}
			entries := []ordering.Entry{e}
			for range byteAt() % 3 {
				entries = append(entries, ordering.Entry{Kind: ordering.KindJoined})
			}
			v := a.sign(entries...)
			if _, err := ordering.DecodeRun(v.Run().Bytes()); err != nil {
				continue // would not have come in
			}
			made = append(made, v)
			if op < 6 {
				_, _ = a.g.Accept(a.origin.Device, v)
			}
		}
	}
	at.sound()
}

func BenchmarkAcceptOneByOne(b *testing.B) { benchmarkAccept(b, 3) }

func BenchmarkAcceptAmong500Members(b *testing.B) { benchmarkAccept(b, 500) }

// benchmarkAccept takes entries of a busy room one by one; three of its members
// write by turns.
func benchmarkAccept(b *testing.B, members int) {
	s, ana, bob, eva := trio(b)
	for n := range members - 3 {
		d := &author{scene: s}
		d.origin.Device = ordering.DeviceKey{byte(n), byte(n >> 8), 1}
		ana.admit(d)
	}
	bob.hear(ana.log...)
	eva.hear(ana.log...)
	base := ana.log
	var runs []ordering.Verified
	for n := range 2000 {
		w := []*author{ana, bob, eva}[n%3]
		v := w.say(1)
		for _, a := range []*author{ana, bob, eva} {
			if a != w {
				a.hear(v)
			}
		}
		runs = append(runs, v)
	}
	b.ResetTimer()
	for n := 0; n < b.N; {
		b.StopTimer()
		at := s.author(9)
		at.hear(base...)
		b.StartTimer()
		for _, v := range runs {
			if _, err := at.g.Accept(bob.origin.Device, v); err != nil {
				b.Fatal(err)
			}
			if n++; n == b.N {
				break
			}
		}
	}
}
