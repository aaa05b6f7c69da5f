package ordering_test

import (
	"bytes"
	"reflect"
	"testing"

	. "tertulia/ordering"
)

func signals() map[string]Signal {
	return map[string]Signal{
		"raft":  &Raft{Data: []byte("a message of package control")},
		"bully": &Bully{Kind: Alive, Term: 5, LastTerm: 4, LastIndex: 99, Leader: origin(3)},
		"standing": &Standing{
			Origin: origin(1), Priority: -7, Leader: origin(2), Term: 5, Commit: 40, LastTerm: 4, LastIndex: 41, Applied: 39,
			Epoch: 3, FinalIndex: 700, OrderHash: fill(0x55), CheckIndex: 512, CheckHash: fill(0x66), Clock: 1000, Diverged: true,
			Seen: Seen{
				Origin: origin(2), Seq: 8, Term: 5, Match: 30,
				Acked: Acked{Epoch: 3, Clock: 990, Have: [MaxView]uint64{4, 0, 6}, Sealed: true},
			},
		},
	}
}

func TestSignalsAreReadAsWritten(t *testing.T) {
	pinned := map[string]string{
		"raft":     "6b6c029e9091937b",
		"bully":    "d31e25a5d76029fd",
		"standing": "a0a4dfac0d31328b",
	}
	for name, s := range signals() {
		b := EncodeSignal(s)
		if got := digest(b); got != pinned[name] {
			t.Errorf("%s: the encoding of %d bytes has digest %s, pinned %s", name, len(b), got, pinned[name])
		}
		got, err := DecodeSignal(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%s: read %+v, %v; wrote %+v", name, got, err, s)
		}
		for n := range b {
			if _, err := DecodeSignal(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken", name, n, len(b))
			}
		}
		if _, err := DecodeSignal(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: a byte left over is taken", name)
		}
	}
}

func TestDecodeSignalKeepsLimits(t *testing.T) {
	full := EncodeSignal(&Raft{Data: make([]byte, MaxRaft)})
	if _, err := DecodeSignal(full); err != nil {
		t.Errorf("a message of the largest size: %v", err)
	}
	standing := EncodeSignal(signals()["standing"])
	flag := bytes.Clone(standing)
	flag[len(flag)-(2*8+1+1+3*8)-OriginSize-3*8-HashSize-1] = 2
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"kind 0":             {0},
		"kind 9":             {9},
		"a message too long": EncodeSignal(&Raft{Data: make([]byte, MaxRaft+1)}),
		"far too long":       make([]byte, MaxSignal+1),
		"bully of no kind":   EncodeSignal(&Bully{}),
		"bully of kind 6":    EncodeSignal(&Bully{Kind: Probe + 1}),
		"a flag of 2":        flag,
	} {
		if s, err := DecodeSignal(b); err == nil {
			t.Errorf("%s: read as %+v", name, s)
		}
	}
}

func TestRelayIsSignedByWhoSaidIt(t *testing.T) {
	room, to := RoomID(fill(0x77)), origin(2).Device
	r := SignRelay(key(1), room, to, 9, signals()["bully"])
	if r.Hops != MaxHops || r.From != origin(1).Device || !r.Verify() {
		t.Fatalf("%+v, verified %v", r, r.Verify())
	}
	if got, want := digest(r.Sig[:]), "e299e198a2260d6c"; got != want {
		t.Errorf("the signature has digest %s, pinned %s", got, want)
	}
	passed := *r
	if passed.Hops--; !passed.Verify() {
		t.Error("passing it on breaks the signature")
	}
	for name, change := range map[string]func(*Relay){
		"room":  func(r *Relay) { r.Room[0]++ },
		"from":  func(r *Relay) { r.From = origin(3).Device },
		"to":    func(r *Relay) { r.To = origin(3).Device },
		"nonce": func(r *Relay) { r.Nonce++ },
		"data":  func(r *Relay) { r.Data = append(bytes.Clone(r.Data), 0) },
		"sig":   func(r *Relay) { r.Sig[5]++ },
	} {
		forged := *r
		if change(&forged); forged.Verify() {
			t.Errorf("another %s verifies", name)
		}
	}
}

// FuzzDecodeSignal: no input makes it panic, and what is read has one encoding.
func FuzzDecodeSignal(f *testing.F) {
	for _, s := range signals() {
		f.Add(EncodeSignal(s))
	}
	f.Add([]byte{1, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSignal(b)
		if err != nil {
			return
		}
		if again := EncodeSignal(s); !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
	})
}
