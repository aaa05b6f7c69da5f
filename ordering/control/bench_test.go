package control

import (
	"crypto/ed25519"
	"testing"

	"tertulia/ordering"
)

// BenchmarkPropose3 is the floor of every final latency: three Logs in one
// goroutine, no disk, no network; from Propose of a batch with one entry of 200
// bytes until all three have applied it.
func BenchmarkPropose3(b *testing.B) {
	c := newCluster(b, 1)
	three := c.voters(3)
	c.elect(three[0])
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	author := ordering.Origin{Device: ordering.DeviceKey(key.Public().(ed25519.PublicKey))}
	e := ordering.Seal(ordering.Entry{Origin: author, Room: testRoom, Seq: 1, TS: 1, Kind: ordering.KindMessage, Body: make([]byte, 200)})
	batch := &ordering.Batch{Epoch: 1, Leader: member(1), Runs: []ordering.Run{ordering.SignRun(key, e).Run()}}
	drain := func(r *replica) {
		for {
			rd, ok := r.log.Ready()
			if !ok {
				return
			}
			for _, m := range rd.Messages {
				c.queue = append(c.queue, packet{r.self.Device, m.To, m.Data})
			}
			if n := len(rd.Committed); n > 0 {
				r.lin = rd.Committed[n-1].Index
				r.log.LinApplied(r.lin)
			}
			r.log.Advance()
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if !three[0].log.Propose(batch) {
			b.Fatal("dropped")
		}
		for drain(three[0]); len(c.queue) > 0; {
			p := c.queue[0]
			c.queue = c.queue[1:]
			for _, r := range three {
				if r.self == p.to {
					if err := r.log.Step(p.from, p.data); err != nil {
						b.Fatal(err)
					}
					drain(r)
				}
			}
		}
		if three[0].lin%4096 == 0 {
			for _, r := range three {
				r.log.Compact(r.lin - 64)
				drain(r)
			}
		}
	}
	for _, r := range three[1:] {
		if r.lin != three[0].lin {
			b.Fatalf("at %d of %d", r.lin, three[0].lin)
		}
	}
}
