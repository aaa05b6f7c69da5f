package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"tertulia/ordering"
	"tertulia/p2p/wire/wirepb"
)

func testRun(t testing.TB, entries, body int) ordering.Run {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	o := ordering.Origin{Device: ordering.DeviceKey(key.Public().(ed25519.PublicKey))}
	var list []*ordering.Entry
	var prev ordering.Hash
	for i := range entries {
		e := ordering.Seal(ordering.Entry{
			Room: ordering.RoomID{7}, Origin: o, Seq: uint64(i + 1), Prev: prev, TS: uint64(i + 1),
			Kind: ordering.KindMessage, Body: bytes.Repeat([]byte{'x'}, body),
		})
		prev = e.Hash()
		list = append(list, e)
	}
	return ordering.SignRun(key, list...).Run()
}

func everyFrame(t testing.TB) []Frame {
	run := testRun(t, 2, 10)
	o := run.Origin()
	vector := ordering.Vector{o: 2, {Device: ordering.DeviceKey{1}}: 9}
	keys := []RoomKey{{ID: ordering.KeyID{1}, Key: [32]byte{2}}}
	return []Frame{
		&Hello{BootID: 1 << 63, Instance: ordering.Instance{1, 2}, Name: "n1", Version: "0.1"},
		&Heartbeat{Counter: 1, SentNS: 2, EchoNS: 3, HeldNS: 4, DiskOK: true},
		&Heartbeat{HearsChanged: true, Hears: []ordering.DeviceKey{{1}, {2}}, Draining: true},
		&Leaving{},
		&Rooms{IDs: []ordering.RoomID{{1}, {2}}},
		&Room{Room: ordering.RoomID{1}, Msg: &ordering.Push{Run: run}},
		&Room{Room: ordering.RoomID{1}, Msg: &ordering.Digest{Hash: vector.Hash(), Count: 11}},
		&Room{Room: ordering.RoomID{1}, Msg: &ordering.Have{Vector: vector, Answer: true}},
		&Room{Room: ordering.RoomID{1}, Msg: &ordering.Raft{Data: []byte{1, 2}}},
		&Room{Room: ordering.RoomID{1}, Msg: &ordering.Bully{Kind: ordering.Alive, Term: 3, LastTerm: 2, LastIndex: 1 << 40, Leader: o}},
		&Room{Room: ordering.RoomID{1}, Msg: &ordering.Standing{
			Origin: o, Priority: -1, Term: 3, FinalIndex: 300, CheckIndex: 256, CheckHash: ordering.Hash{9}, Diverged: true,
			Seen: ordering.Seen{Origin: o, Seq: 4},
		}},
		&Room{Room: ordering.RoomID{1}, Msg: testRelay(&ordering.Bully{Kind: ordering.Election})},
		&Room{Room: ordering.RoomID{1}, Msg: testRelay(&ordering.Raft{Data: []byte{1, 2}})},
		&PeerRecords{Envelopes: [][]byte{{1}, {2, 3}}},
		&JoinRequest{Room: ordering.RoomID{1}, Invite: ordering.InviteKey{2}, Origin: o, Name: "n2", TimeMS: -1, Proof: [64]byte{3}},
		&JoinReply{Refused: RefusedExpired},
		&JoinReply{Genesis: run, Heads: vector, Keys: keys},
		&FetchRequest{Room: ordering.RoomID{1}, Wants: []ordering.Want{{Origin: o, After: 3}}, Newest: 50},
		&FetchRun{Run: run},
		&FetchEnd{More: true},
		&KeysRequest{Room: ordering.RoomID{1}, IDs: []ordering.KeyID{{1}, {2}}},
		&KeysReply{Keys: keys},
		&FinalsRequest{Room: ordering.RoomID{1}, After: 1 << 40},
		&FinalsPage{First: 7, List: []ordering.Listed{
			{EntryID: ordering.EntryID{Origin: o, Seq: 1}}, {EntryID: ordering.EntryID{Seq: 2}},
			{EntryID: ordering.EntryID{Seq: 3}, Source: ordering.Source{Epoch: 1, Term: 1 << 63, Leader: o, Late: true}},
		}, More: true},
		&FinalsPage{First: 9, List: []ordering.Listed{}},
		&Room{Room: ordering.RoomID{1}, Msg: &ordering.Ephemeral{
			Receipts: []ordering.Receipt{{Device: o.Device, Person: ordering.PersonKey{1}, Name: "Ana", UpTo: 3, Signed: [64]byte{4}, Sig: [64]byte{5}}},
			Typing:   &ordering.Typing{Person: ordering.PersonKey{1}, Name: "Ana"},
		}},
		&NearbyRequest{},
		&NearbyReply{Offers: []Offer{{Room: ordering.RoomID{1}, Name: "lobby", Invite: "tertulia:x"}}},
	}
}

// testRelay passes a signal on in the room that frames here are of.
func testRelay(s ordering.Signal) *ordering.Relay {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return ordering.SignRelay(key, ordering.RoomID{1}, ordering.DeviceKey{2}, 5, s)
}

func TestEveryFrameComesBackAsItWas(t *testing.T) {
	var stream bytes.Buffer
	w := NewWriter(&stream)
	frames := everyFrame(t)
	for _, f := range frames {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&stream)
	for _, want := range frames {
		got, err := r.Read()
		if err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%T came back as\n%+v, want\n%+v", want, got, want)
		}
	}
	if _, err := r.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want EOF", err)
	}
}

func TestRunsTravelAsTheyWereSigned(t *testing.T) {
	run := testRun(t, 3, 100)
	b, err := Encode(&FetchRun{Run: run})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	got := f.(*FetchRun).Run
	if !bytes.Equal(got.Bytes(), run.Bytes()) {
		t.Error("the bytes changed")
	}
	if _, err := ordering.VerifyRun(got); err != nil {
		t.Error(err)
	}
}

func TestRelaysTravelAsTheyWereSigned(t *testing.T) {
	relay := testRelay(&ordering.Bully{Kind: ordering.Probe})
	relay.Hops = 1 // passed on
	b, err := Encode(&Room{Room: relay.Room, Msg: relay})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.(*Room).Msg.(*ordering.Relay); !reflect.DeepEqual(got, relay) || !got.Verify() {
		t.Errorf("%+v, want %+v, signed", got, relay)
	}
}

func TestMalformedSignalsAndFinalsAreRefused(t *testing.T) {
	relay := func(change func(*wirepb.Relay)) *wirepb.Frame {
		r := testRelay(&ordering.Bully{Kind: ordering.Probe})
		pb := toProto(&Room{Room: r.Room, Msg: r})
		change(pb.GetRoom().GetRelay())
		return pb
	}
	signal := func(b []byte) *wirepb.Frame {
		return &wirepb.Frame{Body: &wirepb.Frame_Room{Room: &wirepb.Room{Room: make([]byte, 32), Message: &wirepb.Room_Signal{Signal: b}}}}
	}
	page := func(p FinalsPage) *wirepb.Frame { return toProto(&p) }
	list := []ordering.Listed{{EntryID: ordering.EntryID{Seq: 1}}, {EntryID: ordering.EntryID{Seq: 2}}}
	sources := func(b []byte) *wirepb.Frame {
		pb := page(FinalsPage{First: 1, List: list})
		pb.GetFinalsPage().Sources = b
		return pb
	}
	run := func(count, late byte) []byte {
		return append(append([]byte{0, 0, 0, count}, make([]byte, sourceWidth-5)...), late)
	}
	for name, x := range map[string]struct {
		pb   *wirepb.Frame
		want error
	}{
		"empty signal":       {signal(nil), ErrMalformed},
		"kind of signal":     {signal([]byte{99}), ErrMalformed},
		"kind of bully":      {signal(ordering.EncodeSignal(&ordering.Bully{Kind: 9})), ErrMalformed},
		"more than a signal": {signal(append(ordering.EncodeSignal(&ordering.Standing{}), 0)), ErrMalformed},
		"long raft":          {signal(ordering.EncodeSignal(&ordering.Raft{Data: make([]byte, ordering.MaxRaft+1)})), ErrMalformed},
		"long signal":        {signal(make([]byte, ordering.MaxSignal+1)), ErrOversize},
		"hops":               {relay(func(r *wirepb.Relay) { r.Hops = ordering.MaxHops + 1 }), ErrMalformed},
		"many hops":          {relay(func(r *wirepb.Relay) { r.Hops = 256 }), ErrMalformed},
		"to itself":          {relay(func(r *wirepb.Relay) { r.To = r.From }), ErrMalformed},
		"from nobody":        {relay(func(r *wirepb.Relay) { r.From = nil }), ErrMalformed},
		"short signature":    {relay(func(r *wirepb.Relay) { r.Sig = r.Sig[1:] }), ErrMalformed},
		"nothing relayed":    {relay(func(r *wirepb.Relay) { r.Signal = nil }), ErrMalformed},
		"long relay":         {relay(func(r *wirepb.Relay) { r.Signal = make([]byte, ordering.MaxSignal+1) }), ErrOversize},
		"after the last":     {toProto(&FinalsRequest{After: 1<<64 - 1}), ErrMalformed},
		"index 0":            {page(FinalsPage{List: list}), ErrMalformed},
		"indexes overflow":   {page(FinalsPage{First: 1<<64 - 1, List: list}), ErrMalformed},
		"empty but not last": {page(FinalsPage{First: 1, More: true}), ErrMalformed},
		"id without a seq":   {page(FinalsPage{First: 1, List: make([]ordering.Listed, 1)}), ErrMalformed},
		"many ids":           {page(FinalsPage{First: 1, List: make([]ordering.Listed, MaxFinals+1)}), ErrOversize},
		"no sources":         {sources(nil), ErrMalformed},
		"a source lacking":   {sources(run(1, 0)), ErrMalformed},
		"a source too many":  {sources(run(3, 0)), ErrMalformed},
		"a run of none":      {sources(append(run(0, 0), run(2, 0)...)), ErrMalformed},
		"late or what":       {sources(run(2, 2)), ErrMalformed},
		"half a source":      {sources(run(2, 0)[1:]), ErrMalformed},
		"many sources":       {sources(bytes.Repeat(run(1, 0), 3)), ErrOversize},
	} {
		b, err := proto.Marshal(x.pb)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(b); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}

func TestSignalOverItsLimitIsNotWritten(t *testing.T) {
	relay := testRelay(&ordering.Bully{Kind: ordering.Probe})
	relay.Data = make([]byte, ordering.MaxSignal+1)
	for _, m := range []ordering.Message{relay, &ordering.Raft{Data: make([]byte, ordering.MaxRaft+1)}} {
		if _, err := Encode(&Room{Msg: m}); !errors.Is(err, ErrOversize) {
			t.Errorf("%T: %v, want ErrOversize", m, err)
		}
	}
}

func TestHeartbeatsHaveAtLeast64Bytes(t *testing.T) {
	for _, h := range []*Heartbeat{{}, {Counter: 1, DiskOK: true}, {Counter: 1 << 60, SentNS: 1 << 60, EchoNS: 1 << 60, HeldNS: 1 << 60}} {
		b, err := Encode(h)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < minHeartbeat {
			t.Errorf("%+v has %d bytes", h, len(b))
		}
	}
}

func TestTheLargestFitAFrame(t *testing.T) {
	vector := ordering.Vector{}
	for i := range ordering.MaxOrigins {
		var o ordering.Origin
		binary.BigEndian.PutUint32(o.Device[:], uint32(i))
		vector[o] = 1<<64 - 1
	}
	keys := make([]RoomKey, MaxRoomKeys)
	list := make([]ordering.Listed, MaxFinals)
	for i := range list {
		list[i].Seq, list[i].Late = 1<<64-1, i%2 == 0 // as many runs as there can be
	}
	relay := testRelay(&ordering.Raft{Data: make([]byte, ordering.MaxRaft)})
	relay.Nonce = 1<<64 - 1
	for _, f := range []Frame{
		&Room{Msg: &ordering.Have{Vector: vector}},
		&JoinReply{Genesis: testRun(t, 1, 100), Heads: vector, Keys: keys},
		&FetchRun{Run: testRun(t, 3, ordering.MaxBody)},
		&Room{Msg: relay},
		&FinalsPage{First: 1 << 63, List: list, More: true},
	} {
		b, err := Encode(f)
		if err != nil {
			t.Fatalf("%T: %v", f, err)
		}
		if _, err := Decode(b); err != nil {
			t.Errorf("%T: %v", f, err)
		}
	}
}

func TestWhatIsOverALimitIsOversize(t *testing.T) {
	for name, f := range map[string]Frame{
		"name":    &Hello{Name: strings.Repeat("n", ordering.MaxName+1)},
		"version": &Hello{Name: "n", Version: strings.Repeat("v", MaxVersion+1)},
		"rooms":   &Rooms{IDs: make([]ordering.RoomID, MaxRooms+1)},
		"hears":   &Heartbeat{HearsChanged: true, Hears: make([]ordering.DeviceKey, MaxHears+1)},
		"records": &PeerRecords{Envelopes: make([][]byte, MaxPeerRecords+1)},
		"record":  &PeerRecords{Envelopes: [][]byte{make([]byte, MaxPeerRecord+1)}},
		"keys":    &KeysReply{Keys: make([]RoomKey, MaxRoomKeys+1)},
		"ids":     &KeysRequest{IDs: make([]ordering.KeyID, MaxRoomKeys+1)},
		"wants":   &FetchRequest{Wants: make([]ordering.Want, ordering.MaxOrigins+1)},
		"newest":  &FetchRequest{Newest: MaxNewest + 1},
		"refused": &JoinReply{Refused: strings.Repeat("r", MaxRefused+1)},
		"run":     &FetchRun{Run: testRun(t, 4, ordering.MaxBody)},
	} {
		b, err := Encode(f)
		if err == nil {
			_, err = Decode(b)
		}
		if !errors.Is(err, ErrOversize) {
			t.Errorf("%s: %v, want ErrOversize", name, err)
		}
	}
}

func TestFrameOverTheLimitIsNotRead(t *testing.T) {
	b := binary.AppendUvarint(nil, MaxFrame+1)
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := NewReader(bytes.NewReader(b)).Read(); !errors.Is(err, ErrOversize) {
			t.Errorf("%v, want ErrOversize", err)
		}
	})
	if allocated > 50 {
		t.Errorf("%v allocations for a frame that is refused", allocated)
	}
}

func TestUnknownAndMalformedFramesDoNotEndTheStream(t *testing.T) {
	var stream bytes.Buffer
	add := func(b []byte) {
		stream.Write(binary.AppendUvarint(nil, uint64(len(b))))
		stream.Write(b)
	}
	add([]byte{0xfa, 0x01, 1, 'x'}) // field 31
	add([]byte{0x0a, 0x7f})         // a hello cut off
	leaving, err := Encode(&Leaving{})
	if err != nil {
		t.Fatal(err)
	}
	add(leaving)
	r := NewReader(&stream)
	if _, err := r.Read(); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
	if _, err := r.Read(); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v, want ErrMalformed", err)
	}
	if f, err := r.Read(); err != nil || !reflect.DeepEqual(f, &Leaving{}) {
		t.Errorf("%v, %v, want Leaving", f, err)
	}
}

func TestVectorHasOneEncoding(t *testing.T) {
	a := packMark(nil, ordering.Origin{Device: ordering.DeviceKey{1}}, 5)
	b := packMark(nil, ordering.Origin{Device: ordering.DeviceKey{2}}, 5)
	zero := packMark(nil, ordering.Origin{}, 0)
	for name, v := range map[string][]byte{"descending": append(b, a...), "twice": append(a, a...), "zero": zero, "cut": a[:47]} {
		pb := &wirepb.Frame{Body: &wirepb.Frame_Room{Room: &wirepb.Room{
			Room: make([]byte, 32), Message: &wirepb.Room_Have{Have: &wirepb.Have{Vector: v}},
		}}}
		raw, err := proto.Marshal(pb)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(raw); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, x := range everyFrame(f) {
		b, err := Encode(x)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrOversize) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		once, err := Encode(x)
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		y, err := Decode(once)
		if err != nil {
			t.Fatalf("what was encoded does not decode: %v", err)
		}
		twice, err := Encode(y)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("encoding again gives other bytes: %v", err)
		}
	})
}
