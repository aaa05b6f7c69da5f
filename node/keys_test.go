package node

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"tertulia/ordering"
)

func testDevice(b byte) (ed25519.PrivateKey, ordering.DeviceKey) {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
	return k, ordering.DeviceKey(k.Public().(ed25519.PublicKey))
}

func TestASealedBodyOpensInItsPlaceAlone(t *testing.T) {
	client, device := testDevice(1)
	k := newRoomKey()
	e := ordering.Entry{Room: ordering.RoomID{1}, Origin: ordering.Origin{Device: device}, Seq: 7, TS: 9, Kind: ordering.KindMessage}
	stamp, plain := stamped(client, e.Room, device, "c1", ordering.Payload{Name: "Ana", Text: "olá"})
	e.Client, e.Body = stamp, k.seal(plain, place(e.Room, e.Gen, e.ID(), e.Kind))

	var ring keyring
	if _, err := ring.open(&e); !errors.Is(err, errNoKey) {
		t.Errorf("without the key: %v", err)
	}
	ring.add(newRoomKey())
	ring.add(k)
	if got, err := ring.open(&e); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("got %q, %v", got, err)
	}
	for what, change := range map[string]func(*ordering.Entry){
		"room":     func(e *ordering.Entry) { e.Room[0]++ },
		"gen":      func(e *ordering.Entry) { e.Gen++ },
		"device":   func(e *ordering.Entry) { e.Origin.Device[0]++ },
		"instance": func(e *ordering.Entry) { e.Origin.Instance[0]++ },
		"seq":      func(e *ordering.Entry) { e.Seq++ },
		"kind":     func(e *ordering.Entry) { e.Kind = ordering.KindRenamed },
		"text":     func(e *ordering.Entry) { e.Body = append(bytes.Clone(e.Body[:len(e.Body)-1]), e.Body[len(e.Body)-1]^1) },
		"nonce":    func(e *ordering.Entry) { e.Body = bytes.Clone(e.Body); e.Body[ordering.KeyIDSize] ^= 1 },
		"length":   func(e *ordering.Entry) { e.Body = e.Body[:sealOverhead-1] },
		"client":   func(e *ordering.Entry) { e.Client = &ordering.Stamp{Hash: ordering.Hash{1}} },
	} {
		other := e
		change(&other)
		if got, err := ring.open(&other); err == nil || errors.Is(err, errNoKey) {
			t.Errorf("another %s: %q, %v", what, got, err)
		}
	}
	if again := k.seal(plain, nil); bytes.Equal(again, k.seal(plain, nil)) {
		t.Error("two seals are equal: the nonce repeats")
	}
}

func TestAGrantIsOpenedByThoseItNames(t *testing.T) {
	ana, anaKey := testDevice(1)
	bob, bobKey := testDevice(2)
	eva, _ := testDevice(3)
	k := newRoomKey()
	var noPoint ordering.DeviceKey
	noPoint[0] = 2 // no x fits this y
	g, err := grant(k, []ordering.DeviceKey{anaKey, noPoint, bobKey})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Keys) != 2 {
		t.Errorf("%d keys for two devices and one that is none", len(g.Keys))
	}
	g = must(ordering.DecodeKeyGrant(g.Encode()))(t)
	for _, device := range []ed25519.PrivateKey{ana, bob} {
		if got, ok := acceptGrant(g, device); !ok || got != k {
			t.Errorf("got %x, %t", got, ok)
		}
	}
	if _, ok := acceptGrant(g, eva); ok {
		t.Error("a stranger opened a grant")
	}
	swapped := g
	swapped.Keys = []ordering.SealedKey{{Device: bobKey, Box: g.Keys[0].Box}}
	if _, ok := acceptGrant(swapped, bob); ok {
		t.Error("opened what was sealed to another")
	}
	renamed := g
	renamed.ID[0]++
	if _, ok := acceptGrant(renamed, ana); ok {
		t.Error("took a key by another name")
	}
}

func TestASaltIsTheSameForTheSameClientRoomAndID(t *testing.T) {
	ana, _ := testDevice(1)
	bob, _ := testDevice(2)
	one := saltOf(ana, ordering.RoomID{1}, "c1")
	if saltOf(ana, ordering.RoomID{1}, "c1") != one {
		t.Error("the same makes another salt")
	}
	for what, other := range map[string][ordering.SaltSize]byte{
		"client": saltOf(bob, ordering.RoomID{1}, "c1"),
		"room":   saltOf(ana, ordering.RoomID{2}, "c1"),
		"id":     saltOf(ana, ordering.RoomID{1}, "c2"),
	} {
		if other == one {
			t.Errorf("another %s makes the same salt", what)
		}
	}
	s1, p1 := stamped(ana, ordering.RoomID{1}, ordering.DeviceKey{2}, "c1", ordering.Payload{Name: "Ana", Text: "olá"})
	s2, p2 := stamped(ana, ordering.RoomID{1}, ordering.DeviceKey{2}, "c1", ordering.Payload{Name: "Ana", Text: "olá"})
	if s1.Hash != s2.Hash || !bytes.Equal(p1, p2) || !s1.Verify(ordering.RoomID{1}, 0, ordering.DeviceKey{2}) || s1.Verify(ordering.RoomID{2}, 0, ordering.DeviceKey{2}) {
		t.Error("a repeat cannot be recognised")
	}
}
