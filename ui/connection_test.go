package ui

import (
	"strings"
	"testing"

	"tertulia/chat"
)

func peersOf(states map[string]chat.PeerState) []chat.Peer {
	var peers []chat.Peer
	for name, state := range states {
		peers = append(peers, chat.Peer{Name: name, State: state})
	}
	return peers
}

func TestWaitingIsToldInWordsWithWhatToDo(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	here := peersOf(map[string]chat.PeerState{"Bob": chat.PeerConnected, "Carol": chat.PeerSuspected, "Dan": chat.PeerConnected})
	for _, c := range []struct {
		name string
		room chat.Room
		want string
	}{
		{"all is well", chat.Room{State: chat.Joined, Members: 4, Online: 4}, ""},
		{"joining", chat.Room{State: chat.Joining, Waiting: "Fetching the history."}, ""},
		{"alone", chat.Room{State: chat.Joined, Members: 1, Online: 1, Waiting: textOnlyOne}, textOnlyOne},
		{"something else", chat.Room{State: chat.Joined, Members: 3, Online: 3, Waiting: "The histories differ."}, "The histories differ."},
		{
			"nobody there", chat.Room{State: chat.Joined, Members: 3, Online: 1, WaitsFor: []string{"Carol", "Émile"}},
			"Waiting for Carol and Émile: nobody else of this conversation can be reached. Your messages are saved and go out when someone can.",
		},
		{
			"an answer is missing", chat.Room{State: chat.Joined, Members: 3, Online: 3, Total: 5, FinalIndex: 4, WaitsFor: []string{"Bob"}},
			"Nothing becomes final until Bob has answered. Messages are saved and shown meanwhile.",
		},
		{
			"answers are missing", chat.Room{State: chat.Joined, Members: 3, Online: 3, WaitsFor: []string{"Bob", "Dan"}},
			"Nothing becomes final until Bob and Dan have answered. Messages are saved and shown meanwhile.",
		},
		{
			"one is away, and messages wait",
			chat.Room{State: chat.Joined, Order: chat.Lamport, Members: 4, Online: 3, Total: 5, FinalIndex: 4, WaitsFor: []string{"Bob", "Carol"}},
			"Nothing becomes final until Bob and Carol can be reached again. Messages are saved and shown meanwhile.",
		},
		{
			"one is away, and a majority goes on",
			chat.Room{State: chat.Joined, Order: chat.Leader, Members: 4, Online: 3, Total: 5, FinalIndex: 4, WaitsFor: []string{"Carol"}},
			"Carol cannot be reached now, and will get your messages later.",
		},
		{
			"no majority is left",
			chat.Room{State: chat.Joined, Order: chat.Leader, Members: 4, Online: 2, Total: 5, FinalIndex: 4, WaitsFor: []string{"Carol", "Émile"}},
			"Nothing becomes final until Carol and Émile can be reached again. Messages are saved and shown meanwhile.",
		},
		{
			"one has forked", chat.Room{State: chat.Joined, Members: 3, Online: 2, WaitsFor: []string{"Carol"}, Forked: []string{"Bob"}},
			"Two computers write as Bob, or one tells members different things. It has no say in the order any more; who made the conversation can remove it. Carol cannot be reached now, and will get your messages later.",
		},
		{
			"a name that deceives", chat.Room{State: chat.Joined, Members: 3, Online: 2, WaitsFor: []string{"C\u202earol"}},
			`C\u202earol cannot be reached now, and will get your messages later.`,
		},
	} {
		if got := waitingText(&c.room, here, nil); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestTheNetworkIsToldInWordsWithWhatToDo(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	one := peersOf(map[string]chat.PeerState{"Bob": chat.PeerConnected, "Carol": chat.PeerLeft})
	two := peersOf(map[string]chat.PeerState{"Bob": chat.PeerConnected, "Carol": chat.PeerConnected})
	alone := []chat.Room{{State: chat.Joined, Members: 1, Online: 1}}
	three := []chat.Room{{State: chat.Joined, Members: 3, Online: 3}}
	for _, c := range []struct {
		name string
		view chat.View
		want string
		dot  string
	}{
		{"starting", chat.View{Healthy: true}, textConnecting, string(colorOffline)},
		{"disk", chat.View{Network: "The disk is full. Free some space.", Peers: two, Rooms: three}, "The disk is full. Free some space.", "error"},
		{"two", chat.View{Healthy: true, Network: "x", Peers: two, Rooms: three}, "Connected with 2 other members.", string(colorOnline)},
		{"one", chat.View{Healthy: true, Network: "x", Peers: one, Rooms: three}, "Connected with one other member.", string(colorOnline)},
		{"a stranger", chat.View{Healthy: true, Network: "x", Peers: one, Rooms: alone}, textNotConnected, string(colorOffline)},
		{"nobody", chat.View{Healthy: true, Network: "x", Rooms: []chat.Room{{State: chat.Joined, Members: 2, Online: 1}}}, textNobody, string(colorOffline)},
		{"joining", chat.View{Healthy: true, Network: "x", Rooms: []chat.Room{{State: chat.Joining}}}, textNobody, string(colorOffline)},
	} {
		if got, dot := networkText(&c.view); got != c.want || string(dot) != c.dot {
			t.Errorf("%s: %q, %s; want %q, %s", c.name, got, dot, c.want, c.dot)
		}
	}
}

func TestNamesAreJoinedAsASentenceDoes(t *testing.T) {
	for want, names := range map[string][]string{
		"":                           nil,
		"Bob":                        {"Bob"},
		"Bob and Carol":              {"Bob", "Carol"},
		"Bob, Carol and Dan":         {"Bob", "Carol", "Dan"},
		"Bob, Carol, Dan and 2 more": {"Bob", "Carol", "Dan", "E", "F"},
	} {
		if got := textOfNames(names); got != want {
			t.Errorf("textOfNames(%q) = %q, want %q", names, got, want)
		}
	}
}

// inPortuguese makes the window speak Portuguese, whatever the system's
// language, until the test ends.
func inPortuguese(t *testing.T) {
	t.Helper()
	say := func(l Language) {
		stageLanguage = l
		if err := speak(l); err != nil {
			t.Fatal(err)
		}
	}
	say(LanguagePortuguese)
	t.Cleanup(func() { say(LanguageEnglish) })
}

func TestWaitingIsToldInPortuguese(t *testing.T) {
	inPortuguese(t)
	r := chat.Room{State: chat.Joined, Members: 3, Online: 3, WaitsFor: []string{"Bob", "Dan"}}
	here := peersOf(map[string]chat.PeerState{"Bob": chat.PeerConnected, "Dan": chat.PeerConnected})
	if got, want := waitingText(&r, here, nil), "até que Bob e Dan respondam."; !strings.Contains(got, want) {
		t.Errorf("%q does not say %q", got, want)
	}
	r.WaitsFor = nil
	r.Waiting = textOnlyOne
	if got, want := waitingText(&r, here, nil), "Só você está aqui. Convide alguém."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
