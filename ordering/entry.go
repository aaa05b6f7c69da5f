package ordering

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Limits of an entry.
const (
	MaxText      = 65536          // bytes of UTF-8 plaintext in a message
	MaxBody      = MaxText + 1024 // bytes of a body: text, name, reply and seal
	MaxDeps      = 64             // heads an entry names
	MaxClientID  = 64             // bytes
	entryVersion = 1
)

// Kind says what an entry's body is.
type Kind uint8

// The kinds. Those below 16 steer membership and keys and travel in plain; those
// from 16 on are what people say, sealed with the room key. An unknown kind from
// 16 on keeps its place in the order.
const (
	KindGenesis Kind = 1 // Genesis; the creator's first entry, whose hash is the room id
	KindAdmit   Kind = 2 // Admit
	KindInvite  Kind = 3 // Invite
	KindRevoke  Kind = 4 // Revoke
	KindLeave   Kind = 5 // empty: the author's device leaves
	KindRemove  Kind = 6 // Remove
	KindKey     Kind = 7 // KeyGrant
	KindNull    Kind = 8 // empty (L8)

	KindMessage Kind = 16 // Payload
	KindJoined  Kind = 17 // Payload whose Name joined
	KindLeft    Kind = 18 // Payload whose Name left
	KindRenamed Kind = 19 // Payload: Name is the new name, Text the old
	KindSwitch  Kind = 20 // Switch, in plain: from here on the room should have another order
	KindTitle   Kind = 21 // Title, in plain: the room has another name
)

// Sealed reports whether the kind is a line of the history, whose body, unless the
// kind is Plain, is encrypted with the room key.
func (k Kind) Sealed() bool { return k >= 16 }

// Plain reports whether the kind is a line of the history that who holds no room
// key can read: what the room's creator alone may write.
func (k Kind) Plain() bool { return k == KindSwitch || k == KindTitle }

// Known reports whether this version understands the kind.
func (k Kind) Known() bool {
	return k >= KindGenesis && k <= KindNull || k >= KindMessage && k <= KindTitle
}

// Stamp is the client's signature on what it handed to a node (PROTOCOL.md 1,
// Fields). It makes a repeat recognisable whichever node it was handed to.
type Stamp struct {
	Key  [ed25519.PublicKeySize]byte
	ID   string // 1 to MaxClientID bytes
	Hash Hash   // of the plaintext payload
	Sig  [ed25519.SignatureSize]byte
}

// Entry is one link of an origin's chain. An Entry made by Seal or DecodeRun is
// never changed.
type Entry struct {
	Room   RoomID // zero in the genesis entry
	Gen    uint64 // recovery generation (P11)
	Origin Origin
	Seq    uint64
	Prev   Hash  // of the author's previous entry; zero at seq 1
	Deps   []Ref // heads the author held, by origin, none its own
	TS     uint64
	WallMS int64 // the author's clock, for display alone
	Kind   Kind
	Client *Stamp // nil in entries that no client handed in
	Body   []byte

	raw  []byte
	hash Hash
}

// ID returns the entry's place in its chain.
func (e *Entry) ID() EntryID { return EntryID{e.Origin, e.Seq} }

// Key returns the entry's place in the predicted order.
func (e *Entry) Key() Key { return Key{e.TS, e.ID()} }

// Ref names the entry by place and content.
func (e *Entry) Ref() Ref { return Ref{e.ID(), e.hash} }

// Hash is the digest of Bytes under the entry domain.
func (e *Entry) Hash() Hash { return e.hash }

// Bytes returns the canonical encoding, exactly as it was signed and travels.
// The caller does not change it.
func (e *Entry) Bytes() []byte { return e.raw }

const (
	entryDomain  = "tertulia entry v1\x00"
	runDomain    = "tertulia run v1\x00"
	clientDomain = "tertulia client v1\x00"
)

// Seal returns a copy of e with its bytes and hash fixed.
func Seal(e Entry) *Entry {
	var w encoder
	w.u8(entryVersion)
	w.raw(e.Room[:])
	w.u64(e.Gen)
	w.origin(e.Origin)
	w.u64(e.Seq)
	w.raw(e.Prev[:])
	w.u16(uint16(len(e.Deps)))
	for _, d := range e.Deps {
		w.origin(d.Origin)
		w.u64(d.Seq)
		w.raw(d.Hash[:])
	}
	w.u64(e.TS)
	w.u64(uint64(e.WallMS))
	w.u8(uint8(e.Kind))
	w.flag(e.Client != nil)
	if c := e.Client; c != nil {
		w.raw(c.Key[:])
		w.str(c.ID)
		w.raw(c.Hash[:])
		w.raw(c.Sig[:])
	}
	w.bytes(e.Body)
	e.raw = w.b
	e.hash = hashOf(entryDomain, w.b)
	return &e
}

// DecodeEntry reads an entry's canonical bytes, which it keeps. Only shape and
// limits are checked.
func DecodeEntry(b []byte) (*Entry, error) {
	r := decoder{b: b}
	if v := r.u8(); r.err == nil && v != entryVersion {
		return nil, fmt.Errorf("ordering: entry version %d is unknown", v)
	}
	e := Entry{raw: b}
	e.Room = RoomID(r.hash())
	e.Gen = r.u64()
	e.Origin = r.origin()
	e.Seq = r.u64()
	e.Prev = r.hash()
	n := int(r.u16())
	if n > MaxDeps {
		return nil, fmt.Errorf("ordering: an entry has at most %d deps", MaxDeps)
	}
	if n > 0 && r.err == nil {
		e.Deps = make([]Ref, n)
	}
	for i := range e.Deps {
		d := &e.Deps[i]
		d.Origin = r.origin()
		d.Seq = r.u64()
		d.Hash = r.hash()
		if d.Seq == 0 || d.Origin == e.Origin || i > 0 && e.Deps[i-1].Origin.Compare(d.Origin) >= 0 {
			r.fail(errors.New("ordering: deps are of other origins, ascending, one each"))
		}
	}
	e.TS = r.u64()
	e.WallMS = int64(r.u64())
	e.Kind = Kind(r.u8())
	if r.flag() {
		c := new(Stamp)
		copy(c.Key[:], r.raw(len(c.Key)))
		c.ID = r.str(MaxClientID)
		c.Hash = r.hash()
		copy(c.Sig[:], r.raw(len(c.Sig)))
		if c.ID == "" {
			r.fail(errors.New("ordering: a client id is empty"))
		}
		e.Client = c
	}
	e.Body = r.bytes(MaxBody)
	if err := r.end(); err != nil {
		return nil, err
	}
	if e.Seq == 0 || e.TS == 0 {
		return nil, errors.New("ordering: seq and ts begin at 1")
	}
	e.hash = hashOf(entryDomain, b)
	return &e, nil
}

// SignClient returns the stamp of the client key on a plaintext payload that is
// handed to the node of a device.
func SignClient(key ed25519.PrivateKey, room RoomID, gen uint64, node DeviceKey, id string, plaintext []byte) *Stamp {
	s := &Stamp{ID: id, Hash: sha256.Sum256(plaintext)}
	copy(s.Key[:], key.Public().(ed25519.PublicKey))
	copy(s.Sig[:], ed25519.Sign(key, clientMessage(room, gen, node, s)))
	return s
}

// Verify reports whether the client handed this payload to this node for this
// room. A stamp holds for one device, so that no other member can put it on an
// entry of its own and have the client's words count as a repeat of that.
func (s *Stamp) Verify(room RoomID, gen uint64, node DeviceKey) bool {
	return ed25519.Verify(s.Key[:], clientMessage(room, gen, node, s), s.Sig[:])
}

func clientMessage(room RoomID, gen uint64, node DeviceKey, s *Stamp) []byte {
	e := encoder{b: []byte(clientDomain)}
	e.raw(room[:])
	e.u64(gen)
	e.raw(node[:])
	e.str(s.ID)
	e.raw(s.Hash[:])
	return e.b
}

func hashOf(domain string, b []byte) (h Hash) {
	w := sha256.New()
	w.Write([]byte(domain))
	w.Write(b)
	w.Sum(h[:0])
	return h
}

// Bare returns the entry without its bytes and, where nothing of the order rests
// on it, without its body: what a replica keeps in memory of what waits.
func (e *Entry) Bare() *Entry {
	bare := *e
	bare.raw = nil
	if e.Kind.Sealed() && e.Kind != KindSwitch || e.Kind == KindKey {
		bare.Body = nil
	}
	return &bare
}

// Equal reports whether two entries are the same bytes.
func (e *Entry) Equal(f *Entry) bool { return bytes.Equal(e.raw, f.raw) }
