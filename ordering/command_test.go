package ordering_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	. "tertulia/ordering"
)

// digest pins an encoding: any change of a byte is a change of the protocol.
func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

func sortedOrigins(list ...byte) (o []Origin) {
	for _, b := range list {
		o = append(o, origin(b))
	}
	slices.SortFunc(o, Origin.Compare)
	return o
}

func sampleEpoch() *Epoch {
	m := &Epoch{N: 3, Base: 2, Mode: Leader, View: sortedOrigins(1, 2, 3), Reason: "wake"}
	for i, o := range sortedOrigins(1, 2) {
		m.Cut = append(m.Cut, Ref{EntryID: EntryID{Origin: o, Seq: uint64(i + 7)}, Hash: fill(0x33)})
	}
	return m
}

func sampleBatch() *Batch {
	genesis, chain := entries()
	return &Batch{Epoch: 4, Leader: origin(2), Runs: []Run{
		SignRun(key(1), genesis).Run(), SignRun(key(2), chain...).Run(),
	}}
}

func commands() map[string]Command {
	return map[string]Command{
		"epoch":         sampleEpoch(),
		"epoch, no cut": &Epoch{N: 1, Mode: Lamport, View: sortedOrigins(1)},
		"batch":         sampleBatch(),
		"checkpoint":    &Checkpoint{Index: 512, Hash: fill(0x44)},
	}
}

func TestCommandsAreReadAsWritten(t *testing.T) {
	pinned := map[string]string{
		"epoch":         "82553dbc8433981e",
		"epoch, no cut": "35714196d9a8a9d4",
		"batch":         "a1c49e19b5ff3025",
		"checkpoint":    "e5bfc6b860b7183b",
	}
	for name, c := range commands() {
		b := EncodeCommand(c)
		if got := digest(b); got != pinned[name] {
			t.Errorf("%s: the encoding of %d bytes has digest %s, pinned %s", name, len(b), got, pinned[name])
		}
		got, err := DecodeCommand(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, batch := c.(*Batch); !batch && !reflect.DeepEqual(got, c) {
			t.Errorf("%s: read %+v, wrote %+v", name, got, c)
		}
		if again := EncodeCommand(got); !bytes.Equal(again, b) {
			t.Errorf("%s: written again it differs", name)
		}
		for n := range b {
			if _, err := DecodeCommand(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken", name, n, len(b))
			}
		}
		if _, err := DecodeCommand(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: a byte left over is taken", name)
		}
	}
}

func TestDecodeCommandKeepsLimits(t *testing.T) {
	epoch := func(change func(*Epoch)) []byte {
		m := sampleEpoch()
		change(m)
		return EncodeCommand(m)
	}
	many := make([]byte, MaxView+1)
	for i := range many {
		many[i] = byte(i + 1)
	}
	batch := func(change func(*Batch)) []byte {
		m := sampleBatch()
		change(m)
		return EncodeCommand(m)
	}
	good := EncodeCommand(sampleEpoch())
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"another version":     append([]byte{2}, good[1:]...),
		"kind 0":              append([]byte{1, 0}, good[2:]...),
		"kind 4":              append([]byte{1, 4}, good[2:]...),
		"not base + 1":        epoch(func(m *Epoch) { m.Base = 1 }),
		"no such mode":        epoch(func(m *Epoch) { m.Mode = 9 }),
		"nobody in view":      epoch(func(m *Epoch) { m.View = nil }),
		"a view of 17":        epoch(func(m *Epoch) { m.View = sortedOrigins(many...) }),
		"a view out of order": epoch(func(m *Epoch) { slices.Reverse(m.View) }),
		"twice in view":       epoch(func(m *Epoch) { m.View[1] = m.View[0] }),
		"a cut out of order":  epoch(func(m *Epoch) { slices.Reverse(m.Cut) }),
		"twice in cut":        epoch(func(m *Epoch) { m.Cut[1].Origin = m.Cut[0].Origin }),
		"a long reason":       epoch(func(m *Epoch) { m.Reason = strings.Repeat("x", MaxReason+1) }),
		"an empty batch":      batch(func(m *Batch) { m.Runs = nil }),
		"65 entries":          batch(func(m *Batch) { m.Runs = slices.Repeat(m.Runs[1:], MaxBatchEntries/len(m.Runs[1].Entries)+1) }),
		"checkpoint 0":        EncodeCommand(&Checkpoint{}),
		"checkpoint 255":      EncodeCommand(&Checkpoint{Index: 255}),
	} {
		if c, err := DecodeCommand(b); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

// FuzzDecodeCommand: no input makes it panic, and what is read has one encoding.
func FuzzDecodeCommand(f *testing.F) {
	for _, c := range commands() {
		f.Add(EncodeCommand(c))
	}
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			return
		}
		if again := EncodeCommand(c); !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
	})
}
