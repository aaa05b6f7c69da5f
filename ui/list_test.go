package ui

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"tertulia/chat"
)

const slack = 0.5 // px

func newListWindow(t testing.TB) (*messageList, fyne.Window) {
	app := test.NewTempApp(t)
	app.Settings().SetTheme(NewTheme())
	l := newMessageList()
	win := test.NewTempWindow(t, l)
	win.SetPadded(false)
	win.Resize(fyne.NewSize(700, 500))
	return l, win
}

// edges is where the lower edge of each message in view is.
func edges(l *messageList) map[string]float32 {
	_, bottom := l.reference()
	keys, _ := l.reference()
	out := map[string]float32{}
	for _, k := range keys {
		out[k] = bottom(k)
	}
	return out
}

// check fails when what is drawn has a gap, an overlap, or leaves view empty.
func check(t *testing.T, l *messageList, after string) {
	t.Helper()
	if len(l.rows) == 0 {
		return
	}
	view := l.Size().Height
	if got, want := len(l.content.Objects), l.last-l.anchor; got != want {
		t.Fatalf("%s: %d rows drawn, want %d", after, got, want)
	}
	y := l.content.Objects[0].Position().Y
	first := y
	for i, o := range l.content.Objects {
		if d := o.Position().Y - y; d > slack || d < -slack {
			t.Fatalf("%s: row %d is at %.1f, the one before ends at %.1f", after, l.anchor+i, o.Position().Y, y)
		}
		fresh := shapeOf(l.rows[l.anchor+i], l.Size().Width, l.metrics).height
		if d := o.Size().Height - fresh; d > slack || d < -slack {
			t.Fatalf("%s: row %d is %.1f high, should be %.1f", after, l.anchor+i, o.Size().Height, fresh)
		}
		y += o.Size().Height
	}
	if first > slack && l.anchor > 0 {
		t.Fatalf("%s: gap of %.1f above row %d", after, first, l.anchor)
	}
	if y < view-padList-slack {
		t.Fatalf("%s: gap of %.1f below row %d of %d", after, view-y, l.last, len(l.rows))
	}
	if l.last == len(l.rows) && y < view-padList-slack {
		t.Fatalf("%s: the last row ends at %.1f of %.1f", after, y, view)
	}
	if l.stuck && (l.last != len(l.rows) || y > view-padList+slack || y < view-padList-slack) {
		t.Fatalf("%s: stuck, but the end is at %.1f of %.1f", after, y, view)
	}
	if len(l.shapes) > maxShapes || len(l.spare) > maxViews {
		t.Fatalf("%s: %d measures and %d spare views kept", after, len(l.shapes), len(l.spare))
	}
}

// world is a room whose window the list shows.
type world struct {
	node  *fakeNode
	feed  feed
	list  *messageList
	next  int
	early int
	at    string
}

func newWorld(t testing.TB, l *messageList, count int) *world {
	n := newFakeNode()
	n.messages["r"] = messages(count)
	w := &world{node: n, feed: feed{node: n}, list: l, next: count}
	l.OnAt = func(key string) { w.at = key }
	if err := w.feed.open(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	w.set()
	return w
}

func (w *world) set() { w.list.setRows(rowsOf(w.feed.messages, start), w.feed.older, w.feed.newer) }

func (w *world) append() {
	m := message(w.next, []string{"Alice", "Bob"}[w.next%2])
	w.next++
	w.node.messages["r"] = append(w.node.messages["r"], m)
}

// insert puts a message before one of the last ten.
func (w *world) insert(r *rand.Rand) {
	all := w.node.messages["r"]
	i := max(len(all)-1-r.IntN(10), 0)
	m := message(w.next, "Dan")
	w.early++
	m.ID = fmt.Sprintf("early/%d", w.early)
	m.Position = all[i].Position + "-" // after all[i]; appended suffixes nest
	m.Time = all[i].Time
	for j := i + 1; j < len(all) && all[j].Position <= m.Position; j++ {
		m.Position += "-"
	}
	all = append(all, m)
	slices.SortStableFunc(all, func(a, b chat.Message) int {
		if a.Position < b.Position {
			return -1
		}
		if a.Position > b.Position {
			return 1
		}
		return 0
	})
	w.node.messages["r"] = all
}

func TestListHasNoGapAndNeverJumps(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { roam(t, seed) })
	}
}

func roam(t *testing.T, seed uint64) {
	l, win := newListWindow(t)
	w := newWorld(t, l, 3000)
	r := rand.New(rand.NewPCG(seed, 1))
	ctx := t.Context()
	var older, newer bool
	l.OnOlder, l.OnNewer = func() { older = true }, func() { newer = true }
	check(t, l, "open")
	if !l.stuck {
		t.Fatal("a room does not open at its end")
	}
	for step := range 1500 {
		after := fmt.Sprintf("seed %d step %d", seed, step)
		stuck, before := l.stuck, edges(l)
		still := false // nothing in view may move
		var err error
		switch k := r.IntN(20); {
		case k < 9:
			after += " scroll"
			l.scrollBy(float32(r.NormFloat64() * 400))
		case k < 11:
			after, still = after+" append", true
			w.append()
			err = w.feed.reload(ctx, l.stuck, w.at)
		case k < 13:
			after, still = after+" insert", true
			w.insert(r)
			err = w.feed.reload(ctx, l.stuck, w.at)
		case k < 15 && older:
			after, still, older = after+" older", true, false
			err = w.feed.loadOlder(ctx, w.at)
		case k < 16 && newer:
			after, still, newer = after+" newer", true, false
			err = w.feed.loadNewer(ctx, w.at)
		case k < 17:
			after += " resize"
			win.Resize(fyne.NewSize(float32(320+r.IntN(700)), float32(150+r.IntN(800))))
		case k < 18:
			after += " keys"
			l.TypedKey(&fyne.KeyEvent{Name: []fyne.KeyName{fyne.KeyHome, fyne.KeyEnd, fyne.KeyPageUp, fyne.KeyPageDown}[r.IntN(4)]})
		case k < 19:
			after += " drag"
			l.Dragged(&fyne.DragEvent{PointEvent: fyne.PointEvent{Position: fyne.NewPos(l.Size().Width-2, r.Float32()*l.Size().Height)}})
			l.DragEnd()
		}
		if err != nil {
			t.Fatal(err)
		}
		if still {
			w.set()
		}
		check(t, l, after)
		if still && !stuck {
			sameEdges(t, l, before, after)
		}
		if still && stuck && !l.newer && !l.stuck {
			t.Fatalf("%s: no longer follows the end", after)
		}
	}
}

// sameEdges fails when the topmost message in view has moved.
func sameEdges(t *testing.T, l *messageList, before map[string]float32, after string) {
	t.Helper()
	now := edges(l)
	top, least := "", float32(1e9)
	for k, y := range before {
		if y < least {
			top, least = k, y
		}
	}
	y, ok := now[top]
	if !ok {
		t.Fatalf("%s: message %s left the view", after, top)
	}
	if d := y - least; d > slack || d < -slack {
		t.Fatalf("%s: message %s moved by %.1f", after, top, d)
	}
}

func TestListReachesBothEnds(t *testing.T) {
	l, _ := newListWindow(t)
	w := newWorld(t, l, 3000)
	older, newer := false, false
	l.OnOlder, l.OnNewer = func() { older = true }, func() { newer = true }
	l.askedOlder = false
	for steps := 0; l.anchor > 0 || l.offset < padList-slack || w.feed.older; steps++ {
		if steps > 20000 {
			t.Fatal("the beginning is never reached")
		}
		l.scrollBy(300)
		if older {
			older = false
			if err := w.feed.loadOlder(t.Context(), w.at); err != nil {
				t.Fatal(err)
			}
			w.set()
		}
	}
	check(t, l, "at the beginning")
	if y := l.content.Objects[0].Position().Y; y < padList-slack || l.rows[1].key != "m/0" {
		t.Errorf("the beginning is at %.1f, row %q", y, l.rows[1].key)
	}
	for steps := 0; !l.stuck; steps++ {
		if steps > 20000 {
			t.Fatal("the end is never reached")
		}
		l.scrollBy(-300)
		if newer {
			newer = false
			if err := w.feed.loadNewer(t.Context(), w.at); err != nil {
				t.Fatal(err)
			}
			w.set()
		}
	}
	check(t, l, "at the end")
	if got := l.rows[len(l.rows)-1].key; got != "m/2999" {
		t.Errorf("the end is %s, want m/2999", got)
	}
}

func TestShortConversationSitsAtTheBottom(t *testing.T) {
	l, _ := newListWindow(t)
	newWorld(t, l, 2)
	check(t, l, "two messages")
	if !l.stuck || l.content.Objects[0].Position().Y < 0 {
		t.Error("two messages do not fit the view")
	}
}

func TestRunsAndDays(t *testing.T) {
	ms := messages(6)
	ms[3].Time = ms[3].Time.Add(time.Hour) // too long after the one before
	ms[5].Kind = chat.KindJoined
	ms[5].Time = ms[5].Time.AddDate(0, 0, 1)
	var got []string
	for _, r := range rowsOf(ms, start) {
		got = append(got, fmt.Sprintf("%d %v %v", r.kind, r.first, r.last))
	}
	want := []string{
		"2 false false",
		"0 true false", "0 false true", // Alice
		"0 true true", "0 true true", // Bob, and an hour later
		"0 true true", // Carol
		"2 false false", "1 false false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows (kind first last):\n got %q\nwant %q", got, want)
	}
}

// synthetic is a room of any length that exists only as far as it is looked at.
type synthetic struct {
	fakeNode
	total int
}

func (n *synthetic) Page(_ context.Context, q chat.PageQuery) (chat.Page, error) {
	low, high := max(n.total-q.Limit, 0), n.total
	index := func(position string) (i int) {
		_, _ = fmt.Sscanf(position, "%d", &i)
		return i / 10
	}
	switch {
	case q.Before != "":
		high = index(q.Before)
		low = max(high-q.Limit, 0)
	case q.After != "":
		low = index(q.After) + 1
		high = min(low+q.Limit, n.total)
	}
	p := chat.Page{Older: low > 0, Newer: high < n.total, Total: uint64(n.total)}
	for i := low; i < high; i++ {
		p.Messages = append(p.Messages, message(i, []string{"Alice", "Bob", "Carol"}[i/2%3]))
	}
	return p, nil
}

func BenchmarkList(b *testing.B) {
	for _, total := range []int{1_000, 100_000, 1_000_000} {
		n := &synthetic{total: total}
		ctx := b.Context()
		open := func(b *testing.B) (*messageList, *feed) {
			l, _ := newListWindow(b)
			f := &feed{node: n}
			return l, f
		}
		set := func(l *messageList, f *feed) { l.setRows(rowsOf(f.messages, start), f.older, f.newer) }
		b.Run(fmt.Sprintf("open/%d", total), func(b *testing.B) {
			l, f := open(b)
			for b.Loop() {
				l.clear()
				clear(l.shapes)
				_ = f.open(ctx, "r")
				set(l, f)
			}
		})
		b.Run(fmt.Sprintf("page/%d", total), func(b *testing.B) {
			l, f := open(b)
			_ = f.open(ctx, "r")
			set(l, f)
			for b.Loop() {
				if !f.older {
					_ = f.loadNewest(ctx)
				}
				_ = f.loadOlder(ctx, "")
				l.jump(0)
				set(l, f)
			}
		})
		b.Run(fmt.Sprintf("wheel/%d", total), func(b *testing.B) {
			l, f := open(b)
			_ = f.open(ctx, "r")
			set(l, f)
			dy := float32(40)
			for b.Loop() {
				if l.scrollBy(dy); l.anchor == 0 || l.stuck {
					dy = -dy
				}
			}
		})
		b.Run(fmt.Sprintf("append/%d", total), func(b *testing.B) {
			l, f := open(b)
			grown := &synthetic{total: total}
			f.node = grown
			_ = f.open(ctx, "r")
			set(l, f)
			for b.Loop() {
				grown.total++
				_ = f.reload(ctx, true, "")
				set(l, f)
			}
		})
	}
}
