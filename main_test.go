package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"tertulia/chat"
	"tertulia/client/terminal"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tertulia": main})
}

func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exits STATUS ARG... runs tertulia and wants that exit status.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec("tertulia", args[1:]...)
				var exit *exec.ExitError
				if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
					ts.Fatalf("tertulia %s ended with %v, want exit status %s", strings.Join(args[1:], " "), err, args[0])
				}
			},
		},
	})
}

// noEnv is an empty environment.
func noEnv(string) (string, bool) { return "", false }

// settled returns the node's flags after args, environment and file.
func settled(t *testing.T, file string, env map[string]string, args ...string) (*pflag.FlagSet, error) {
	t.Helper()
	flags := program{}.nodeCommand().Flags()
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		name := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if env == nil {
			env = make(map[string]string)
		}
		env["TERTULIA_CONFIG"] = name
	}
	return flags, settleNode(flags, func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
}

func TestAFlagBeatsTheEnvironmentWhichBeatsTheFile(t *testing.T) {
	file := "node-id = \"file\"\nport = 1\npriority = 1\nleader-hold = \"3s\"\nno-mdns = true\nlisten = [\"/ip4/a\", \"/ip4/b\"]\njoin = \"x\"\n"
	env := map[string]string{"TERTULIA_NODE_ID": "env", "TERTULIA_PORT": "2", "TERTULIA_LOG": "", "TERTULIA_JOIN": "y,z", "TERTULIA_LEADER_STABILITY": "2s"}
	flags, err := settled(t, file, env, "--node-id", "flag")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"node-id":          "flag",
		"port":             "2",
		"priority":         "1",
		"leader-hold":      "3s",
		"leader-stability": "2s",
		"no-mdns":          "true",
		"no-dht":           "false",
		"log":              "info",
		"listen":           "[/ip4/a,/ip4/b]",
		"join":             "[y,z]",
	} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for _, test := range []struct {
		file string
		env  map[string]string
		want string
	}{
		{file: "colour = 1\n", want: `"colour"`},
		{file: "config = \"x\"\n", want: `"config"`},
		{file: "[port]\nx = 1\n", want: "port"},
		{file: "port = \"many\"\n", want: "port"},
		{file: "= 1\n", want: "TOML"},
		{env: map[string]string{"TERTULIA_PORT": "many"}, want: "TERTULIA_PORT"},
		{env: map[string]string{"TERTULIA_CONFIG": "/nowhere/at/all"}, want: "/nowhere/at/all"},
	} {
		_, err := settled(t, test.file, test.env)
		told, ok := errors.AsType[*chat.Error](err)
		if !ok || told.Code != chat.CodeInvalid || !strings.Contains(told.Message+told.Hint, test.want) {
			t.Errorf("%q %v: got %v", test.file, test.env, err)
		}
	}
}

func TestTheLogHasALevelForEachPackage(t *testing.T) {
	var b bytes.Buffer
	log, err := newLogger(&b, "warn,p2p=debug,room=error")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*slog.Logger{log, log.With("pkg", "p2p"), log.With("pkg", "room"), log.With("pkg", "p2p").With("pkg", "other")} {
		l.Debug("debug")
		l.Warn("warn")
		l.Error("error")
	}
	var got []string
	for line := range strings.SplitSeq(strings.TrimSpace(b.String()), "\n") {
		_, message, _ := strings.Cut(line, "msg=")
		got = append(got, message)
	}
	want := "warn|error|debug pkg=p2p|warn pkg=p2p|error pkg=p2p|error pkg=room|warn pkg=p2p pkg=other|error pkg=p2p pkg=other"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
	for _, bad := range []string{"loud", "p2p=", "p2p=debug,,"} {
		if _, err := newLogger(&b, bad); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("--log %q: %v", bad, err)
		}
	}
}

func TestTheSocketIsPrivateAndReplacesADeadOne(t *testing.T) {
	short := t.TempDir()
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(short, "api.sock"), []byte("dead"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{short, long} {
		s, err := listenAPI(dir, "", "")
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(s.address, "unix:")
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 || len(path) > maxSocketPathBytes {
			t.Errorf("socket %s: %v %v", path, info, err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "api")); err != nil || string(text) != s.address+"\n" {
			t.Errorf("api file %q, %v", text, err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		s.remove()
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 0 {
			t.Errorf("left behind in %s: %v %v", dir, left, err)
		}
		if dir == long {
			if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
				t.Errorf("left behind: %s", filepath.Dir(path))
			}
		}
	}
}

func TestTheGuardLetsInWhomItShould(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][2]string{{"0.0.0.0:1", ""}, {":1", ""}, {"example.org:1", ""}, {"1", ""}, {"0.0.0.0:1", short}, {"0.0.0.0:1", "/nowhere"}} {
		if _, err := newGuard(bad[0], bad[1]); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("guard of %q: %v", bad, err)
		}
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, test := range []struct {
		address, tokenFile, host, bearer, origin string
		want                                     int
	}{
		{"127.0.0.1:1", "", "127.0.0.1:1", "", "", 200},
		{"[::1]:1", "", "[::1]:1", "", "", 200},
		{"localhost:1", "", "localhost", "", "", 200},
		{"127.0.0.1:1", "", "evil.example:1", "", "", 403},
		{"127.0.0.1:1", "", "127.0.0.1:1", "", "http://evil.example", 403},
		{"0.0.0.0:1", token, "node.example", "", "", 401},
		{"0.0.0.0:1", token, "node.example", "Bearer wrong", "", 401},
		{"0.0.0.0:1", token, "node.example", "Bearer 0123456789abcdef", "", 200},
	} {
		g, err := newGuard(test.address, test.tokenFile)
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("POST", "/", nil)
		req.Host = test.host
		if test.bearer != "" {
			req.Header.Set("Authorization", test.bearer)
		}
		if test.origin != "" {
			req.Header.Set("Origin", test.origin)
		}
		w := httptest.NewRecorder()
		g.wrap(ok).ServeHTTP(w, req)
		if w.Code != test.want {
			t.Errorf("%+v: got %d", test, w.Code)
		}
	}
}

type fixedStatus chat.Status

func (s fixedStatus) Status(context.Context) (chat.Status, error) { return chat.Status(s), nil }

func TestMetricsCountWhatTheNodeTells(t *testing.T) {
	h := metricsHandler(fixedStatus{
		Peers:   []chat.Peer{{State: chat.PeerConnected}, {State: chat.PeerConnected}},
		Rooms:   []chat.RoomStatus{{FinalIndex: 3, Tentative: 4}, {Tentative: 5}},
		Refused: map[string]uint64{"fork": 2},
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`tertulia_refused_total{reason="fork"} 2`,
		"tertulia_messages_total 12",
		`tertulia_peers{state="connected"} 2`,
		`tertulia_peers{state="left"} 0`,
		"go_goroutines",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestStatusHasListsWhereThereIsNothing(t *testing.T) {
	line := newStatusLine(chat.Status{Rooms: []chat.RoomStatus{{}}})
	r := line.Rooms[0]
	if line.Peers == nil || line.Addrs == nil || line.Refused == nil || r.View == nil || r.Voters == nil || r.WaitingFor == nil || r.Clocks == nil || r.Replicas == nil {
		t.Errorf("null in %+v", line)
	}
}

func TestStatusTellsOfTheFinalOrder(t *testing.T) {
	s := chat.Status{Rooms: []chat.RoomStatus{{
		Name: "lobby", ID: strings.Repeat("a", 64), Order: chat.Leader, State: chat.Joined, Epoch: 7, View: []string{"n1", "n2"},
		Leader: "n2", Term: 4, Voters: []string{"n1", "n2", "n3"}, FinalIndex: 121, OrderHash: "7f3a00112233445566", Tentative: 12,
		WaitingFor: []string{"n3"}, Replicas: []chat.Replica{{NodeID: "n1", FinalIndex: 121, OrderHash: "7f3a00112233445566"}, {NodeID: "n2", FinalIndex: 120, OrderHash: "7e3a00112233445566"}},
	}}}
	text := statusWords(s)
	for _, want := range []string{
		"lobby (aaaaaaaaaaaa), leader, joined: 121 final, 12 not yet\n", "waits for n3\n", "led by n2, term 4\n", "voters: n1, n2, n3\n",
		"epoch 7, view: n1, n2\n", "n1: 121 final, order 7f3a00112233\n", "n2: 120 final, order 7e3a00112233\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "ALARM") {
		t.Errorf("an alarm without a cause: %s", text)
	}
	s.Rooms[0].Diverged, s.Rooms[0].Leader, s.Rooms[0].Replicas[1].Diverged = 100, "", true
	text = statusWords(s)
	for _, want := range []string{"ALARM: from message 100 on", "no leader, term 4\n", "order 7e3a00112233, ALARM"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	var b bytes.Buffer
	if err := terminal.WriteJSON(&b, newStatusLine(s)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"term":4`, `"voters":["n1","n2","n3"]`, `"diverged":100`, `"waiting_for":["n3"]`, `"final_index":120,"order_hash":"7e3a00112233445566","diverged":true`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
}

func TestEventsHaveTheirShapes(t *testing.T) {
	for want, e := range map[string]chat.Event{
		`{"event":"leader","room":"lobby","room_id":"ab","term":4,"leader":"n3"}`:                           {Type: chat.EventLeader, Room: "lobby", RoomID: "ab", Term: 4, Leader: "n3"},
		`{"event":"epoch","room":"lobby","room_id":"ab","epoch":7,"ordering":"lamport","view":["n1","n2"]}`: {Type: chat.EventEpoch, Room: "lobby", RoomID: "ab", Epoch: 7, Order: chat.Lamport, View: []string{"n1", "n2"}},
	} {
		var b bytes.Buffer
		if err := terminal.WriteJSON(&b, eventLine(e)); err != nil || b.String() != want+"\n" {
			t.Errorf("got %s %v, want %s", b.String(), err, want)
		}
	}
}

func TestNamesInStatusCannotActOnTheTerminal(t *testing.T) {
	text := statusWords(chat.Status{NodeID: "a\x1b[2J", Rooms: []chat.RoomStatus{{Name: "r\nrooms: 9", Order: chat.Lamport}}})
	if strings.ContainsAny(text, "\x1b") || strings.Contains(text, "\nrooms: 9") {
		t.Errorf("%q", text)
	}
}

func TestWrongUsageIsToldOnce(t *testing.T) {
	var out, errs bytes.Buffer
	p := program{strings.NewReader(""), &out, &errs, noEnv}
	if code := p.run(t.Context(), []string{"rooms", "create"}); code != exitUsage {
		t.Errorf("exit %d", code)
	}
	if out.Len() != 0 || strings.Count(errs.String(), "\n") != 2 || !strings.Contains(errs.String(), "hint: ") {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
}
