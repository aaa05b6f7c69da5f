//go:build e2e

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// restore puts back what a member's directory held.
func (m *member) restore(backup string) {
	m.t.Helper()
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Fatal(err)
	}
	if err := os.CopyFS(m.dir, os.DirFS(backup)); err != nil {
		m.t.Fatal(err)
	}
}

// A backup is restored while those who saw what it lacks are away. So the device
// signs two entries for one place, and each half of the room holds one of them.
func TestWhoForkedIsNamedAndTheOthersStillAgree(t *testing.T) {
	members := peers(t, "n1", "n2", "n3", "n4")
	voters := members[0].standing().Voters
	i := slices.IndexFunc(members, func(m *member) bool { return !slices.Contains(voters, m.name) })
	forker := members[i]
	others := slices.Delete(slices.Clone(members), i, i+1)
	a, b, c := others[0], others[1], others[2]
	for _, m := range members {
		m.say("everybody", "from "+m.name, 1, "--until", "final")
	}
	before := sameFinals(t, members)

	forker.stop()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(forker.dir)); err != nil {
		t.Fatal(err)
	}
	b.kill()
	c.kill()
	forker.up(quick...)
	forker.say("rosa", "to the first", 1)
	a.has("lobby", "to the first 0")

	forker.kill()
	a.kill()
	forker.restore(backup)
	b.up(quick...)
	forker.up(quick...)
	forker.say("rosa", "to the second", 1)
	b.has("lobby", "to the second 0")

	forker.kill()
	a.up(quick...)
	c.up(quick...)
	until(t, "the fork is known", patience, others, func(s standing) bool { return slices.Equal(s.Forked, []string{forker.name}) })
	b.say("bob", "afterwards", 3, "--until", "final")
	list := sameFinals(t, others)
	if !slices.Equal(list[:len(before)], before) {
		t.Error("what was final has moved")
	}
	said := strings.Join(list, "\n")
	if first, second := strings.Contains(said, "to the first 0"), strings.Contains(said, "to the second 0"); first == second {
		t.Errorf("both branches or none are final:\n%s", said)
	}

	// The copy hears of it, and says what the others lack under another instance.
	forker.up(quick...)
	forker.settles("lobby", "to the second 0")
	forker.say("rosa", "as another instance", 1, "--until", "final")
	until(t, "the fork stays known", patience, members, func(s standing) bool { return slices.Equal(s.Forked, []string{forker.name}) })
	list = sameFinals(t, members)
	for _, text := range []string{"to the second 0", "as another instance 0"} {
		if n := strings.Count(strings.Join(list, "\n")+"\n", text+"\n"); n != 1 {
			t.Errorf("%q stands %d times", text, n)
		}
	}
}
