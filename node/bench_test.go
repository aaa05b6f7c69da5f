package node

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tertulia/chat"
)

// BenchmarkSayToShown measures from the call of Send at one node until another
// returns the message, on the loopback interface.
func BenchmarkSayToShown(b *testing.B) {
	for _, count := range []int{2, 3} {
		b.Run(fmt.Sprintf("%d-nodes", count), func(b *testing.B) {
			nodes := party(b, []string{"n1", "n2", "n3"}[:count]...)
			at := nodes[1]
			changes := at.Changes(b.Context())
			var took []time.Duration
			var arrival uint64
			for b.Loop() {
				begin := time.Now()
				id := nodes[0].say("how long does it take?").ID
				for shown := false; !shown; {
					for _, m := range must(at.Since(b.Context(), lobby, arrival, 0))(b) {
						arrival = m.Arrival
						shown = shown || m.ID == id
					}
					if !shown {
						<-changes
					}
				}
				took = append(took, time.Since(begin))
			}
			slices.SortFunc(took, cmp.Compare[time.Duration])
			for name, at := range map[string]int{"p50-ms": len(took) / 2, "p99-ms": len(took) * 99 / 100} {
				b.ReportMetric(float64(took[at].Microseconds())/1000, name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkThroughput measures messages shown in all lists, with 8 senders at
// each of 3 nodes.
func BenchmarkThroughput(b *testing.B) {
	nodes := party(b, "n1", "n2", "n3")
	for _, r := range nodes { // a person's first words bring a line of their own
		r.say("hello")
	}
	sameLists(len(nodes), nodes...)
	begin := nodes[0].state(lobby).Total
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for _, r := range nodes {
		for range 8 {
			wg.Go(func() {
				for next.Add(1) <= int64(b.N) {
					if _, err := r.Send(b.Context(), chat.Draft{Room: lobby, Text: "as fast as it goes"}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	for _, r := range nodes {
		r.untilTotal(begin + uint64(b.N))
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	sameLists(len(nodes)+b.N, nodes...)
}
