//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/client"
)

// End to end: the real programs, real disks, real sockets on loopback. make test
// builds the programs and names them in E2E_DESKTOP and E2E_HEADLESS.

const patience = 60 * time.Second // for anything that should happen soon

// built returns the path of a built program.
func built(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s is not set: run make test", variable)
	}
	return path
}

// line is any JSON line of the program; see INTERFACE.
type line struct {
	Event    string `json:"event"`
	NodeID   string `json:"node_id"`
	Invite   string `json:"invite"`
	API      string `json:"api"`
	Room     string `json:"room"`
	State    string `json:"state"`
	ID       string `json:"id"`
	Text     string `json:"text"`
	ClientID string `json:"client_id"`
	Message  string `json:"message"`
	Index    uint64 `json:"index"`
	Hash     string `json:"order_hash"`
	Leader   string `json:"leader_id"`
	Late     bool   `json:"late"`
	Kind     string `json:"kind"`
	Ordering string `json:"ordering"`
	Sender   string `json:"sender"`
	Reader   string `json:"reader"`
	UpTo     uint64 `json:"up_to"`
	To       string `json:"to"` // which command a reply is to

	at time.Time // when it was read
}

// process is a running program whose stdout is JSON lines.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	done   chan struct{}

	mu    sync.Mutex
	lines []line
	more  chan struct{} // one place
}

// start runs a program; it is killed at the end of the test.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), done: make(chan struct{}), more: make(chan struct{}, 1)}
	p.cmd.Env = append(cleanEnv(), env...)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stdout)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s\n%s", name, strings.Join(args, " "), lastLines(p.stderr.String(), 20))
		}
	})
	return p
}

// cleanEnv is the environment without settings of the program.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TERTULIA_") && !strings.HasPrefix(v, "WAYLAND_DISPLAY=") {
			env = append(env, v)
		}
	}
	return env
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *process) read(stdout io.Reader) {
	defer close(p.done)
	scan := bufio.NewScanner(stdout)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			p.t.Errorf("stdout has a line that is no JSON: %q", scan.Text())
			continue
		}
		l.at = time.Now()
		p.mu.Lock()
		p.lines = append(p.lines, l)
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
	p.cmd.Wait()
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end and returns its exit status.
func (p *process) stop() int {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%v does not end", p.cmd.Args)
	}
	return p.cmd.ProcessState.ExitCode()
}

// count returns how many lines match so far.
func (p *process) count(match func(line) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.lines {
		if match(l) {
			n++
		}
	}
	return n
}

// expect waits for the n-th matching line and returns it.
func (p *process) expect(what string, n int, match func(line) bool) line {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		seen := 0
		for _, l := range p.lines {
			if match(l) {
				if seen++; seen == n {
					p.mu.Unlock()
					return l
				}
			}
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-p.done:
			if p.count(match) < n {
				p.t.Fatalf("%v ended before %s; stderr: %s", p.cmd.Args, what, lastLines(p.stderr.String(), 5))
			}
		case <-deadline:
			p.t.Fatalf("no %s within %s", what, patience)
		}
	}
}

func event(name string) func(line) bool { return func(l line) bool { return l.Event == name } }

// member is a node on a directory of its own, that can be killed and started
// again under the same address.
type member struct {
	t    *testing.T
	name string
	dir  string
	addr string
	// within is a command that runs programs elsewhere: in another network.
	within []string
	*process
}

func newMember(t *testing.T, name string) *member {
	t.Helper()
	return &member{t: t, name: name, dir: filepath.Join(t.TempDir(), name), addr: fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", freePort(t))}
}

// Members listen below the ports that systems give to connections, so that nothing
// takes the port of one that is down or not up yet.
const firstPort, lastPort = 20_000, 29_999

var ports = rand.Uint32() // given so far, counted from anywhere

// freePort returns a port that no other call does.
func freePort(t *testing.T) int {
	t.Helper()
	for range lastPort - firstPort {
		ports++
		port := firstPort + int(ports%(lastPort-firstPort+1))
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatalf("no port from %d to %d is free", firstPort, lastPort)
	return 0
}

func (m *member) args(more ...string) []string {
	return append([]string{"--headless", "--json", "--data", m.dir, "--node-id", m.name, "--listen", m.addr, "--no-mdns", "--no-dht", "--log", "warn"}, more...)
}

// inside is a command that runs where the member is.
func (m *member) inside(name string, args ...string) *exec.Cmd {
	words := append(append(slices.Clone(m.within), name), args...)
	return exec.Command(words[0], words[1:]...)
}

// up starts the node and returns its ready line.
func (m *member) up(more ...string) line {
	m.t.Helper()
	cmd := m.inside(built(m.t, "E2E_HEADLESS"), m.args(more...)...)
	m.process = start(m.t, nil, cmd.Path, cmd.Args[1:]...)
	return m.expect("ready", 1, event("ready"))
}

// chat starts a client of the node.
func (m *member) chat(username string, more ...string) *process {
	m.t.Helper()
	args := append([]string{"chat", "--json", "--data", m.dir, "--username", username}, more...)
	return start(m.t, nil, built(m.t, "E2E_HEADLESS"), args...)
}

// command runs one command against the node and returns its stdout.
func (m *member) command(args ...string) string {
	m.t.Helper()
	cmd := exec.Command(built(m.t, "E2E_HEADLESS"), append(args, "--data", m.dir)...)
	cmd.Env = cleanEnv()
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			m.t.Fatalf("%v: %v: %s", args, err, exit.Stderr)
		}
		m.t.Fatal(err)
	}
	return string(out)
}

// listed returns what history tells.
func (m *member) listed(args ...string) (lines []line) {
	m.t.Helper()
	for s := range strings.Lines(m.command(append([]string{"history", "--json"}, args...)...)) {
		var l line
		if err := json.Unmarshal([]byte(s), &l); err != nil {
			m.t.Fatalf("history has a line that is no JSON: %q", s)
		}
		lines = append(lines, l)
	}
	return lines
}

// history returns the tentative list: ids with texts, in order.
func (m *member) history() (list []string, texts map[string]int) {
	m.t.Helper()
	texts = make(map[string]int)
	for _, l := range m.listed("--tentative") {
		list = append(list, l.ID+" "+l.Text)
		if l.Event == "message" {
			texts[l.Text]++
		}
	}
	return list, texts
}

// circle starts three members in one room.
func circle(t *testing.T) []*member {
	t.Helper()
	members := []*member{newMember(t, "n1"), newMember(t, "n2"), newMember(t, "n3")}
	invite := members[0].up("--bootstrap").Invite
	for _, m := range members[1:] {
		m.up("--join", invite)
		m.expect("the room", 1, func(l line) bool { return l.Event == "room" && l.State == "joined" })
	}
	return members
}

// agree waits until all members hold the same list with n messages.
func agree(t *testing.T, members []*member, n int) map[string]int {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var lists []string
		var texts map[string]int
		enough := true
		for _, m := range members {
			var list []string
			list, texts = m.history()
			lists = append(lists, strings.Join(list, "\n"))
			enough = enough && len(texts) >= n
		}
		if enough && lists[0] == lists[1] && lists[1] == lists[2] {
			return texts
		}
		if time.Now().After(deadline) {
			for i, m := range members {
				t.Logf("%s: %d lines\n%s", m.name, strings.Count(lists[i], "\n")+1, m.command("status"))
			}
			t.Fatalf("the members do not hold the same %d messages", n)
		}
	}
}

func TestThreeHundredMessagesAtOnceAreOneListOnEveryNode(t *testing.T) {
	members := circle(t)
	const each = 100
	var chats []*process
	for i, m := range members {
		c := m.chat(fmt.Sprintf("user%d", i+1))
		c.expect("attached", 1, event("attached"))
		chats = append(chats, c)
	}
	for k := range each {
		for i, c := range chats {
			fmt.Fprintf(c.stdin, "message %d of user %d\n", k, i+1)
		}
	}
	for _, c := range chats {
		c.stdin.Close()
		if status := c.wait(); status != 0 {
			t.Errorf("chat ended with %d", status)
		}
		if n := c.count(event("sent")); n != each {
			t.Errorf("%d of %d sent", n, each)
		}
	}
	texts := agree(t, members, 3*each)
	for text, n := range texts {
		if n != 1 {
			t.Errorf("%q stands %d times", text, n)
		}
	}
	for _, m := range members {
		if status := m.stop(); status != 0 {
			t.Errorf("%s ended with %d after SIGTERM", m.name, status)
		}
	}
}

func TestNothingSentIsLostWhenEveryNodeIsKilledInMidLoad(t *testing.T) {
	members := circle(t)
	const each = 150
	var chats []*process
	for i, m := range members {
		c := m.chat(fmt.Sprintf("user%d", i+1), "--wait", "60s")
		c.expect("attached", 1, event("attached"))
		chats = append(chats, c)
	}
	var writers sync.WaitGroup
	for i, c := range chats {
		writers.Go(func() {
			for k := range each {
				fmt.Fprintf(c.stdin, "load %d of user %d\n", k, i+1)
				if k%10 == 9 { // not all at once, so that the kill falls in between
					time.Sleep(20 * time.Millisecond)
				}
			}
			c.stdin.Close()
		})
	}
	for _, c := range chats {
		c.expect("sent", 30, event("sent"))
	}
	for _, m := range members {
		m.kill()
	}
	promised := 0
	for _, c := range chats {
		promised += c.count(event("sent"))
	}
	if promised == 3*each {
		t.Fatal("the kill came after everything was sent; it must come before")
	}
	for _, m := range members {
		m.up()
	}
	writers.Wait()
	for _, c := range chats {
		if status := c.wait(); status != 0 {
			t.Errorf("chat ended with %d: %s", status, lastLines(c.stderr.String(), 3))
		}
	}
	texts := agree(t, members, 3*each)
	ids := make(map[string]bool)
	list, _ := members[0].history()
	for _, l := range list {
		id, _, _ := strings.Cut(l, " ")
		ids[id] = true
	}
	for _, c := range chats {
		for _, l := range c.lines {
			if l.Event == "sent" && !ids[l.ID] {
				t.Errorf("%s was reported sent and is gone", l.ID)
			}
		}
	}
	for text, n := range texts {
		if n != 1 {
			t.Errorf("%q stands %d times", text, n)
		}
	}
}

func TestAMessageCannotChangeTheTerminalOrFakeALine(t *testing.T) {
	members := circle(t)
	evil := "red \x1b[31m bell \x07 c1 \u009b2J bidi \u202egnp.exe\n12:00 Ana: I never said this\u2028nor this"
	c := members[0].chat("Eve\u200b")
	c.expect("attached", 1, event("attached"))
	b, err := json.Marshal(map[string]string{"text": evil, "client_id": "evil-1"})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c.stdin, "%s\n", b)
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Fatalf("chat ended with %d", status)
	}
	agree(t, members, 1)
	out := members[2].command("history", "--tentative")
	for _, bad := range []string{"\x1b", "\x07", "\u009b", "\u202e", "\u2028"} {
		if strings.Contains(out, bad) {
			t.Errorf("the output has %q", bad)
		}
	}
	for l := range strings.Lines(out) {
		if strings.HasPrefix(l, "12:00 Ana:") {
			t.Errorf("a message faked a line: %q", l)
		}
	}
	if !strings.Contains(out, "I never said this") {
		t.Errorf("the message itself is not there: %q", out)
	}
}

func TestAReceiptReachesTheOtherNodes(t *testing.T) {
	members := circle(t)
	ana, bruno := members[0].chat("Ana", "--follow"), members[1].chat("Bruno", "--follow")
	for _, c := range []*process{ana, bruno} {
		c.expect("attached", 1, event("attached"))
	}
	fmt.Fprintln(ana.stdin, "have you read this?")
	final := bruno.expect("the final line", 1, func(l line) bool { return l.State == "final" && l.Text == "have you read this?" })
	read := func(l line) bool { return l.Event == "read" && l.Reader == "Bruno" && l.UpTo == final.Index }
	if ana.count(read) > 0 {
		t.Error("a receipt that nobody gave")
	}
	fmt.Fprintln(bruno.stdin, "/read "+final.ID)
	ana.expect("the receipt", 1, read)
	fmt.Fprintln(ana.stdin, "/confirmations "+final.ID)
	ana.expect("an answer", 1, func(l line) bool { return l.To == "confirmations" })
	node, err := client.Local(members[0].dir)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	list, err := node.Confirmations(t.Context(), chat.DefaultRoom, "Ana", final.ID)
	if err != nil || len(list) != 1 || len(list[0].Readers) != 1 || list[0].Readers[0].Name != "Bruno" {
		t.Errorf("read by %+v, want Bruno alone; %v", list, err)
	}
}

func TestASecondNodeOnADirectoryIsRefused(t *testing.T) {
	m := newMember(t, "n1")
	m.up("--bootstrap")
	out, err := exec.Command(built(t, "E2E_HEADLESS"), "--headless", "--data", m.dir, "--no-mdns", "--no-dht").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "hint: ") {
		t.Fatalf("got %v: %s", err, out)
	}
	if got := m.command("rooms"); !strings.Contains(got, "lobby") {
		t.Errorf("the first node is disturbed: %q", got)
	}
}

// Both programs start where there is no GL, X11 or Wayland library: what is left
// of the system is the C library.
func TestBothProgramsStartInABareRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	for _, variable := range []string{"E2E_DESKTOP", "E2E_HEADLESS"} {
		t.Run(variable, func(t *testing.T) {
			root := bareRoot(t, built(t, variable))
			p := start(t, []string{"HOME=/"}, "chroot", root, "/tertulia", "--headless", "--json", "--bootstrap",
				"--data", "/data", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--no-dht")
			if ready := p.expect("ready", 1, event("ready")); ready.Invite == "" {
				t.Errorf("no invite: %+v", ready)
			}
			if status := p.stop(); status != 0 {
				t.Errorf("ended with %d: %s", status, p.stderr.String())
			}
		})
	}
}

// bareRoot makes a directory with a program and the C library alone.
func bareRoot(t *testing.T, path string) string {
	t.Helper()
	root := t.TempDir()
	copyFile(t, path, filepath.Join(root, "tertulia"), 0o755)
	if err := os.Mkdir(filepath.Join(root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return root // static
	}
	for l := range strings.Lines(string(out)) {
		for _, f := range strings.Fields(l) {
			if !strings.HasPrefix(f, "/") {
				continue
			}
			switch base, _, _ := strings.Cut(filepath.Base(f), ".so"); base {
			case "libc", "libm", "libdl", "libpthread", "librt", "libresolv", "ld-linux-x86-64", "ld-linux-aarch64":
			default:
				t.Errorf("the program needs %s to start", f)
				continue
			}
			to := filepath.Join(root, f)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			copyFile(t, f, to, 0o755)
		}
	}
	return root
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWithoutADisplayTheWindowIsRefusedInASentence(t *testing.T) {
	for variable, status := range map[string]int{"E2E_DESKTOP": 1, "E2E_HEADLESS": 2} {
		dir := filepath.Join(t.TempDir(), "data")
		cmd := exec.Command(built(t, variable), "--data", dir)
		cmd.Env = append(cleanEnv(), "DISPLAY=")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != status || strings.Count(string(out), "\n") != 2 || !strings.Contains(string(out), "hint: ") {
			t.Errorf("%s: %v: %s", variable, err, out)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s made a data directory", variable)
		}
	}
}
