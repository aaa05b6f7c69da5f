package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tertulia/api"
	"tertulia/api/apitest"
	pb "tertulia/api/tertulia/v1"
	"tertulia/api/tertulia/v1/tertuliav1connect"
	"tertulia/chat"
	"tertulia/client"
)

var _ api.Node = (*client.Client)(nil)

func start(t *testing.T, n *apitest.Node) (*client.Client, *apitest.Server) {
	s := apitest.Serve(t, n)
	c := client.New(s.Dial)
	t.Cleanup(c.Close)
	return c, s
}

// httpClient calls with HTTP/1.1, or with unencrypted HTTP/2.
func httpClient(s *apitest.Server, two bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!two)
	protocols.SetUnencryptedHTTP2(two)
	return &http.Client{Transport: &http.Transport{
		Protocols:         &protocols,
		DisableKeepAlives: !two,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) },
	}}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestValuesComeOutAsTheyWentIn(t *testing.T) {
	n := apitest.New()
	peers := []chat.Peer{{Name: "n2", PeerID: "12D3b", State: chat.PeerSuspected, RTT: 1234567, Addr: "/ip4/127.0.0.1", Relayed: true}}
	last := chat.Message{ID: "n2/1", Room: "x", RoomID: "ab", Origin: "n2", Sender: "Bob", Text: "hi", Lamport: 8, ClientID: "c", Mine: true, Kind: chat.KindRenamed, State: chat.Final, Index: 3, Hash: "aa", Epoch: 4, Leader: "n3", Late: true, Unreadable: true, SenderID: "00ff", ReplyTo: "n1/1", Time: apitest.Start, Position: "\x00\xff", Arrival: 9, Received: 2}
	ana, at := chat.Person{Name: "Ana", ID: "00ff"}, apitest.Start
	n.Shown = chat.View{
		Username: "Ana", NodeID: "n1", PeerID: "12D3a", Network: "2 peers", Healthy: true, Peers: peers,
		Rooms: []chat.Room{{ID: "ab", Name: "x", Order: chat.Leader, State: chat.Failed, Reason: "no", Progress: chat.Progress{Have: 1, Want: 2}, Members: 3, Online: 2, Unread: 1, Last: &last, Total: 5, FinalIndex: 4, Waiting: "n2", WaitsFor: []string{"n2"}, Forked: []string{"n4"}, FirstUnread: "n1/2",
			Readers: []chat.Reader{{Person: ana, UpTo: 3}}, Typing: []chat.Person{ana}, Settings: chat.RoomSettings{Notify: chat.NotifyMentions, HideRead: true, Nearby: true},
			Merges: []chat.Merge{{From: at, To: at.Add(time.Minute), Before: "n2/4", Count: 5}}}},
	}
	n.Told = chat.Status{
		NodeID: "n1", PeerID: "12D3a", Version: "v", Uptime: 90 * time.Second, Addrs: []string{"/ip4"}, Peers: peers, Refused: map[string]uint64{"fork": 2}, Disk: "ok",
		Rooms: []chat.RoomStatus{{Name: "x", ID: "ab", Order: chat.Leader, State: chat.Joined, Epoch: 1, View: []string{"n1"}, Leader: "n1", Term: 2, Voters: []string{"n1"}, FinalIndex: 3, OrderHash: "h", Tentative: 4, WaitingFor: []string{"n2"}, Clocks: map[string]uint64{"n1": 5}, Replicas: []chat.Replica{{NodeID: "n2", FinalIndex: 1, OrderHash: "g", Diverged: true}}, TailHash: "t", Parked: 6, Diverged: 7, Forked: []string{"n4"},
			Links: []chat.Link{{A: "n1", B: "n2", RTT: 5, Relayed: true}}, Turns: []chat.Turn{{Time: at, Type: chat.EventEpoch, Term: 1, Leader: "n1", Epoch: 2, Order: chat.Leader, View: []string{"n1"}, Reason: "left"}}}},
	}
	n.Devices = []chat.Member{{Name: "n1", PeerID: "p", Fingerprint: "f", Creator: true, Self: true, State: chat.PeerJoined}}
	n.Script = []chat.Event{
		{Type: chat.EventRoom, Room: "x", RoomID: "ab", State: "failed", Reason: "no"},
		{Type: chat.EventEpoch, Room: "x", RoomID: "ab", Epoch: 7, Order: chat.Lamport, View: []string{"n1"}, Term: 4, Leader: "n3", NodeID: "n2"},
	}
	n.Known = chat.Info{
		Message: last, Author: n.Devices[0], Parents: []chat.Parent{{ID: "n1/1", Name: "n1", Text: "hi"}}, Arrived: at,
		Holders: []string{"n1"}, Missing: []string{"n2"}, Readers: []chat.Person{ana}, Verified: true, Seq: 4, Term: 5,
	}
	n.Near = []chat.Nearby{{Room: "x", RoomID: "ab", Node: "n2", Invite: "tertulia:x"}}
	n.Receipt = []chat.Confirmation{{Message: last, Readers: []chat.Person{ana}}}
	n.SetReaders(chat.Reader{Person: ana, UpTo: 3})
	c, _ := start(t, n)
	ctx := t.Context()
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	noneMissing(t, "view", reflect.ValueOf(n.Shown))
	noneMissing(t, "status", reflect.ValueOf(n.Told))
	noneMissing(t, "info", reflect.ValueOf(n.Known))
	wantView, _ := n.View(ctx)
	same("view", must(c.View(ctx))(t), wantView)
	same("status", must(c.Status(ctx))(t), n.Told)
	same("members", must(c.Members(ctx, "lobby"))(t), n.Devices)
	eventCtx, cancel := context.WithCancel(ctx)
	events := c.Events(eventCtx)
	for _, want := range n.Script {
		same("event", <-events, want)
	}
	cancel()
	if _, open := <-events; open {
		t.Error("events still open after their context ended")
	}
	put := n.Put("lobby", chat.Message{Text: "olá", Sender: "Ana", Position: "\x00\x01"})
	same("page", must(c.Page(ctx, chat.PageQuery{Room: "lobby"}))(t), chat.Page{Messages: []chat.Message{put}, Total: 1})
	same("since", must(c.Since(ctx, "lobby", 0, 5))(t), []chat.Message{put})
	same("search", must(c.Search(ctx, chat.SearchQuery{Text: "olá"}))(t), []chat.Message{put})
	final := n.Put("lobby", chat.Message{Text: "fim", Sender: "Ana", State: chat.Final, Hash: "ff", Epoch: 2, Leader: "n3", Late: true})
	same("finals", must(c.Finals(ctx, "lobby", 0, 5))(t), []chat.Message{final})
	same("no finals", must(c.Finals(ctx, "lobby", 1, 5))(t), []chat.Message(nil))
	same("invite", must(c.Invite(ctx, chat.InviteOptions{Room: "lobby", Expires: time.Hour, Uses: 3}))(t), "tertulia:lobby:1h0m0s:3")
	same("created", must(c.CreateRoom(ctx, "two", chat.Leader))(t).Order, chat.Leader)
	same("joining", must(c.JoinRoom(ctx, "three"))(t).State, chat.Joining)
	same("rooms", len(must(c.Rooms(ctx))(t)), 3)
	sent := must(c.Send(ctx, chat.Draft{Room: "lobby", Username: "Ana", Text: "x", ClientID: "c1"}))(t)
	again := must(c.Send(ctx, chat.Draft{Room: "lobby", Username: "Ana", Text: "x", ClientID: "c1"}))(t)
	same("repeat", again, chat.Sent{ID: sent.ID, ClientID: "c1", Duplicate: true})
	for _, err := range []error{c.JoinUser(ctx, "lobby", "Ana"), c.LeaveUser(ctx, "lobby", "Ana"), c.SetUsername(ctx, "Eva"), c.MarkRead(ctx, "lobby", "\xff"), c.LeaveRoom(ctx, "two"), c.SwitchOrder(ctx, "lobby", chat.Leader),
		c.ConfirmRead(ctx, "lobby", "Ana", "n1/1"), c.RenameRoom(ctx, "lobby", "foyer"), c.SetRoomSettings(ctx, "lobby", chat.RoomSettings{HideRead: true}), c.Typing(ctx, "lobby")} {
		if err != nil {
			t.Error(err)
		}
	}
	same("info", must(c.Info(ctx, "lobby", "n2/1"))(t), n.Known)
	same("nearby", must(c.Nearby(ctx))(t), n.Near)
	same("readers", must(c.Readers(ctx, "lobby"))(t), []chat.Reader{{Person: ana, UpTo: 3}})
	same("confirmations", must(c.Confirmations(ctx, "lobby", "Ana", "n2/1"))(t), n.Receipt)
	same("calls", n.Calls(), []string{"join user Ana", "leave user Ana", "username Eva", "read lobby \xff", "leave room two", "switch lobby to leader",
		"confirm lobby Ana n1/1", "rename lobby to foyer", "settings lobby {Notify: HideRead:true Nearby:false}", "typing lobby", "info lobby n2/1", "confirmations lobby Ana n2/1"})
}

// noneMissing fails the test if a field in v or below is zero: if it got lost on
// the way, nobody would see.
func noneMissing(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v = v.Elem()
	case reflect.Slice:
		if v.Len() > 0 {
			v = v.Index(0)
		}
	}
	if _, leaf := v.Interface().(time.Time); !leaf && v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			noneMissing(t, name+"."+v.Type().Field(i).Name, v.Field(i))
		}
	} else if v.IsZero() {
		t.Errorf("%s is zero in the sample", name)
	}
}

func TestErrorsComeOutAsTheyWentIn(t *testing.T) {
	codes := []chat.Code{chat.CodeInvalid, chat.CodeNotFound, chat.CodeAmbiguous, chat.CodeConflict, chat.CodeExpired, chat.CodeForbidden, chat.CodeUnreachable, chat.CodeDisk, chat.CodeBusy, chat.CodeLater, chat.CodeInternal}
	n := apitest.New()
	n.OnSend = func(d chat.Draft) error {
		if d.Text == "secret" {
			return errors.New("a path: /somewhere")
		}
		return &chat.Error{Code: chat.Code(d.Text), Message: "It failed.", Hint: "Do that.", Err: errors.New("cause")}
	}
	c, _ := start(t, n)
	for _, code := range codes {
		_, err := c.Send(t.Context(), chat.Draft{Room: "lobby", Text: string(code)})
		told, _ := errors.AsType[*chat.Error](err)
		if want := (&chat.Error{Code: code, Message: "It failed.", Hint: "Do that."}); !reflect.DeepEqual(told, want) {
			t.Errorf("got %+v, want %+v", told, want)
		}
	}
	_, err := c.Send(t.Context(), chat.Draft{Room: "lobby", Text: "secret"})
	if chat.CodeOf(err) != chat.CodeInternal || strings.Contains(err.Error(), "somewhere") {
		t.Errorf("an error without words came out as %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call returned %v", err)
	}
}

func TestPlainHTTPWithJSONAndGRPCWork(t *testing.T) {
	n := apitest.New()
	_, s := start(t, n)
	post := func(method, body string) (int, string) {
		t.Helper()
		resp, err := httpClient(s, false).Post("http://localhost/tertulia.v1.ChatService/"+method, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if code, body := post("SendMessage", `{"username":"bot","text":"oi","client_id":"c"}`); code != 200 || strings.ReplaceAll(body, " ", "") != `{"id":"n1/1","clientId":"c"}` {
		t.Errorf("SendMessage: %d %s", code, body)
	}
	for _, method := range []string{"LeaveRoom", "SwitchRoom", "RenameRoom"} {
		if code, body := post(method, `{}`); code != http.StatusBadRequest {
			t.Errorf("%s of no room: %d %s", method, code, body)
		}
	}
	if code, _ := post("SendMessage", `{"text":"`+strings.Repeat("x", 2<<20)+`"}`); code == 200 {
		t.Error("a request of 2 MiB was taken")
	}
	if calls := len(must(n.Since(t.Context(), "lobby", 0, 10))(t)); calls != 1 {
		t.Errorf("the room has %d messages", calls)
	}

	grpc := tertuliav1connect.NewChatServiceClient(httpClient(s, true), "http://localhost", connect.WithGRPC())
	stream, err := grpc.Messages(t.Context(), connect.NewRequest(&pb.MessagesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() || stream.Msg().GetAttached().GetNodeId() != "n1" || !stream.Receive() || stream.Msg().GetMessage().GetText() != "oi" {
		t.Errorf("gRPC stream: %v %v", stream.Msg(), stream.Err())
	}
}

// next returns the text of the next message, or "|" at the mark.
func next(t *testing.T, s *client.Stream) string {
	t.Helper()
	if !s.Next() {
		t.Fatal(s.Err())
	}
	if s.CaughtUp {
		return "|"
	}
	return s.Message.Text
}

func TestMessagesThatArriveDuringTheWalkComeOnceAndAfterIt(t *testing.T) {
	n := apitest.New()
	const held = 250 // more than two steps of a walk
	for i := range held {
		n.Put("lobby", chat.Message{Text: fmt.Sprintf("old %d", i), Position: fmt.Sprintf("m%05d", i)})
	}
	pages := 0
	n.OnPage = func() {
		pages++
		if pages == 2 {
			// One behind the walk, one ahead of it
			n.Put("lobby", chat.Message{Text: "new behind", Position: "a"})
			n.Put("lobby", chat.Message{Text: "new ahead", Position: "z"})
		}
	}
	c, _ := start(t, n)
	s := must(c.Attach(t.Context(), client.Attach{Room: "lobby"}))(t)
	defer s.Close()
	for i := range held {
		if got := next(t, s); got != fmt.Sprintf("old %d", i) {
			t.Fatalf("message %d is %q", i, got)
		}
	}
	for _, want := range []string{"|", "new behind", "new ahead"} {
		if got := next(t, s); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	n.Put("lobby", chat.Message{Text: "live"})
	if got := next(t, s); got != "live" {
		t.Fatalf("got %q, want live", got)
	}
}

func TestAResumedStreamRepeatsNothingAndForgetsNothing(t *testing.T) {
	const held, later = 230, 40
	for _, stop := range []int{0, 1, 99, 100, 229, 230, 231, 250, 270} {
		n := apitest.New()
		for i := range held {
			n.Put("lobby", chat.Message{Text: fmt.Sprint(i), Position: fmt.Sprintf("m%05d", held-i)})
		}
		c, _ := start(t, n)
		seen := make(map[string]int)
		s := must(c.Attach(t.Context(), client.Attach{Room: "lobby"}))(t)
		for i := range later { // new ones stand among the old in predicted order
			n.Put("lobby", chat.Message{Text: fmt.Sprint(held + i), Position: fmt.Sprintf("m%05dx", 5*i)})
		}
		// The message at which the reader stopped is not counted as read.
		last := "|"
		for range stop {
			last = next(t, s)
			if last != "|" {
				seen[last]++
			}
		}
		if last != "|" {
			if seen[last]--; seen[last] == 0 {
				delete(seen, last)
			}
		}
		cursor := s.Cursor
		s.Close()
		s = must(c.Attach(t.Context(), client.Attach{Room: "lobby", Resume: cursor}))(t)
		for len(seen) < held+later {
			if text := next(t, s); text != "|" {
				seen[text]++
			}
		}
		s.Close()
		for text, times := range seen {
			if times != 1 {
				t.Errorf("stopped after %d: message %s came %d times", stop, text, times)
			}
		}
	}
}

func TestABotIsSentEachFinalOnce(t *testing.T) {
	n := apitest.New()
	_, s := start(t, n)
	stream, err := tertuliav1connect.NewChatServiceClient(httpClient(s, true), "http://localhost").Messages(t.Context(), connect.NewRequest(&pb.MessagesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	for stream.Receive() && stream.Msg().GetCaughtUp() == nil {
	}
	n.Put("lobby", chat.Message{ID: "n1/1", State: chat.Final})
	var got []string
	for len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "n1/2:final") {
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		m := stream.Msg().GetMessage()
		got = append(got, fmt.Sprintf("%s:%s:%d", m.GetId(), m.GetState(), m.GetIndex()))
		if len(got) == 1 {
			n.Put("lobby", chat.Message{ID: "n1/2"})
		}
		if m.GetId() == "n1/2" && m.GetState() == string(chat.Tentative) {
			n.Finalise("lobby", "n1/2")
		}
	}
	if want := "n1/1:final:1 n1/2:tentative:0 n1/2:final:2"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFinalMessagesAreReplayedOnlyWhenAsked(t *testing.T) {
	n := apitest.New()
	for i := range uint64(3) {
		n.Put("lobby", chat.Message{Text: fmt.Sprint("final ", i+1), State: chat.Final})
	}
	n.Put("lobby", chat.Message{Text: "tail"})
	c, _ := start(t, n)
	for _, test := range []struct {
		attach client.Attach
		want   string
	}{
		{client.Attach{}, "tail |"},
		{client.Attach{Replay: true}, "final 1 final 2 final 3 tail |"},
		{client.Attach{Replay: true, From: 3}, "final 3 tail |"},
		{client.Attach{Replay: true, From: 9}, "tail |"},
	} {
		test.attach.Room = "lobby"
		s := must(c.Attach(t.Context(), test.attach))(t)
		var got []string
		for len(got) == 0 || got[len(got)-1] != "|" {
			got = append(got, next(t, s))
		}
		s.Close()
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: got %q, want %q", test.attach, got, test.want)
		}
	}
}

func TestHistoryCountsIndexesAndNotTheTail(t *testing.T) {
	n := apitest.New()
	for i := range uint64(150) {
		n.Put("lobby", chat.Message{Text: fmt.Sprint(i + 1), State: chat.Final})
	}
	n.Put("lobby", chat.Message{Text: "t1"})
	n.Put("lobby", chat.Message{Text: "t2"})
	c, _ := start(t, n)
	for _, test := range []struct {
		q    client.HistoryQuery
		want string
	}{
		{client.HistoryQuery{From: 149}, "149 150"},
		{client.HistoryQuery{From: 120, Limit: 2}, "120 121"},
		{client.HistoryQuery{Limit: 1, Tentative: true}, "1 t1 t2"},
		{client.HistoryQuery{From: 151, Tentative: true}, "t1 t2"},
		{client.HistoryQuery{From: 151}, ""},
	} {
		test.q.Room = "lobby"
		var got []string
		err := c.History(t.Context(), test.q, func(m chat.Message) error {
			got = append(got, m.Text)
			return nil
		})
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%+v: got %q %v, want %q", test.q, got, err, test.want)
		}
	}
}

func TestHistoryMissesNothingThatBecomesFinalWhileItIsRead(t *testing.T) {
	n := apitest.New()
	n.Put("lobby", chat.Message{Text: "1", State: chat.Final})
	n.Put("lobby", chat.Message{ID: "n1/2", Text: "2"})
	n.Put("lobby", chat.Message{ID: "n1/3", Text: "3"})
	n.OnPage = func() { n.Finalise("lobby", "n1/2") }
	finals := 0
	n.OnFinals = func() {
		if finals++; finals == 2 { // after the tail was read
			n.Finalise("lobby", "n1/3")
		}
	}
	c, _ := start(t, n)
	var got []string
	err := c.History(t.Context(), client.HistoryQuery{Room: "lobby", Tentative: true}, func(m chat.Message) error {
		got = append(got, fmt.Sprintf("%s:%s", m.Text, m.State))
		return nil
	})
	if want := "1:final 2:final 3:final"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %q %v, want %q", got, err, want)
	}
}

func TestServeEndsWithOpenStreams(t *testing.T) {
	n := apitest.New()
	c, s := start(t, n)
	stream := must(c.Attach(t.Context(), client.Attach{Room: "lobby"}))(t)
	next(t, stream)
	s.Stop() // fails the test unless Serve returns nil
	if stream.Next() {
		t.Error("a stream outlived its server")
	}
	if code := chat.CodeOf(stream.Err()); code != chat.CodeUnreachable {
		t.Errorf("the stream ended with %v, code %q", stream.Err(), code)
	}
}

func TestChangesGoOnAfterTheNodeWasAway(t *testing.T) {
	n := apitest.New()
	c, s := start(t, n)
	changes := c.Changes(t.Context())
	<-changes
	s.Stop()
	s.Start()
	n.Put("lobby", chat.Message{Text: "x"})
	for range 2 { // the break, and the new stream's first
		select {
		case <-changes:
		case <-time.After(10 * time.Second):
			t.Fatal("no tick after the node came back")
		}
	}
}

func TestTooManyStreamsAreRefused(t *testing.T) {
	n := apitest.New()
	handler := api.NewHandler(n, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Without a network: a pipe for each stream.
	opened := make(chan struct{})
	for range 256 {
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", "/tertulia.v1.ChatService/Changes", strings.NewReader("\x00\x00\x00\x00\x02{}"))
			req.Header.Set("Content-Type", "application/connect+json")
			handler.ServeHTTP(&firstWrite{wrote: opened, header: make(http.Header)}, req)
		}()
	}
	for range 256 {
		<-opened
	}
	var body strings.Builder
	req, _ := http.NewRequestWithContext(ctx, "POST", "/tertulia.v1.ChatService/Changes", strings.NewReader("\x00\x00\x00\x00\x02{}"))
	req.Header.Set("Content-Type", "application/connect+json")
	handler.ServeHTTP(&firstWrite{text: &body, header: make(http.Header)}, req)
	if !strings.Contains(body.String(), "resource_exhausted") {
		t.Errorf("stream 257 got %q", body.String())
	}
}

// firstWrite is a response that tells of its first byte.
type firstWrite struct {
	header http.Header
	wrote  chan<- struct{}
	text   *strings.Builder
}

func (w *firstWrite) Header() http.Header { return w.header }
func (w *firstWrite) WriteHeader(int)     {}
func (w *firstWrite) Flush()              {}
func (w *firstWrite) Write(b []byte) (int, error) {
	if w.text != nil {
		return w.text.Write(b)
	}
	if w.wrote != nil {
		w.wrote <- struct{}{}
		w.wrote = nil
	}
	return len(b), nil
}
