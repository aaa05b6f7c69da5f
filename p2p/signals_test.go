package p2p

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"tertulia/election"
	"tertulia/ordering"
	"tertulia/p2p/wire"
)

func testRelay(s ordering.Signal) *ordering.Relay {
	return ordering.SignRelay(testKey(1), testRoom, ordering.DeviceKey{9}, 1, s)
}

func room(m ordering.Message) *wire.Room { return &wire.Room{Room: testRoom, Msg: m} }

func TestSignalsAndRelaysArriveAsTheyWereSaid(t *testing.T) {
	a, b := pair(t)
	bully := &ordering.Bully{Kind: ordering.Election, Term: 3}
	for _, m := range []ordering.Message{&ordering.Raft{Data: []byte{1}}, bully, &ordering.Standing{Term: 3, Diverged: true}, testRelay(bully)} {
		a.Send(b.Self(), testRoom, m)
		if got := b.await(t, "message", a.Self()); !reflect.DeepEqual(got, m) {
			t.Errorf("%+v arrives as %+v", m, got)
		}
	}
}

func TestSignalsOvertakeWhatWaitsInTheirOwnOrder(t *testing.T) {
	o := newOutbox()
	push, have := room(&ordering.Push{Run: testRun(1, 1, 1)}), room(&ordering.Have{})
	raft, bully := room(&ordering.Raft{}), room(&ordering.Bully{})
	standing, relay := room(&ordering.Standing{}), room(testRelay(&ordering.Raft{}))
	records := &wire.PeerRecords{}
	o.tell(records)
	for _, f := range []*wire.Room{push, raft, have, bully, standing, relay} {
		o.put(f)
	}
	o.share([]ordering.RoomID{testRoom})
	if _, ok := o.take().(*wire.Rooms); !ok {
		t.Error("the room is not shared before it is spoken of")
	}
	for i, want := range []wire.Frame{raft, bully, standing, relay, records, push, have, nil} {
		if got := o.take(); got != want {
			t.Errorf("number %d is %+v, want %+v", i, got, want)
		}
	}
}

func TestFullLaneDropsTheOldestRaftOrStandingFirst(t *testing.T) {
	o := newOutbox()
	bully, standing := room(&ordering.Bully{Kind: ordering.OK}), room(&ordering.Standing{})
	o.put(bully)
	o.put(standing)
	for range maxQueuedSignals - 2 {
		o.put(room(&ordering.Raft{Data: []byte{1}}))
	}
	last := room(&ordering.Raft{Data: []byte{2}})
	if gone := o.put(last); gone != (dropped{signals: 1}) {
		t.Errorf("dropped %+v, want one signal", gone)
	}
	var left []wire.Frame
	for f := o.take(); f != nil; f = o.take() {
		left = append(left, f)
	}
	if len(left) != maxQueuedSignals || left[0] != wire.Frame(bully) || slices.Contains(left, wire.Frame(standing)) || left[len(left)-1] != wire.Frame(last) {
		t.Errorf("%d signals are left, first %+v", len(left), left[0])
	}
	if o.carried != 0 {
		t.Errorf("the emptied lane carries %d bytes", o.carried)
	}
}

func TestLaneIsBoundedWhateverFillsIt(t *testing.T) {
	o := newOutbox()
	big := make([]byte, ordering.MaxRaft)
	gone := 0
	for range 100 {
		gone += o.put(room(&ordering.Raft{Data: big})).signals
		gone += o.put(room(testRelay(&ordering.Raft{Data: big}))).signals
	}
	if o.carried > maxQueuedSignalBytes || gone+o.signals.Len() != 200 {
		t.Errorf("%d bytes wait in %d signals, %d dropped", o.carried, o.signals.Len(), gone)
	}
	for range 2 * maxQueuedSignals {
		gone += o.put(room(&ordering.Bully{Kind: ordering.OK})).signals
	}
	if o.signals.Len() != maxQueuedSignals || gone+o.signals.Len() != 200+2*maxQueuedSignals {
		t.Errorf("%d signals wait, %d dropped", o.signals.Len(), gone)
	}
}

func TestDroppedSignalsAreCounted(t *testing.T) {
	a := start(t, 1)
	fake, d, _ := mute(t, a)
	defer fake.Close()
	data := make([]byte, ordering.MaxRaft)
	for a.Stats().DroppedSignals == 0 { // the peer takes nothing
		a.Send(d, testRoom, &ordering.Raft{Data: data})
	}
	if got := a.Stats().DroppedHints; got != 0 {
		t.Errorf("%d hints were dropped", got)
	}
}

// TestSignalOvertakesPushesToASlowPeer fills the queue of a peer that takes its
// time for each push. The signal waits for what is on the wire alone.
func TestSignalOvertakesPushesToASlowPeer(t *testing.T) {
	for name, listen := range map[string][]string{"tcp": onTCP, "quic": onQUIC} {
		t.Run(name, func(t *testing.T) {
			on := func(c *Config) { c.Listen = listen }
			a, b := start(t, 1, on), start(t, 2, on)
			const body = 32 << 10
			const count = maxQueuedBytes / (body + 1<<10)
			hold, came := make(chan struct{}), make(chan time.Time, 1)
			before, total, all := 0, 0, make(chan struct{})
			b.scribe.message = func(_ ordering.DeviceKey, _ ordering.RoomID, m ordering.Message) {
				<-hold
				switch m.(type) {
				case *ordering.Raft:
					before = total
					came <- time.Now()
				case *ordering.Push:
					if total++; total == count {
						close(all)
					}
				}
			}
			befriend(a, b)
			a.await(t, "up", b.Self())
			b.await(t, "up", a.Self())
			for i := range uint64(count) {
				a.Send(b.Self(), testRoom, &ordering.Push{Run: testRun(1, i+1, body)})
			}
			began := time.Now()
			a.Send(b.Self(), testRoom, &ordering.Raft{Data: []byte{1}})
			close(hold)
			took := (<-came).Sub(began)
			<-all
			t.Logf("the signal took %v and came before %d of %d pushes", took, count-before, count)
			if before > count/2 {
				t.Errorf("%d of %d pushes came before the signal", before, count)
			}
		})
	}
}

func TestWhatIdleRoomsSayIsNoTraffic(t *testing.T) {
	for _, x := range []struct {
		m    ordering.Message
		want bool
	}{
		{&ordering.Push{}, true}, {&ordering.Have{}, true}, {&ordering.Raft{}, true}, {&ordering.Bully{}, true},
		{&ordering.Relay{}, true}, {&ordering.Digest{}, false}, {&ordering.Standing{}, false},
	} {
		if got := traffic(room(x.m)); got != x.want {
			t.Errorf("%T is traffic: %v", x.m, got)
		}
	}
}

func TestHealthIsToldWhenItChanges(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.SetHealth(false, false)
	befriend(a, b)
	b.await(t, "up", a.Self())
	want := Health{DiskOK: false}
	if got := b.await(t, "health", a.Self()); got != want {
		t.Errorf("health = %+v, want %+v", got, want)
	}
	for _, want := range []Health{{DiskOK: true, Draining: true}, {DiskOK: true}} {
		a.SetHealth(want.DiskOK, want.Draining)
		a.SetHealth(want.DiskOK, want.Draining)
		if got := b.await(t, "health", a.Self()); got != want {
			t.Errorf("health = %+v, want %+v", got, want)
		}
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	for c := range b.calls {
		if c.what == "health" {
			t.Errorf("health is told again: %+v", c.value)
		}
		if c.what == "down" {
			break
		}
	}
}

// TestHealthIsSaidAtOnce looks at the times that the sender writes into its
// heartbeats: one that is sent before its turn brings the news.
func TestHealthIsSaidAtOnce(t *testing.T) {
	a := start(t, 1)
	fake, _, s := mute(t, a)
	defer fake.Close()
	if err := s.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := wire.NewReader(s)
	var last *wire.Heartbeat
	for draining := true; ; {
		f, err := r.Read()
		if err != nil {
			t.Fatal(err) // silent as it is, the peer is given up after 1 s
		}
		h, ok := f.(*wire.Heartbeat)
		if !ok {
			continue
		}
		if last != nil && h.Draining != last.Draining {
			early := election.Interval - time.Duration(h.SentNS-last.SentNS)
			if early > 0 {
				return
			}
			draining = !draining // a busy machine: once more
		}
		last = h
		a.SetHealth(true, draining)
	}
}

func TestFinalsComeInPagesAndInOrder(t *testing.T) {
	a, b := pair(t)
	const count, after = 3*wire.MaxFinals + 7, 5
	var all []ordering.Listed
	for i := range uint64(count) {
		all = append(all, ordering.Listed{
			EntryID: ordering.EntryID{Origin: ordering.Origin{Device: ordering.DeviceKey{byte(i)}}, Seq: i + 1},
			Source:  ordering.Source{Epoch: i / 1000, Term: i / 500, Leader: ordering.Origin{Device: ordering.DeviceKey{1}}, Late: i%100 == 3},
		})
	}
	want := wire.FinalsRequest{Room: testRoom, After: after}
	a.finals = func(req wire.FinalsRequest, send func(uint64, []ordering.Listed) error) error {
		if req != want {
			t.Errorf("asked %+v, want %+v", req, want)
		}
		if err := send(after+1, all[after:100]); err != nil {
			return err
		}
		return send(101, all[100:]) // in more than one page
	}
	got := all[:after:after]
	err := b.Finals(context.Background(), a.Self(), want, func(first uint64, part []ordering.Listed) error {
		if first != uint64(len(got))+1 || len(part) == 0 || len(part) > wire.MaxFinals {
			t.Errorf("%d places from %d on after %d", len(part), first, len(got))
		}
		got = append(got, part...)
		return nil
	})
	if err != nil || !slices.Equal(got, all) {
		t.Errorf("%d finals, %v, want %d", len(got), err, count)
	}
}

func TestFinalsMayBeNone(t *testing.T) {
	a, b := pair(t)
	a.finals = func(wire.FinalsRequest, func(uint64, []ordering.Listed) error) error { return nil }
	err := b.Finals(context.Background(), a.Self(), wire.FinalsRequest{After: 3}, func(uint64, []ordering.Listed) error {
		return errors.New("called")
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFinalsEndWithTheirContextAndEitherSidesError(t *testing.T) {
	a, b := pair(t)
	list := make([]ordering.Listed, wire.MaxFinals)
	for i := range list {
		list[i].Seq = 1
	}
	ended := make(chan error, 1)
	a.finals = func(req wire.FinalsRequest, send func(uint64, []ordering.Listed) error) error {
		for next := req.After + 1; ; next += wire.MaxFinals {
			if err := send(next, list); err != nil {
				ended <- err
				return err
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := b.Finals(ctx, a.Self(), wire.FinalsRequest{}, func(uint64, []ordering.Listed) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("ends with %v, want cancelled", err)
	}
	<-ended
	full := errors.New("disk full")
	if err := b.Finals(context.Background(), a.Self(), wire.FinalsRequest{}, func(uint64, []ordering.Listed) error { return full }); !errors.Is(err, full) {
		t.Errorf("ends with %v, want the consumer's error", err)
	}
	<-ended
	sent := make(chan error, 1)
	a.finals = func(_ wire.FinalsRequest, send func(uint64, []ordering.Listed) error) error {
		sent <- send(1, list[:1])
		if send(3, list[:1]) == nil {
			t.Error("a gap is sent")
		}
		return errors.New("disk gone")
	}
	if err := b.Finals(context.Background(), a.Self(), wire.FinalsRequest{}, func(uint64, []ordering.Listed) error { return nil }); err == nil || <-sent != nil {
		t.Errorf("the server's failure is no error: %v", err)
	}
}

func TestFinalsWithAGapAreRefused(t *testing.T) {
	for name, f := range map[string]wire.Frame{
		"gap":   &wire.FinalsPage{First: 2, List: []ordering.Listed{{EntryID: ordering.EntryID{Seq: 1}}}, More: true},
		"other": &wire.FetchEnd{},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, 2)
			fake, d := stranger(t, 1, b)
			fake.SetStreamHandler(protocolFinals, func(s network.Stream) {
				w := wire.NewWriter(s)
				if err := errors.Join(w.Write(f), w.Flush()); err != nil {
					t.Error(err)
				}
			})
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			err := b.Finals(ctx, d, wire.FinalsRequest{}, func(uint64, []ordering.Listed) error { t.Error("handed over"); return nil })
			if !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("ends with %v, want malformed", err)
			}
			if got := b.await(t, "refused", d); got != ordering.Malformed {
				t.Errorf("refused as %v", got)
			}
		})
	}
}

func TestFinalsThatDripEnd(t *testing.T) {
	b := start(t, 2)
	b.slowest = 300 * time.Millisecond
	fake, d := stranger(t, 1, b)
	fake.SetStreamHandler(protocolFinals, func(s network.Stream) {
		w := wire.NewWriter(s)
		first := uint64(1)
		for range time.Tick(20 * time.Millisecond) { // 15 pages in the window
			if errors.Join(w.Write(&wire.FinalsPage{First: first, List: []ordering.Listed{{EntryID: ordering.EntryID{Seq: 1}}}, More: true}), w.Flush()) != nil {
				return
			}
			first++
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got := 0
	err := b.Finals(ctx, d, wire.FinalsRequest{}, func(uint64, []ordering.Listed) error { got++; return nil })
	if !errors.Is(err, errSlow) || got == 0 {
		t.Errorf("after %d pages it ends with %v, want too slow", got, err)
	}
}
