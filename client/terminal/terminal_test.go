package terminal_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tertulia/api/apitest"
	"tertulia/chat"
	"tertulia/client"
	"tertulia/client/terminal"
)

// event is a JSON line of any kind.
type event map[string]any

func (e event) String() string {
	b, _ := json.Marshal(e)
	return string(b)
}

// conversation is a terminal at work.
type conversation struct {
	t      *testing.T
	stdin  *io.PipeWriter
	stdout <-chan string // lines; closed at the end
	stop   context.CancelFunc
	done   chan error
}

func talk(t *testing.T, s *apitest.Server, cfg terminal.Config) *conversation {
	t.Helper()
	return talkOver(t, s.Dial, cfg)
}

// talkOver talks on the connections that dial gives.
func talkOver(t *testing.T, dial func(context.Context) (net.Conn, error), cfg terminal.Config) *conversation {
	t.Helper()
	c := client.New(dial)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	cfg.In, cfg.Out = inR, outW
	if cfg.Room == "" {
		cfg.Room = chat.DefaultRoom
	}
	if cfg.Username == "" {
		cfg.Username = "Ana"
	}
	if cfg.Wait == 0 {
		cfg.Wait = 10 * time.Second
	}
	ctx, stop := context.WithCancel(context.Background())
	v := &conversation{t: t, stdin: inW, stdout: collect(outR), stop: stop, done: make(chan error, 1)}
	go func() {
		v.done <- terminal.Run(ctx, c, cfg)
		outW.Close()
		c.Close()
	}()
	t.Cleanup(func() {
		stop()
		inW.Close()
		outR.Close()
	})
	return v
}

// maxOutputLines is how many lines a test may leave unread.
const maxOutputLines = 4000

// collect reads on, so that a conversation never waits for its test.
func collect(r io.Reader) <-chan string {
	lines := make(chan string, maxOutputLines)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

func (v *conversation) say(lines ...string) {
	v.t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(v.stdin, line+"\n"); err != nil {
			v.t.Fatal(err)
		}
	}
}

func (v *conversation) line() string {
	v.t.Helper()
	text, ok := <-v.stdout
	if !ok {
		v.t.Fatalf("no more lines: %v", <-v.done)
	}
	return text
}

func (v *conversation) next() event {
	v.t.Helper()
	line := v.line()
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		v.t.Fatalf("%q: %v", line, err)
	}
	return e
}

// until returns the first event of a kind, passing over others.
func (v *conversation) until(kind string) event {
	v.t.Helper()
	for {
		if e := v.next(); e["event"] == kind {
			return e
		}
	}
}

// rest reads to the end and returns all events and Run's result.
func (v *conversation) rest() ([]event, error) {
	v.t.Helper()
	var events []event
	for line := range v.stdout {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			v.t.Fatalf("%q: %v", line, err)
		}
		events = append(events, e)
	}
	return events, <-v.done
}

const lobbyID = "abc0000000000000000000000000000000000000000000000000000000000000"

func TestJSONLinesHaveTheirShapes(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", chat.Message{ID: "n2/17", Origin: "n2", Sender: "Bob", SenderID: "00ff", Text: "oi", ClientID: "b"})
	n.Put("lobby", chat.Message{ID: "n2/18", Origin: "n2", Sender: "Bob", Kind: chat.KindJoined})
	n.Put("lobby", chat.Message{ID: "n2/19", Kind: chat.KindUnknown})
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	for _, want := range []string{
		`{"event":"attached","final_index":0,"node_id":"n1","peer_id":"12D3KooWtest","room":"lobby","room_id":"` + lobbyID + `"}`,
		`{"client_id":"b","event":"message","id":"n2/17","lamport_ts":1,"origin":"n2","room":"lobby","room_id":"` + lobbyID + `","sender":"Bob","sender_id":"00ff","state":"tentative","text":"oi","time":"2026-01-02T03:04:06.678Z"}`,
		`{"client_id":"","event":"system","id":"n2/18","kind":"joined","lamport_ts":2,"origin":"n2","room":"lobby","room_id":"` + lobbyID + `","sender":"Bob","state":"tentative","text":"Bob joined","time":"2026-01-02T03:04:07.678Z"}`,
	} {
		if got := v.next().String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if e := v.next(); e["kind"] != "unknown" || e["text"] != "this line needs a newer version" {
		t.Errorf("unknown kind: %v", e)
	}
	v.say(`{"text":"duas\nlinhas","client_id":"c1"}`)
	if e := v.until("sent"); e.String() != `{"client_id":"c1","event":"sent","id":"n1/4"}` {
		t.Errorf("sent: %v", e)
	}
	v.say(`{"text":"duas\nlinhas","client_id":"c1"}`)
	if e := v.until("sent"); e.String() != `{"client_id":"c1","duplicate":true,"event":"sent","id":"n1/4"}` {
		t.Errorf("repeat: %v", e)
	}
	v.say(`{"text":"other","client_id":"c1"}`)
	if e := v.until("error"); e["client_id"] != "c1" {
		t.Errorf("conflict: %v", e)
	}
	v.stdin.Close()
	_, err := v.rest()
	if chat.CodeOf(err) != chat.CodeUnreachable || !strings.Contains(err.Error(), "“other” (c1)") {
		t.Errorf("a refused line ended with %v", err)
	}
	if calls := n.Calls(); len(calls) == 0 || calls[0] != "join user Ana" {
		t.Errorf("calls %q", calls)
	}
}

func TestFinalLinesCarryTheirPlaceInTheOrder(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", chat.Message{ID: "n2/1", State: chat.Final, Index: 1, Hash: "7f", Epoch: 7, Leader: "n3", Sender: "Bob", Text: "a"})
	n.Put("lobby", chat.Message{ID: "n2/2", State: chat.Final, Index: 2, Hash: "80", Epoch: 8, Late: true, Sender: "Bob", Text: "b"})
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true, Replay: true})
	v.until("attached")
	one, two := v.next(), v.next()
	if one["index"] != 1.0 || one["order_hash"] != "7f" || one["epoch"] != 7.0 || one["seq_number"] != 1.0 || one["leader_id"] != "n3" || one["late"] != false {
		t.Errorf("leader epoch: %v", one)
	}
	if two["index"] != 2.0 || two["late"] != true || two["seq_number"] != nil || two["leader_id"] != nil {
		t.Errorf("lamport epoch: %v", two)
	}
}

func TestLinesOfInputMeanWhatTheyShould(t *testing.T) {
	n := apitest.New()
	n.AddRoom("two", chat.Joined)
	n.AddRoom("three", chat.Joining)
	n.Devices = []chat.Member{{Name: "n1", Self: true, State: chat.PeerConnected}}
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.say("", "   ", "one", "//slash", "/nonsense x", "{broken", `{"text":""}`, "bad \xff", strings.Repeat("x", 1<<20+5), "/history", "/who", "/rooms", "/help", "/read n1/1", "/confirmations", "/room", "/room nowhere", "/room three", "/room two", "in two", "/quit")
	events, err := v.rest()
	if err != nil {
		t.Fatal(err)
	}
	if e := events[0]; e["event"] != "attached" && e["event"] != "error" {
		t.Errorf("%v came before the room was entered", e)
	}
	var said, failed []string
	replies := make(map[string]event)
	for _, e := range events {
		switch e["event"] {
		case "message":
			said = append(said, fmt.Sprintf("%s in %s", e["text"], e["room"]))
		case "error":
			failed = append(failed, strings.Fields(e["message"].(string))[0]+" "+strings.Fields(e["message"].(string))[1])
		case "reply":
			replies[e["to"].(string)] = e
		}
	}
	if got := strings.Join(said, ", "); got != "one in lobby, /slash in lobby, in two in two" {
		t.Errorf("said %s", got)
	}
	if len(failed) != 8 {
		t.Errorf("%d errors: %q", len(failed), failed)
	}
	if ms, _ := replies["history"]["messages"].([]any); len(ms) != 2 {
		t.Errorf("history: %v", replies["history"])
	}
	if replies["room"]["room"] != "two" || replies["room"]["room_id"] == nil || replies["help"] == nil {
		t.Errorf("replies: %v", replies)
	}
	if replies["read"]["id"] != "n1/1" || replies["confirmations"] == nil {
		t.Errorf("replies: %v", replies)
	}
	if rs, _ := replies["rooms"]["rooms"].([]any); len(rs) != 3 {
		t.Errorf("rooms: %v", replies["rooms"])
	}
	if ms, _ := replies["who"]["members"].([]any); len(ms) != 1 {
		t.Errorf("who: %v", replies["who"])
	}
}

func TestNothingIsLostOrRepeatedWhileTheNodeIsAway(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", chat.Message{Text: "before", Sender: "Bob"})
	s := apitest.Serve(t, n)
	v := talk(t, s, terminal.Config{JSON: true})
	if e := v.until("message"); e["text"] != "before" {
		t.Fatal(e)
	}
	s.Stop()
	if e := v.until("detached"); e["reason"] == "" {
		t.Errorf("no reason: %v", e)
	}
	v.say("one", "two", "three")
	n.Put("lobby", chat.Message{Text: "meanwhile", Sender: "Bob"})
	s.Start()
	v.stdin.Close()
	events, err := v.rest()
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	attached, sent := 0, 0
	for _, e := range events {
		switch e["event"] {
		case "attached":
			attached++
		case "sent":
			sent++
		case "message":
			texts = append(texts, e["text"].(string))
		}
	}
	if got := strings.Join(texts, " "); got != "meanwhile one two three" || attached != 1 || sent != 3 {
		t.Errorf("got %q, %d attached, %d sent", got, attached, sent)
	}
}

func TestTheQueueIsBoundedAndUnsentLinesAreNamed(t *testing.T) {
	n := apitest.New()
	n.OnSend = func(chat.Draft) error { return chat.Errorf(chat.CodeBusy, "Later.") }
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.until("attached")
	// 1,000 in the queue, one with the worker, one with the reader.
	wrote := make(chan int)
	go func() {
		for i := range 2000 {
			if _, err := fmt.Fprintf(v.stdin, "line %d\n", i); err != nil {
				wrote <- i
				return
			}
		}
		wrote <- 2000
	}()
	select {
	case i := <-wrote:
		t.Fatalf("%d lines were taken", i)
	case <-time.After(500 * time.Millisecond): // the writer is held back
	}
	v.stop()
	_, err := v.rest()
	if err == nil || !strings.Contains(err.Error(), "1001 messages are not known to be sent") || !strings.Contains(err.Error(), "“line 0”") {
		t.Errorf("ended with %v", err)
	}
	v.stdin.Close()
	if i := <-wrote; i > 1003 {
		t.Errorf("%d lines were taken", i)
	}
}

func TestTheEndOfInputWaitsNoLongerThanAsked(t *testing.T) {
	n := apitest.New()
	n.OnSend = func(chat.Draft) error { return chat.Errorf(chat.CodeUnreachable, "Nobody.") }
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true, Wait: 100 * time.Millisecond})
	v.until("attached")
	v.say(`{"text":"oi","client_id":"c9"}`)
	v.stdin.Close()
	if _, err := v.rest(); err == nil || !strings.Contains(err.Error(), "1 message is") || !strings.Contains(err.Error(), "c9") {
		t.Errorf("ended with %v", err)
	}
}

func TestFollowListensUntilItIsStopped(t *testing.T) {
	n := apitest.New()
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true, Follow: true})
	v.say("one")
	v.stdin.Close()
	v.until("sent")
	n.Put("lobby", chat.Message{Text: "later", Sender: "Bob"})
	for v.until("message")["text"] != "later" {
	}
	v.stop()
	if _, err := v.rest(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func TestARoomThatIsBeingJoinedIsWaitedFor(t *testing.T) {
	n := apitest.New()
	n.AddRoom("slow", chat.Joining)
	s := apitest.Serve(t, n)
	v := talk(t, s, terminal.Config{JSON: true, Room: "slow"})
	n.AddRoom("slow", chat.Joined)
	if e := v.until("attached"); e["room"] != "slow" {
		t.Errorf("got %v", e)
	}
	n.AddRoom("never", chat.Joining)
	n.AddRoom("broken", chat.Failed)
	for room, code := range map[string]chat.Code{"never": chat.CodeUnreachable, "broken": chat.CodeForbidden, "nowhere": chat.CodeNotFound} {
		v := talk(t, s, terminal.Config{JSON: true, Room: room, Wait: 50 * time.Millisecond})
		if err := <-v.done; chat.CodeOf(err) != code {
			t.Errorf("room %s: %v", room, err)
		}
	}
}

func TestGoingBackToARoomRepeatsNothing(t *testing.T) {
	n := apitest.New()
	n.AddRoom("two", chat.Joined)
	n.Put("lobby", chat.Message{Text: "a", Sender: "Bob"})
	v := talk(t, apitest.Serve(t, n), terminal.Config{JSON: true})
	v.until("message")
	v.say("/room two")
	for v.until("attached")["room"] != "two" {
	}
	n.Put("lobby", chat.Message{Text: "b", Sender: "Bob"})
	v.say("/room lobby")
	if e := v.until("message"); e["text"] != "b" {
		t.Errorf("got %v", e)
	}
}

func TestAPipeGetsPlainLinesThatCannotBeForged(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", chat.Message{Sender: "Bob", Text: "hi\n12:00 Ana: I owe you\r\x1b[2J\u202eevil\u2028x"})
	n.Put("lobby", chat.Message{Sender: "Bob: hi\nAna", Text: "x"})
	n.Put("lobby", chat.Message{Sender: "E\x1b[1m", Kind: chat.KindJoined})
	v := talk(t, apitest.Serve(t, n), terminal.Config{})
	clock := func(i int) string { return apitest.Start.Add(time.Duration(i) * time.Second).Local().Format("15:04") }
	for _, want := range []string{
		"-- in lobby, on node n1",
		clock(1) + " Bob: hi",
		`      12:00 Ana: I owe you\r\x1b[2J\u202eevil\u2028x …`,
		clock(2) + ` Bob\x3a hi\nAna: x …`,
		clock(3) + ` * E\x1b[1m joined …`,
	} {
		if got := v.line(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain ñ 漢 🙂":         "plain ñ 漢 🙂",
		"\x00\x1f\x7f":        `\x00\x1f\x7f`,
		"\u0080\u009b":        `\x80\x9b`,
		"\t\n\r":              `\t\n\r`,
		"\u202a\u202e":        `\u202a\u202e`,
		"\u2066\u2069":        `\u2066\u2069`,
		"\u200e\u200f":        `\u200e\u200f`,
		"\u061c":              `\u061c`,
		"\u2028\u2029":        `\u2028\u2029`,
		"a\xffb":              `a\xffb`,
		"\u200d\u00a0é\u2065": "\u200d\u00a0é\u2065",
	} {
		if got := terminal.Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestJSONCarriesControlsAsEscapesOfTheSameText(t *testing.T) {
	text := "\x1b[2J\u009b\u202e\u2028\u200f<&>é\x7f"
	var b bytes.Buffer
	if err := terminal.WriteJSON(&b, map[string]string{"text": text}); err != nil {
		t.Fatal(err)
	}
	if got := terminal.Escape(strings.TrimSuffix(b.String(), "\n")) + "\n"; got != b.String() {
		t.Errorf("%q has a control", b.String())
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["text"] != text {
		t.Errorf("came back as %q, %v", back["text"], err)
	}
}

func TestATerminalNeverBreaksALineItself(t *testing.T) {
	var b bytes.Buffer
	p := terminal.Printer{Out: &b, Width: 40}
	p.Message(chat.Message{Kind: chat.KindText, Sender: "Bob", Text: strings.Repeat(" ", 60) + "12:00 Ana: hello " + strings.Repeat("漢", 40), State: chat.Tentative})
	for i, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		width := 0
		for _, r := range line {
			width++
			if r > 0x2fff {
				width++
			}
		}
		if width > 40 || i > 0 && !strings.HasPrefix(line, "      ") {
			t.Errorf("line %d: %q", i, line)
		}
	}
}
