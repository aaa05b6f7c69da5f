package ui

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
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
	out := map[string]float32{}
	for _, e := range l.reference() {
		out[e.key] = e.bottom
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
		fresh := shapeOf(l.rows[l.anchor+i], l.Size().Width, l.metrics, l.unfolded[l.rows[l.anchor+i].key]).height
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
	view  []string // in view
}

func (w *world) at() string {
	if len(w.view) == 0 {
		return ""
	}
	return w.view[0]
}

func newWorld(t testing.TB, l *messageList, count int) *world {
	n := newFakeNode()
	n.messages["r"] = messages(count)
	w := &world{node: n, feed: feed{node: n}, list: l, next: count}
	l.OnView = func(keys []string) { w.view = keys }
	if _, err := w.feed.open(t.Context(), "r", ""); err != nil {
		t.Fatal(err)
	}
	w.set()
	return w
}

func rowsOf(messages []chat.Message) []row { return stretch{messages: messages, now: start}.rows() }

func (w *world) set() {
	var room chat.Room
	for i := range chat.MaxMerges {
		room.Merges = append(room.Merges, chat.Merge{Before: fmt.Sprintf("m/%d", 2999-i/2*7), Count: i})
	}
	w.list.setRows(stretch{messages: w.feed.messages, unread: "m/2989", room: room, now: start}.rows(), w.feed.older, w.feed.newer)
}

// vary gives messages every look that a message can have.
func vary(messages []chat.Message) {
	for i := range messages {
		m := &messages[i]
		switch i % 19 {
		case 3:
			m.Text = strings.Repeat("a line\n", 20+i%40)
		case 7:
			m.Text = "see https://example.org/a?b=c and `code` here:\n```go\nfunc f() {\n    return\n}\n```\nquite so"
		case 11:
			m.Kind = chat.KindJoined
		case 13:
			m.Kind = chat.KindUnknown
		case 17:
			m.Text = strings.Repeat("a long tale ", 600)
		}
	}
}

// turnFold unfolds or folds one of the long messages in view, and fails when
// what must stay has moved.
func turnFold(t *testing.T, l *messageList, after string) {
	t.Helper()
	y := l.offset
	for i := l.anchor; i < l.last; i++ {
		s := l.shape(i)
		if s.fold == "" {
			y += s.height
			continue
		}
		key := l.rows[i].key
		l.unfold(i, y)
		at, bottom := l.offset, float32(0)
		for j := l.anchor; j <= i; j++ {
			bottom = at + l.height(j)
			at = bottom
		}
		top := bottom - l.height(i)
		if d := top - y; l.unfolded[key] && (d > slack || d < -slack) {
			t.Fatalf("%s: unfolding moved the beginning by %.1f", after, d)
		}
		if d := bottom - y - s.height; !l.unfolded[key] && bottom > 0 && l.anchor > 0 && l.last < len(l.rows) && (d > slack || d < -slack) {
			t.Fatalf("%s: folding moved the end by %.1f", after, d)
		}
		return
	}
}

func (w *world) append() {
	m := message(w.next, []string{"Alice", "Bob"}[w.next%2])
	w.next++
	w.node.messages["r"] = append(w.node.messages["r"], m)
}

// insert puts a message before one of the last ten of the tail.
func (w *world) insert(r *rand.Rand) {
	all := w.node.messages["r"]
	w.early++
	m := message(w.next, "Dan")
	m.ID = fmt.Sprintf("early/%d", w.early)
	if i := max(len(all)-1-r.IntN(10), 0); all[i].State == chat.Tentative {
		// After all[i], and after what was put there before.
		m.Time = all[i].Time
		m.Position = all[i].Position + "-"
		for j := i + 1; j < len(all) && all[j].Position <= m.Position; j++ {
			m.Position += "-"
		}
	}
	w.node.messages["r"] = append(all, m)
	sortRoom(w.node.messages["r"])
}

// finish makes up to count messages of the tail final: most from its front, in
// order, some from further back, ahead of their turn.
func (w *world) finish(r *rand.Rand, count int) {
	all := w.node.messages["r"]
	for range count {
		tail := finalsOf(all)
		if tail == len(all) {
			return
		}
		i := tail
		if r.IntN(3) == 0 {
			i += r.IntN(len(all) - tail)
		}
		m := all[i]
		finalize(&m, uint64(tail)+1)
		m.Late = r.IntN(5) == 0
		copy(all[tail+1:i+1], all[tail:i])
		all[tail] = m
	}
}

// finalsOf counts the final messages of a room in order.
func finalsOf(all []chat.Message) int {
	return sort.Search(len(all), func(i int) bool { return all[i].State == chat.Tentative })
}

// finalize gives m an index.
func finalize(m *chat.Message, index uint64) {
	m.State, m.Index, m.Position = chat.Final, index, fmt.Sprintf("00%016x", index)
}

func sortRoom(all []chat.Message) {
	slices.SortStableFunc(all, func(a, b chat.Message) int { return strings.Compare(a.Position, b.Position) })
}

func TestListHasNoGapAndNeverJumps(t *testing.T) {
	kinds := map[rowKind]bool{} // that came into view
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { roam(t, seed, kinds) })
	}
	for _, k := range []rowKind{rowMessage, rowSystem, rowDay, rowMerge, rowUnread} {
		if !kinds[k] {
			t.Errorf("no row of kind %d came into view", k)
		}
	}
}

func roam(t *testing.T, seed uint64, kinds map[rowKind]bool) {
	l, win := newListWindow(t)
	w := newWorld(t, l, 3000)
	vary(w.node.messages["r"])
	for i := range 2900 {
		finalize(&w.node.messages["r"][i], uint64(i)+1)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	ctx := t.Context()
	var older, newer bool
	l.OnOlder, l.OnNewer = func() { older = true }, func() { newer = true }
	check(t, l, "open")
	folds := 0
	if !l.stuck {
		t.Fatal("a room does not open at its end")
	}
	for step := range 800 {
		after := fmt.Sprintf("seed %d step %d", seed, step)
		stuck, before, was := l.stuck, l.reference(), l.rows
		still := false // nothing in view may move
		var err error
		for i := l.anchor; i < l.last; i++ {
			kinds[l.rows[i].kind] = true
		}
		switch k := r.IntN(26); {
		case k < 9:
			after += " scroll"
			l.scrollBy(float32(r.NormFloat64() * 400))
		case k < 11:
			after, still = after+" append", true
			for range 1 + r.IntN(12) {
				w.append()
			}
			err = w.feed.reload(ctx, l.stuck, w.view)
		case k < 13:
			after, still = after+" insert", true
			w.insert(r)
			err = w.feed.reload(ctx, l.stuck, w.view)
		case k < 15 && older:
			after, still, older = after+" older", true, false
			err = w.feed.loadOlder(ctx, w.at())
		case k < 16 && newer:
			after, still, newer = after+" newer", true, false
			err = w.feed.loadNewer(ctx, w.at())
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
		case k < 22:
			after, still = after+" finish", true
			w.finish(r, 1+r.IntN(12))
			err = w.feed.reload(ctx, l.stuck, w.view)
		case k < 25:
			after += " fold"
			turnFold(t, l, after)
			folds += len(l.unfolded)
		default:
			after += " show"
			l.show(l.rows[r.IntN(len(l.rows))].key)
		}
		if err != nil {
			t.Fatal(err)
		}
		if still {
			w.set()
		}
		check(t, l, after)
		if still && !stuck {
			sameEdges(t, l, before, was, after)
		}
		if still && stuck && !l.newer && !l.stuck {
			t.Fatalf("%s: no longer follows the end", after)
		}
	}
	if folds == 0 {
		t.Errorf("seed %d: no long message was unfolded", seed)
	}
}

// sameEdges fails when what must not move has moved: the topmost message in
// view that did not become final just now, or, when all of them did, the topmost.
func sameEdges(t *testing.T, l *messageList, before []edge, was []row, after string) {
	t.Helper()
	if len(before) == 0 {
		return
	}
	tentative := func(rows []row, key string) bool {
		i := slices.IndexFunc(rows, func(r row) bool { return r.key == key })
		return i >= 0 && rows[i].tent()
	}
	top := before[0]
	for _, e := range before {
		if tentative(was, e.key) == tentative(l.rows, e.key) {
			top = e
			break
		}
	}
	y, ok := edges(l)[top.key]
	if !ok {
		t.Fatalf("%s: message %s left the view", after, top.key)
	}
	if d := y - top.bottom; d > slack || d < -slack {
		t.Fatalf("%s: message %s moved by %.1f", after, top.key, d)
	}
}

// Settling without moving changes no height: the rows stay pixel by pixel.
func TestTheTailSettlesInPlace(t *testing.T) {
	l, _ := newListWindow(t)
	w := newWorld(t, l, 60)
	for name, prepare := range map[string]func(){"at the end": func() {}, "in history": func() { l.scrollBy(300) }} {
		prepare()
		before := edges(l)
		if len(before) < 3 {
			t.Fatalf("%s: only %d messages in view", name, len(before))
		}
		for i := range w.node.messages["r"][:finalsOf(w.node.messages["r"])+30] {
			finalize(&w.node.messages["r"][i], uint64(i)+1)
		}
		if err := w.feed.reload(t.Context(), l.stuck, w.view); err != nil {
			t.Fatal(err)
		}
		w.set()
		if now := edges(l); !maps.Equal(now, before) {
			t.Errorf("%s: settling moved rows from %v to %v", name, before, now)
		}
		check(t, l, name)
	}
	if i := indexIn(w.feed.messages, "m/59"); w.feed.messages[i].State != chat.Final {
		t.Error("the last message did not settle")
	}
}

// The line at the top of the view becomes final ahead of its turn, and leaves:
// those below it stay where they are.
func TestALineThatMovesTakesNobodyAlong(t *testing.T) {
	l, _ := newListWindow(t)
	w := newWorld(t, l, 90)
	l.scrollBy(600)
	before := l.reference()
	if len(before) < 4 || l.stuck {
		t.Fatalf("%d messages in view", len(before))
	}
	all := w.node.messages["r"]
	finalize(&all[indexIn(all, before[0].key)], 1)
	sortRoom(all)
	if err := w.feed.reload(t.Context(), l.stuck, w.view); err != nil {
		t.Fatal(err)
	}
	w.set()
	check(t, l, "moved")
	now := edges(l)
	for _, e := range before[1:] {
		if d := now[e.key] - e.bottom; d > slack || d < -slack {
			t.Errorf("%s moved from %.1f to %.1f", e.key, e.bottom, now[e.key])
		}
	}
}

// A reader of a tail of which every line moves on becoming final keeps a page
// that hangs together, around what is in view.
func TestReloadFindsTheReaderWhenTheTailMoves(t *testing.T) {
	n := newFakeNode()
	all := messages(1000)
	n.messages["r"] = slices.Clone(all)
	f := feed{node: n}
	ctx := t.Context()
	if _, err := f.open(ctx, "r", ""); err != nil {
		t.Fatal(err)
	}
	// Those above m/946 become final first, in reverse, before all others, which
	// stay tentative: what is at the top of the view goes far away.
	for i := range 40 {
		finalize(&n.messages["r"][945-i], uint64(i)+1)
	}
	sortRoom(n.messages["r"])
	if err := f.reload(ctx, false, []string{"m/940", "m/941", "m/946", "m/960"}); err != nil {
		t.Fatal(err)
	}
	if f.index("m/946") < 0 || f.index("m/960") < 0 {
		t.Error("what stayed in its place is no longer held")
	}
	at := slices.IndexFunc(n.messages["r"], func(m chat.Message) bool { return m.ID == f.messages[0].ID })
	for i := range f.messages {
		if f.messages[i].ID != n.messages["r"][at+i].ID {
			t.Fatalf("held message %d is %s, in the room %s stands there", i, f.messages[i].ID, n.messages["r"][at+i].ID)
		}
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
			if err := w.feed.loadOlder(t.Context(), w.at()); err != nil {
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
			if err := w.feed.loadNewer(t.Context(), w.at()); err != nil {
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
	for _, r := range rowsOf(ms) {
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
		_, _ = fmt.Sscanf(position, "01%d", &i)
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
		set := func(l *messageList, f *feed) { l.setRows(rowsOf(f.messages), f.older, f.newer) }
		b.Run(fmt.Sprintf("open/%d", total), func(b *testing.B) {
			l, f := open(b)
			for b.Loop() {
				l.clear(true)
				clear(l.shapes)
				_, _ = f.open(ctx, "r", "")
				set(l, f)
			}
		})
		b.Run(fmt.Sprintf("page/%d", total), func(b *testing.B) {
			l, f := open(b)
			_, _ = f.open(ctx, "r", "")
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
			_, _ = f.open(ctx, "r", "")
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
			_, _ = f.open(ctx, "r", "")
			set(l, f)
			var layout time.Duration
			for b.Loop() {
				grown.total++
				_ = f.reload(ctx, true, nil)
				rows := rowsOf(f.messages)
				began := time.Now()
				l.setRows(rows, f.older, f.newer)
				layout += time.Since(began)
			}
			b.ReportMetric(float64(layout.Nanoseconds())/float64(b.N), "layout-ns/op")
		})
	}
}
