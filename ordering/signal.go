package ordering

import (
	"crypto/ed25519"
	"errors"
)

// Limits of signals.
const (
	MaxRaft   = 300 << 10       // bytes of a consensus message: one batch and what surrounds it
	MaxSignal = MaxRaft + 1<<10 // bytes of an encoded signal
	MaxHops   = 4               // replicas that pass a Relay on, one after another
)

// Signal is what two replicas of a room say about the order of what they hold:
// exactly one of *Raft, *Bully, *Standing, *Ack, *SealAsk, *SealOK, *CutWant and
// *CutHave. A signal that is lost is said
// again or made up for.
type Signal interface {
	Message
	signal() signalKind
}

type signalKind uint8

const (
	signalRaft     signalKind = 1
	signalBully    signalKind = 2
	signalStanding signalKind = 3
	signalAck      signalKind = 4
	signalSeal     signalKind = 5
	signalSealOK   signalKind = 6
	signalCutWant  signalKind = 7
	signalCutHave  signalKind = 8
)

// Raft carries a message of the control log's consensus, which package control
// alone reads.
type Raft struct{ Data []byte }

// BullyKind is the kind of a Bully message (PROTOCOL.md 2).
type BullyKind uint8

// The kinds.
const (
	Election    BullyKind = 1 // B4: a lower voter has no leader
	OK          BullyKind = 2 // B5: a higher voter takes over from here
	Alive       BullyKind = 3 // B5: I hear Leader, who leads Term
	Coordinator BullyKind = 4 // B7: Leader committed its no-op in Term; a hint
	Probe       BullyKind = 5 // B4: look whether the leader still lives
)

// Bully is a message of the election. Term, LastTerm and LastIndex are of the
// sender's control log.
type Bully struct {
	Kind      BullyKind
	Term      uint64
	LastTerm  uint64
	LastIndex uint64
	Leader    Origin // of Alive and Coordinator
}

// Standing is where a replica stands: said when two replicas meet, when it
// changed (at most once a StandingInterval) and in answer to a Probe.
type Standing struct {
	Origin   Origin // of the sender, with its instance
	Priority int32  // of its rank
	Leader   Origin // whom it follows; zero for none

	Term      uint64 // of its control log
	Commit    uint64
	LastTerm  uint64
	LastIndex uint64
	Applied   uint64 // control entries that its linearizer has applied

	Epoch      uint64
	FinalIndex uint64
	OrderHash  Hash   // at FinalIndex
	CheckIndex uint64 // the highest multiple of 256 up to FinalIndex
	CheckHash  Hash   // the order hash there
	Clock      uint64 // highest durable ts
	Diverged   bool   // it found its order to differ from another's, and froze
	Ask        bool   // it has not heard the receiver's standing yet

	// Seen is what the sender durably remembers of the receiver, so that a
	// receiver that was set back to an older disk learns it (PROTOCOL.md 1,
	// Crash).
	Seen Seen
}

// Seen is what a replica remembers of another: the most it ever said.
type Seen struct {
	Origin Origin
	Seq    uint64 // of its chain
	Hash   Hash   // of the entry at Seq
	Term   uint64 // of its control log
	Match  uint64 // control entries it said to hold
	Acked  Acked
}

// Acked is the most that a replica said to have on its disk in one epoch, in Acks,
// SealOKs and CutHaves together.
type Acked struct {
	Epoch, Clock uint64
	Have         [MaxView]uint64 // seqs of the chains of the view's members, in the view's order
	Sealed       bool
}

// With returns what was said once this is said too.
func (a Acked) With(epoch, clock uint64, have []Tip, sealed bool) Acked {
	switch {
	case epoch < a.Epoch:
		return a
	case epoch > a.Epoch:
		a = Acked{Epoch: epoch}
	}
	a.Clock, a.Sealed = max(a.Clock, clock), a.Sealed || sealed
	for i, t := range have[:min(len(have), MaxView)] {
		a.Have[i] = max(a.Have[i], t.Seq)
	}
	return a
}

// Encode returns Acked's only encoding; nothing for the zero value.
func (a Acked) Encode() []byte {
	if a == (Acked{}) {
		return nil
	}
	var e encoder
	e.acked(a)
	return e.b
}

// DecodeAcked reads what Encode wrote.
func DecodeAcked(b []byte) (Acked, error) {
	if len(b) == 0 {
		return Acked{}, nil
	}
	d := decoder{b: b}
	a := d.acked()
	return a, d.end()
}

func (e *encoder) acked(a Acked) {
	n := MaxView
	for n > 0 && a.Have[n-1] == 0 {
		n--
	}
	e.u64(a.Epoch)
	e.u64(a.Clock)
	e.flag(a.Sealed)
	e.u8(uint8(n))
	for _, seq := range a.Have[:n] {
		e.u64(seq)
	}
}

func (d *decoder) acked() Acked {
	a := Acked{Epoch: d.u64(), Clock: d.u64(), Sealed: d.flag()}
	n := int(d.u8())
	if n > MaxView {
		d.fail(errSignal)
		return Acked{}
	}
	for i := range n {
		a.Have[i] = d.u64()
	}
	if n > 0 && a.Have[n-1] == 0 {
		d.fail(errSignal) // there is one encoding
	}
	return a
}

// Tip is the end of a chain: a seq and what the entry's hash begins with. Seq 0 is
// an empty chain.
type Tip struct {
	Seq  uint64
	Hash [8]byte
}

// TipOf returns the tip of a chain that ends with an entry.
func TipOf(seq uint64, h Hash) Tip {
	t := Tip{Seq: seq}
	copy(t.Hash[:], h[:])
	return t
}

// Ack says what a member of a Lamport epoch's view has on its disk (PROTOCOL.md
// L3, L4): the chains of the view's members, in the view's order, and the highest
// ts of all it holds. Every later entry of the sender has a higher ts.
type Ack struct {
	Instance Instance // of the sender: a promise is an instance's
	Epoch    uint64
	Clock    uint64
	Have     []Tip // at most MaxView
	Sealed   bool  // what it says of this epoch changes no more
	Ask      bool  // the receiver's is wanted
}

// SealAsk asks members to say no more in an epoch than they have said or hold now
// (L9), and SealOK says that the sender did: Have is what it holds of the
// chains of the epoch's view.
type SealAsk struct {
	Epoch, Term uint64
}

// SealOK answers a SealAsk.
type SealOK struct {
	Instance    Instance // of the sender
	Epoch, Term uint64
	Have        []Tip
}

// CutWant asks who holds durably all that an epoch is to be cut at, and CutHave
// says so.
type CutWant struct {
	Epoch, Term uint64
	Cut         []Tip
}

// CutHave answers a CutWant with what the sender holds.
type CutHave struct {
	Instance    Instance // of the sender
	Epoch, Term uint64
	Have        []Tip
}

// Relay is a signal passed on for a member that the receiver may not reach
// (PROTOCOL.md B12). It is signed by who said it, and passed on at most MaxHops
// times.
type Relay struct {
	Room     RoomID
	From, To DeviceKey
	Nonce    uint64 // unique for From
	Hops     uint8  // still allowed; not signed
	Data     []byte // an encoded Signal
	Sig      [ed25519.SignatureSize]byte
}

func (*Raft) message()     {}
func (*Bully) message()    {}
func (*Standing) message() {}
func (*Relay) message()    {}
func (*Ack) message()      {}
func (*SealAsk) message()  {}
func (*SealOK) message()   {}
func (*CutWant) message()  {}
func (*CutHave) message()  {}

func (*Raft) signal() signalKind     { return signalRaft }
func (*Bully) signal() signalKind    { return signalBully }
func (*Standing) signal() signalKind { return signalStanding }
func (*Ack) signal() signalKind      { return signalAck }
func (*SealAsk) signal() signalKind  { return signalSeal }
func (*SealOK) signal() signalKind   { return signalSealOK }
func (*CutWant) signal() signalKind  { return signalCutWant }
func (*CutHave) signal() signalKind  { return signalCutHave }

// EncodeSignal returns the signal's only encoding.
func EncodeSignal(s Signal) []byte {
	var e encoder
	e.u8(uint8(s.signal()))
	switch s := s.(type) {
	case *Raft:
		e.bytes(s.Data)
	case *Bully:
		e.u8(uint8(s.Kind))
		e.u64(s.Term)
		e.u64(s.LastTerm)
		e.u64(s.LastIndex)
		e.origin(s.Leader)
	case *Standing:
		e.origin(s.Origin)
		e.u32(uint32(s.Priority))
		e.origin(s.Leader)
		for _, n := range []uint64{s.Term, s.Commit, s.LastTerm, s.LastIndex, s.Applied, s.Epoch, s.FinalIndex} {
			e.u64(n)
		}
		e.raw(s.OrderHash[:])
		e.u64(s.CheckIndex)
		e.raw(s.CheckHash[:])
		e.u64(s.Clock)
		e.flag(s.Diverged)
		e.flag(s.Ask)
		e.origin(s.Seen.Origin)
		e.u64(s.Seen.Seq)
		e.raw(s.Seen.Hash[:])
		e.u64(s.Seen.Term)
		e.u64(s.Seen.Match)
		e.acked(s.Seen.Acked)
	case *Ack:
		e.raw(s.Instance[:])
		e.u64(s.Epoch)
		e.u64(s.Clock)
		e.tips(s.Have)
		e.flag(s.Sealed)
		e.flag(s.Ask)
	case *SealAsk:
		e.u64(s.Epoch)
		e.u64(s.Term)
	case *SealOK:
		e.raw(s.Instance[:])
		e.u64(s.Epoch)
		e.u64(s.Term)
		e.tips(s.Have)
	case *CutWant:
		e.u64(s.Epoch)
		e.u64(s.Term)
		e.tips(s.Cut)
	case *CutHave:
		e.raw(s.Instance[:])
		e.u64(s.Epoch)
		e.u64(s.Term)
		e.tips(s.Have)
	}
	return e.b
}

func (e *encoder) tips(tips []Tip) {
	e.u8(uint8(len(tips)))
	for _, t := range tips {
		e.u64(t.Seq)
		e.raw(t.Hash[:])
	}
}

func (d *decoder) tips() []Tip {
	n := int(d.u8())
	if n == 0 || n > MaxView {
		d.fail(errSignal)
		return nil
	}
	tips := make([]Tip, n)
	for i := range tips {
		tips[i].Seq = d.u64()
		copy(tips[i].Hash[:], d.raw(len(tips[i].Hash)))
	}
	return tips
}

var errSignal = errors.New("ordering: not a signal")

// DecodeSignal reads what EncodeSignal wrote. What a Raft carries is not looked
// into.
func DecodeSignal(b []byte) (Signal, error) {
	if len(b) > MaxSignal {
		return nil, errSignal
	}
	d := decoder{b: b}
	var s Signal
	switch signalKind(d.u8()) {
	case signalRaft:
		s = &Raft{Data: d.bytes(MaxRaft)}
	case signalBully:
		m := &Bully{Kind: BullyKind(d.u8()), Term: d.u64(), LastTerm: d.u64(), LastIndex: d.u64(), Leader: d.origin()}
		if m.Kind < Election || m.Kind > Probe {
			d.fail(errSignal)
		}
		s = m
	case signalStanding:
		m := &Standing{Origin: d.origin(), Priority: int32(d.u32()), Leader: d.origin()}
		for _, n := range []*uint64{&m.Term, &m.Commit, &m.LastTerm, &m.LastIndex, &m.Applied, &m.Epoch, &m.FinalIndex} {
			*n = d.u64()
		}
		m.OrderHash = d.hash()
		m.CheckIndex = d.u64()
		m.CheckHash = d.hash()
		m.Clock = d.u64()
		m.Diverged = d.flag()
		m.Ask = d.flag()
		m.Seen = Seen{Origin: d.origin(), Seq: d.u64(), Hash: d.hash(), Term: d.u64(), Match: d.u64(), Acked: d.acked()}
		s = m
	case signalAck:
		s = &Ack{Instance: d.instance(), Epoch: d.u64(), Clock: d.u64(), Have: d.tips(), Sealed: d.flag(), Ask: d.flag()}
	case signalSeal:
		s = &SealAsk{Epoch: d.u64(), Term: d.u64()}
	case signalSealOK:
		s = &SealOK{Instance: d.instance(), Epoch: d.u64(), Term: d.u64(), Have: d.tips()}
	case signalCutWant:
		s = &CutWant{Epoch: d.u64(), Term: d.u64(), Cut: d.tips()}
	case signalCutHave:
		s = &CutHave{Instance: d.instance(), Epoch: d.u64(), Term: d.u64(), Have: d.tips()}
	default:
		d.fail(errSignal)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return s, nil
}

const relayDomain = "tertulia relay v1\x00"

// SignRelay wraps a signal for a member that may be out of reach.
func SignRelay(key ed25519.PrivateKey, room RoomID, to DeviceKey, nonce uint64, s Signal) *Relay {
	r := &Relay{Room: room, To: to, Nonce: nonce, Hops: MaxHops, Data: EncodeSignal(s)}
	copy(r.From[:], key.Public().(ed25519.PublicKey))
	copy(r.Sig[:], ed25519.Sign(key, relayMessage(r)))
	return r
}

// Verify reports whether From said this.
func (r *Relay) Verify() bool { return ed25519.Verify(r.From[:], relayMessage(r), r.Sig[:]) }

func relayMessage(r *Relay) []byte {
	e := encoder{b: []byte(relayDomain)}
	e.raw(r.Room[:])
	e.raw(r.From[:])
	e.raw(r.To[:])
	e.u64(r.Nonce)
	e.bytes(r.Data)
	return e.b
}
