package ordering

import (
	"crypto/sha256"
	"errors"
	"slices"
)

// Limits of commands.
const (
	MaxBatchEntries = 64        // P1
	MaxBatchBytes   = 256 << 10 // of runs in a batch; one run alone always fits
	MaxView         = 16        // members of a view (L12)
	MaxReason       = 64        // bytes
	commandVersion  = 1
)

// Command is what a record of the control log says: exactly one of *Epoch,
// *Batch and *Checkpoint. Committed commands, in their order, and the graph
// decide the final list.
type Command interface{ command() commandKind }

type commandKind uint8

const (
	commandEpoch      commandKind = 1
	commandBatch      commandKind = 2
	commandCheckpoint commandKind = 3
)

// Epoch opens epoch N in place of Base = N-1. It is ignored unless Base is the
// current epoch.
type Epoch struct {
	N, Base uint64
	Mode    Mode
	View    []Origin // ascending, 1 to MaxView
	Cut     []Ref    // how far the closed Lamport epoch goes, by origin; empty for a leader epoch
	Reason  string   // for people who read the log
}

// Batch puts runs into the final order of leader epoch Epoch (P1, P2).
type Batch struct {
	Epoch  uint64
	Leader Origin // who proposed it
	Runs   []Run
}

// Checkpoint says what the order hash is at an index, a multiple of 256.
type Checkpoint struct {
	Index uint64
	Hash  Hash
}

func (*Epoch) command() commandKind      { return commandEpoch }
func (*Batch) command() commandKind      { return commandBatch }
func (*Checkpoint) command() commandKind { return commandCheckpoint }

// EncodeCommand returns the command's only encoding.
func EncodeCommand(c Command) []byte {
	var e encoder
	e.u8(commandVersion)
	e.u8(uint8(c.command()))
	switch c := c.(type) {
	case *Epoch:
		e.u64(c.N)
		e.u64(c.Base)
		e.u8(uint8(c.Mode))
		e.u16(uint16(len(c.View)))
		for _, o := range c.View {
			e.origin(o)
		}
		e.u16(uint16(len(c.Cut)))
		for _, r := range c.Cut {
			e.origin(r.Origin)
			e.u64(r.Seq)
			e.raw(r.Hash[:])
		}
		e.str(c.Reason)
	case *Batch:
		e.u64(c.Epoch)
		e.origin(c.Leader)
		e.u16(uint16(len(c.Runs)))
		for _, r := range c.Runs {
			e.bytes(r.Bytes())
		}
	case *Checkpoint:
		e.u64(c.Index)
		e.raw(c.Hash[:])
	}
	return e.b
}

var errCommand = errors.New("ordering: not a command")

// DecodeCommand reads what EncodeCommand wrote and keeps its bytes. Shape and
// limits are checked; the runs of a Batch are not verified.
func DecodeCommand(b []byte) (Command, error) {
	d := decoder{b: b}
	if d.u8() != commandVersion {
		return nil, errCommand
	}
	var c Command
	switch commandKind(d.u8()) {
	case commandEpoch:
		c = decodeEpoch(&d)
	case commandBatch:
		c = decodeBatch(&d)
	case commandCheckpoint:
		m := &Checkpoint{Index: d.u64(), Hash: d.hash()}
		if m.Index%CheckpointEvery != 0 || m.Index == 0 {
			d.fail(errCommand)
		}
		c = m
	default:
		return nil, errCommand
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return c, nil
}

// CheckpointEvery is the distance of the order hashes that are kept and
// compared.
const CheckpointEvery = 256

func decodeEpoch(d *decoder) *Epoch {
	m := &Epoch{N: d.u64(), Base: d.u64(), Mode: Mode(d.u8())}
	n := int(d.u16())
	if n == 0 || n > MaxView {
		d.fail(errCommand)
		return m
	}
	for range n {
		m.View = append(m.View, d.origin())
	}
	if n = int(d.u16()); n > MaxOrigins {
		d.fail(errCommand)
	}
	for range n {
		if d.err != nil {
			return m
		}
		r := Ref{EntryID: EntryID{Origin: d.origin(), Seq: d.u64()}, Hash: d.hash()}
		m.Cut = append(m.Cut, r)
	}
	m.Reason = d.str(MaxReason)
	ascending := slices.IsSortedFunc(m.Cut, func(a, b Ref) int { return a.Origin.Compare(b.Origin) }) && slices.IsSortedFunc(m.View, Origin.Compare)
	for i := 1; i < len(m.Cut); i++ {
		ascending = ascending && m.Cut[i-1].Origin != m.Cut[i].Origin
	}
	for i := 1; i < len(m.View); i++ {
		ascending = ascending && m.View[i-1] != m.View[i]
	}
	if !ascending || m.Mode != Lamport && m.Mode != Leader || m.N != m.Base+1 {
		d.fail(errCommand)
	}
	return m
}

func decodeBatch(d *decoder) *Batch {
	m := &Batch{Epoch: d.u64(), Leader: d.origin()}
	n := int(d.u16())
	if n == 0 || n > MaxBatchEntries {
		d.fail(errCommand)
		return m
	}
	entries, size := 0, 0
	for range n {
		raw := d.bytes(MaxRunBytes)
		if d.err != nil {
			return m
		}
		r, err := DecodeRun(raw)
		if err != nil {
			d.fail(err)
			return m
		}
		m.Runs = append(m.Runs, r)
		entries, size = entries+len(r.Entries), size+len(raw)
	}
	if entries > MaxBatchEntries || size > MaxBatchBytes {
		d.fail(errCommand)
	}
	return m
}

// Source says by what an entry came into the final list. All replicas have the same.
type Source struct {
	Epoch  uint64
	Term   uint64 // of the record that emitted it; 0 in a Lamport epoch
	Leader Origin // who proposed it; zero in a Lamport epoch
	Late   bool   // below what another author had final in an earlier epoch; only of what is shown
}

// Listed is a place of the final list: the entry that is shown there.
type Listed struct {
	EntryID
	Source
}

// NextOrderHash is the order hash after an entry: a chain over the final list
// that begins with the room's id.
func NextOrderHash(last, entry Hash) Hash {
	var b [2 * HashSize]byte
	copy(b[:], last[:])
	copy(b[HashSize:], entry[:])
	return sha256.Sum256(b[:])
}

// NextSourceHash is the source hash after an entry: a chain over the sources of the
// final list that begins with zeros.
func NextSourceHash(last Hash, s Source) Hash {
	e := encoder{b: make([]byte, 0, HashSize+8+8+OriginSize+1)}
	e.raw(last[:])
	e.u64(s.Epoch)
	e.u64(s.Term)
	e.origin(s.Leader)
	e.flag(s.Late)
	return sha256.Sum256(e.b)
}
