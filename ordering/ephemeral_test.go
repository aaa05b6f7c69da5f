package ordering

import (
	"bytes"
	"crypto/ed25519"
	"reflect"
	"strings"
	"testing"
)

func keyOf(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func TestEphemeralsAreReadAsWritten(t *testing.T) {
	for name, m := range map[string]*Ephemeral{
		"nothing": {},
		"typing":  {Typing: &Typing{Person: PersonKey{7}, Name: "Ana"}},
		"both": {
			Receipts: []Receipt{SignReceipt(keyOf(1), keyOf(2), RoomID{3}, "Ana", 1), SignReceipt(keyOf(1), keyOf(4), RoomID{3}, "Bea", 1<<60)},
			Typing:   &Typing{Name: "Bea"},
		},
	} {
		b := EncodeEphemeral(m)
		got, err := DecodeEphemeral(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: read %+v, %v", name, got, err)
		}
		for n := range b {
			if _, err := DecodeEphemeral(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken", name, n, len(b))
			}
		}
		if _, err := DecodeEphemeral(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: a byte left over is taken", name)
		}
	}
}

func TestEphemeralsKeepTheirLimits(t *testing.T) {
	r := SignReceipt(keyOf(1), keyOf(2), RoomID{3}, strings.Repeat("x", MaxName), 1)
	full := &Ephemeral{Typing: &Typing{Name: r.Name}}
	for range MaxReceipts {
		full.Receipts = append(full.Receipts, r)
	}
	if _, err := DecodeEphemeral(EncodeEphemeral(full)); err != nil {
		t.Errorf("a full one: %v", err)
	}
	for name, m := range map[string]*Ephemeral{
		"one too many": {Receipts: append(full.Receipts, r)},
		"long name":    {Typing: &Typing{Name: r.Name + "x"}},
		"no name":      {Typing: &Typing{}},
		"read nothing": {Receipts: []Receipt{{Name: "Ana"}}},
	} {
		if _, err := DecodeEphemeral(EncodeEphemeral(m)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestAReceiptIsOfThePersonAndTheDeviceAlone(t *testing.T) {
	room := RoomID{3}
	good := SignReceipt(keyOf(1), keyOf(2), room, "Ana", 5)
	if !good.Verify(room) {
		t.Fatal("an honest receipt is refused")
	}
	if good.Verify(RoomID{4}) {
		t.Error("it holds in another room")
	}
	other := SignReceipt(keyOf(8), keyOf(9), room, "Ana", 5)
	for name, change := range map[string]func(*Receipt){
		"further":        func(r *Receipt) { r.UpTo++ },
		"another name":   func(r *Receipt) { r.Name = "Eva" },
		"another person": func(r *Receipt) { r.Person = other.Person },
		"another device": func(r *Receipt) { r.Device = other.Device },
		"stolen device":  func(r *Receipt) { r.Device, r.Sig = other.Device, other.Sig },
	} {
		r := good
		change(&r)
		if r.Verify(room) {
			t.Errorf("%s: it verifies", name)
		}
	}
	// A member that signs for a person whose key it has not.
	forged := SignReceipt(keyOf(1), keyOf(9), room, "Ana", 5)
	forged.Person = good.Person
	if forged.Verify(room) {
		t.Error("a device speaks for a person of another")
	}
}
