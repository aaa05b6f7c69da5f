package client

import (
	"testing"

	"tertulia/chat"
)

func TestACursorRefusesAGapAndPassesOverWhatWasRead(t *testing.T) {
	c := new(Cursor)
	c.attach("p", 9, 4)
	final := func(index uint64) chat.Message { return chat.Message{ID: "x", State: chat.Final, Index: index} }
	if fresh, err := c.fresh(final(4)); fresh || err != nil {
		t.Errorf("a final that was read: %v %v", fresh, err)
	}
	if fresh, err := c.fresh(final(5)); !fresh || err != nil {
		t.Errorf("the next final: %v %v", fresh, err)
	}
	if _, err := c.fresh(final(6)); err == nil {
		t.Error("a gap was passed over")
	}
}

func TestACursorForgetsWhatIsFinalAndItsRepeats(t *testing.T) {
	c := new(Cursor)
	c.attach("p", 9, 0)
	said := func(id, text string) chat.Message {
		return chat.Message{ID: id, SenderID: "a", ClientID: "c", Text: text, State: chat.Tentative}
	}
	for _, m := range []chat.Message{said("n1/1", "oi"), said("n2/1", "oi"), said("n2/2", "another text"), {ID: "n3/1"}, {ID: "n3/2"}} {
		c.read(m, 9)
	}
	sealed := said("n4/1", "")
	c.read(sealed, 9)
	final := said("n2/1", "oi")
	final.State, final.Index = chat.Final, 1
	c.read(final, 9)
	if len(c.announced) != 4 || len(c.repeats) != 4 || c.Index() != 1 {
		t.Errorf("after one final: %v %v at %d", c.announced, c.repeats, c.Index())
	}
	opened := said("n4/1", "its text came later")
	opened.State, opened.Index = chat.Final, 2
	c.read(opened, 9)
	if len(c.announced) != 3 || len(c.repeats) != 3 {
		t.Errorf("after a final that was sealed: %v %v", c.announced, c.repeats)
	}
}

func TestACursorIsBounded(t *testing.T) {
	c := new(Cursor)
	c.attach("p", 0, 0)
	m := chat.Message{State: chat.Tentative}
	for i := range maxAnnounced + 10 {
		m.ID, m.Arrival = string(rune(i+0x10000)), uint64(i)
		c.read(m, 0)
	}
	if len(c.announced) != maxAnnounced || c.arrival != maxAnnounced+9 {
		t.Errorf("%d remembered, arrival %d", len(c.announced), c.arrival)
	}
}
