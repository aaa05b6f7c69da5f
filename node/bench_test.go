package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
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
			reportPercentiles(b, "", took)
		})
	}
}

// reportPercentiles reports times in place of the mean.
func reportPercentiles(b *testing.B, where string, took []time.Duration) {
	slices.SortFunc(took, cmp.Compare[time.Duration])
	for name, at := range map[string]int{"p50-ms": len(took) / 2, "p99-ms": len(took) * 99 / 100} {
		b.ReportMetric(float64(took[at].Microseconds())/1000, where+name)
	}
	b.ReportMetric(0, "ns/op")
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

// met is a final message when a reader at a node met it.
type met struct {
	node  int
	id    string
	index uint64
	hash  string
	at    time.Time
}

// readAll reads the finals of all nodes from now on, in order and without gaps.
func readAll(b *testing.B, nodes []*rig) <-chan met {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	all := make(chan met, 1024)
	var readers sync.WaitGroup
	for i, r := range nodes {
		f := r.read(ctx, r.state(lobby).FinalIndex)
		readers.Go(func() {
			for {
				list := f.next(ctx)
				if list == nil {
					return
				}
				now := time.Now()
				for _, m := range list {
					select {
					case all <- met{i, m.ID, m.Index, m.Hash, now}:
					case <-ctx.Done():
						return
					}
				}
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		readers.Wait()
	})
	return all
}

// BenchmarkSayToFinal measures from the call of Send, with one author, until the
// author's node shows the message final, and until the slowest replica does, and what
// the message costs all nodes together. In a room with a leader it also says how many
// times the floor that is: the same log in memory, at the slowest of three replicas.
func BenchmarkSayToFinal(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		f := newFloor(b)
		var took []time.Duration
		for b.Loop() {
			begin := time.Now()
			f.finalise()
			took = append(took, time.Since(begin))
		}
		reportPercentiles(b, "slowest-", took)
	})
	for _, at := range []string{"follower", "leader"} {
		b.Run("author-at-"+at, func(b *testing.B) {
			const each = 2000
			f, begin := newFloor(b), time.Now()
			for range each {
				f.finalise()
			}
			least := time.Since(begin) / each
			nodes, _ := court(b, "n1", "n2", "n3")
			slowest := sayToFinal(b, nodes, map[string]int{"follower": 0, "leader": 2}[at])
			b.ReportMetric(float64(slowest)/float64(least), "x-floor")
		})
	}
	for _, count := range []int{3, 5, 10, 16} {
		b.Run(fmt.Sprintf("lamport-%d-members", count), func(b *testing.B) {
			sayToFinal(b, round(b, numbered(count)...), 0)
		})
	}
}

// numbered names nodes n1 to nN.
func numbered(count int) (names []string) {
	for i := range count {
		names = append(names, fmt.Sprint("n", i+1))
	}
	return names
}

// sayToFinal returns the median at the slowest replica.
func sayToFinal(b *testing.B, nodes []*rig, i int) time.Duration {
	b.Helper()
	for _, r := range nodes { // a person's first words bring a line of their own
		r.say("hello")
	}
	sameFinals(len(nodes), nodes...)
	all := readAll(b, nodes)
	var author, slowest []time.Duration
	before := spent(b)
	for b.Loop() {
		begin := time.Now()
		id := nodes[i].say("how long does it take?").ID
		for seen := 0; seen < len(nodes); {
			m := <-all
			if m.id != id {
				b.Fatalf("n%d finalised %s, want %s", m.node+1, m.id, id)
			}
			if m.node == i {
				author = append(author, m.at.Sub(begin))
			}
			if seen++; seen == len(nodes) {
				slowest = append(slowest, m.at.Sub(begin))
			}
		}
	}
	used := spent(b).since(before)
	b.ReportMetric(float64(used.cpu.Microseconds())/1000/float64(b.N), "cpu-ms/message")
	b.ReportMetric(float64(used.bytes)/float64(b.N), "B/message")
	reportPercentiles(b, "author-", author)
	reportPercentiles(b, "slowest-", slowest)
	return slowest[len(slowest)/2]
}

// expense is what this process, with all its nodes, used.
type expense struct {
	cpu   time.Duration
	bytes uint64 // over the loopback interface
}

func (e expense) since(before expense) expense {
	return expense{e.cpu - before.cpu, e.bytes - before.bytes}
}

// BenchmarkFinalThroughput measures messages that are final at every replica, in one
// order without gaps, with 64 authors who say the next as soon as the last is on disk.
func BenchmarkFinalThroughput(b *testing.B) {
	b.Run("leader-3-members", func(b *testing.B) {
		nodes, _ := court(b, "n1", "n2", "n3")
		finalThroughput(b, nodes)
	})
	for _, count := range []int{3, 5, 10} {
		b.Run(fmt.Sprintf("lamport-%d-members", count), func(b *testing.B) {
			finalThroughput(b, round(b, numbered(count)...))
		})
	}
}

func finalThroughput(b *testing.B, nodes []*rig) {
	b.Helper()
	const authors, each = 64, 32
	say := func(times int) {
		var wg sync.WaitGroup
		for a := range authors {
			wg.Go(func() {
				for range times {
					d := chat.Draft{Room: lobby, Username: fmt.Sprint("author ", a), Text: "as fast as it goes"}
					if _, err := nodes[a%len(nodes)].Send(b.Context(), d); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	say(1) // a person's first words bring a line of their own
	sameFinals(authors, nodes...)
	all := readAll(b, nodes)
	total := 0
	before := spent(b)
	for b.Loop() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			say(each)
		}()
		hashes := make(map[uint64]string) // of who was first
		for range authors * each * len(nodes) {
			m := <-all
			if h, known := hashes[m.index]; known && h != m.hash {
				b.Fatalf("n%d differs at %d", m.node+1, m.index)
			}
			hashes[m.index] = m.hash
		}
		<-done
		total += authors * each
	}
	used := spent(b).since(before)
	b.ReportMetric(float64(used.cpu.Microseconds())/1000/float64(total), "cpu-ms/message")
	b.ReportMetric(float64(used.bytes)/float64(total), "B/message")
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(0, "ns/op")
	sameFinals(authors+total, nodes...)
}

// Waits of BenchmarkIdleRooms.
const (
	idleBefore = 40 * time.Second // until nodes and rooms know that nothing happens
	idleFor    = time.Minute
)

// BenchmarkIdleRooms measures what three nodes spend on rooms in which nothing is
// said, over a minute each. It runs when IDLE_ROOMS is set.
func BenchmarkIdleRooms(b *testing.B) {
	if os.Getenv("IDLE_ROOMS") == "" {
		b.Skip("takes minutes; set IDLE_ROOMS")
	}
	for _, rooms := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("%d-rooms", rooms), func(b *testing.B) {
			nodes := []*rig{start(b, hurried(b, "n1")), start(b, hurried(b, "n2")), start(b, hurried(b, "n3"))}
			for i := range rooms {
				name := fmt.Sprint("room ", i)
				nodes[0].create(name)
				for _, r := range nodes[1:] {
					r.join(nodes[0].invite(chat.InviteOptions{Room: name}))
				}
				if _, err := nodes[2].Send(b.Context(), chat.Draft{Room: name, Text: "good night"}); err != nil {
					b.Fatal(err)
				}
			}
			clocks := func() (all []map[string]uint64) {
				for _, r := range nodes {
					for _, s := range must(r.Status(b.Context()))(b).Rooms {
						if s.Tentative > 0 || len(s.View) != len(nodes) {
							b.Fatalf("%s is not at rest: %+v", r.NodeID(), s)
						}
						all = append(all, s.Clocks)
					}
				}
				return all
			}
			for range b.N {
				<-time.After(idleBefore)
				at := clocks()
				before := spent(b)
				<-time.After(idleFor)
				used := spent(b).since(before)
				if !slices.EqualFunc(at, clocks(), maps.Equal) {
					b.Error("clocks went on although nothing was said")
				}
				links := float64(len(nodes) * (len(nodes) - 1)) // from one node to another
				b.ReportMetric(float64(used.bytes)/idleFor.Seconds()/links, "B/s/peer")
				b.ReportMetric(100*used.cpu.Seconds()/idleFor.Seconds()/float64(len(nodes)), "cpu-%/node")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
