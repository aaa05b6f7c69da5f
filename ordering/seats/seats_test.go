package seats

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tertulia/election"
	"tertulia/ordering"
)

var waits = Waits{Stable: 10 * time.Second, Replace: 10 * time.Minute, Drop: 10 * time.Second}

// member i has the rank i; instance is 'a', 'b' ...
func member(i int, instance byte) ordering.Origin {
	return ordering.Origin{Device: ordering.DeviceKey{byte(i)}, Instance: ordering.Instance{instance}}
}

// room reads "3 5b~ 2x 7d- 1f": numbers are members; b, c: a newer instance; then ~ just
// came, ! just went, x is down for long, - is draining, f is former, * is not
// caught up.
func room(t *testing.T, s string) []Candidate {
	t.Helper()
	var cs []Candidate
	for _, f := range strings.Fields(s) {
		c := Candidate{Up: true, StableFor: time.Hour, CaughtUp: true}
		i, instance := int(f[0]-'0'), byte('a')
		for _, r := range f[1:] {
			switch r {
			case 'b', 'c':
				instance, c.StableFor = byte(r), 20*time.Second
			case '~':
				c.StableFor = time.Second
			case '!':
				c.Up, c.StableFor, c.DownFor = false, 0, time.Second
			case 'x':
				c.Up, c.StableFor, c.DownFor = false, 0, time.Hour
			case '-':
				c.Draining = true
			case 'f':
				c.Former = true
			case '*':
				c.CaughtUp = false
			default:
				t.Fatalf("cannot read %q", f)
			}
		}
		c.Origin = member(i, instance)
		c.Rank = election.Rank{Name: fmt.Sprint(i), Tie: c.Origin.Device}
		cs = append(cs, c)
	}
	return cs
}

func origins(s string) (list []ordering.Origin) {
	for _, f := range strings.Fields(s) {
		instance := byte('a')
		if len(f) > 1 {
			instance = f[1]
		}
		list = append(list, member(int(f[0]-'0'), instance))
	}
	return list
}

func show(list []ordering.Origin) string {
	var s []string
	for _, o := range list {
		name := fmt.Sprint(o.Device[0])
		if o.Instance[0] != 'a' {
			name += string(o.Instance[:1])
		}
		s = append(s, name)
	}
	return strings.Join(s, " ")
}

func (p Plan) text() string {
	var s []string
	for _, l := range []struct {
		verb string
		list []ordering.Origin
	}{{"learn", p.Change.Learn}, {"promote", p.Change.Promote}, {"remove", p.Change.Remove}} {
		if len(l.list) > 0 {
			s = append(s, l.verb+" "+show(l.list))
		}
	}
	if p.Transfer != (ordering.Origin{}) {
		s = append(s, "transfer "+show([]ordering.Origin{p.Transfer}))
	}
	return strings.Join(s, ", ")
}

func TestNextStep(t *testing.T) {
	for _, c := range []struct {
		name, voters, learners, room, want string // the first voter leads
	}{
		{"the creator alone", "1", "", "1", ""},
		{"two members: the creator alone votes", "1", "", "1 2", ""},
		{"three: the others learn", "1", "", "1 2 3", "learn 2 3"},
		{"a member that just came waits", "1", "", "1 2 3~", ""},
		{"both are caught up before either votes", "1", "2 3", "1 2 3*", ""},
		{"then one change promotes both", "1", "2 3", "1 2 3", "promote 2 3"},
		{"four members: three voters", "1 2 3", "", "1 2 3 4", ""},
		{"five: two more learn", "1 2 3", "", "1 2 3 4 5", "learn 4 5"},
		{"the highest of many learn", "1 2 3", "", "1 2 3 4 5 6 7", "learn 6 7"},
		{"five voters are enough, whoever comes", "1 2 3 4 5", "", "1 2 3 4 5 8 9", ""},
		{"a voter that is down keeps its seat", "1 2 3", "", "1 2 3! 4", ""},
		{"for 10 minutes", "1 2 3", "", "1 2 3x 4", "learn 4"},
		{"the replacement comes in one change", "1 2 3", "4", "1 2 3x 4", "promote 4, remove 3"},
		{"no spare, no replacement", "1 2 3", "", "1 2 3x", ""},
		{"the dead are replaced before seats are added", "1 2 3", "", "1 2 3x 4 5", "learn 5"},
		{"no change without a majority", "1 2 3", "4", "1 2x 3x 4", ""},
		{"a former voter is replaced at once", "1 2 3", "4", "1 2 3f 4", "promote 4, remove 3"},
		{"never fewer than 3 of 3 members", "1 2 3", "", "1 2 3f 4~", ""},
		{"two members are left: one votes", "1 2 3", "", "1 2 3f", "remove 2 3"},
		{"of five without a spare, two leave", "1 2 3 4 5", "", "1 2 3! 4 5f", "remove 3 5"},
		{"a former leader transfers first", "1 2 3", "4", "1f 2 3 4", "transfer 3"},
		{"not to one that lags or drains", "1 2 3 4 5", "", "1f 2 3- 4* 5!", "transfer 2"},
		{"a leader that drains transfers", "1 2 3", "", "1- 2 3", "transfer 3"},
		{"a sole voter that drains teaches the best", "1", "", "1- 2~ 3", "learn 3"},
		{"promotes it", "1", "3", "1- 2 3", "promote 3"},
		{"and transfers", "1 3", "", "1- 2 3", "transfer 3"},
		{"who then removes it", "3 1", "", "3 2 1-", "remove 1"},
		{"a sole voter that drains with nobody there", "1", "", "1-", ""},
		{"two healthy voters become three", "1 2", "", "1 2 3", "learn 3"},
		{"two healthy voters become one", "1 2", "", "1 2", "remove 2"},
		{"a new instance replaces the old", "1 2 3", "3b", "1 2 3x 3b", "promote 3b, remove 3"},
		{"once it is stable", "1 2 3", "", "1 2 3x 3b~", ""},
		{"a learner that is down a moment stays", "1", "2 3", "1 2 3!", "remove 2"},
		{"a learner that is down is dropped", "1", "2 3", "1 2 3x 4", "learn 4, remove 3"},
		{"a former learner is dropped", "1 2 3", "4", "1 2 3 4f", "remove 4"},
	} {
		voters := origins(c.voters)
		p, ok := Next(voters, origins(c.learners), voters[0], room(t, c.room), waits)
		if got := p.text(); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: voters %s, learners %q, room %s: %q, want %q", c.name, c.voters, c.learners, c.room, got, c.want)
		}
	}
}

// conf is a configuration that plans are carried out on.
type conf struct {
	voters, learners []ordering.Origin
	self             ordering.Origin
}

// carry carries a plan out, as control does, and checks that it can be.
func (c *conf) carry(t *testing.T, p Plan) {
	t.Helper()
	if p.Transfer != (ordering.Origin{}) {
		if !slices.Contains(c.voters, p.Transfer) || p.Transfer == c.self {
			t.Fatalf("transfer to %s of %s", show([]ordering.Origin{p.Transfer}), show(c.voters))
		}
		c.self = p.Transfer
		return
	}
	for _, o := range p.Change.Promote {
		i := slices.Index(c.learners, o)
		if i < 0 {
			t.Fatal("promotes one that is no learner")
		}
		c.learners = slices.Delete(slices.Clone(c.learners), i, i+1)
		c.voters = append(slices.Clone(c.voters), o)
	}
	for _, o := range p.Change.Learn {
		if slices.Contains(c.learners, o) || slices.Contains(c.voters, o) {
			t.Fatal("teaches one that sits")
		}
		c.learners = append(slices.Clone(c.learners), o)
	}
	gone := func(o ordering.Origin) bool { return slices.Contains(p.Change.Remove, o) }
	if gone(c.self) {
		t.Fatal("removes the leader")
	}
	c.voters = slices.DeleteFunc(slices.Clone(c.voters), gone)
	c.learners = slices.DeleteFunc(slices.Clone(c.learners), gone)
}

func up(list []ordering.Origin, cs []Candidate) (n int) {
	for _, o := range list {
		for _, c := range cs {
			if c.Origin == o && c.Up {
				n++
			}
		}
	}
	return n
}

// TestAnyWorldComesToRest drives rooms whose members change at random, and lets
// each come to rest after every change.
func TestAnyWorldComesToRest(t *testing.T) {
	for seed := range uint64(2000) {
		dice := rand.New(rand.NewPCG(seed, 2))
		cs := room(t, "1 2 3 4 5 6 7 8")[:1+dice.IntN(8)]
		c := conf{voters: origins("1"), self: member(1, 'a')}
		for change := range 12 {
			what := settle(t, seed, &c, cs)
			if n := len(c.voters); n%2 == 0 {
				t.Fatalf("world %d, change %d: rests with %d voters%s", seed, change, n, what)
			}
			cs = shake(dice, cs, &c)
		}
	}
}

// settle carries plans out until there is none, and checks each.
func settle(t *testing.T, seed uint64, c *conf, cs []Candidate) string {
	t.Helper()
	devices := make(map[ordering.DeviceKey]bool)
	for _, m := range cs {
		if !m.Former {
			devices[m.Origin.Device] = true
		}
	}
	members := len(devices)
	trace := ""
	for step := 0; ; step++ {
		trace += fmt.Sprintf("\n  voters %s, learners %s, leader %d", show(c.voters), show(c.learners), c.self.Device[0])
		p, ok := Next(c.voters, c.learners, c.self, cs, waits)
		if !ok {
			return trace + "\n  " + fmt.Sprint(cs)
		}
		trace += ": " + p.text()
		before := *c
		c.carry(t, p)
		switch {
		case step > 12:
			t.Fatalf("world %d does not come to rest:%s", seed, trace)
		case len(c.voters) > MaxVoters || len(c.learners) > MaxVoters:
			t.Fatalf("world %d: too many seats:%s", seed, trace)
		case len(before.voters) >= 3 && len(c.voters) < 3 && members >= 3:
			t.Fatalf("world %d: fewer than 3 voters of %d members:%s", seed, members, trace)
		case up(before.voters, cs) > len(before.voters)/2 && up(c.voters, cs) <= len(c.voters)/2:
			t.Fatalf("world %d: a change takes the majority away:%s", seed, trace)
		}
		kept := 0
		for _, o := range c.voters {
			kept += count(slices.Contains(before.voters, o))
		}
		if kept == 0 {
			t.Fatalf("world %d: no voter is left of the old:%s", seed, trace)
		}
	}
}

// shake changes one member, though no more than a minority of the voters is
// down, and never the leader itself except that it leaves gracefully.
func shake(dice *rand.Rand, cs []Candidate, c *conf) []Candidate {
	cs = slices.Clone(cs)
	m := &cs[dice.IntN(len(cs))]
	down := len(c.voters) - up(c.voters, cs)
	leads := m.Origin == c.self
	switch dice.IntN(6) {
	case 0: // goes, for long or a moment
		if leads || slices.Contains(c.voters, m.Origin) && down+1 > (len(c.voters)-1)/2 {
			break
		}
		m.Up, m.StableFor, m.DownFor = false, 0, time.Second
		if dice.IntN(2) == 0 {
			m.DownFor = time.Hour
		}
	case 1, 2:
		m.Up, m.StableFor, m.DownFor, m.Draining = true, time.Hour, 0, false
	case 3: // starts to leave
		m.Draining = dice.IntN(2) == 0
	case 4: // is removed from the room
		if dice.IntN(3) > 0 || m.Origin.Device == c.self.Device {
			break
		}
		device := m.Origin.Device
		for i := range cs {
			cs[i].Former = cs[i].Former || cs[i].Origin.Device == device
		}
	case 5: // comes back under a new instance
		if !m.Up {
			n := *m
			n.Origin.Instance[0] = 'a' + byte(len(cs))
			n.Up, n.StableFor, n.DownFor, n.Draining = true, time.Minute, 0, false
			cs = append(cs, n)
		}
	}
	return cs
}
