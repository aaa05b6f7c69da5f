package terminal_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tertulia/api/apitest"
	"tertulia/chat"
	"tertulia/client/terminal"
)

// switchboard is a connection that a test moves from node to node.
type switchboard struct {
	at atomic.Pointer[apitest.Server]
}

func (s *switchboard) dial(ctx context.Context) (net.Conn, error) { return s.at.Load().Dial(ctx) }

// move ends the node of now and goes to another.
func (s *switchboard) move(to *apitest.Server) { s.at.Swap(to).Stop() }

// replica returns another node.
func replica(name string) *apitest.Node {
	n := apitest.New()
	n.Name, n.Peer = name, "12D3KooW"+name
	return n
}

func bob(id, text string) chat.Message {
	return chat.Message{ID: id, Origin: "n2", Sender: "Bob", SenderID: "00ff", Text: text, ClientID: "b" + id}
}

// shape is an event on one line: what a test of the order of lines looks at.
func shape(e event) string {
	switch e["event"] {
	case "message", "system":
		if e["state"] == "final" {
			return fmt.Sprintf("%v:final:%v", e["id"], e["index"])
		}
		return fmt.Sprintf("%v:tentative", e["id"])
	case "attached":
		return fmt.Sprintf("attached:%v", e["final_index"])
	case "replaced":
		return fmt.Sprintf("replaced:%v:%v:%v", e["id"], e["by"], e["client_id"])
	case "sent":
		return fmt.Sprintf("sent:%v", e["id"])
	}
	return fmt.Sprint(e["event"])
}

// expect wants exactly these lines next; those of a detachment are passed over.
func (v *conversation) expect(want ...string) {
	v.t.Helper()
	for _, w := range want {
		got := shape(v.next())
		for got == "detached" {
			got = shape(v.next())
		}
		if got != w {
			v.t.Fatalf("got %s, want %s", got, w)
		}
	}
}

func TestAMessageIsTentativeOnceAndFinalOnceInIndexOrder(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", bob("n2/1", "old"))
	n.Finalise("lobby", "n2/1")
	n.Put("lobby", bob("n2/2", "a"))
	n.Put("lobby", bob("n2/3", "b"))
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.expect("attached:1", "n2/2:tentative", "n2/3:tentative")
	n.Put("lobby", bob("n2/4", "c"))
	v.expect("n2/4:tentative")
	n.Finalise("lobby", "n2/4", "n2/2") // another order than the predicted one
	v.expect("n2/4:final:2", "n2/2:final:3")
	n.Finalise("lobby", "n2/3")
	v.expect("n2/3:final:4")
	m := bob("n2/5", "at once")
	m.State = chat.Final
	n.Put("lobby", m)
	v.expect("n2/5:final:5") // first seen final: no tentative line
	n.Put("lobby", chat.Message{ID: "n2/6", Kind: chat.KindJoined, Sender: "Eva"})
	n.Finalise("lobby", "n2/6")
	for e := v.next(); ; e = v.next() {
		if e["event"] != "system" || e["kind"] != "joined" {
			t.Fatalf("got %v", e)
		}
		if e["state"] == "final" {
			if e["index"] != 6.0 || len(e["order_hash"].(string)) != 64 {
				t.Errorf("a system line without its place: %v", e)
			}
			return
		}
	}
}

func TestFinalsAreReplayedFromAnIndexAndThenGoOn(t *testing.T) {
	n := apitest.New()
	const held = 250
	for i := range held {
		n.Put("lobby", chat.Message{ID: fmt.Sprintf("n2/%d", i+1), State: chat.Final})
	}
	n.Put("lobby", bob("n2/300", "tail"))
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true, Replay: true, From: 101})
	v.expect("attached:250")
	for i := 101; i <= held; i++ {
		v.expect(fmt.Sprintf("n2/%d:final:%d", i, i))
	}
	v.expect("n2/300:tentative")
	n.Finalise("lobby", "n2/300")
	v.expect("n2/300:final:251")
}

func TestAnAttachReadsNoFinals(t *testing.T) {
	n := apitest.New()
	for range 20_000 {
		n.Put("lobby", chat.Message{State: chat.Final})
	}
	n.Put("lobby", bob("n2/1", "tail"))
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.expect("attached:20000", "n2/1:tentative")
	if read := n.Read(); read > 100 {
		t.Errorf("%d messages were read to attach", read)
	}
}

func TestWhatBecomesFinalDuringTheWalkHasOnlyItsFinalLine(t *testing.T) {
	n := apitest.New()
	for i := range 150 { // more than a step
		n.Put("lobby", chat.Message{ID: fmt.Sprintf("n2/%d", i+1)})
	}
	pages := 0
	n.OnPage = func() {
		if pages++; pages == 2 {
			n.Finalise("lobby", "n2/150", "n2/1")
		}
	}
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.expect("attached:0")
	for i := range 149 {
		v.expect(fmt.Sprintf("n2/%d:tentative", i+1))
	}
	v.expect("n2/150:final:1", "n2/1:final:2")
}

func TestNothingIsToldTwiceWhenTheNodeComesBack(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", bob("n2/1", "a"))
	n.Put("lobby", bob("n2/2", "b"))
	s := apitest.Serve(t, n)
	v := talk(t, s, terminal.Config{JSON: true})
	v.expect("attached:0", "n2/1:tentative", "n2/2:tentative")
	n.Finalise("lobby", "n2/1")
	v.expect("n2/1:final:1")
	s.Stop()
	n.Finalise("lobby", "n2/2")
	n.Put("lobby", bob("n2/3", "c"))
	n.Finalise("lobby", "n2/3")
	n.Put("lobby", bob("n2/4", "d"))
	s.Start()
	v.expect("attached:3", "n2/2:final:2", "n2/3:final:3", "n2/4:tentative")
}

func TestAMoveToAnotherNodeRepeatsNothingAndLeavesNoGap(t *testing.T) {
	one, two := replica("n1"), replica("n3")
	for _, n := range []*apitest.Node{one, two} {
		for i := range 3 {
			n.Put("lobby", bob(fmt.Sprintf("n2/%d", i+1), "x"))
		}
	}
	a, b := apitest.Serve(t, one), apitest.Serve(t, two)
	wire := new(switchboard)
	wire.at.Store(a)
	v := talkOver(t, wire.dial, terminal.Config{JSON: true})
	v.expect("attached:0", "n2/1:tentative", "n2/2:tentative", "n2/3:tentative")
	one.Finalise("lobby", "n2/1")
	v.expect("n2/1:final:1")
	// The other node is further, in another arrival order, and has more.
	two.Finalise("lobby", "n2/1", "n2/3")
	two.Put("lobby", bob("n2/4", "y"))
	wire.move(b)
	v.expect("attached:2", "n2/3:final:2", "n2/4:tentative")
	two.Finalise("lobby", "n2/2", "n2/4")
	v.expect("n2/2:final:3", "n2/4:final:4")
}

func TestAfterAMoveANodeThatIsBehindIsWaitedFor(t *testing.T) {
	one, two := replica("n1"), replica("n3")
	for _, n := range []*apitest.Node{one, two} {
		for i := range 4 {
			n.Put("lobby", bob(fmt.Sprintf("n2/%d", i+1), "x"))
		}
	}
	a, b := apitest.Serve(t, one), apitest.Serve(t, two)
	wire := new(switchboard)
	wire.at.Store(a)
	v := talkOver(t, wire.dial, terminal.Config{JSON: true})
	v.expect("attached:0", "n2/1:tentative", "n2/2:tentative", "n2/3:tentative", "n2/4:tentative")
	one.Finalise("lobby", "n2/1", "n2/2", "n2/3")
	v.expect("n2/1:final:1", "n2/2:final:2", "n2/3:final:3")
	two.Finalise("lobby", "n2/1")
	wire.move(b)
	v.expect("attached:1")
	// Here 2 and 3 are tentative yet; they were final before and say nothing.
	two.Finalise("lobby", "n2/2")
	two.Put("lobby", bob("n2/5", "new"))
	two.Finalise("lobby", "n2/3")
	v.expect("n2/5:tentative")
	two.Finalise("lobby", "n2/5", "n2/4")
	v.expect("n2/5:final:4", "n2/4:final:5")
}

func TestAGapInTheFinalsIsNeverPassedOver(t *testing.T) {
	n := apitest.New()
	var broken atomic.Bool
	n.OnFinals = func() {
		if broken.Load() {
			n.Skip("lobby", 1)
		}
	}
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.expect("attached:0")
	n.Put("lobby", bob("n2/1", "a"))
	n.Put("lobby", bob("n2/2", "b"))
	v.expect("n2/1:tentative", "n2/2:tentative")
	broken.Store(true)
	n.Finalise("lobby", "n2/1", "n2/2")
	if e := v.next(); e["event"] != "detached" {
		t.Errorf("after a gap came %v", e)
	}
}

func TestAMessageThatLosesToItsRepeatIsReplaced(t *testing.T) {
	n := apitest.New()
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.until("attached")
	v.say(`{"text":"oi","client_id":"c1"}`)
	if e := v.until("sent"); e["id"] != "n1/1" {
		t.Fatal(e)
	}
	// Others that are no repeats of it: of another person, and with another text.
	n.Put("lobby", chat.Message{ID: "n2/8", Sender: "Ana", SenderID: "ee", Text: "oi", ClientID: "c1"})
	n.Put("lobby", chat.Message{ID: "n2/9", Sender: "Ana", Text: "olá", ClientID: "c1", Mine: true})
	n.Put("lobby", chat.Message{ID: "n2/17", Sender: "Ana", Text: "oi", ClientID: "c1", Mine: true})
	n.Finalise("lobby", "n2/8", "n2/9", "n2/17", "n1/1")
	n.Put("lobby", bob("n2/20", "end"))
	n.Finalise("lobby", "n2/20")
	var told []string
	for len(told) == 0 || told[len(told)-1] != "n2/20:final:4" {
		told = append(told, shape(v.next()))
	}
	all := " " + strings.Join(told, " ") + " "
	if !strings.Contains(all, " n2/17:final:3 replaced:n1/1:n2/17:c1 ") || strings.Count(all, "replaced") != 1 {
		t.Errorf("told %s", all)
	}
	if strings.Contains(all, "n1/1:final") {
		t.Error("a repeat had a final line")
	}
}

func TestUntilFinalWaitsForEveryOwnLine(t *testing.T) {
	n := apitest.New()
	n.AddRoom("two", chat.Joined)
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true, UntilFinal: true, Wait: time.Minute})
	v.say(`{"text":"a","client_id":"ca"}`, "/room two", `{"text":"b","client_id":"cb"}`)
	for v.until("sent")["client_id"] != "cb" {
	}
	v.stdin.Close()
	n.Put("two", bob("n2/1", "not ours"))
	n.Finalise("two", "n1/1")
	for e := v.until("message"); e["state"] != "final"; e = v.until("message") {
	}
	select {
	case err := <-v.done:
		t.Fatalf("ended with %v while a line was not final", err)
	case <-time.After(50 * time.Millisecond):
	}
	n.Finalise("lobby", "n1/1") // it went back to listen there
	events, err := v.rest()
	if err != nil {
		t.Fatal(err)
	}
	if last := events[len(events)-1]; last["text"] != "a" || last["state"] != "final" {
		t.Errorf("the last line is %v", last)
	}
}

func TestUntilFinalKnowsWhatWasFinalBefore(t *testing.T) {
	n := apitest.New()
	s := apitest.Serve(t, n)
	first := talk(t, s, terminal.Config{JSON: true})
	first.say(`{"text":"a","client_id":"ca"}`)
	first.until("sent")
	n.Finalise("lobby", "n1/1")
	first.stdin.Close()
	again := talk(t, s, terminal.Config{JSON: true, UntilFinal: true, Wait: time.Minute})
	again.say(`{"text":"a","client_id":"ca"}`)
	again.stdin.Close()
	if events, err := again.rest(); err != nil {
		t.Errorf("%v %v", events, err)
	}
}

func TestUntilFinalNamesWhatIsNot(t *testing.T) {
	n := apitest.New()
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true, UntilFinal: true, Wait: 200 * time.Millisecond})
	v.say(`{"text":"a","client_id":"ca"}`, `{"text":"b","client_id":"cb"}`)
	for v.until("sent")["client_id"] != "cb" {
	}
	n.Finalise("lobby", "n1/2")
	v.stdin.Close()
	_, err := v.rest()
	if chat.CodeOf(err) != chat.CodeUnreachable || !strings.Contains(err.Error(), "1 message is not known to be final: “a” (ca)") {
		t.Errorf("ended with %v", err)
	}
}

func TestPeopleReadALineOnce(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", bob("n2/1", "a"))
	v := talk(t, apitest.Serve(t, n), terminal.Config{Width: 80})
	clock := func(i int) string { return apitest.Start.Add(time.Duration(i) * time.Second).Local().Format("15:04") }
	lines := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := v.line(); got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		}
	}
	lines("-- in lobby, on node n1", clock(1)+" Bob: a …")
	n.Finalise("lobby", "n2/1")
	m := bob("n2/2", "final at once")
	m.State = chat.Final
	n.Put("lobby", m)
	lines(clock(2) + " Bob: final at once")
}

func TestPeopleAreToldWhomTheRoomWaitsFor(t *testing.T) {
	n := apitest.New()
	n.Told = chat.Status{Rooms: []chat.RoomStatus{{ID: "other", WaitingFor: []string{"n9"}}, {ID: lobbyID, WaitingFor: []string{"n2", "n3"}}}}
	n.Put("lobby", bob("n2/1", "a"))
	n.Put("lobby", bob("n2/2", "b"))
	v := talk(t, apitest.Serve(t, n), terminal.Config{Width: 80})
	for v.line() != "-- 2 not final yet, waiting for n2, n3" {
	}
	n.Finalise("lobby", "n2/2", "n2/1")
	if got := v.line(); got != "-- all is final" {
		t.Errorf("got %q", got)
	}
}

func TestANodeThatIsBehindIsNamedToPeople(t *testing.T) {
	one, two := replica("n1"), replica("n3")
	one.Put("lobby", bob("n2/1", "a"))
	a, b := apitest.Serve(t, one), apitest.Serve(t, two)
	wire := new(switchboard)
	wire.at.Store(a)
	v := talkOver(t, wire.dial, terminal.Config{Replay: true})
	v.line()
	v.line()
	one.Finalise("lobby", "n2/1")
	one.Put("lobby", bob("n2/2", "b"))
	v.line() // with it the final one was read
	wire.move(b)
	for {
		line := v.line()
		if strings.HasPrefix(line, "-- not connected") || line == "-- in lobby, on node n3" {
			continue
		}
		if line != "-- this node has 0 of 1 final messages yet; what is new shows when it has the rest" {
			t.Errorf("got %q", line)
		}
		return
	}
}

func TestALineFirstSeenFinalHasNoTick(t *testing.T) {
	var b bytes.Buffer
	p := terminal.Printer{Out: &b}
	p.Message(chat.Message{Kind: chat.KindText, Sender: "Bob", Text: "x", State: chat.Final, Index: 1})
	if got := b.String(); got != "--:-- Bob: x\n" {
		t.Errorf("got %q", got)
	}
}

func TestEachChangeOfWhatIsReadIsToldOnce(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", chat.Message{State: chat.Final})
	s := apitest.Serve(t, n)
	ana := chat.Person{Name: "Ana", ID: "00ff"}
	n.SetReaders(chat.Reader{Person: ana, UpTo: 1})
	v := talk(t, s, terminal.Config{JSON: true, Follow: true})
	if e := v.until("read"); e["reader"] != "Ana" || e["reader_id"] != "00ff" || e["up_to"] != 1.0 || e["room"] != "lobby" || e["room_id"] == nil {
		t.Errorf("%v", e)
	}
	s.Stop()
	s.Start()
	v.until("attached")
	n.SetReaders(chat.Reader{Person: ana, UpTo: 2}, chat.Reader{Person: chat.Person{Name: "Bea", ID: "11ff"}, UpTo: 1})
	if e := v.until("read"); e["reader"] != "Ana" || e["up_to"] != 2.0 {
		t.Errorf("%v", e)
	}
	if e := v.until("read"); e["reader"] != "Bea" || e["up_to"] != 1.0 {
		t.Errorf("%v", e)
	}
}

func TestReceiptsInWords(t *testing.T) {
	n := apitest.New()
	n.Receipt = []chat.Confirmation{
		{Message: chat.Message{ID: "n1/1", Text: "read\x1b", Index: 7}, Readers: []chat.Person{{Name: "Ana"}, {Name: "Bea"}}},
		{Message: chat.Message{ID: "n1/2", Text: "new", Index: 8}},
	}
	v := talk(t, apitest.Serve(t, n), terminal.Config{})
	v.say("/confirmations n1/1", "/read", "/read n1/1", "/quit")
	out := ""
	for line := range v.stdout {
		out += line + "\n"
	}
	for _, want := range []string{"7 “read\\x1b”: Ana, Bea", "8 “new”: nobody yet", "/read needs the id"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}
