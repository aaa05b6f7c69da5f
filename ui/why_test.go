package ui

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"tertulia/chat"
)

// aboutMessage is what a node tells of a message besides the message.
func aboutMessage() chat.Info {
	return chat.Info{
		Author: chat.Member{Name: "n2", Fingerprint: "BBCD EFGH IJKL MNOP QRST UVWX YZ23 4567"},
		Parents: []chat.Parent{
			{ID: "m/0", Name: "n3", Text: "Morning! Did anybody bring the second volume?"},
			{ID: "joined/1", Name: "n4"},
		},
		Arrived: time.Date(2026, 11, 21, 21, 5, 7, 0, time.Local),
		Holders: []string{"n1", "n2", "n3"}, Missing: []string{"n4"},
		Readers:  []chat.Person{{Name: "Bob", ID: "b"}, {Name: "Émile", ID: "e"}},
		Verified: true, Seq: 17, Term: 3,
	}
}

func factNamed(facts []fact, label string) string {
	i := slices.IndexFunc(facts, func(f fact) bool { return f.label == label })
	if i < 0 {
		return ""
	}
	return facts[i].value
}

func TestWhyIsToldInWordsFirst(t *testing.T) {
	info := chat.Info{Message: message(7, "Bob")}
	if got := whyWords(&info, chat.Leader); got != textWhyElected {
		t.Errorf("in the tail: %q", got)
	}
	if got := whyWords(&info, chat.Lamport); got != textWhyTentative {
		t.Errorf("in the tail without a leader: %q", got)
	}
	finalize(&info.Message, 1234)
	if got := whyWords(&info, chat.Lamport); !strings.Contains(got, textWhyOwn) || strings.Contains(got, "late") {
		t.Errorf("without a leader: %q", got)
	}
	info.Message.Leader, info.Message.Late, info.Missing = "n3", true, []string{"n4", "n5"}
	got := whyWords(&info, chat.Leader)
	for _, want := range []string{"position 1,234 for good", "n3, elected to lead", "It came late", "n4 and n5 have not stored it yet."} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}

func TestWhyIsToldInFigures(t *testing.T) {
	info := aboutMessage()
	info.Message = message(7, "Bob")
	m := &info.Message
	finalize(m, 1234)
	m.Leader, m.Late, m.Hash, m.Epoch, m.Lamport, m.ReplyTo = "n3", true, strings.Repeat("ab", 32), 4, 99, "m/2"
	facts := whyFacts(&info)
	for label, want := range map[string]string{
		"Written by": "Bob", "Author’s key": m.SenderID, "On the computer": "n2", "Key of the computer": info.Author.Fingerprint,
		"Signature": "covers it, checked here", "State": "final", "Position": "1,234",
		"Late":          "yes: words written after it were final before it came",
		"Logical clock": "99", "Sequence": "number 17 of n2", "Epoch": "4", "Term": "3", "Leader": "n3",
		"Arrived here": textOfInstant(info.Arrived) + ", as number 8 of this conversation",
		"Answers":      "m/2", "Its author had seen": "n3: Morning! Did anybody bring the second volume?",
		"Stored by": "3 of 4: n1, n2, n3", "Not yet by": "n4", "Read by": "Bob, Émile",
		"Hash of the order up to here": m.Hash, "Message": "m/7",
	} {
		if got := factNamed(facts, label); got != want {
			t.Errorf("%s = %q, want %q", label, got, want)
		}
	}
	var jumps []string
	for _, f := range facts {
		if f.jump != "" {
			jumps = append(jumps, f.jump)
		}
	}
	if want := []string{"m/2", "m/0"}; !slices.Equal(jumps, want) {
		t.Errorf("jumps = %q, want %q: what is no message cannot be shown", jumps, want)
	}
	m.State, m.Late, m.Leader, m.Hash, info.Term = chat.Tentative, false, "", "", 0
	info.Readers, info.Verified = nil, false
	facts = whyFacts(&info)
	for label, want := range map[string]string{
		"State": "not final yet", "Position": "", "Late": "", "Term": "", "Leader": "", "Epoch": "",
		"Signature": "not checked", "Read by": "nobody, as far as they said",
	} {
		if got := factNamed(facts, label); got != want {
			t.Errorf("in the tail: %s = %q, want %q", label, got, want)
		}
	}
}

func TestFactsOfASheetDoNotOverlap(t *testing.T) {
	test.NewTempApp(t)
	info := aboutMessage()
	info.Message = message(7, strings.Repeat("B", 300))
	info.Message.ID = strings.Repeat("0123456789", 20)
	s := &sketch{width: sizeForm}
	drawFacts(s, whyWords(&info, chat.Lamport), whyFacts(&info), func(string) {})
	checkApart(t, s.objects, fyne.NewSize(sizeForm, s.y))
}

// checkApart fails where two objects overlap, or one is not within size.
func checkApart(t *testing.T, objects []fyne.CanvasObject, size fyne.Size) {
	t.Helper()
	for i, a := range objects {
		if p, s := a.Position(), a.Size(); p.X < -slack || p.Y < -slack || p.X+s.Width > size.Width+slack || p.Y+s.Height > size.Height+slack {
			t.Errorf("%v at %v, %v is not within %v", wordsIn(a), p, s, size)
		}
		for _, b := range objects[:i] {
			if overlap(a, b) {
				t.Errorf("%q at %v, %v and %q at %v, %v overlap", wordsIn(a), a.Position(), a.Size(), wordsIn(b), b.Position(), b.Size())
			}
		}
	}
}

func overlap(a, b fyne.CanvasObject) bool {
	p, q, s, z := a.Position(), b.Position(), a.Size(), b.Size()
	return p.X+s.Width > q.X+slack && q.X+z.Width > p.X+slack && p.Y+s.Height > q.Y+slack && q.Y+z.Height > p.Y+slack
}

func TestAClickOnAParentGoesThereAndTheSheetCanBeCopied(t *testing.T) {
	n := newFakeNode()
	lobby(n, 2000)
	n.info = aboutMessage()
	s := newStage(t, n)
	s.until("a page", func() bool { return len(s.win.shown.messages) == pageMessages })
	overlays := s.win.win.Canvas().Overlays()
	s.win.showWhy(s.win.message("m/1990"))
	s.until("the sheet", func() bool { return overlays.Top() != nil })
	for _, b := range buttonsIn(overlays.Top()) {
		if b.Text == textCopy {
			test.Tap(b)
		}
	}
	if got := s.win.app.Clipboard().Content(); !strings.Contains(got, "Stored by: 3 of 4: n1, n2, n3\n") || !strings.HasPrefix(got, textWhyTentative) {
		t.Errorf("copied %q", got)
	}
	var links []*tappable
	each(overlays.Top(), func(o fyne.CanvasObject) {
		if link, ok := o.(*tappable); ok {
			links = append(links, link)
		}
	})
	if len(links) != 1 {
		t.Fatalf("%d parents can be clicked, want 1", len(links))
	}
	test.Tap(links[0])
	s.until("the parent", func() bool { return s.win.list.lit == "m/0" })
	if overlays.Top() != nil {
		t.Error("the sheet hides what it went to")
	}
}

func TestAMessageThatTheNodeDoesNotKnowIsSaid(t *testing.T) {
	n := newFakeNode()
	lobby(n, 5)
	s := newStage(t, n)
	s.until("five messages", func() bool { return len(s.win.shown.messages) == 5 })
	gone := message(77, "Bob")
	s.win.showWhy(&gone)
	s.until("the notice", s.win.notice.root.Visible)
}
