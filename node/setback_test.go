package node

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tertulia/chat"
	"tertulia/ordering"
)

// copyDir returns a copy of a stopped node's directory.
func (r *rig) copyDir() string {
	r.t.Helper()
	dir := r.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.cfg.Dir)); err != nil {
		r.t.Fatal(err)
	}
	return dir
}

// restore puts a copy in the place of a stopped node's directory.
func (r *rig) restore(from string) {
	r.t.Helper()
	for _, f := range must(filepath.Glob(filepath.Join(r.cfg.Dir, "*")))(r.t) {
		if err := os.RemoveAll(f); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.CopyFS(r.cfg.Dir, os.DirFS(from)); err != nil {
		r.t.Fatal(err)
	}
}

// untilAnew waits until a node that was set back writes its first room as another
// instance, and has said again what was set aside.
func (r *rig) untilAnew(was ordering.Origin) {
	r.t.Helper()
	r.until("it is a new instance and nothing is set aside", func() bool {
		v := r.inner().view.Load()
		return v.origin != was && v.meta.State == string(chat.Joined) &&
			len(must(r.store.Asides(r.t.Context(), r.inner().id))(r.t)) == 0
	}, r)
}

// noForks fails the test if a node refused a fork.
func noForks(nodes ...*rig) {
	for _, r := range nodes {
		r.t.Helper()
		if refused := must(r.Status(r.t.Context()))(r.t).Refused; refused[string(ordering.Fork)] > 0 {
			r.t.Errorf("%s refused %v", r.NodeID(), refused)
		}
	}
}

// onceEach fails the test unless a node has each text once.
func (r *rig) onceEach(texts ...string) {
	r.t.Helper()
	times := make(map[string]int)
	for _, m := range r.history() {
		times[m.Text]++
	}
	for _, text := range texts {
		if times[text] != 1 {
			r.t.Errorf("%s has %q %d times", r.NodeID(), text, times[text])
		}
	}
}

// agree waits until all have a number of messages and the same lines in one order.
func agree(total int, nodes ...*rig) {
	lines := func(r *rig) (all []string) {
		for _, m := range r.lines() {
			all = append(all, m.ID+" "+m.ClientID+" "+m.Text)
		}
		return all
	}
	for _, r := range nodes {
		r.t.Helper()
		r.until(fmt.Sprintf("%d messages are in one order", total), func() bool {
			return len(r.history()) == total && slices.Equal(lines(r), lines(nodes[0]))
		}, nodes...)
	}
}

// setBack has all talk, sets one node back to before most of it, and has it say
// some texts before the others are up again. It returns all nodes, running, and how
// many messages there are then.
func setBack(t *testing.T, nodes []*rig, same func(int, ...*rig), which int, offline ...string) (all []*rig, total int) {
	t.Helper()
	const each = 20
	nodes[0].say("before the backup")
	same(1, nodes...)
	nodes[which].stop()
	backup := nodes[which].copyDir()
	nodes[which] = nodes[which].again()
	allConnected(nodes...)
	for _, r := range nodes {
		r.sayMany("from "+r.NodeID(), each)
	}
	same(1+each*len(nodes), nodes...)
	for _, r := range nodes {
		r.stop()
	}
	nodes[which].restore(backup)
	alone := nodes[which].again()
	for _, text := range offline {
		alone.say(text)
	}
	alone.stop()
	for i, r := range nodes {
		nodes[i] = r.again()
	}
	return nodes, 1 + each*len(nodes) + len(offline)
}

// ruled starts nodes that share the lobby with a leader.
func ruled(t testing.TB, names ...string) []*rig {
	t.Helper()
	nodes, _ := court(t, names...)
	return nodes
}

func TestARestoredCopyGoesOnAsANewInstance(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]struct {
		meet func(testing.TB, ...string) []*rig
		same func(int, ...*rig)
	}{"lamport": {party, agree}, "leader": {ruled, func(texts int, nodes ...*rig) { sameFinals(texts, nodes...) }}} {
		for _, offline := range [][]string{nil, {"said on the old copy", "and more", "and the last"}} {
			t.Run(fmt.Sprintf("%s says %d", name, len(offline)), func(t *testing.T) {
				t.Parallel()
				nodes, total := setBack(t, mode.meet(t, "n1", "n2", "n3"), mode.same, 1, offline...)
				b := nodes[1]
				was := b.id.origin
				b.untilAnew(was)
				b.say("goes on")
				mode.same(total+1, nodes...)
				for _, r := range nodes {
					r.onceEach(append(offline, "before the backup", "goes on")...)
				}
				noForks(nodes...)
				now := b.inner().view.Load().origin
				b.stop()
				b = b.again()
				if b.id.origin != now {
					t.Errorf("it writes as %s after a restart, as %s before", b.id.origin.Tag(), now.Tag())
				}
				b.say("after a restart")
				mode.same(total+2, nodes[0], b, nodes[2])
				noForks(nodes[0], b, nodes[2])
			})
		}
	}
}

func TestAllRoomsOfARestoredCopyGoOnAsTheNewInstance(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b, c := nodes[0], nodes[1], start(t, loopback(t, "n3"))
	alone := must(b.CreateRoom(t.Context(), "alone", chat.Leader))(t)
	quiet := c.create("quiet")
	b.join(c.invite(chat.InviteOptions{Room: quiet.ID}))
	for _, room := range []string{alone.ID, quiet.ID} {
		must(b.Send(t.Context(), chat.Draft{Room: room, Text: "before"}))(t)
	}
	hears := func(text string) {
		t.Helper()
		c.until("it hears "+text, func() bool {
			last := c.state(quiet.ID).Last
			return last != nil && last.Text == text
		})
	}
	hears("before")
	b.stop()
	c.stop() // alone, so that it hands its seat to nobody
	backup := b.copyDir()
	b = b.again()
	allConnected(a, b)
	b.say("lost with the disk")
	agree(1, a, b)
	b.stop()
	b.restore(backup)
	b = b.again()
	was := b.id.origin
	b.untilAnew(was)
	for _, room := range []chat.Room{alone, quiet} {
		r := must(b.find(room.ID))(t)
		b.until("the instance of "+room.Name+" is settled", func() bool { return (r.view.Load().origin != was) == (room.ID == quiet.ID) })
		must(b.Send(t.Context(), chat.Draft{Room: room.ID, Text: "after"}))(t)
	}
	b.until("who is alone with a leader goes on to finalise", func() bool {
		list := must(b.Finals(t.Context(), alone.ID, 0, chat.MaxPage))(t)
		return slices.ContainsFunc(list, func(m chat.Message) bool { return m.Text == "after" })
	})
	b.stop()
	b = b.again()
	if r := must(b.find(alone.ID))(t); r.view.Load().origin != was {
		t.Error("the room of one voter has lost it")
	}
	c = c.again()
	hears("after")
	noForks(a, b, c)
}

// TestARestoredCopyThatIsKilledGoesOn has a process talk on the old copy while
// nobody else is up, until it is killed. Then it is started over and over, and ends
// hard as soon as it may not talk: when the copy is found to be old, and while the
// room is fetched anew.
func TestARestoredCopyThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	b.stop()
	backup := b.copyDir()
	b = b.again()
	allConnected(a, b)
	b.sayMany("lost with the disk", 50)
	agree(50, a, b)
	a.stop()
	b.stop()
	b.restore(backup)
	was := b.id.origin

	// live runs a process until it ends, or has sent a number of messages.
	live := func(most int) (sent int) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), speakerDir+"="+b.cfg.Dir)
		out := must(cmd.StdoutPipe())(t)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if sent++; sent == most {
				cmd.Process.Kill()
			}
		}
		if cmd.Wait() == nil {
			t.Error("it ended well")
		}
		return sent
	}
	sent := live(100)
	a = a.again()
	const lives = 5
	for range lives {
		sent += live(-1)
	}
	b = b.again()
	b.untilAnew(was)
	b.say("goes on")
	agree(len(b.history()), a, b)
	noForks(a, b)

	heard, next := 0, make(map[string]int)
	for _, m := range a.history() {
		var i int
		var who string
		if n, _ := fmt.Sscanf(m.Text, "%d of %s", &i, &who); n != 2 {
			continue
		}
		if heard++; i != 0 && i != next[who] { // 0: another life
			t.Errorf("%s says %d after %d", who, i, next[who]-1)
		}
		next[who] = i + 1
	}
	if heard < sent {
		t.Errorf("%d were sent, %d are here", sent, heard)
	}
}

// TestWhatWasSetAsideIsKeptUntilItIsFinal: a tentative line may still lose to
// another branch of a fork.
func TestWhatWasSetAsideIsKeptUntilItIsFinal(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	a.until("both are in the view", func() bool { return len(a.status().View) == 2 })
	b.stop()
	id := a.say("alone").ID
	again := func() int {
		r := a.inner()
		said := 0
		for run, err := range a.store.Runs(t.Context(), r.id, []ordering.Want{{Origin: r.self}}, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if run.Last().ID().String() == id {
				said += must(r.sayAgain(t.Context(), run))(t)
			}
		}
		return said
	}
	if n := again(); n == 0 {
		t.Error("a line that is not final counts as said for good")
	}
	b.again()
	a.untilFinal(id)
	if n := again(); n > 0 {
		t.Errorf("%d final lines are said again", n)
	}
	a.onceEach("alone")
}
