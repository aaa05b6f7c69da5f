package ordering

import (
	"crypto/ed25519"
	"fmt"
)

// Limits of a run (PROTOCOL.md 1, Fields).
const (
	MaxRunEntries = 64
	MaxRunBytes   = 256 << 10
	runVersion    = 1
)

// Run is 1 to 64 consecutive entries of one origin under one signature over the
// last one's hash, so that a burst costs one signature. It is accepted, made
// durable and sent whole.
type Run struct {
	Entries []*Entry
	Sig     [ed25519.SignatureSize]byte
}

// First returns the first entry.
func (r Run) First() *Entry { return r.Entries[0] }

// Last returns the last entry.
func (r Run) Last() *Entry { return r.Entries[len(r.Entries)-1] }

// Origin returns the author.
func (r Run) Origin() Origin { return r.Entries[0].Origin }

// Size returns the length of Bytes without making them.
func (r Run) Size() int {
	n := 3 + len(r.Sig)
	for _, e := range r.Entries {
		n += 4 + len(e.raw)
	}
	return n
}

// Bytes returns the run's encoding.
func (r Run) Bytes() []byte {
	e := encoder{b: make([]byte, 0, r.Size())}
	e.u8(runVersion)
	e.u16(uint16(len(r.Entries)))
	for _, x := range r.Entries {
		e.bytes(x.raw)
	}
	e.raw(r.Sig[:])
	return e.b
}

// DecodeRun reads a run from outside and keeps its bytes. It checks shape and
// limits; only VerifyRun makes it trustworthy.
func DecodeRun(b []byte) (Run, error) {
	if len(b) > MaxRunBytes {
		return Run{}, fmt.Errorf("ordering: a run has at most %d bytes", MaxRunBytes)
	}
	d := decoder{b: b}
	if v := d.u8(); d.err == nil && v != runVersion {
		return Run{}, fmt.Errorf("ordering: run version %d is unknown", v)
	}
	n := int(d.u16())
	if d.err == nil && (n == 0 || n > MaxRunEntries) {
		return Run{}, fmt.Errorf("ordering: a run has 1 to %d entries", MaxRunEntries)
	}
	var r Run
	for range n {
		raw := d.bytes(MaxRunBytes)
		if d.err != nil {
			return Run{}, d.err
		}
		e, err := DecodeEntry(raw)
		if err != nil {
			return Run{}, err
		}
		r.Entries = append(r.Entries, e)
	}
	copy(r.Sig[:], d.raw(len(r.Sig)))
	return r, d.end()
}

// SignRun signs consecutive sealed entries of the key's own chain.
func SignRun(key ed25519.PrivateKey, entries ...*Entry) Verified {
	r := Run{Entries: entries}
	copy(r.Sig[:], ed25519.Sign(key, runMessage(r)))
	return Verified{run: r, Plain: make([][]byte, len(entries))}
}

// Verified is a run whose signatures and inner chain hold. Only VerifyRun and
// SignRun make one.
type Verified struct {
	run Run
	// Plain has, for each entry, the opened body of a sealed kind, or nil
	// where the room key is not here.
	Plain [][]byte
}

// Run returns the run.
func (v Verified) Run() Run { return v.run }

// VerifyRun checks the author's signature, the chain inside the run, and every
// client's stamp. The error is a Refusal.
func VerifyRun(r Run) (Verified, error) {
	if len(r.Entries) == 0 || len(r.Entries) > MaxRunEntries {
		return Verified{}, Refuse(Malformed, EntryID{})
	}
	first := r.First()
	for i, e := range r.Entries {
		if i > 0 {
			p := r.Entries[i-1]
			if e.Origin != first.Origin || e.Room != first.Room || e.Gen != first.Gen || e.Seq != p.Seq+1 || e.Prev != p.hash {
				return Verified{}, Refuse(BadChain, e.ID())
			}
		}
		if c := e.Client; c != nil && !c.Verify(e.Room, e.Gen, e.Origin.Device) {
			return Verified{}, Refuse(BadClientSignature, e.ID())
		}
	}
	if !ed25519.Verify(first.Origin.Device[:], runMessage(r), r.Sig[:]) {
		return Verified{}, Refuse(BadSignature, r.Last().ID())
	}
	return Verified{run: r, Plain: make([][]byte, len(r.Entries))}, nil
}

// runMessage is what the author signs: the number of entries, so that a run can
// not be cut, and the last hash, which names all before it.
func runMessage(r Run) []byte {
	e := encoder{b: []byte(runDomain)}
	e.u16(uint16(len(r.Entries)))
	h := r.Last().hash
	e.raw(h[:])
	return e.b
}
