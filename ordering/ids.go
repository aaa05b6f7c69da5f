// Package ordering is the vocabulary of the protocol: who writes (Origin), what
// is written (Entry, Run), what a replica holds (Vector), and the bytes that are
// signed. Its subpackages decide; nothing here or below starts a goroutine,
// reads a clock or touches a disk or a socket.
//
// Bytes from outside become types once, in DecodeRun, and are trusted only as
// Verified, which VerifyRun alone makes.
package ordering

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// Sizes of the fixed fields, in bytes.
const (
	HashSize     = sha256.Size
	DeviceSize   = 32
	InstanceSize = 8
	OriginSize   = DeviceSize + InstanceSize
)

// Hash is a SHA-256 digest.
type Hash [HashSize]byte

// String returns 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// RoomID is the hash of a room's genesis entry.
type RoomID Hash

// String returns 64 hex digits.
func (r RoomID) String() string { return hex.EncodeToString(r[:]) }

// DeviceKey is the Ed25519 public key of a device; it is also the device's
// identity on the network. Membership belongs to a device.
type DeviceKey [DeviceSize]byte

// Fingerprint returns the key's digest for people to compare: 8 groups of 4
// base32 characters (160 bits).
func (d DeviceKey) Fingerprint() string {
	s := tag(d[:], 32)
	groups := make([]string, 0, 8)
	for ; s != ""; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(groups, " ")
}

// Instance is random, made with a data directory. A device whose disk was wiped
// or restored goes on under a new instance, so that no promise is broken.
type Instance [InstanceSize]byte

// Origin is one writer of one hash chain: a device in one instance. A promise
// belongs to an origin, never to a person.
type Origin struct {
	Device   DeviceKey
	Instance Instance
}

// Bytes returns the 40 bytes by which origins are ordered.
func (o Origin) Bytes() []byte { return append(o.Device[:], o.Instance[:]...) }

// Compare orders origins bytewise, the device first.
func (o Origin) Compare(p Origin) int {
	if c := bytes.Compare(o.Device[:], p.Device[:]); c != 0 {
		return c
	}
	return bytes.Compare(o.Instance[:], p.Instance[:])
}

// Tag returns 8 base32 characters of the origin's hash, enough to tell two
// members of one name apart.
func (o Origin) Tag() string { return tag(o.Bytes(), 8) }

// idTagLen gives 80 bits: ids stay unique though somebody searches for a clash.
const idTagLen = 16

// EntryID names a place in a chain: the author's seq-th entry, 1 first.
type EntryID struct {
	Origin Origin
	Seq    uint64
}

// String returns the opaque id that people and programs see: equal on every
// node, unique for good.
func (id EntryID) String() string {
	return tag(id.Origin.Bytes(), idTagLen) + "/" + strconv.FormatUint(id.Seq, 10)
}

// OriginTag returns the part of an id's string that names its origin.
func OriginTag(o Origin) string { return tag(o.Bytes(), idTagLen) }

// ParseEntryID splits what EntryID.String wrote into the origin's tag and seq.
func ParseEntryID(s string) (originTag string, seq uint64, err error) {
	t, n, ok := strings.Cut(s, "/")
	if seq, err = strconv.ParseUint(n, 10, 64); !ok || err != nil || len(t) != idTagLen || seq == 0 {
		return "", 0, errors.New("ordering: not a message id")
	}
	return t, seq, nil
}

func tag(b []byte, chars int) string {
	h := sha256.Sum256(b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h[:]))[:chars]
}

// Ref names an entry by place and content.
type Ref struct {
	EntryID
	Hash Hash
}

// Key is the place of an entry in the predicted order: (ts, origin, seq). It
// extends causality, since an entry's ts is above that of all it depends on.
type Key struct {
	TS uint64
	EntryID
}

// Compare orders keys.
func (k Key) Compare(l Key) int {
	return cmp.Or(cmp.Compare(k.TS, l.TS), k.Origin.Compare(l.Origin), cmp.Compare(k.Seq, l.Seq))
}

// KeySize is the length of Key.Bytes.
const KeySize = 8 + OriginSize + 8

// Bytes returns 56 bytes that compare like the key.
func (k Key) Bytes() []byte {
	var e encoder
	e.u64(k.TS)
	e.origin(k.Origin)
	e.u64(k.Seq)
	return e.b
}
