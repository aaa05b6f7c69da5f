package linear

import (
	"fmt"
	"runtime"
	"testing"

	"tertulia/ordering"
)

// BenchmarkApply applies batches of 64 messages of 8 authors; an op is an entry.
func BenchmarkApply(b *testing.B) {
	s, genesis := newScene()
	entries := []*ordering.Entry{genesis}
	for o := byte(2); o < 10; o++ {
		entries = append(entries, s.admit(s.creator, origin(o)))
	}
	var prev *ordering.Entry
	for i := len(entries); i < b.N+9; i++ {
		c := &ordering.Stamp{Key: [32]byte{byte(i)}, ID: fmt.Sprint(i), Hash: ordering.Hash{byte(i)}}
		prev = s.write(origin(byte(2+i/8%8)), ordering.Entry{Kind: ordering.KindMessage, Client: c}, prev)
		entries = append(entries, prev)
	}
	var records []ordering.Command
	for len(entries) > 0 {
		n := min(64, len(entries))
		records = append(records, &ordering.Batch{Leader: s.creator, Runs: grouped(entries[:n])})
		entries = entries[n:]
	}
	l := New(Config{Room: s.room}, ordering.Leader, s.creator)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	b.ResetTimer()
	for i, c := range records {
		l.Apply(uint64(i+1), 1, c)
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc))/(1<<20), "MiB-list")
	if l.Index() != uint64(b.N) {
		b.Fatalf("%d finals of %d", l.Index(), b.N)
	}
	runtime.KeepAlive(records)
}

// BenchmarkMark encodes the mark of a room of 50 devices.
func BenchmarkMark(b *testing.B) {
	s, genesis := newScene()
	r := newReplica(Config{}, s)
	r.apply(1, batch(0, genesis))
	for o := byte(2); o < 51; o++ {
		r.apply(1, batch(0, s.admit(s.creator, origin(o))))
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Mark()
	}
}
