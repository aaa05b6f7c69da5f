package node

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"filippo.io/edwards25519"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/nacl/box"

	"tertulia/ordering"
)

// roomKey encrypts what people say in a room.
type roomKey [chacha20poly1305.KeySize]byte

func newRoomKey() (k roomKey) {
	rand.Read(k[:])
	return k
}

func (k roomKey) id() (id ordering.KeyID) {
	h := sha256.Sum256(append([]byte("tertulia room key v1\x00"), k[:]...))
	copy(id[:], h[:])
	return id
}

// keyring holds a room's keys. Many goroutines read; the room's alone writes.
type keyring struct {
	keys atomic.Pointer[map[ordering.KeyID]roomKey]
}

func (r *keyring) get(id ordering.KeyID) (k roomKey, ok bool) {
	if m := r.keys.Load(); m != nil {
		k, ok = (*m)[id]
	}
	return k, ok
}

func (r *keyring) all() map[ordering.KeyID]roomKey {
	if m := r.keys.Load(); m != nil {
		return *m
	}
	return nil
}

func (r *keyring) add(k roomKey) {
	m := maps.Clone(r.all())
	if m == nil {
		m = make(map[ordering.KeyID]roomKey)
	}
	m[k.id()] = k
	r.keys.Store(&m)
}

// A sealed body is the key's id, a random nonce and the ciphertext. Its place in
// the order of the author's words is bound to it.

const sealOverhead = ordering.KeyIDSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// place is the additional data of a sealed body: room, gen, origin, seq, kind.
func place(room ordering.RoomID, gen uint64, id ordering.EntryID, kind ordering.Kind) []byte {
	b := append([]byte(nil), room[:]...)
	b = binary.BigEndian.AppendUint64(b, gen)
	b = append(b, id.Origin.Bytes()...)
	b = binary.BigEndian.AppendUint64(b, id.Seq)
	return append(b, byte(kind))
}

func (k roomKey) seal(plain, place []byte) []byte {
	id := k.id()
	b := make([]byte, ordering.KeyIDSize+chacha20poly1305.NonceSizeX, len(plain)+sealOverhead)
	copy(b, id[:])
	nonce := b[ordering.KeyIDSize:]
	rand.Read(nonce)
	return mustAEAD(k).Seal(b, nonce, plain, place)
}

var errNoKey = errors.New("node: the room key is not here")

// open returns the plaintext of a sealed entry. errNoKey means that its key may
// come later; any other error is for good.
func (r *keyring) open(e *ordering.Entry) ([]byte, error) {
	id, ok := keyOf(e)
	if !ok {
		return nil, errors.New("node: a sealed body is too short")
	}
	k, ok := r.get(id)
	if !ok {
		return nil, errNoKey
	}
	nonce, text := e.Body[ordering.KeyIDSize:][:chacha20poly1305.NonceSizeX], e.Body[ordering.KeyIDSize+chacha20poly1305.NonceSizeX:]
	plain, err := mustAEAD(k).Open(nil, nonce, text, place(e.Room, e.Gen, e.ID(), e.Kind))
	if err != nil {
		return nil, fmt.Errorf("node: open %s: %w", e.ID(), err)
	}
	if c := e.Client; c != nil && sha256.Sum256(plain) != c.Hash {
		return nil, fmt.Errorf("node: open %s: not what its client signed", e.ID())
	}
	return plain, nil
}

// keyOf names the key that sealed an entry.
func keyOf(e *ordering.Entry) (id ordering.KeyID, ok bool) {
	if len(e.Body) < sealOverhead {
		return id, false
	}
	copy(id[:], e.Body)
	return id, true
}

func mustAEAD(k roomKey) interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
} {
	a, err := chacha20poly1305.NewX(k[:])
	if err != nil {
		panic(err) // the key's size is its type
	}
	return a
}

// grant seals a room key to each device.
func grant(k roomKey, devices []ordering.DeviceKey) (ordering.KeyGrant, error) {
	g := ordering.KeyGrant{ID: k.id()}
	for _, d := range devices {
		p, err := new(edwards25519.Point).SetBytes(d[:])
		if err != nil {
			continue // no valid key: nobody could open it
		}
		to := [32]byte(p.BytesMontgomery())
		sealed, err := box.SealAnonymous(nil, k[:], &to, rand.Reader)
		if err != nil {
			return g, fmt.Errorf("node: seal a room key: %w", err)
		}
		g.Keys = append(g.Keys, ordering.SealedKey{Device: d, Box: [ordering.SealedKeySize]byte(sealed)})
	}
	return g, nil
}

// acceptGrant opens the key that a grant holds for this device.
func acceptGrant(g ordering.KeyGrant, device ed25519.PrivateKey) (roomKey, bool) {
	self := ordering.DeviceKey(device.Public().(ed25519.PublicKey))
	for _, s := range g.Keys {
		if s.Device != self {
			continue
		}
		// RFC 7748 and RFC 8032: the X25519 form of an Ed25519 pair.
		h := sha512.Sum512(device.Seed())
		private := [32]byte(h[:32])
		p, err := new(edwards25519.Point).SetBytes(self[:])
		if err != nil {
			return roomKey{}, false
		}
		public := [32]byte(p.BytesMontgomery())
		b, ok := box.OpenAnonymous(nil, s.Box[:], &public, &private)
		if !ok || len(b) != len(roomKey{}) || roomKey(b).id() != g.ID {
			return roomKey{}, false
		}
		return roomKey(b), true
	}
	return roomKey{}, false
}

// saltOf derives a payload's salt: the same client id gives the same payload
// whichever node it is handed to, and nobody else can guess it.
func saltOf(client ed25519.PrivateKey, room ordering.RoomID, id string) (s [ordering.SaltSize]byte) {
	m := hmac.New(sha256.New, client.Seed())
	m.Write([]byte("tertulia salt v1\x00"))
	m.Write(room[:])
	m.Write([]byte(id))
	copy(s[:], m.Sum(nil))
	return s
}
