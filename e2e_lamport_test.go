//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Rooms without a leader end to end: the real program, killed, stopped and started.

// peers starts members in one room without a leader, and waits until all are in its
// view and as many vote as there may be.
func peers(t *testing.T, names ...string) []*member {
	t.Helper()
	var members []*member
	for _, name := range names {
		members = append(members, newMember(t, name))
	}
	invite := members[0].up(append(slices.Clone(quick), "--bootstrap")...).Invite
	for _, m := range members[1:] {
		m.up(append(slices.Clone(quick), "--join", invite)...)
		m.expect("the room", 1, func(l line) bool { return l.Event == "room" && l.State == "joined" })
	}
	voters := map[bool]int{true: 5, false: 3}[len(names) >= 5]
	until(t, "all are in the view", patience, members, func(s standing) bool {
		return s.Ordering == "lamport" && len(s.View) == len(names) && len(s.Voters) == voters
	})
	for _, m := range members { // and will find each other, whoever of them is away
		eventually(t, m.name+" hears all others", func() bool { return m.connected() == len(names)-1 })
	}
	return members
}

// connected returns with how many a member is connected.
func (m *member) connected() (n int) {
	m.t.Helper()
	var s struct{ Peers []struct{ State string } }
	if err := json.Unmarshal([]byte(m.command("status", "--json")), &s); err != nil {
		m.t.Fatalf("status of %s: %v", m.name, err)
	}
	for _, p := range s.Peers {
		if p.State == "connected" {
			n++
		}
	}
	return n
}

func viewOf(names ...string) func(standing) bool {
	return func(s standing) bool { return slices.Equal(s.View, names) }
}

// isMessage reports whether a line is a message whose text begins so.
func isMessage(prefix, state string) func(line) bool {
	return func(l line) bool {
		return l.Event == "message" && l.State == state && strings.HasPrefix(l.Text, prefix)
	}
}

// perMember is how many messages each member says in the measurement of how long
// they take: a few, or E2E_MESSAGES.
func perMember(t *testing.T) int {
	t.Helper()
	s := os.Getenv("E2E_MESSAGES")
	if s == "" {
		return 25
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("E2E_MESSAGES is %q", s)
	}
	return n
}

// firstSeen returns when a client read each text first, in any state or as final.
func (p *process) firstSeen(state string) map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[string]time.Time)
	for _, l := range p.lines {
		if _, known := seen[l.Text]; l.Event == "message" && !known && (state == "" || l.State == state) {
			seen[l.Text] = l.at
		}
	}
	return seen
}

// percentiles are the median and the 99th percentile in milliseconds.
func percentiles(took []time.Duration) string {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", ms(took[len(took)/2]), ms(took[len(took)*99/100]))
}

// All write at once, the slower the more they are: a message costs all of them
// together the square of their number. What is measured is the time from a line's way into a client
// until the client of the slowest node has printed it.
func TestLamportAllWriteAtOnceAndHistoriesAreEqual(t *testing.T) {
	for _, names := range [][]string{{"n1", "n2", "n3"}, {"n1", "n2", "n3", "n4", "n5"}} {
		t.Run(fmt.Sprintf("%d nodes", len(names)), func(t *testing.T) {
			members := peers(t, names...)
			each, pace := perMember(t), time.Duration(len(names)*len(names))*4*time.Millisecond
			var readers, chats []*process
			for _, m := range members {
				reader := m.chat("reader")
				reader.expect("attached", 1, event("attached"))
				readers = append(readers, reader)
				c := m.chat("of " + m.name)
				c.expect("attached", 1, event("attached"))
				chats = append(chats, c)
			}
			said := make([]map[string]time.Time, len(chats))
			var writers sync.WaitGroup
			for i, c := range chats {
				said[i] = make(map[string]time.Time)
				writers.Go(func() {
					ticker := time.NewTicker(pace)
					defer ticker.Stop()
					for k := range each {
						<-ticker.C
						text := fmt.Sprintf("said %d at %s", k, names[i])
						said[i][text] = time.Now()
						fmt.Fprintln(c.stdin, text)
					}
				})
			}
			writers.Wait()
			for _, r := range readers {
				r.expect("all finals", each*len(members), isMessage("said", "final"))
			}
			for i, c := range chats {
				c.stdin.Close()
				if status := c.wait(); status != 0 || c.count(event("sent")) != each {
					t.Errorf("the client of %s ended with %d after %d sent", names[i], status, c.count(event("sent")))
				}
			}
			var shown, final []time.Duration
			for state, took := range map[string]*[]time.Duration{"": &shown, "final": &final} {
				var seen []map[string]time.Time
				for _, r := range readers {
					seen = append(seen, r.firstSeen(state))
				}
				for _, texts := range said {
					for text, at := range texts {
						var slowest time.Duration
						for _, s := range seen {
							slowest = max(slowest, s[text].Sub(at))
						}
						*took = append(*took, slowest)
					}
				}
			}
			t.Logf("%d messages of %d nodes, at the slowest: shown after %s; final after %s", len(final), len(names), percentiles(shown), percentiles(final))
			times := make(map[string]int)
			for _, l := range sameFinals(t, members) {
				times[l[strings.Index(l, "said")+1:]]++
			}
			for _, m := range members {
				if s := m.standing(); len(s.WaitingFor) > 0 {
					t.Errorf("%s waits for %v", m.name, s.WaitingFor)
				}
			}
			for _, r := range readers {
				var last uint64
				for _, l := range r.lines {
					if l.State != "final" {
						continue
					}
					if l.Leader != "" || l.Late || last > 0 && l.Index != last+1 {
						t.Errorf("%+v comes after %d", l, last)
					}
					last = l.Index
				}
			}
			for text, n := range times {
				if n != 1 {
					t.Errorf("%q stands %d times", text, n)
				}
			}
		})
	}
}

// longestPause returns the longest time between two finals that a client read after
// begin, until now.
func (p *process) longestPause(begin time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var longest time.Duration
	last := begin
	for _, l := range p.lines {
		if l.State == "final" && l.at.After(begin) {
			longest = max(longest, l.at.Sub(last))
			last = l.at
		}
	}
	return max(longest, time.Since(last))
}

// Who is stopped is the one that keeps the control log, or another. What is measured
// is the longest pause between finals at the two others.
func TestLamportGoesOnWithoutAStoppedMember(t *testing.T) {
	for name, who := range map[string]int{"that keeps the log": 2, "that does not": 1} {
		t.Run(name, func(t *testing.T) { goesOnWithout(t, who) })
	}
}

func goesOnWithout(t *testing.T, who int) {
	const most = 2500 * time.Millisecond // until finals go on
	members := peers(t, "n1", "n2", "n3")
	until(t, "n3 leads", patience, members, ledBy("n3", 3))
	var readers []*process
	for _, m := range members {
		r := m.chat("reader")
		r.expect("attached", 1, event("attached"))
		readers = append(readers, r)
	}
	stopped := members[who]
	rest, names := slices.Delete(slices.Clone(members), who, who+1), []string{"n1", "n2", "n3"}
	readers = slices.Delete(readers, who, who+1)
	asleep := stopped.chat("asleep", "--wait", "60s")
	asleep.expect("attached", 1, event("attached"))
	fmt.Fprintln(asleep.stdin, "hello")
	readers[0].expect("its word", 1, isMessage("hello", "final"))
	stops := []func() []string{rest[0].writer("ana", 30*time.Millisecond), rest[1].writer("bob", 30*time.Millisecond)}
	readers[0].expect("finals of both", 20, isMessage("", "final"))
	begin := time.Now()
	stopped.cmd.Process.Signal(syscall.SIGSTOP)
	until(t, "the others go on without it", 20*time.Second, rest, viewOf(slices.Delete(slices.Clone(names), who, who+1)...))
	for _, r := range readers {
		r.expect("finals without it", r.count(isMessage("", "final"))+50, isMessage("", "final"))
	}
	for i, r := range readers {
		pause := r.longestPause(begin)
		t.Logf("%s is stopped: nothing became final at %s for %d ms (%s)", stopped.name, rest[i].name, pause.Milliseconds(), rest[i].told(begin))
		if pause > most {
			t.Errorf("that is more than %s", most)
		}
	}
	const words = 5
	for i := range words {
		fmt.Fprintf(asleep.stdin, "in my sleep %d\n", i)
	}
	before := rest[0].finals()
	stopped.cmd.Process.Signal(syscall.SIGCONT)
	var woken []line
	for i := range words {
		woken = append(woken, readers[0].expect("what it says", i+1, isMessage("in my sleep", "final")))
	}
	until(t, "it is in the view again", patience, members, viewOf(names...))
	var sent []string
	for _, stop := range stops {
		sent = append(sent, stop()...)
	}
	list := sameFinals(t, members)
	if !slices.Equal(list[:len(before)], before) {
		t.Error("what was final before it was back has moved")
	}
	if !woken[0].Late {
		t.Errorf("it is not marked late: %+v", woken[0])
	}
	for i, l := range woken {
		if l.Index <= uint64(len(before)) || l.Text != fmt.Sprintf("in my sleep %d", i) {
			t.Errorf("%+v stands above what was final before", l)
		}
	}
	onceEach(t, list, sent)
}

// told lists what a node told since begin, with the milliseconds.
func (m *member) told(begin time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for _, l := range m.lines {
		if l.at.After(begin) {
			list = append(list, fmt.Sprintf("%d: %s %s%s", l.at.Sub(begin).Milliseconds(), l.Event, l.NodeID, l.State))
		}
	}
	return strings.Join(list, ", ")
}

// onceEach checks that each message that was reported sent stands once in a history.
func onceEach(t *testing.T, list, sent []string) {
	t.Helper()
	times := make(map[string]int)
	for _, l := range list {
		times[strings.Fields(l)[1]]++
	}
	for _, id := range sent {
		if times[id] != 1 {
			t.Errorf("%s was reported sent and stands %d times in the history", id, times[id])
		}
	}
}

// say says some lines through a client of a member, and waits until they are sent.
func (m *member) say(username, stem string, times int, more ...string) {
	m.t.Helper()
	c := m.chat(username, more...)
	c.expect("attached", 1, event("attached"))
	for i := range times {
		fmt.Fprintf(c.stdin, "%s %d\n", stem, i)
	}
	c.stdin.Close()
	if status := c.wait(); status != 0 || c.count(event("sent")) != times {
		m.t.Fatalf("the client of %s ended with %d after %d sent", m.name, status, c.count(event("sent")))
	}
}

func TestWhatALoneMemberSaysStandsBehindWhatTheOthersFinalised(t *testing.T) {
	const alone, others = 40, 60
	members := peers(t, "n1", "n2", "n3")
	a, b, c := members[0], members[1], members[2]
	b.kill()
	c.kill()
	watch := a.chat("reader")
	watch.expect("attached", 1, event("attached"))
	a.say("ana", "alone", alone)
	watch.expect("all of it, tentative", alone, isMessage("alone", "tentative"))
	until(t, "n1 names whom it waits for", 10*time.Second, members[:1], func(s standing) bool {
		return slices.Equal(s.WaitingFor, []string{"n2", "n3"})
	})
	if n := watch.count(isMessage("alone", "final")); n > 0 {
		t.Errorf("%d messages became final at one of three", n)
	}
	before := a.finals()
	a.kill()
	b.up(quick...)
	c.up(quick...)
	until(t, "the others go on without n1", patience, members[1:], viewOf("n2", "n3"))
	b.say("bob", "meanwhile", others, "--until", "final")
	a.up(quick...)
	until(t, "n1 is in the view again", patience, members, viewOf("n1", "n2", "n3"))
	list := sameFinals(t, members)
	if !slices.Equal(list[:len(before)], before) {
		t.Error("what was final has moved")
	}
	isAlone := func(l string) bool { return strings.Contains(l, " alone ") }
	isOthers := func(l string) bool { return strings.Contains(l, " meanwhile ") }
	first := slices.IndexFunc(list, isAlone)
	for i, l := range list {
		if isAlone(l) != (i >= first && i < first+alone) || isOthers(l) && i > first {
			t.Errorf("%s", l)
		}
	}
	late := 0
	for s := range strings.Lines(a.command("history", "--json")) {
		if strings.Contains(s, `"alone `) && strings.Contains(s, `"late":true`) {
			late++
		}
	}
	if late != alone {
		t.Errorf("%d of %d are marked late", late, alone)
	}
}

func TestSwitchOfTheOrderWhileAMemberIsKilled(t *testing.T) {
	members := peers(t, "n1", "n2", "n3")
	a, b, c := members[0], members[1], members[2]
	watch := b.chat("reader")
	watch.expect("attached", 1, event("attached"))
	var stops []func() []string
	for _, m := range members {
		stops = append(stops, m.writer("of "+m.name, 20*time.Millisecond))
	}
	for i, order := range []string{"leader", "lamport"} {
		if i == 0 {
			c.kill()
			a.command("rooms", "switch", "lobby", "--ordering", order)
		} else {
			a.command("rooms", "switch", "lobby", "--ordering", order)
			c.kill()
		}
		watch.expect("the line that says so", i+1, func(l line) bool {
			return l.Event == "system" && l.Kind == "ordering" && l.State == "final" && l.Index > 0 && l.Hash != ""
		})
		until(t, "the order is "+order, patience, members[:2], func(s standing) bool { return s.Ordering == order })
		b.expect("the epoch", 1, func(l line) bool { return l.Event == "epoch" && l.Ordering == order })
		n := watch.count(isMessage("of", "final"))
		watch.expect("finals in that order", n+30, isMessage("of", "final"))
		c.up(quick...)
		until(t, "n3 has the order too", patience, members, func(s standing) bool { return s.Ordering == order && len(s.View) == 3 })
	}
	var sent []string
	for _, stop := range stops {
		sent = append(sent, stop()...)
	}
	list := sameFinals(t, members)
	onceEach(t, list, sent)
	for _, text := range []string{"the order of this room is now Leader", "the order of this room is now Lamport"} {
		if n := strings.Count(strings.Join(list, "\n")+"\n", text+"\n"); n != 1 {
			t.Errorf("%q stands %d times", text, n)
		}
	}
	for _, m := range members[1:] {
		if x, y := m.standing(), a.standing(); x.OrderHash != y.OrderHash || x.FinalIndex != y.FinalIndex {
			t.Errorf("%s and n1 differ: %+v, %+v", m.name, x, y)
		}
	}
}

func TestSwitchIsRefusedToWhoDidNotMakeTheRoom(t *testing.T) {
	members := peers(t, "n1", "n2", "n3")
	c := start(t, nil, built(t, "E2E_HEADLESS"), "rooms", "switch", "lobby", "--ordering", "leader", "--data", members[1].dir)
	if status := c.wait(); status != 1 || !strings.Contains(c.stderr.String(), "hint: That is n1.") {
		t.Errorf("it ended with %d: %s", status, c.stderr.String())
	}
	if out := members[0].command("rooms", "switch", "lobby", "--ordering", "lamport"); out != "" {
		t.Errorf("it says %q", out)
	}
}
