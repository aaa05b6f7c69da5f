package ui

import (
	"testing"

	"tertulia/chat"
)

func wrote(node, person string) chat.Message { return chat.Message{Origin: node, Sender: person} }

func TestANodeIsCalledAsWhoWroteThereLast(t *testing.T) {
	w := writers{}
	w.learn([]chat.Message{wrote("n1", "Bob"), wrote("n2", "Carla"), wrote("n1", "Bruno"), wrote("", "Nobody")}, true)
	w.learn([]chat.Message{wrote("n1", "Robert"), wrote("n3", "Dan")}, false) // a page of long ago
	for node, want := range map[string]string{"n1": "Bruno", "n2": "Carla", "n3": "Dan", "n4": "n4"} {
		if got := w.name(node); got != want {
			t.Errorf("%s is called %s, want %s", node, got, want)
		}
	}
	if got := w.both("n1"); got != "Bruno (n1)" {
		t.Errorf("both = %s", got)
	}
	if got := w.both("n4"); got != "n4" {
		t.Errorf("both of a node where nobody wrote = %s", got)
	}
}

func TestTwoNodesOfOneNameAreToldApart(t *testing.T) {
	w := writers{"laptop": {Name: "Bob"}, "phone": {Name: "\u0412\u043eb"}, "desk": {Name: "Ana", ID: "k"}} // the second in Cyrillic
	if a, b := w.name("laptop"), w.name("phone"); a != "Bob (laptop)" || b != "\u0412\u043eb (phone)" {
		t.Errorf("they are called %s and %s", a, b)
	}
	if got := w.name("desk"); got != "Ana" {
		t.Errorf("a name that is clear became %s", got)
	}
	if got := w.key("desk", "peer") + w.key("phone", "peer"); got != "kpeer" {
		t.Errorf("their colours derive from %s", got)
	}
}
