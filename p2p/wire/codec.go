package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"tertulia/ordering"
	"tertulia/p2p/wire/wirepb"
)

// What may be wrong with a frame.
var (
	// ErrUnknown: a frame of a kind this version does not know. The stream is
	// sound and reading may go on.
	ErrUnknown = errors.New("wire: unknown kind of frame")
	// ErrMalformed: a frame was read whole, but what it holds is not well
	// formed. The stream is sound and reading may go on.
	ErrMalformed = errors.New("wire: malformed frame")
	// ErrOversize: something is over its limit. After Read, the stream is not
	// to be read any further.
	ErrOversize = errors.New("wire: over the limit")
)

// Widths of what a list holds, in bytes.
const (
	markWidth    = ordering.OriginSize + 8
	tipWidth     = markWidth + 8
	roomKeyWidth = ordering.KeyIDSize + 32
	sourceWidth  = 4 + 8 + markWidth + 1
)

// bufferSize of a Reader and a Writer, in bytes.
const bufferSize = 32 << 10

// Reader reads frames.
type Reader struct{ r *bufio.Reader }

// NewReader returns a reader of the frames in r.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, bufferSize)} }

// Read returns the next frame, or an error: io.EOF between two frames, one that
// wraps ErrUnknown, ErrMalformed or ErrOversize, or the stream's own.
func (r *Reader) Read() (Frame, error) {
	var pb wirepb.Frame
	opts := protodelim.UnmarshalOptions{MaxSize: MaxFrame, UnmarshalOptions: proto.UnmarshalOptions{DiscardUnknown: true}}
	err := opts.UnmarshalFrom(r.r, &pb)
	if _, ok := errors.AsType[*protodelim.SizeTooLargeError](err); ok {
		return nil, fmt.Errorf("%w: a frame has at most %d bytes", ErrOversize, MaxFrame)
	}
	if errors.Is(err, proto.Error) {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err != nil {
		return nil, err
	}
	return fromProto(&pb)
}

// Writer writes frames. They are on their way only after Flush.
type Writer struct{ w *bufio.Writer }

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriterSize(w, bufferSize)} }

// Write appends a frame to the buffer. A frame over a limit is our own mistake
// and is not written.
func (w *Writer) Write(f Frame) error {
	b, err := Encode(f)
	if err != nil {
		return err
	}
	var head [binary.MaxVarintLen64]byte
	if _, err := w.w.Write(head[:binary.PutUvarint(head[:], uint64(len(b)))]); err != nil {
		return err
	}
	_, err = w.w.Write(b)
	return err
}

// Flush sends what was written.
func (w *Writer) Flush() error { return w.w.Flush() }

// Encode returns a frame's bytes, without its length.
func Encode(f Frame) ([]byte, error) {
	opts := proto.MarshalOptions{Deterministic: true}
	if err := sendable(f); err != nil {
		return nil, fmt.Errorf("wire: encode %T: %w", f, err)
	}
	pb := toProto(f)
	b, err := opts.Marshal(pb)
	if err != nil {
		return nil, fmt.Errorf("wire: encode %T: %w", f, err)
	}
	if beat := pb.GetHeartbeat(); beat != nil && len(b) < minHeartbeat {
		beat.Pad = make([]byte, minHeartbeat-len(b))
		if b, err = opts.Marshal(pb); err != nil {
			return nil, fmt.Errorf("wire: encode %T: %w", f, err)
		}
	}
	if len(b) > MaxFrame {
		return nil, fmt.Errorf("wire: encode %T of %d bytes: %w", f, len(b), ErrOversize)
	}
	return b, nil
}

// sendable keeps back a signal that would fit a frame but not its own limit, for
// which the receiver would give up the stream.
func sendable(f Frame) error {
	r, ok := f.(*Room)
	if !ok {
		return nil
	}
	over := false
	switch m := r.Msg.(type) {
	case *ordering.Raft:
		over = len(m.Data) > ordering.MaxRaft
	case *ordering.Relay:
		over = len(m.Data) > ordering.MaxSignal
	case *ordering.Push, *ordering.Digest, *ordering.Have, *ordering.Bully, *ordering.Standing,
		*ordering.Ack, *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
	case *ordering.Ephemeral:
		over = len(m.Receipts) > ordering.MaxReceipts
	}
	if over {
		return fmt.Errorf("%w: a signal", ErrOversize)
	}
	return nil
}

// Decode reads what Encode wrote. Its errors wrap ErrUnknown, ErrMalformed or
// ErrOversize.
func Decode(b []byte) (Frame, error) {
	if len(b) > MaxFrame {
		return nil, fmt.Errorf("%w: a frame has at most %d bytes", ErrOversize, MaxFrame)
	}
	var pb wirepb.Frame
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &pb); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return fromProto(&pb)
}

func toProto(f Frame) *wirepb.Frame {
	var pb wirepb.Frame
	switch f := f.(type) {
	case *Hello:
		pb.Body = &wirepb.Frame_Hello{Hello: &wirepb.Hello{
			BootId: f.BootID, Instance: f.Instance[:], Name: f.Name, Version: f.Version,
		}}
	case *Heartbeat:
		h := &wirepb.Heartbeat{
			Counter: f.Counter, SentNs: f.SentNS, EchoNs: f.EchoNS, HeldNs: f.HeldNS,
			HearsChanged: f.HearsChanged, DiskOk: f.DiskOK, Draining: f.Draining,
		}
		if f.HearsChanged {
			for i := range f.Hears {
				h.Hears = append(h.Hears, f.Hears[i][:]...)
			}
		}
		pb.Body = &wirepb.Frame_Heartbeat{Heartbeat: h}
	case *Leaving:
		pb.Body = &wirepb.Frame_Leaving{Leaving: &wirepb.Leaving{}}
	case *Rooms:
		var ids []byte
		for i := range f.IDs {
			ids = append(ids, f.IDs[i][:]...)
		}
		pb.Body = &wirepb.Frame_Rooms{Rooms: &wirepb.Rooms{Ids: ids}}
	case *Room:
		pb.Body = &wirepb.Frame_Room{Room: roomToProto(f)}
	case *PeerRecords:
		pb.Body = &wirepb.Frame_PeerRecords{PeerRecords: &wirepb.PeerRecords{Envelopes: f.Envelopes}}
	case *JoinRequest:
		pb.Body = &wirepb.Frame_JoinRequest{JoinRequest: &wirepb.JoinRequest{
			Room: f.Room[:], Invite: f.Invite[:], Origin: f.Origin.Bytes(), Name: f.Name, TimeMs: f.TimeMS, Proof: f.Proof[:],
		}}
	case *JoinReply:
		r := &wirepb.JoinReply{Refused: f.Refused}
		if f.Refused == "" {
			r.Genesis, r.Heads, r.Keys = f.Genesis.Bytes(), packVector(f.Heads), packKeys(f.Keys)
		}
		pb.Body = &wirepb.Frame_JoinReply{JoinReply: r}
	case *FetchRequest:
		r := &wirepb.FetchRequest{Room: f.Room[:], Newest: uint32(max(f.Newest, 0))}
		for _, w := range f.Wants {
			if w.Tip == (ordering.Tip{}) {
				r.Wants = packMark(r.Wants, w.Origin, w.After)
			} else {
				r.Branches = append(packMark(r.Branches, w.Origin, w.Tip.Seq), w.Tip.Hash[:]...)
			}
		}
		pb.Body = &wirepb.Frame_FetchRequest{FetchRequest: r}
	case *FetchRun:
		pb.Body = &wirepb.Frame_FetchRun{FetchRun: &wirepb.FetchRun{Run: f.Run.Bytes()}}
	case *FetchEnd:
		pb.Body = &wirepb.Frame_FetchEnd{FetchEnd: &wirepb.FetchEnd{More: f.More}}
	case *KeysRequest:
		r := &wirepb.KeysRequest{Room: f.Room[:]}
		for i := range f.IDs {
			r.Ids = append(r.Ids, f.IDs[i][:]...)
		}
		pb.Body = &wirepb.Frame_KeysRequest{KeysRequest: r}
	case *KeysReply:
		pb.Body = &wirepb.Frame_KeysReply{KeysReply: &wirepb.KeysReply{Keys: packKeys(f.Keys)}}
	case *NearbyRequest:
		pb.Body = &wirepb.Frame_NearbyRequest{NearbyRequest: &wirepb.NearbyRequest{}}
	case *NearbyReply:
		r := &wirepb.NearbyReply{}
		for _, o := range f.Offers {
			r.Offers = append(r.Offers, &wirepb.Offer{Room: o.Room[:], Name: o.Name, Invite: o.Invite})
		}
		pb.Body = &wirepb.Frame_NearbyReply{NearbyReply: r}
	case *FinalsRequest:
		pb.Body = &wirepb.Frame_FinalsRequest{FinalsRequest: &wirepb.FinalsRequest{Room: f.Room[:], After: f.After}}
	case *FinalsPage:
		p := &wirepb.FinalsPage{First: f.First, Ids: make([]byte, 0, len(f.List)*markWidth), More: f.More}
		for _, l := range f.List {
			p.Ids = packMark(p.Ids, l.Origin, l.Seq)
		}
		p.Sources = packSources(f.List)
		pb.Body = &wirepb.Frame_FinalsPage{FinalsPage: p}
	}
	return &pb
}

func roomToProto(f *Room) *wirepb.Room {
	r := &wirepb.Room{Room: f.Room[:]}
	switch m := f.Msg.(type) {
	case *ordering.Push:
		r.Message = &wirepb.Room_Push{Push: m.Run.Bytes()}
	case *ordering.Digest:
		r.Message = &wirepb.Room_Digest{Digest: &wirepb.Digest{Hash: m.Hash[:], Count: m.Count}}
	case *ordering.Have:
		r.Message = &wirepb.Room_Have{Have: &wirepb.Have{Vector: packVector(m.Vector), Answer: m.Answer}}
	case *ordering.Ephemeral:
		r.Message = &wirepb.Room_Ephemeral{Ephemeral: ordering.EncodeEphemeral(m)}
	case ordering.Signal:
		r.Message = &wirepb.Room_Signal{Signal: ordering.EncodeSignal(m)}
	case *ordering.Relay:
		r.Message = &wirepb.Room_Relay{Relay: &wirepb.Relay{
			From: m.From[:], To: m.To[:], Nonce: m.Nonce, Hops: uint32(m.Hops), Signal: m.Data, Sig: m.Sig[:],
		}}
	}
	return r
}

// fromProto converts and checks. A body it does not know is ErrUnknown.
func fromProto(pb *wirepb.Frame) (Frame, error) {
	var u unpacker
	var f Frame
	switch b := pb.Body.(type) {
	case *wirepb.Frame_Hello:
		h := &Hello{BootID: b.Hello.GetBootId(), Name: u.text(b.Hello.GetName(), ordering.MaxName), Version: u.text(b.Hello.GetVersion(), MaxVersion)}
		u.fixed(h.Instance[:], b.Hello.GetInstance())
		if h.Name == "" {
			u.fail(ErrMalformed, "a hello without a name")
		}
		f = h
	case *wirepb.Frame_Heartbeat:
		h := &Heartbeat{
			Counter: b.Heartbeat.GetCounter(), SentNS: b.Heartbeat.GetSentNs(), EchoNS: b.Heartbeat.GetEchoNs(), HeldNS: b.Heartbeat.GetHeldNs(),
			HearsChanged: b.Heartbeat.GetHearsChanged(), DiskOK: b.Heartbeat.GetDiskOk(), Draining: b.Heartbeat.GetDraining(),
		}
		if h.HearsChanged {
			h.Hears = list(&u, b.Heartbeat.GetHears(), ordering.DeviceSize, MaxHears, func(b []byte) ordering.DeviceKey { return ordering.DeviceKey(b) })
		}
		f = h
	case *wirepb.Frame_Leaving:
		f = &Leaving{}
	case *wirepb.Frame_Rooms:
		f = &Rooms{IDs: list(&u, b.Rooms.GetIds(), ordering.HashSize, MaxRooms, func(b []byte) ordering.RoomID { return ordering.RoomID(b) })}
	case *wirepb.Frame_Room:
		f = u.roomMessage(b.Room)
	case *wirepb.Frame_PeerRecords:
		e := b.PeerRecords.GetEnvelopes()
		if len(e) > MaxPeerRecords {
			u.fail(ErrOversize, "peer records")
		}
		for _, x := range e {
			if len(x) > MaxPeerRecord {
				u.fail(ErrOversize, "a peer record")
			}
		}
		f = &PeerRecords{Envelopes: e}
	case *wirepb.Frame_JoinRequest:
		r := &JoinRequest{Name: u.text(b.JoinRequest.GetName(), ordering.MaxName), TimeMS: b.JoinRequest.GetTimeMs()}
		u.fixed(r.Room[:], b.JoinRequest.GetRoom())
		u.fixed(r.Invite[:], b.JoinRequest.GetInvite())
		r.Origin = u.origin(b.JoinRequest.GetOrigin())
		u.fixed(r.Proof[:], b.JoinRequest.GetProof())
		if r.Name == "" {
			u.fail(ErrMalformed, "a joiner without a name")
		}
		f = r
	case *wirepb.Frame_JoinReply:
		r := &JoinReply{Refused: u.text(b.JoinReply.GetRefused(), MaxRefused)}
		if r.Refused == "" {
			r.Genesis = u.run(b.JoinReply.GetGenesis())
			r.Heads = u.vector(b.JoinReply.GetHeads())
			r.Keys = u.keys(b.JoinReply.GetKeys())
		}
		f = r
	case *wirepb.Frame_FetchRequest:
		r := &FetchRequest{Newest: int(b.FetchRequest.GetNewest())}
		u.fixed(r.Room[:], b.FetchRequest.GetRoom())
		r.Wants = list(&u, b.FetchRequest.GetWants(), markWidth, ordering.MaxOrigins, func(b []byte) ordering.Want {
			o, seq := unpackMark(b)
			return ordering.Want{Origin: o, After: seq}
		})
		r.Wants = append(r.Wants, list(&u, b.FetchRequest.GetBranches(), tipWidth, MaxBranches, func(b []byte) ordering.Want {
			o, seq := unpackMark(b)
			w := ordering.Want{Origin: o, After: seq - 1, Tip: ordering.Tip{Seq: seq}}
			copy(w.Tip.Hash[:], b[markWidth:])
			if seq == 0 {
				u.fail(ErrMalformed, "seq begins at 1")
			}
			return w
		})...)
		if r.Newest > MaxNewest {
			u.fail(ErrOversize, "newest")
		}
		f = r
	case *wirepb.Frame_FetchRun:
		f = &FetchRun{Run: u.run(b.FetchRun.GetRun())}
	case *wirepb.Frame_FetchEnd:
		f = &FetchEnd{More: b.FetchEnd.GetMore()}
	case *wirepb.Frame_KeysRequest:
		r := &KeysRequest{}
		u.fixed(r.Room[:], b.KeysRequest.GetRoom())
		r.IDs = list(&u, b.KeysRequest.GetIds(), ordering.KeyIDSize, MaxRoomKeys, func(b []byte) ordering.KeyID { return ordering.KeyID(b) })
		f = r
	case *wirepb.Frame_KeysReply:
		f = &KeysReply{Keys: u.keys(b.KeysReply.GetKeys())}
	case *wirepb.Frame_FinalsRequest:
		r := &FinalsRequest{After: b.FinalsRequest.GetAfter()}
		u.fixed(r.Room[:], b.FinalsRequest.GetRoom())
		if r.After+1 == 0 {
			u.fail(ErrMalformed, "nothing comes after the last index")
		}
		f = r
	case *wirepb.Frame_NearbyRequest:
		f = &NearbyRequest{}
	case *wirepb.Frame_NearbyReply:
		f = u.nearby(b.NearbyReply)
	case *wirepb.Frame_FinalsPage:
		f = u.finals(b.FinalsPage)
	case nil:
		return nil, ErrUnknown
	}
	if u.err != nil {
		return nil, u.err
	}
	return f, nil
}

// unpacker keeps the first error.
type unpacker struct{ err error }

func (u *unpacker) fail(kind error, what string) {
	if u.err == nil {
		u.err = fmt.Errorf("%w: %s", kind, what)
	}
}

func (u *unpacker) roomMessage(pb *wirepb.Room) Frame {
	r := &Room{}
	u.fixed(r.Room[:], pb.GetRoom())
	switch m := pb.GetMessage().(type) {
	case *wirepb.Room_Push:
		r.Msg = &ordering.Push{Run: u.run(m.Push)}
	case *wirepb.Room_Digest:
		d := &ordering.Digest{Count: m.Digest.GetCount()}
		u.fixed(d.Hash[:], m.Digest.GetHash())
		r.Msg = d
	case *wirepb.Room_Have:
		r.Msg = &ordering.Have{Vector: u.vector(m.Have.GetVector()), Answer: m.Have.GetAnswer()}
	case *wirepb.Room_Signal:
		r.Msg = u.signal(m.Signal)
	case *wirepb.Room_Ephemeral:
		r.Msg = u.ephemeral(m.Ephemeral)
	case *wirepb.Room_Relay:
		r.Msg = u.relay(r.Room, m.Relay)
	case nil:
		if u.err == nil {
			u.err = ErrUnknown
		}
	}
	return r
}

func (u *unpacker) signal(b []byte) ordering.Signal {
	if len(b) > ordering.MaxSignal {
		u.fail(ErrOversize, "a signal")
		return nil
	}
	s, err := ordering.DecodeSignal(b)
	if err != nil {
		u.fail(ErrMalformed, err.Error())
	}
	return s
}

func (u *unpacker) ephemeral(b []byte) *ordering.Ephemeral {
	if len(b) > ordering.MaxEphemeral {
		u.fail(ErrOversize, "an ephemeral")
		return nil
	}
	m, err := ordering.DecodeEphemeral(b)
	if err != nil {
		u.fail(ErrMalformed, err.Error())
	}
	return m
}

func (u *unpacker) relay(room ordering.RoomID, pb *wirepb.Relay) *ordering.Relay {
	r := &ordering.Relay{Room: room, Nonce: pb.GetNonce(), Data: pb.GetSignal()}
	u.fixed(r.From[:], pb.GetFrom())
	u.fixed(r.To[:], pb.GetTo())
	u.fixed(r.Sig[:], pb.GetSig())
	u.signal(r.Data)
	if r.From == r.To {
		u.fail(ErrMalformed, "a relay goes from one device to another")
	}
	if pb.GetHops() > ordering.MaxHops {
		u.fail(ErrMalformed, "a relay has too many hops left")
		return r
	}
	r.Hops = uint8(pb.GetHops())
	return r
}

// finals reads a page whose indexes can be counted and whose ids name entries.
func (u *unpacker) finals(pb *wirepb.FinalsPage) *FinalsPage {
	p := &FinalsPage{First: pb.GetFirst(), More: pb.GetMore()}
	p.List = list(u, pb.GetIds(), markWidth, MaxFinals, func(b []byte) ordering.Listed {
		o, seq := unpackMark(b)
		return ordering.Listed{EntryID: ordering.EntryID{Origin: o, Seq: seq}}
	})
	switch {
	case p.First == 0 || p.First+uint64(len(p.List)) < p.First:
		u.fail(ErrMalformed, "a page's indexes begin with 1")
	case len(p.List) == 0 && p.More:
		u.fail(ErrMalformed, "a page without ids is the last")
	case slices.ContainsFunc(p.List, func(l ordering.Listed) bool { return l.Seq == 0 }):
		u.fail(ErrMalformed, "an id without a seq")
	}
	u.sources(p.List, pb.GetSources())
	return p
}

func (u *unpacker) nearby(pb *wirepb.NearbyReply) *NearbyReply {
	if len(pb.GetOffers()) > MaxOffers {
		u.fail(ErrOversize, "offers")
		return nil
	}
	r := &NearbyReply{}
	for _, o := range pb.GetOffers() {
		offer := Offer{Name: u.text(o.GetName(), ordering.MaxName), Invite: u.text(o.GetInvite(), MaxOfferInvite)}
		u.fixed(offer.Room[:], o.GetRoom())
		if offer.Name == "" || offer.Invite == "" {
			u.fail(ErrMalformed, "an offer without name or invite")
		}
		r.Offers = append(r.Offers, offer)
	}
	return r
}

// packSources writes the sources of a list in runs of equal ones.
func packSources(all []ordering.Listed) (b []byte) {
	for len(all) > 0 {
		s := all[0].Source
		n := slices.IndexFunc(all, func(l ordering.Listed) bool { return l.Source != s })
		if n < 0 {
			n = len(all)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = binary.BigEndian.AppendUint64(b, s.Epoch)
		b = packMark(b, s.Leader, s.Term)
		b = append(b, 0)
		if s.Late {
			b[len(b)-1] = 1
		}
		all = all[n:]
	}
	return b
}

// sources reads what packSources wrote into the list, all of which has a source.
func (u *unpacker) sources(all []ordering.Listed, b []byte) {
	type run struct {
		count uint32
		ordering.Source
	}
	for _, r := range list(u, b, sourceWidth, len(all), func(b []byte) run {
		r := run{count: binary.BigEndian.Uint32(b)}
		r.Epoch = binary.BigEndian.Uint64(b[4:])
		r.Leader, r.Term = unpackMark(b[12:])
		if flag := b[sourceWidth-1]; flag > 1 || r.count == 0 {
			u.fail(ErrMalformed, "a run of sources")
		} else {
			r.Late = flag == 1
		}
		return r
	}) {
		if uint64(r.count) > uint64(len(all)) {
			u.fail(ErrMalformed, "more sources than ids")
			return
		}
		for i := range r.count {
			all[i].Source = r.Source
		}
		all = all[r.count:]
	}
	if len(all) > 0 {
		u.fail(ErrMalformed, "ids without a source")
	}
}

func (u *unpacker) fixed(dst, src []byte) {
	if len(src) != len(dst) {
		u.fail(ErrMalformed, "a field has another width")
		return
	}
	copy(dst, src)
}

func (u *unpacker) text(s string, limit int) string {
	if len(s) > limit {
		u.fail(ErrOversize, "a text")
	}
	if !utf8.ValidString(s) {
		u.fail(ErrMalformed, "a text is not UTF-8")
	}
	return s
}

func (u *unpacker) origin(b []byte) (o ordering.Origin) {
	if len(b) != ordering.OriginSize {
		u.fail(ErrMalformed, "an origin has another width")
		return o
	}
	copy(o.Device[:], b)
	copy(o.Instance[:], b[ordering.DeviceSize:])
	return o
}

func (u *unpacker) run(b []byte) ordering.Run {
	if len(b) > ordering.MaxRunBytes {
		u.fail(ErrOversize, "a run")
		return ordering.Run{}
	}
	r, err := ordering.DecodeRun(b)
	if err != nil {
		u.fail(ErrMalformed, err.Error())
	}
	return r
}

// vector reads marks, whose origins ascend and whose seqs are not 0, so that a
// vector has one encoding.
func (u *unpacker) vector(b []byte) ordering.Vector {
	type mark struct {
		origin ordering.Origin
		seq    uint64
	}
	marks := list(u, b, markWidth, ordering.MaxOrigins, func(b []byte) mark {
		o, seq := unpackMark(b)
		return mark{o, seq}
	})
	v := make(ordering.Vector, len(marks))
	for i, m := range marks {
		if m.seq == 0 || i > 0 && marks[i-1].origin.Compare(m.origin) >= 0 {
			u.fail(ErrMalformed, "a vector's origins ascend and have entries")
			return nil
		}
		v[m.origin] = m.seq
	}
	return v
}

func (u *unpacker) keys(b []byte) []RoomKey {
	return list(u, b, roomKeyWidth, MaxRoomKeys, func(b []byte) RoomKey {
		return RoomKey{ID: ordering.KeyID(b[:ordering.KeyIDSize]), Key: [32]byte(b[ordering.KeyIDSize:])}
	})
}

// list cuts b into items of one width, at most limit of them.
func list[T any](u *unpacker, b []byte, width, limit int, item func([]byte) T) []T {
	if len(b)%width != 0 {
		u.fail(ErrMalformed, "a list's items have one width")
		return nil
	}
	if len(b)/width > limit {
		u.fail(ErrOversize, "a list")
		return nil
	}
	out := make([]T, 0, len(b)/width)
	for ; len(b) > 0; b = b[width:] {
		out = append(out, item(b[:width]))
	}
	return out
}

func packMark(b []byte, o ordering.Origin, seq uint64) []byte {
	b = append(b, o.Device[:]...)
	b = append(b, o.Instance[:]...)
	return binary.BigEndian.AppendUint64(b, seq)
}

func unpackMark(b []byte) (o ordering.Origin, seq uint64) {
	copy(o.Device[:], b)
	copy(o.Instance[:], b[ordering.DeviceSize:])
	return o, binary.BigEndian.Uint64(b[ordering.OriginSize:])
}

func packVector(v ordering.Vector) []byte {
	b := make([]byte, 0, len(v)*markWidth)
	for _, o := range v.Origins() {
		if v[o] > 0 {
			b = packMark(b, o, v[o])
		}
	}
	return b
}

func packKeys(keys []RoomKey) []byte {
	b := make([]byte, 0, len(keys)*roomKeyWidth)
	for _, k := range keys {
		b = append(b, k.ID[:]...)
		b = append(b, k.Key[:]...)
	}
	return b
}
