package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/dag"
)

// holds says why a condition does not hold, "" if it does.
type holds func() string

// A condition of a script; args are without its name.
var conditions = map[string]func(s *script, args []string) (holds, error){
	"rest": (*script).isRest, "leader": (*script).isLeader, "led": (*script).isLed, "followed": (*script).isFollowed, "elections": (*script).isElections, "term": (*script).isTerm,
	"final": (*script).isFinal, "news": (*script).isNews, "once": (*script).isOnce, "all": (*script).isAll, "late": (*script).isLate, "order": (*script).isOrder, "last": (*script).isLast,
	"finals": (*script).isFinals, "shown": (*script).isShown, "waits": (*script).isWaits, "voters": (*script).isVoters, "joint": (*script).isJoint,
	"instance": (*script).isInstance, "installs": (*script).isInstalls, "dead": (*script).isDead, "clock": (*script).isClock, "epoch": (*script).isEpoch,
}

var errNotSo = errors.New("does not hold")

// expect says what must hold: expect COND, expect not COND, expect COND within 2s
// (it may come about by then), expect COND for 2s (it holds all the while).
func (s *script) expect(args []string) error {
	var within, during time.Duration
	if k := len(args); k > 2 && (args[k-2] == "within" || args[k-2] == "for") {
		d, err := time.ParseDuration(args[k-1])
		if err != nil || d > maxScriptWait {
			return fmt.Errorf("%q is no duration up to %s", args[k-1], maxScriptWait)
		}
		if args[k-2] == "for" {
			during = d
		} else {
			within = d
		}
		args = args[:k-2]
	}
	why, err := s.condition(args)
	if err != nil {
		return err
	}
	var held bool
	switch {
	case within > 0:
		held = s.pass(within, func() bool { return why() == "" })
	case during > 0:
		held = !s.pass(during, func() bool { return why() != "" })
	default:
		held = why() == ""
	}
	if !held && s.w.fail == nil {
		return fmt.Errorf("%w after %s: %s", errNotSo, max(within, during), why())
	}
	return nil
}

// until is expect within a minute, unless it says otherwise.
func (s *script) until(args []string) error {
	if k := len(args); k < 3 || args[k-2] != "within" {
		args = append(slices.Clone(args), "within", untilMost.String())
	}
	return s.expect(args)
}

func (s *script) condition(args []string) (holds, error) {
	not := len(args) > 1 && args[0] == "not"
	if not {
		args = args[1:]
	}
	if len(args) == 0 || conditions[args[0]] == nil {
		return nil, fmt.Errorf("no such condition: %s", strings.Join(args, " "))
	}
	why, err := conditions[args[0]](s, args[1:])
	if err != nil || !not {
		return why, err
	}
	return func() string {
		if why() == "" {
			return strings.Join(args, " ")
		}
		return ""
	}, nil
}

// rest: those that run agree, the seats are filled, the highest voter leads.
func (s *script) isRest([]string) (holds, error) { return s.unrest, nil }

// leader n3: it leads, and nobody leads a higher term.
func (s *script) isLeader(args []string) (holds, error) {
	n, err := s.one(args, 0)
	return func() string {
		if l := s.leader(); l != n.title() {
			return "the leader is " + l
		}
		return ""
	}, err
}

// led: somebody that runs leads.
func (s *script) isLed([]string) (holds, error) {
	return func() string {
		if s.leader() == "" {
			return "nobody leads"
		}
		return ""
	}, nil
}

// followed n3 [by n1,n2]: all that run know it as the leader.
func (s *script) isFollowed(args []string) (holds, error) {
	n, err := s.one(args, 0)
	if err != nil {
		return nil, err
	}
	by, err := s.at(args[1:], "by")
	return func() string {
		for _, m := range by() {
			if m.core == nil || m.core.Order().Leader != n.self {
				return m.title() + " does not follow it"
			}
		}
		return ""
	}, err
}

// elections 2: so many leaders since the mark.
func (s *script) isElections(args []string) (holds, error) {
	k, err := oneNumber(args)
	return func() string {
		if got := s.w.stats.Leaders - s.marked.leaders; got != k {
			return fmt.Sprintf("%d leaders since the mark", got)
		}
		return ""
	}, err
}

// term same: the highest term of those that run is that of the mark.
func (s *script) isTerm(args []string) (holds, error) {
	if len(args) != 1 || args[0] != "same" {
		return nil, fmt.Errorf("want same")
	}
	return func() string {
		if t := s.term(); t != s.marked.term {
			return fmt.Sprintf("the term is %d, and was %d", t, s.marked.term)
		}
		return ""
	}, nil
}

// at reads the last words "at n1,n2"; without, it means all that run.
func (s *script) at(args []string, word string) (func() []*node, error) {
	if len(args) == 0 {
		return s.up, nil
	}
	if len(args) != 2 || args[0] != word {
		return nil, fmt.Errorf("want %s and names", word)
	}
	list, err := s.list(args[1])
	return func() []*node { return list }, err
}

// places are the indexes at which a text stands.
func (s *script) places(text string) (at []uint64) {
	for i := range s.w.canon.order {
		if s.texts[s.w.canon.order[i].hash] == text {
			at = append(at, uint64(i)+1)
		}
	}
	return at
}

// final "text" [at n1,n2]: it is in the final list.
func (s *script) isFinal(args []string) (holds, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("want a text")
	}
	where, err := s.at(args[1:], "at")
	return func() string {
		places := s.places(args[0])
		if len(places) == 0 {
			return "it is final nowhere"
		}
		for _, n := range where() {
			if n.disk.index < places[0] {
				return n.title() + " has no such final"
			}
		}
		return ""
	}, err
}

// news at n3, news from n3: something became final there, or of that author,
// since the mark.
func (s *script) isNews(args []string) (holds, error) {
	n, err := s.one(args, 1)
	if err != nil || args[0] != "at" && args[0] != "from" {
		return nil, fmt.Errorf("want at or from and a name: %w", err)
	}
	return func() string {
		if args[0] == "at" {
			if n.disk.index > s.marked.index[n.i] {
				return ""
			}
			return "nothing new is final there"
		}
		for _, x := range s.w.canon.order[s.marked.order:] {
			if x.id.Origin.Device == n.self.Device {
				return ""
			}
		}
		return "nothing new of it is final"
	}, nil
}

// once "text": it stands in the final list once.
func (s *script) isOnce(args []string) (holds, error) {
	return func() string {
		for _, text := range args {
			if k := len(s.places(text)); k != 1 {
				return fmt.Sprintf("%q is there %d times", text, k)
			}
		}
		return ""
	}, nil
}

// all "text" 40: "text 1" to "text 40" stand in the list once each, in this order.
func (s *script) isAll(args []string) (holds, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("want a text and a number")
	}
	k, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	var texts []string
	for i := range k {
		texts = append(texts, fmt.Sprintf("%s %d", args[0], i+1))
	}
	return s.isOrder(texts)
}

// late "text": it is marked as said at another time than it stands.
func (s *script) isLate(args []string) (holds, error) {
	return func() string {
		for _, text := range args {
			places := s.places(text)
			if len(places) == 0 || !s.w.canon.fates[s.w.canon.order[places[0]-1].id].late {
				return fmt.Sprintf("%q is not marked", text)
			}
		}
		return ""
	}, nil
}

// order "a" "b": they stand in this order.
func (s *script) isOrder(args []string) (holds, error) {
	return func() string {
		before := uint64(0)
		for _, text := range args {
			places := s.places(text)
			if len(places) != 1 || places[0] < before {
				return fmt.Sprintf("%q is at %d, after %d", text, places, before)
			}
			before = places[0]
		}
		return ""
	}, nil
}

// last "text" 40: the list ends with "text 1" to "text 40", in this order.
func (s *script) isLast(args []string) (holds, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("want a text and a number")
	}
	k, err := strconv.Atoi(args[1])
	return func() string {
		order := s.w.canon.order
		for i := range k {
			want := fmt.Sprintf("%s %d", args[0], i+1)
			if at := len(order) - k + i; at < 0 || s.texts[order[at].hash] != want {
				return fmt.Sprintf("%q is not at %d", want, at+1)
			}
		}
		return ""
	}, err
}

// finals equal: all that run have the whole list.
func (s *script) isFinals(args []string) (holds, error) {
	if len(args) != 1 || args[0] != "equal" {
		return nil, fmt.Errorf("want equal")
	}
	return func() string {
		for _, n := range s.up() {
			if n.disk.index != uint64(len(s.w.canon.order)) {
				return fmt.Sprintf("%s has %d of %d", n.title(), n.disk.index, len(s.w.canon.order))
			}
		}
		return ""
	}, nil
}

// shown "text" [at n1]: people see it there, tentative or final.
func (s *script) isShown(args []string) (holds, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("want a text")
	}
	where, err := s.at(args[1:], "at")
	return func() string {
		for _, n := range where() {
			has := func(a dag.Accepted) bool {
				return slices.ContainsFunc(a.Entries(), func(e *ordering.Entry) bool { return s.texts[e.Hash()] == args[0] })
			}
			if !slices.ContainsFunc(n.disk.runs, has) {
				return n.title() + " does not have it"
			}
		}
		return ""
	}, err
}

// waits n1 n2,n3: it tells people that finality waits for these; nobody is a name
// too.
func (s *script) isWaits(args []string) (holds, error) {
	n, err := s.one(args, 0)
	if err != nil || len(args) != 2 {
		return nil, fmt.Errorf("want a name and names: %w", err)
	}
	return func() string {
		if n.core == nil {
			return "it has no disk"
		}
		if got := s.names(n.core.Order().WaitingFor); got != strings.TrimPrefix(args[1], "nobody") {
			return "it waits for " + got
		}
		return ""
	}, nil
}

// voters n1,n2,n3: they vote, and nothing else is under way.
func (s *script) isVoters(args []string) (holds, error) {
	return func() string {
		f := s.w.canon.newest(1)[0]
		if got := s.seatsOf(f); got != "voters "+strings.Join(args, ",") {
			return got
		}
		return ""
	}, nil
}

// joint: voters change.
func (s *script) isJoint([]string) (holds, error) {
	return func() string {
		if f := s.w.canon.newest(1)[0]; len(f.outgoing) == 0 {
			return s.seatsOf(f)
		}
		return ""
	}, nil
}

// instance n3 2: it lives as its second instance.
func (s *script) isInstance(args []string) (holds, error) {
	n, err := s.one(args, 0)
	if err != nil {
		return nil, err
	}
	k, err := oneNumber(args[1:])
	return func() string {
		if n.instance+1 != k {
			return fmt.Sprintf("it is in its instance %d", n.instance+1)
		}
		return ""
	}, err
}

// installs 1: so many snapshots were installed.
func (s *script) isInstalls(args []string) (holds, error) {
	k, err := oneNumber(args)
	return func() string {
		if got := s.w.stats.Installs; got != k {
			return fmt.Sprintf("%d were installed", got)
		}
		return ""
	}, err
}

// dead n3: its process does not run.
func (s *script) isDead(args []string) (holds, error) {
	n, err := s.one(args, 0)
	return func() string {
		if n.state != dead {
			return "it lives"
		}
		return ""
	}, err
}

// clock n2 100: its clock is below.
func (s *script) isClock(args []string) (holds, error) {
	n, err := s.one(args, 0)
	if err != nil {
		return nil, err
	}
	k, err := oneNumber(args[1:])
	return func() string {
		if n.disk.clock >= uint64(k) {
			return fmt.Sprintf("it is %d", n.disk.clock)
		}
		return ""
	}, err
}

func oneNumber(args []string) (int, error) {
	if len(args) != 1 {
		return 0, fmt.Errorf("want a number")
	}
	return strconv.Atoi(args[0])
}
