package ordering

import (
	"crypto/ed25519"
	"errors"
)

// MaxReceipts is how many receipts one Ephemeral has.
const MaxReceipts = 64

// MaxEphemeral bounds the bytes of an encoded Ephemeral.
const MaxEphemeral = 64 + (MaxReceipts+1)*(MaxName+DeviceSize+PersonSize+8+2*ed25519.SignatureSize+8)

// PersonSize is the length of a person's public key, in bytes.
const PersonSize = ed25519.PublicKeySize

// PersonKey is the public key of a person of some device's profile.
type PersonKey [PersonSize]byte

// Ephemeral is what replicas tell of people beside the log: how far they have
// read, and who is writing just now. It is never an entry, and one that is lost
// is made up for by the next.
type Ephemeral struct {
	Receipts []Receipt // at most MaxReceipts
	Typing   *Typing   // by a person of the sender; nil: nobody
}

// Receipt is how far a person has read a room. It only grows. The person's key
// says whose it is and the device's that a member vouches for it, so anybody may
// pass it on and nobody can make another's.
type Receipt struct {
	Device DeviceKey
	Person PersonKey
	Name   string
	UpTo   uint64                      // index of the last final message that was read, at least 1
	Signed [ed25519.SignatureSize]byte // by the person
	Sig    [ed25519.SignatureSize]byte // by the device
}

// Typing says that a person of the sending device is writing.
type Typing struct {
	Person PersonKey
	Name   string
}

func (*Ephemeral) message() {}

const receiptDomain = "tertulia receipt v1\x00"

// SignReceipt returns the receipt of a person of a device.
func SignReceipt(device, person ed25519.PrivateKey, room RoomID, name string, upTo uint64) Receipt {
	r := Receipt{Name: name, UpTo: upTo}
	copy(r.Device[:], device.Public().(ed25519.PublicKey))
	copy(r.Person[:], person.Public().(ed25519.PublicKey))
	m := receiptMessage(room, &r)
	copy(r.Signed[:], ed25519.Sign(person, m))
	copy(r.Sig[:], ed25519.Sign(device, m))
	return r
}

// Verify reports whether the person and the device said this of the room.
func (r *Receipt) Verify(room RoomID) bool {
	m := receiptMessage(room, r)
	return ed25519.Verify(r.Device[:], m, r.Sig[:]) && ed25519.Verify(r.Person[:], m, r.Signed[:])
}

func receiptMessage(room RoomID, r *Receipt) []byte {
	e := encoder{b: []byte(receiptDomain)}
	e.raw(room[:])
	e.raw(r.Device[:])
	e.raw(r.Person[:])
	e.str(r.Name)
	e.u64(r.UpTo)
	return e.b
}

// EncodeEphemeral returns its only encoding.
func EncodeEphemeral(m *Ephemeral) []byte {
	var e encoder
	e.u8(uint8(len(m.Receipts)))
	for i := range m.Receipts {
		r := &m.Receipts[i]
		e.raw(r.Device[:])
		e.raw(r.Person[:])
		e.str(r.Name)
		e.u64(r.UpTo)
		e.raw(r.Signed[:])
		e.raw(r.Sig[:])
	}
	e.flag(m.Typing != nil)
	if m.Typing != nil {
		e.raw(m.Typing.Person[:])
		e.str(m.Typing.Name)
	}
	return e.b
}

var errEphemeral = errors.New("ordering: not an ephemeral")

// DecodeEphemeral reads what EncodeEphemeral wrote. Signatures are not checked.
func DecodeEphemeral(b []byte) (*Ephemeral, error) {
	if len(b) > MaxEphemeral {
		return nil, errEphemeral
	}
	d := decoder{b: b}
	n := int(d.u8())
	if n > MaxReceipts {
		return nil, errEphemeral
	}
	m := &Ephemeral{}
	if n > 0 {
		m.Receipts = make([]Receipt, n)
	}
	for i := range m.Receipts {
		r := &m.Receipts[i]
		r.Device, r.Person, r.Name, r.UpTo = d.key(), PersonKey(d.hash()), d.name(), d.u64()
		copy(r.Signed[:], d.raw(len(r.Signed)))
		copy(r.Sig[:], d.raw(len(r.Sig)))
		if r.UpTo == 0 {
			d.fail(errEphemeral)
		}
	}
	if d.flag() {
		m.Typing = &Typing{Person: PersonKey(d.hash()), Name: d.name()}
	}
	return m, d.end()
}
