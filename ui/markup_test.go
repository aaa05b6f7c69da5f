package ui

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/test"

	"tertulia/chat"
)

func TestLinksAndCodeAreFound(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "0:",
		"plain words":                   "0:plain words",
		"go to https://a.example/x.":    "0:go to |1:https://a.example/x|0:.",
		"(see http://a.example/(b))":    "0:(see |1:http://a.example/(b)|0:)",
		"HTTPS://A.EXAMPLE now":         "1:HTTPS://A.EXAMPLE|0: now",
		"xhttps://a.example":            "0:xhttps://a.example",
		"https://bank.example@evil.ex":  "0:https://bank.example@evil.ex",
		"https://bаnk.example/":         "0:https://bаnk.example/",
		"https://":                      "0:https://",
		"https://a.example/\u00e9?q=1":  "1:https://a.example/\u00e9?q=1",
		`https://a.example\u202egpj`:    `1:https://a.example|0:\u202egpj`,
		"tertulia:abcdefgh01234567, so": "1:tertulia:abcdefgh01234567|0:, so",
		"tertulia: a chat":              "0:tertulia: a chat",
		"run `make it` now":             "0:run |2:make it|0: now",
		"a `b and c":                    "0:a `b and c",
		"a `b\nc` d":                    "0:a `b\nc` d",
		"`` none":                       "0:`` none",
		"`https://a.example`":           "2:https://a.example",
		"so:\n```go\nx := 1\n```\nyes":  "0:so:|3:x := 1|0:yes",
		"```x y\nz```":                  "3:x y\nz",
		"```a``` ```b":                  "3:a|0: ```b",
		"``````":                        "0:``````",
	} {
		var got []string
		for _, s := range spansOf(visible(in)) {
			got = append(got, fmt.Sprintf("%d:%s", s.manner, s.text))
		}
		if g := strings.Join(got, "|"); g != want {
			t.Errorf("spansOf(%q):\n got %q\nwant %q", in, g, want)
		}
	}
}

func TestNamesThatLookAlikeAreToldApart(t *testing.T) {
	for _, same := range [][]string{
		{"Bob", "bob", "B o b", "Воb", "Βοb", "B\u200bob", "B\u043eb", "Bób", "ᴮob", "Bob.", "B0b", "Bob\u3164"},
		{"Carla", "Car1a", "CarIa", "Cаrlа"},
		{"Émile", "Emile"},
		{"Warner", "VVarner", "Wamer"},
	} {
		for _, name := range same[1:] {
			if outline(name) != outline(same[0]) {
				t.Errorf("%q and %q are outlined %q and %q", same[0], name, outline(same[0]), outline(name))
			}
		}
	}
	if outline("Bob") == outline("Rob") || outline("李") == outline("王") {
		t.Error("different names have one outline")
	}
	ms := messages(4)
	ms[0].Sender, ms[0].SenderID = "Bob", "0123456789abcdef"
	ms[1].Sender, ms[1].SenderID = "Carla", "1111456789abcdef"
	ms[2].Sender, ms[2].SenderID = "Воb", "fedcba9876543210"
	ms[3].Sender, ms[3].SenderID, ms[3].ReplyTo = "Carla", "1111456789abcdef", ms[0].ID
	rows := stretch{messages: ms, quotes: map[string]*chat.Message{ms[0].ID: &ms[0]}, now: start}.rows()
	var got []string
	for _, r := range rows {
		if r.kind == rowMessage {
			got = append(got, r.name+"/"+r.tag)
		}
	}
	if want := []string{"Bob/0123 4567", "Carla/", "Воb/fedc ba98", "Carla/"}; !slices.Equal(got, want) {
		t.Errorf("names = %q, want %q", got, want)
	}
	if q := rows[len(rows)-1].quote.name; q != "Bob (0123 4567)" {
		t.Errorf("the quote is of %q", q)
	}
}

func TestAnOwnMessageSaysWhoHasItAndWhoReadIt(t *testing.T) {
	ms := messages(4)
	for i := range ms {
		ms[i].Mine = true
	}
	ms[2].Received = 1
	ms[3].Received = 2
	ms[0].Received, ms[1].Received = 4, 3
	finalize(&ms[0], 1)
	finalize(&ms[1], 2)
	room := chat.Room{Members: 4}
	for i, name := range []string{"Bob", "Carla\u202e", "Dan", "Eve", "Fay", "Gil"} {
		room.Readers = append(room.Readers, chat.Reader{Person: chat.Person{Name: name}, UpTo: uint64(1 + i/5)})
	}
	want := map[string]string{
		"m/0": `Final at position 1 · received by 4 of 4 · read by Bob, Carla\u202e, Dan, Eve, Fay, +1`,
		"m/1": "Final at position 2 · received by 3 of 4 · read by Gil",
		"m/2": "Saved on this computer; its place is not final yet · received by 1 of 4",
		"m/3": "Saved on this computer; its place is not final yet · received by 2 of 4",
	}
	stands := map[string]standing{"m/0": standingRead, "m/1": standingRead, "m/2": standingSaved, "m/3": standingReceived}
	for _, r := range (stretch{messages: ms, room: room, now: start}).rows() {
		if r.kind != rowMessage {
			continue
		}
		if got := standingText(&r); got != want[r.key] {
			t.Errorf("%s: %q, want %q", r.key, got, want[r.key])
		}
		if r.stand != stands[r.key] {
			t.Errorf("%s stands at %d, want %d", r.key, r.stand, stands[r.key])
		}
	}
}

func TestAMergeIsToldAboveWhatItAdded(t *testing.T) {
	ms := messages(4)
	ms[1].SenderID, ms[1].Sender = ms[0].SenderID, ms[0].Sender
	at := ms[1].Time
	room := chat.Room{Merges: []chat.Merge{
		{From: at.Add(-19 * time.Minute), To: at.Add(-2 * time.Minute), Before: "m/1", Count: 23},
		{From: at.AddDate(0, 0, -1), To: at, Before: "m/3", Count: 1},
		{Before: "not held", Count: 9},
	}}
	var got []string
	for _, r := range (stretch{messages: ms, unread: "m/1", room: room, now: at}).rows() {
		if r.kind == rowMerge {
			got = append(got, r.text)
			continue
		}
		got = append(got, r.key)
	}
	want := []string{
		"day/m/0", "m/0", "Two parts talked separately 08:44–09:01; 23 messages were added below", unreadKey, "m/1", "m/2",
		"Two parts talked separately Yesterday, 09:03–Today, 09:03; 1 message was added below", "m/3",
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows:\n got %q\nwant %q", got, want)
	}
}

// hostile are messages meant to freeze, to hang out of their row, or to deceive.
func hostile() map[string]string {
	words := strings.Repeat("word ", chat.MaxTextBytes/5)
	return map[string]string{
		"one word":        strings.Repeat("x", chat.MaxTextBytes),
		"one wide word":   strings.Repeat("W", chat.MaxTextBytes),
		"newlines":        strings.Repeat("\n", 10_000) + "end",
		"spaces":          strings.Repeat(" ", chat.MaxTextBytes-1) + "x",
		"words":           words,
		"right to left":   strings.Repeat("שלום עליכם מה שלומך ", 1500),
		"arabic":          strings.Repeat("السلام", 5000),
		"marks":           "Z" + strings.Repeat("\u0301\u0323\u0489", 10_000),
		"marks on each":   strings.Repeat("a\u0301\u0302\u0303\u0304\u0305\u0306\u0307", 4000),
		"no width":        strings.Repeat("\u200b\u2060\ufeff", 20_000),
		"joiners":         strings.Repeat("\u200d", 20_000),
		"emoji":           strings.Repeat("👩‍👩‍👧‍👦", 2500),
		"controls":        strings.Repeat("\x00\x1b\u0085", 15_000),
		"overrides":       strings.Repeat("\u202eabc\u2066", 8000),
		"backticks":       strings.Repeat("`", chat.MaxTextBytes),
		"open code":       "```" + words[:60_000],
		"many blocks":     strings.Repeat("```\nx\n```\n", 6000),
		"many codes":      strings.Repeat("`a`", 20_000),
		"schemes":         strings.Repeat("http://", 9000),
		"refused links":   strings.Repeat("http://a@b,", 5000),
		"links":           strings.Repeat("https://a.example/b ", 3000),
		"a long link":     "https://a.example/" + strings.Repeat("b", 60_000),
		"not UTF-8":       strings.Repeat("\xff\xfe", 30_000),
		"tabs":            strings.Repeat("\t", chat.MaxTextBytes),
		"carriage return": strings.Repeat("a\r", 30_000),
	}
}

func TestHostileTextNeitherFreezesNorHangsOut(t *testing.T) {
	const (
		tooLong   = 3 * time.Second // on a busy machine; each takes a few hundredths
		maxPieces = 8000            // drawn objects
	)
	l, win := newListWindow(t)
	for name, text := range hostile() {
		m := message(0, strings.Repeat("N\u0301\u202e", 500))
		m.Text = text
		for _, width := range []float32{320, 900} {
			win.Resize(fyne.NewSize(width, 500))
			l.clear(true)
			began := time.Now()
			l.setRows(rowsOf([]chat.Message{m, message(1, "Bob")}), false, false)
			within(t, l, name+" folded", maxPieces)
			i := slices.IndexFunc(l.rows, func(r row) bool { return r.key == "m/0" })
			if l.height(i) > foldShown*45+100 {
				t.Errorf("%s: folded it is %.0f high", name, l.height(i))
			}
			if l.shape(i).fold != "" {
				l.unfold(i, l.offset)
				within(t, l, name+" unfolded", maxPieces)
				for range 5 {
					l.scrollBy(-900)
					within(t, l, name+" scrolled", maxPieces)
				}
				l.follow()
				within(t, l, name+" at its end", maxPieces)
				l.jump(i)
			}
			if took := time.Since(began); took > tooLong {
				t.Errorf("%s at %.0f px took %s", name, width, took)
			}
		}
	}
}

// within fails when something is drawn beyond its row or its bubble.
func within(t *testing.T, l *messageList, after string, most int) {
	t.Helper()
	pieces := 0
	for i := l.anchor; i < l.last; i++ {
		s := l.shape(i)
		v := l.views[s.row.key]
		pieces += len(v.root.Objects)
		for _, o := range v.root.Objects {
			text, ok := o.(*canvas.Text)
			if !ok {
				continue
			}
			at, size := text.Position(), text.MinSize()
			if at.X < 0 || at.X+size.Width > l.Size().Width || at.Y < -4 || at.Y+size.Height > s.height+4 {
				t.Fatalf("%s: %.20q is drawn from %v over %v, beyond a row of %.0f by %.0f", after, text.Text, at, size, l.Size().Width, s.height)
			}
			if s.row.kind == rowMessage && text != v.letter && at.X+size.Width > s.top.X+s.bubble.Width {
				t.Fatalf("%s: %.20q ends at %.1f, its bubble at %.1f", after, text.Text, at.X+size.Width, s.top.X+s.bubble.Width)
			}
			for _, r := range text.Text {
				if isHidden(r) {
					t.Fatalf("%s: %.20q holds %U", after, text.Text, r)
				}
			}
		}
	}
	if pieces > most {
		t.Fatalf("%s: %d objects are drawn", after, pieces)
	}
}

// A click on what unfolds a message leaves the text above it where it is.
func TestALongMessageUnfoldsInPlace(t *testing.T) {
	l, _ := newListWindow(t)
	ms := messages(30)
	ms[20].Text = strings.Repeat("a line\n", 80)
	l.setRows(rowsOf(ms), false, false)
	l.show("m/20")
	i, _ := l.rowAt(l.Size().Height/3 + 20)
	s := l.shape(i)
	if s.row.key != "m/20" || len(s.lines) != foldShown || s.fold != "Show the whole message (1 KB)" {
		t.Fatalf("%s shows %d lines and %q", s.row.key, len(s.lines), s.fold)
	}
	l.scrollBy(-s.height + 200)
	i, y := l.rowAt(20)
	at := fyne.NewPos(s.top.X+padBubbleSide+4, y+s.textTop(l.metrics)+s.text+8)
	l.Tapped(&fyne.PointEvent{Position: at})
	if s = l.shape(i); len(s.lines) != 81 || s.fold != "Show less" || l.stuck {
		t.Fatalf("unfolded: %d lines, %q", len(s.lines), s.fold)
	}
	if _, now := l.rowAt(20); now != y {
		t.Errorf("its beginning moved from %.1f to %.1f", y, now)
	}
	check(t, l, "unfolded")
	l.setRows(rowsOf(ms[:29]), false, false)
	if l.shape(i); len(l.shape(i).lines) != 81 {
		t.Error("it folded by itself")
	}
	l.unfold(i, y)
	check(t, l, "folded")
	l.setRows(rowsOf(ms[:10]), false, false)
	if len(l.unfolded) != 0 {
		t.Error("what is gone is kept as unfolded")
	}
}

func TestALinkIsClickedAndCopied(t *testing.T) {
	l, _ := newListWindow(t)
	ms := messages(2)
	ms[1].Text = "see\nhttps://a.example/" + strings.Repeat("path/", 40) + " there"
	var clicked, copied string
	l.OnLink = func(s string) { clicked = s }
	l.OnMenu = func(_, link string, _ fyne.Position) { copied = link }
	l.setRows(rowsOf(ms), false, false)
	i := len(l.rows) - 1
	y := l.Size().Height - padList - l.height(i)
	s := l.shape(i)
	link := "https://a.example/" + strings.Repeat("path/", 40)
	for n := 1; n < 3; n++ { // it goes over several lines
		at := fyne.NewPos(s.top.X+padBubbleSide+8, y+s.textTop(l.metrics)+s.lines[n].y+6)
		clicked, copied = "", ""
		test.TapAt(l, at)
		l.TappedSecondary(&fyne.PointEvent{Position: at})
		if clicked != link || copied != link {
			t.Errorf("line %d: clicked %q, copied %q", n, clicked, copied)
		}
	}
	clicked = ""
	test.TapAt(l, fyne.NewPos(s.top.X+padBubbleSide+8, y+s.textTop(l.metrics)+6))
	if clicked != "" {
		t.Errorf("words open %q", clicked)
	}
}
