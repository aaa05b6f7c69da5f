//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The leader mode end to end: the real program, killed, stopped and started.

// quick are the waits with which an election is a matter of seconds.
var quick = []string{"--leader-stability", "1s", "--leader-hold", "1s"}

// court starts members in one room with a leader; the last has the highest id.
func court(t *testing.T, waits []string, names ...string) []*member {
	t.Helper()
	var members []*member
	for _, name := range names {
		members = append(members, newMember(t, name))
	}
	invite := members[0].up(append(slices.Clone(waits), "--bootstrap", "--ordering", "leader")...).Invite
	for _, m := range members[1:] {
		m.up(append(slices.Clone(waits), "--join", invite)...)
		m.expect("the room", 1, func(l line) bool { return l.Event == "room" && l.State == "joined" })
	}
	return members
}

// standing is what status tells of a room.
type standing struct {
	Leader     string   `json:"leader"`
	Term       uint64   `json:"term"`
	Voters     []string `json:"voters"`
	FinalIndex uint64   `json:"final_index"`
	OrderHash  string   `json:"order_hash"`
	Tentative  uint64   `json:"tentative"`
	WaitingFor []string `json:"waiting_for"`
	Diverged   uint64   `json:"diverged"`
}

func (m *member) standing() standing {
	m.t.Helper()
	var s struct{ Rooms []standing }
	if err := json.Unmarshal([]byte(m.command("status", "--json")), &s); err != nil || len(s.Rooms) != 1 {
		m.t.Fatalf("status of %s: %v, %d rooms", m.name, err, len(s.Rooms))
	}
	return s.Rooms[0]
}

// until waits until something is so of every member's room.
func until(t *testing.T, what string, wait time.Duration, members []*member, so func(standing) bool) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for {
		done := true
		for _, m := range members {
			done = done && so(m.standing())
		}
		if done {
			return
		}
		if time.Now().After(deadline) {
			for _, m := range members {
				t.Logf("%s: %+v", m.name, m.standing())
			}
			t.Fatalf("not within %s: %s", wait, what)
		}
	}
}

func ledBy(name string, voters int) func(standing) bool {
	return func(s standing) bool { return s.Leader == name && len(s.Voters) == voters }
}

// finals returns the final history of a member, as lines to compare.
func (m *member) finals() []string {
	m.t.Helper()
	var list []string
	for s := range strings.Lines(m.command("history", "--json")) {
		var l line
		if err := json.Unmarshal([]byte(s), &l); err != nil {
			m.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d %s %s %s", l.Index, l.ID, l.Hash, l.Text))
	}
	return list
}

// sameFinals waits until nothing is tentative anywhere, then compares.
func sameFinals(t *testing.T, members []*member) []string {
	t.Helper()
	until(t, "everything is final everywhere", patience, members, func(s standing) bool { return s.Tentative == 0 && s.Diverged == 0 })
	var first []string
	for i, m := range members {
		list := m.finals()
		if i == 0 {
			first = list
		} else if !slices.Equal(list, first) {
			t.Fatalf("%s and %s differ in what is final: %d and %d lines", members[0].name, m.name, len(first), len(list))
		}
	}
	for i, l := range first {
		if !strings.HasPrefix(l, fmt.Sprintf("%d ", i+1)) {
			t.Fatalf("line %d of the history is %q", i+1, l)
		}
	}
	return first
}

// writer says something every few milliseconds through a client of a member until
// it is told to stop.
func (m *member) writer(name string, every time.Duration) (stop func() []string) {
	m.t.Helper()
	c := m.chat(name, "--wait", "60s")
	c.expect("attached", 1, event("attached"))
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			case <-ticker.C:
				fmt.Fprintf(c.stdin, "%s says %d\n", name, i)
			}
		}
	}()
	return func() []string {
		close(quit)
		<-done
		c.stdin.Close()
		if status := c.wait(); status != 0 {
			m.t.Errorf("the client of %s ended with %d: %s", m.name, status, lastLines(c.stderr.String(), 3))
		}
		var ids []string
		for _, l := range c.lines {
			if l.Event == "sent" {
				ids = append(ids, l.ID)
			}
		}
		return ids
	}
}

func TestTheHighestIdLeadsSoonAfterAllAreUp(t *testing.T) {
	members := court(t, quick, "n2", "n3", "n10")
	until(t, "n10 leads three voters", 15*time.Second, members, ledBy("n10", 3))
}

func TestWithDefaultWaitsTheHighestIdLeadsWithin40Seconds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	members := court(t, nil, "n1", "n2", "n3")
	begin := time.Now()
	until(t, "n3 leads three voters", 40*time.Second, members, ledBy("n3", 3))
	t.Logf("n3 led %.1f s after all were up", time.Since(begin).Seconds())
}

// A leader dies, by a kill or by being stopped, while others write.
func TestWhenTheLeaderDiesUnderLoadTheRoomGoesOn(t *testing.T) {
	for _, how := range []struct {
		name   string
		die    func(*member)
		revive func(*member)
		most   time.Duration
	}{
		{"kill", func(m *member) { m.kill() }, func(m *member) { m.up(quick...) }, time.Second},
		{"stop", func(m *member) { m.cmd.Process.Signal(syscall.SIGSTOP) }, func(m *member) { m.cmd.Process.Signal(syscall.SIGCONT) }, 2 * time.Second},
	} {
		t.Run(how.name, func(t *testing.T) {
			members := court(t, quick, "n1", "n2", "n3")
			until(t, "n3 leads three voters", 15*time.Second, members, ledBy("n3", 3))
			watch := members[0].chat("watcher", "--follow")
			watch.expect("attached", 1, event("attached"))
			stop1, stop2 := members[0].writer("ana", 20*time.Millisecond), members[1].writer("bob", 20*time.Millisecond)
			finals := func() int { return watch.count(func(l line) bool { return l.State == "final" }) }
			watch.expect("finals", 20, func(l line) bool { return l.State == "final" })

			begin := time.Now()
			how.die(members[2])
			before := finals()
			watch.expect("a final of a new leader", before+20, func(l line) bool { return l.State == "final" })
			watch.expect("a final of a new leader", 1, func(l line) bool { return l.State == "final" && l.Leader == "n2" })
			took := time.Since(begin)
			if took > how.most {
				t.Errorf("the next final came after %s", took)
			}
			t.Logf("the next finals of n2 came %d ms after the leader died", took.Milliseconds())
			how.revive(members[2])
			until(t, "n3 leads again", patience, members, ledBy("n3", 3))
			sent := append(stop1(), stop2()...)
			list := sameFinals(t, members)
			times := make(map[string]int)
			for _, l := range list {
				times[strings.Fields(l)[1]]++
			}
			for _, id := range sent {
				if times[id] != 1 {
					t.Errorf("%s was reported sent and stands %d times in the history", id, times[id])
				}
			}
		})
	}
}

func TestWithoutAQuorumNothingBecomesFinalAndEverythingDoesAfterwards(t *testing.T) {
	members := court(t, quick, "n1", "n2", "n3")
	until(t, "n3 leads three voters", 15*time.Second, members, ledBy("n3", 3))
	members[1].kill()
	members[2].kill()
	c := members[0].chat("ana")
	c.expect("attached", 1, event("attached"))
	for i := range 10 {
		fmt.Fprintf(c.stdin, "alone %d\n", i)
	}
	c.expect("ten tentative lines", 10, func(l line) bool { return l.State == "tentative" && strings.HasPrefix(l.Text, "alone") })
	until(t, "n1 names whom it waits for", 10*time.Second, members[:1], func(s standing) bool {
		return slices.Equal(s.WaitingFor, []string{"n2", "n3"})
	})
	if n := c.count(func(l line) bool { return l.State == "final" && strings.HasPrefix(l.Text, "alone") }); n > 0 {
		t.Errorf("%d messages became final without a quorum", n)
	}
	members[1].up(quick...)
	c.expect("ten final lines", 10, func(l line) bool { return l.State == "final" && strings.HasPrefix(l.Text, "alone") })
	members[2].up(quick...)
	until(t, "n3 leads again", patience, members, ledBy("n3", 3))
	sameFinals(t, members)
}
