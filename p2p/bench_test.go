package p2p

import (
	"slices"
	"testing"
	"time"

	"tertulia/ordering"
)

// BenchmarkPushRoundTrip measures a push to another node and one back, from
// Handler to Handler, on loopback.
func BenchmarkPushRoundTrip(b *testing.B) {
	for _, transport := range []struct {
		name   string
		listen []string
	}{{"tcp", onTCP}, {"quic", onQUIC}} {
		b.Run(transport.name, func(b *testing.B) {
			x, y := start(b, 1, func(c *Config) { c.Listen = transport.listen }), start(b, 2, func(c *Config) { c.Listen = transport.listen })
			y.scribe.message = func(d ordering.DeviceKey, room ordering.RoomID, m ordering.Message) { y.Send(d, room, m) }
			befriend(x, y)
			x.await(b, "up", y.Self())
			y.await(b, "up", x.Self())
			push := &ordering.Push{Run: testRun(1, 1, 256)}
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				x.Send(y.Self(), testRoom, push)
				x.await(b, "message", y.Self())
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkSignalAmongPushes measures a signal's way to a node for which
// maxQueuedBytes of pushes wait all the time.
func BenchmarkSignalAmongPushes(b *testing.B) {
	for _, transport := range []struct {
		name   string
		listen []string
	}{{"tcp", onTCP}, {"quic", onQUIC}} {
		b.Run(transport.name, func(b *testing.B) {
			x, y := start(b, 1, func(c *Config) { c.Listen = transport.listen }), start(b, 2, func(c *Config) { c.Listen = transport.listen })
			push := &ordering.Push{Run: testRun(1, 1, 32<<10)}
			came := make(chan time.Time)
			y.scribe.message = func(_ ordering.DeviceKey, room ordering.RoomID, m ordering.Message) {
				if _, ok := m.(*ordering.Raft); ok {
					came <- time.Now()
					return
				}
				x.Send(y.Self(), room, m) // another one in its place
			}
			befriend(x, y)
			x.await(b, "up", y.Self())
			y.await(b, "up", x.Self())
			for range maxQueuedBytes / push.Run.Size() {
				x.Send(y.Self(), testRoom, push)
			}
			signal := &ordering.Raft{Data: make([]byte, 1<<10)}
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				x.Send(y.Self(), testRoom, signal)
				took = append(took, (<-came).Sub(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
