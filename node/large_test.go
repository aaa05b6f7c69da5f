package node

import (
	"crypto/ed25519"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
)

// A room of 1,000,000 messages takes minutes to fill and 1.4 GB.
var (
	largest = flag.Int("largest", 100_000, "the largest room of BenchmarkRoom, in messages")
	keepIn  = flag.String("rooms", "", "keep the rooms of BenchmarkRoom in this directory for the next time")
)

const (
	person     = "Ana"
	window     = 100  // messages a window asks for at once
	foundMost  = 50   // and hits
	unreadLast = 300  // lines of a filled room nobody has read
	fillAtOnce = 4096 // sayings
)

// vocabulary is 30,000 words; a text has the first of them most often, as texts do.
var vocabulary = func() []string {
	var syllables []string
	for _, c := range "bcdfghjklmnpqrstvwxz" {
		for _, v := range "aeiou" {
			syllables = append(syllables, string(c)+string(v))
		}
	}
	words := make([]string, 30_000)
	for i := range words {
		for n := i + 1; n > 0; n /= len(syllables) {
			words[i] += syllables[n%len(syllables)]
		}
	}
	return words
}()

// filled returns a node that has a room of n messages, and a small one.
func filled(b *testing.B, n int) Config {
	b.Helper()
	cfg := loopback(b, "n1")
	in := cfg.Dir
	if *keepIn != "" {
		in = *keepIn
	}
	cfg.Dir = filepath.Join(in, strconv.Itoa(n))
	if _, err := os.Stat(cfg.Dir); err == nil {
		return cfg
	}
	unfinished := cfg
	unfinished.Dir += ".unfinished"
	if err := os.RemoveAll(unfinished.Dir); err != nil {
		b.Fatal(err)
	}
	r := start(b, unfinished)
	r.create(lobby)
	if err := r.SetUsername(b.Context(), person); err != nil {
		b.Fatal(err)
	}
	must(r.CreateRoom(b.Context(), "tea", chat.Lamport))(b)
	must(r.Send(b.Context(), chat.Draft{Room: "tea", Text: vocabulary[0] + " " + vocabulary[1]}))(b)
	r.fill(n) // last, so that a window opens this room
	r.stop()
	if err := os.Rename(unfinished.Dir, cfg.Dir); err != nil {
		b.Fatal(err)
	}
	return cfg
}

// fill says n messages in the lobby, as its own goroutine would: each signed, sealed,
// stored, and final.
func (r *rig) fill(n int) {
	r.t.Helper()
	r.say("hello")
	key := must(r.clientKey(r.t.Context(), person))(r.t)
	chance := rand.New(rand.NewPCG(1, 2))
	frequent := rand.NewZipf(chance, 1.07, 1, uint64(len(vocabulary)-1))
	text := func() string {
		words := make([]string, 3+chance.IntN(15))
		for i := range words {
			words[i] = vocabulary[frequent.Uint64()]
		}
		return strings.Join(words, " ")
	}
	for at := 0; at < n; at += fillAtOnce {
		count := min(fillAtOnce, n-at)
		answers := make(chan error, count)
		said := make([]*saying, count)
		for i := range said {
			said[i] = r.message(key, strconv.Itoa(at+i), text())
			said[i].reply = func(_ ordering.Ref, _ bool, err error) { answers <- err }
		}
		if err := r.inner().post(r.t.Context(), func() {
			for _, s := range said {
				r.inner().say(s)
			}
		}); err != nil {
			r.t.Fatal(err)
		}
		for range said {
			if err, ok := within(answers); err != nil || !ok {
				r.t.Fatalf("answered %t, error %v", ok, err)
			}
		}
	}
	r.until("all is final", func() bool { return r.state(lobby).FinalIndex >= uint64(n) })
	rows := must(r.Finals(r.t.Context(), lobby, r.state(lobby).FinalIndex-unreadLast-1, 1))(r.t)
	if err := r.MarkRead(r.t.Context(), lobby, rows[0].Position); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) message(key ed25519.PrivateKey, id, text string) *saying {
	return r.inner().person(key, ordering.KindMessage, id, ordering.Payload{Name: person, Text: text})
}

// BenchmarkRoom measures what a window asks of a node whose room is long, on the disk.
func BenchmarkRoom(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		if n > *largest {
			continue
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			cfg := filled(b, n)
			b.Run("start", func(b *testing.B) { benchStart(b, cfg) })
			r := start(b, cfg)
			b.Run("open", r.benchOpen)
			b.Run("older", r.benchOlder)
			b.Run("date", r.benchDate)
			b.Run("unread", r.benchUnread)
			b.Run("read", r.benchRead)
			b.Run("append", r.benchAppend)
			for _, q := range queries {
				b.Run("search/"+q.name, func(b *testing.B) { r.benchSearch(b, q) })
			}
		})
	}
}

// benchStart measures until the node is ready, and what the room takes of memory.
func benchStart(b *testing.B, cfg Config) {
	for b.Loop() {
		before := heapNow()
		began := time.Now()
		r := start(b, cfg)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ready-ms")
		b.ReportMetric(float64(heapNow()-before)/(1<<20), "heap-MB")
		r.stop()
	}
	b.ReportMetric(0, "ns/op")
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (r *rig) benchOpen(b *testing.B) {
	for b.Loop() {
		must(r.View(b.Context()))(b)
		page := must(r.Page(b.Context(), chat.PageQuery{Room: lobby, Limit: window}))(b)
		if len(page.Messages) != window {
			b.Fatal(len(page.Messages))
		}
	}
}

func (r *rig) benchOlder(b *testing.B) {
	page := must(r.Page(b.Context(), chat.PageQuery{Room: lobby, Limit: window}))(b)
	for b.Loop() {
		if !page.Older {
			page = must(r.Page(b.Context(), chat.PageQuery{Room: lobby, Limit: window}))(b)
		}
		page = must(r.Page(b.Context(), chat.PageQuery{Room: lobby, Before: page.Messages[0].Position, Limit: window}))(b)
	}
}

func (r *rig) benchDate(b *testing.B) {
	first := must(r.Finals(b.Context(), lobby, 0, 1))(b)[0].Time
	last := r.state(lobby).Last.Time
	chance := rand.New(rand.NewPCG(3, 4))
	for b.Loop() {
		at := first.Add(time.Duration(chance.Int64N(int64(last.Sub(first)))))
		page := must(r.Page(b.Context(), chat.PageQuery{Room: lobby, At: at, Limit: window}))(b)
		if len(page.Messages) == 0 || page.Messages[0].Time.Before(at.Truncate(time.Millisecond)) {
			b.Fatalf("%d messages from %s", len(page.Messages), at)
		}
	}
}

func (r *rig) benchUnread(b *testing.B) {
	for b.Loop() {
		id := must(r.store.FirstUnread(b.Context(), r.inner().id))(b)
		if page := must(r.Page(b.Context(), chat.PageQuery{Room: lobby, Around: id.String(), Limit: window}))(b); len(page.Messages) != window {
			b.Fatal(len(page.Messages))
		}
	}
}

func (r *rig) benchRead(b *testing.B) {
	page := must(r.Page(b.Context(), chat.PageQuery{Room: lobby, Limit: window}))(b)
	i := 0
	for b.Loop() {
		if err := r.MarkRead(b.Context(), lobby, page.Messages[i%(window-1)].Position); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// benchAppend measures from the call of Send until the message is in the newest page.
func (r *rig) benchAppend(b *testing.B) {
	changes := r.Changes(b.Context())
	for b.Loop() {
		id := r.say("one more").ID
		for shown := false; !shown; {
			must(r.View(b.Context()))(b)
			page := must(r.Page(b.Context(), chat.PageQuery{Room: lobby, Limit: window}))(b)
			shown = slices.ContainsFunc(page.Messages, func(m chat.Message) bool { return m.ID == id })
			if !shown {
				<-changes
			}
		}
	}
}

// search is what somebody types.
type search struct {
	name, room, text string
	hits             bool
}

var queries = func() []search {
	often, less, rare := vocabulary[0], vocabulary[9], vocabulary[20_000]
	return []search{
		{"all/letter", "", often[:1], true},
		{"all/often", "", often, true},
		{"all/beginning", "", rare[:3], true},
		{"all/rare", "", rare, true},
		{"all/none", "", "zzz", false},
		{"all/two", "", often + " " + less[:1], true},
		{"all/many", "", strings.Join([]string{often, less, vocabulary[2], vocabulary[3], rare[:2]}, " "), true},
		{"one/letter", lobby, often[:1], true},
		{"one/often", lobby, often, true},
		{"one/rare", lobby, rare, true},
		{"small/letter", "tea", often[:1], true},
		{"small/often", "tea", often, true},
		{"small/two", "tea", often + " " + vocabulary[1], true},
		{"small/none", "tea", less, false},
	}
}()

func (r *rig) benchSearch(b *testing.B, q search) {
	hits := 0
	for b.Loop() {
		found := must(r.Search(b.Context(), chat.SearchQuery{Room: q.room, Text: q.text, Limit: foundMost}))(b)
		hits = len(found)
	}
	if q.hits != (hits > 0) && r.state(lobby).Total > 100_000 {
		b.Fatalf("%q: %d hits", q.text, hits)
	}
	b.ReportMetric(float64(hits), "hits")
}
