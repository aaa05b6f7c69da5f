package sim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/room"
)

// The commands of a script that do something, or show it.

// say lets a node's client say something: say n1 "text" times=40 every=10ms
// size=1000. With times the texts are counted, with size they are padded with
// dots. The same text at two nodes is the same message of one client.
func (s *script) say(args []string) error {
	o := parseArgs(args)
	times, size, every := 1, 0, time.Duration(0)
	counted := o.keys["times"] != ""
	for _, err := range []error{o.number("times", &times), o.number("size", &size), o.duration("every", &every), o.rest()} {
		if err != nil {
			return err
		}
	}
	n, err := s.one(o.words, 0)
	if err != nil || len(o.words) != 2 {
		return fmt.Errorf("want a name and a text: %w", err)
	}
	for i := range times {
		text := o.words[1]
		if counted {
			text = fmt.Sprintf("%s %d", text, i+1)
		}
		if every == 0 {
			s.speak(n, text, size)
		} else {
			s.w.after(time.Duration(i)*every, func() { s.speak(n, text, size) })
		}
	}
	return nil
}

// speak is one message. What a process that is stopped is told, it says later.
func (s *script) speak(n *node, text string, size int) {
	if !n.runs() && n.state != frozen && n.state != asleep {
		s.tell(fmt.Sprintf("is not there to say %q", text), n.title())
		return
	}
	body := []byte(text + strings.Repeat(".", max(0, size-len(text))))
	n.input("say", func() {
		if n.core == nil {
			s.tell(fmt.Sprintf("cannot say %q: the disk takes no writes", text), n.title())
			return
		}
		stamp := ordering.SignClient(s.lab.people[0], s.w.room, 0, n.self.Device, text, body)
		refs, err := n.core.Say(n.clock(), n.wallClock(), room.Draft{Kind: ordering.KindMessage, Body: body, Client: stamp})
		if err != nil {
			s.tell(fmt.Sprintf("cannot say %q: %v", text, err), n.title())
			return
		}
		n.said = append(n.said, saying{refs[0], s.w.now})
		s.texts[refs[0].Hash] = text
		s.wait = append(s.wait, refs[0])
	})
}

// runFor lets time pass: run 2s, or run 10m leaders, which tells of leaders alone.
func (s *script) runFor(args []string) error {
	s.brief = len(args) == 2 && args[1] == "leaders"
	defer func() { s.brief = false }()
	if len(args) != 1 && !s.brief {
		return fmt.Errorf("want a duration")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil || d > maxScriptWait {
		return fmt.Errorf("%q is no duration up to %s", args[0], maxScriptWait)
	}
	s.pass(d, nil)
	return nil
}

// mark lets later expectations count from now.
func (s *script) mark([]string) error {
	s.marked = mark{leaders: s.w.stats.Leaders, term: s.term(), order: len(s.w.canon.order)}
	for _, n := range s.w.nodes {
		s.marked.index = append(s.marked.index, n.disk.index)
	}
	return nil
}

// each makes a command of what is done to every node that is named.
func each(do func(*node)) func(*script, []string) error {
	return func(s *script, args []string) error {
		list, err := s.list(strings.Join(args, ","))
		for _, n := range list {
			do(n)
		}
		return err
	}
}

// linkwise makes a command of what is done to links: "n1 n2" are both directions,
// "n1>n2" is one.
func linkwise(do func(w *World, i, j int)) func(*script, []string) error {
	return func(s *script, args []string) error {
		from, to, oneWay := strings.Cut(strings.Join(args, " "), ">")
		if !oneWay {
			from, to, _ = strings.Cut(from, " ")
		}
		for _, names := range [][2]string{{from, to}} {
			a, err := s.list(names[0])
			if err != nil {
				return err
			}
			b, err := s.list(names[1])
			if err != nil {
				return err
			}
			if len(a) == 0 || len(b) == 0 {
				return fmt.Errorf("want two names")
			}
			for _, a := range a {
				for _, b := range b {
					if a == b {
						continue
					}
					do(s.w, a.i, b.i)
					if !oneWay {
						do(s.w, b.i, a.i)
					}
				}
			}
		}
		return nil
	}
}

// apart cuts all links between nodes that are not together in some way.
func (s *script) apart(joined func(a, b *node) bool) {
	for _, a := range s.w.nodes {
		for _, b := range s.w.nodes {
			if a != b && !joined(a, b) {
				s.w.cut(a.i, b.i)
			}
		}
	}
}

func (s *script) isolate(args []string) error {
	n, err := s.one(args, 0)
	if err == nil {
		s.apart(func(a, b *node) bool { return a != n && b != n })
	}
	return err
}

// split parts the network: split n1,n2 n3,n4.
func (s *script) split(args []string) error {
	side := make(map[*node]int)
	for i, names := range args {
		list, err := s.list(names)
		if err != nil {
			return err
		}
		for _, n := range list {
			side[n] = i
		}
	}
	s.apart(func(a, b *node) bool { return side[a] == side[b] })
	return nil
}

// chain leaves the links between neighbours: chain n2 n1 n3.
func (s *script) chain(args []string) error {
	list, err := s.list(strings.Join(args, ","))
	s.apart(func(a, b *node) bool {
		i, j := slices.Index(list, a), slices.Index(list, b)
		return i-j == 1 || j-i == 1
	})
	return err
}

// heal takes everything off all links.
func (s *script) heal([]string) error {
	s.toggles++
	for i := range s.w.nodes {
		for j := range s.w.nodes {
			if i != j {
				s.w.clear(i, j)
			}
		}
	}
	return nil
}

// toggle takes a node's links away and back until heal: toggle n3 8s.
func (s *script) toggle(args []string) error {
	n, err := s.one(args, 0)
	if err != nil || len(args) != 2 {
		return fmt.Errorf("want a name and a period: %w", err)
	}
	period, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	mine := s.toggles
	var turn func(cut bool)
	turn = func(cut bool) {
		if s.toggles != mine {
			return
		}
		for j := range s.w.nodes {
			switch {
			case j == n.i:
			case cut:
				s.w.cut(n.i, j)
				s.w.cut(j, n.i)
			default:
				s.w.mend(n.i, j)
				s.w.mend(j, n.i)
			}
		}
		s.w.after(period, func() { turn(!cut) })
	}
	turn(true)
	return nil
}

var boundaryNames = []string{"before-commit", "during-commit", "after-commit", "between-sends", "before-advance"}

// kill ends processes at once, or one at the nth crossing of a boundary from now:
// kill n3 at=after-commit nth=2.
func (s *script) kill(args []string) error {
	o := parseArgs(args)
	at, nth := o.key("at"), 1
	if err := o.number("nth", &nth); err != nil {
		return err
	}
	list, err := s.list(strings.Join(o.words, ","))
	if err != nil || at == "" {
		for _, n := range list {
			n.kill()
		}
		return err
	}
	k := slices.Index(boundaryNames, at)
	if k < 0 {
		return fmt.Errorf("at is one of %s", strings.Join(boundaryNames, ", "))
	}
	for _, n := range list {
		n.doom, n.doomIn, n.back = boundary(k), nth, 1000*time.Hour
	}
	return nil
}

// wake ends a sleep that lasted longer than the script did: wake n3 3h.
func (s *script) wake(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want names and for how long they slept")
	}
	list, err := s.list(args[0])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[1])
	for _, n := range list {
		n.wake(d)
	}
	return err
}

// nervous lets a node suspect another that lives: nervous n1 n3 500ms.
func (s *script) nervous(args []string) error {
	a, err := s.one(args, 0)
	if err != nil {
		return err
	}
	b, err := s.one(args, 1)
	if err != nil || len(args) != 3 {
		return fmt.Errorf("want two names and a duration: %w", err)
	}
	d, err := time.ParseDuration(args[2])
	if err == nil {
		a.falseAlarm(b, d)
	}
	return err
}

// image keeps a copy of a disk; restore sets the node back to it and starts it.
func (s *script) image(args []string) error {
	n, err := s.one(args, 0)
	if err == nil {
		s.images[n] = n.disk.image()
	}
	return err
}

func (s *script) restore(args []string) error {
	n, err := s.one(args, 0)
	if err != nil {
		return err
	}
	if s.images[n] == nil {
		return fmt.Errorf("there is no image")
	}
	s.replace(n, s.images[n].image())
	return nil
}

// wipe empties a disk and starts the process as though nothing had happened.
func (s *script) wipe(args []string) error {
	n, err := s.one(args, 0)
	if err == nil {
		s.replace(n, newDisk())
	}
	return err
}

// replace puts another disk under a process that does not know.
func (s *script) replace(n *node, d *disk) {
	n.kill()
	s.w.faults = s.w.faults.With(OldImage)
	n.disk, n.setback = d, true
	s.seen[n.i].index = d.index
	n.revive()
}

// wall sets a wall clock: wall n3 1970, or wall n3 -5h.
func (s *script) wall(args []string) error {
	n, err := s.one(args, 0)
	if err != nil || len(args) != 2 {
		return fmt.Errorf("want a name and 1970 or a duration: %w", err)
	}
	if args[1] == "1970" {
		n.wall = time.Unix(0, 0).Sub(time.Unix(1_700_000_000, 0))
		return nil
	}
	n.wall, err = time.ParseDuration(args[1])
	return err
}

// join admits nodes that were absent and starts them.
func (s *script) join(args []string) error {
	list, err := s.list(strings.Join(args, ","))
	for _, n := range list {
		s.w.admit(n)
		n.start()
	}
	return err
}

// remove has the creator remove a member, which goes on running.
func (s *script) remove(args []string) error {
	n, err := s.one(args, 0)
	if err != nil {
		return err
	}
	n.leaving = true
	s.w.creator().say("remove", room.Draft{Kind: ordering.KindRemove, Body: ordering.Remove{Device: n.self.Device}.Encode()})
	return nil
}

// poison lets a member hand another an entry of its own whose ts is far ahead:
// poison n1 n2 4611686018427387904.
func (s *script) poison(args []string) error {
	a, err := s.one(args, 0)
	if err != nil {
		return err
	}
	b, err := s.one(args, 1)
	if err != nil || len(args) != 3 || a.core == nil || b.core == nil {
		return fmt.Errorf("want two names of nodes that run, and a ts: %w", err)
	}
	var ts uint64
	if _, err := fmt.Sscan(args[2], &ts); err != nil {
		return err
	}
	e := a.core.Graph().Next(a.self)
	e.TS, e.Kind, e.Body = ts, ordering.KindMessage, []byte("poison")
	e.Client = ordering.SignClient(s.lab.people[0], s.w.room, 0, a.self.Device, "poison", e.Body)
	run := ordering.SignRun(s.lab.devices[a.i], ordering.Seal(e))
	s.w.runs[run.Run().Last().Hash()] = run
	b.input("poison", func() {
		if err := b.core.Receive(b.clock(), a.self.Device, run); err != nil {
			s.tell(fmt.Sprintf("refuses ts %d of %s: %s", ts, a.title(), reasonOf(err)), b.title())
		} else {
			s.tell(fmt.Sprintf("takes ts %d of %s", ts, a.title()), b.title())
		}
	})
	return nil
}

func reasonOf(err error) string {
	text := err.Error()
	return text[strings.LastIndexByte(text, ' ')+1:]
}

// fork has a member say its next words to half of the others in another way.
func (s *script) fork(args []string) error {
	n, err := s.one(args, 0)
	if err == nil {
		s.w.faults, n.forge = s.w.faults.With(Fork), true
	}
	return err
}

// twin has a member found another room of the same name, mode and invite, and
// hand its beginning to another member: twin n2 n1.
func (s *script) twin(args []string) error {
	a, err := s.one(args, 0)
	if err != nil {
		return err
	}
	b, err := s.one(args, 1)
	if err != nil || b.core == nil {
		return fmt.Errorf("want two names of nodes that run: %w", err)
	}
	run, id := s.lab.genesis(a.i, a.number, s.w.epochs.begins)
	s.tell(fmt.Sprintf("founds a room of the same name: the same room id is %t", id == s.w.room), a.title())
	b.input("twin", func() {
		if err := b.core.Receive(b.clock(), a.self.Device, run); err != nil {
			s.tell(fmt.Sprintf("refuses the other room's beginning: %s", reasonOf(err)), b.title())
		} else {
			s.tell("takes the other room's beginning", b.title())
		}
	})
	return nil
}

// finals shows the final list.
func (s *script) finals([]string) error {
	s.flush(0)
	for i := range s.w.canon.order {
		fmt.Fprintf(&s.out, "  %s\n", s.passage(uint64(i), uint64(i)+1))
	}
	return nil
}

// status shows where everybody is, as people are told.
func (s *script) status([]string) error {
	s.flush(0)
	for _, n := range s.w.nodes {
		is := [...]string{"has not joined", "runs", "is stopped", "sleeps", "is dead", "is gone"}[n.state]
		if n.core == nil || !n.runs() {
			fmt.Fprintf(&s.out, "  %s %s: %d finals\n", n.title(), is, n.disk.index)
			continue
		}
		o := n.core.Order()
		lead := "has no leader"
		switch {
		case o.Leading:
			lead = "leads"
		case o.Leader != (ordering.Origin{}):
			lead = "follows " + s.name(o.Leader)
		}
		waits := ""
		if w := s.names(o.WaitingFor); w != "" {
			waits = ", waits for " + w
		}
		fmt.Fprintf(&s.out, "  %s %s in term %d: %d finals, %d tentative%s\n", n.title(), lead, o.Term, o.FinalIndex, o.Tentative, waits)
	}
	return nil
}

// disk shows what is durable at nodes.
func (s *script) disk(args []string) error {
	s.flush(0)
	list, err := s.list(strings.Join(args, ","))
	for _, n := range list {
		d := n.disk
		var chains []string
		for _, o := range d.have.Origins() {
			chains = append(chains, fmt.Sprintf("%s:%d", s.name(o), d.have[o]))
		}
		slices.Sort(chains)
		fmt.Fprintf(&s.out, "  %s holds %s with clock %d; log to %d@%d, term %d, commit %d, seats as of %d, list as of %d; %d finals\n",
			n.title(), strings.Join(chains, " "), d.clock, d.last(), lastTerm(d), d.control.Hard.Term, d.control.Hard.Commit, d.control.RaftApplied, d.applied, d.index)
	}
	return err
}

func lastTerm(d *disk) uint64 {
	if k := len(d.control.Log); k > 0 {
		return d.control.Log[k-1].Term
	}
	return d.control.Snapshot.Term
}

// election is what goes over the wire for one.
const electionFrames = "ELECTION|OK |ALIVE|COORDINATOR|PROBE|vote|timeoutnow"

// setFrames chooses what is shown of what goes over the wire: frames on, off,
// election, or a regular expression.
func (s *script) setFrames(args []string) error {
	what := strings.Join(args, " ")
	s.w.opt.Trace, s.frames = nil, nil
	switch what {
	case "off":
		return nil
	case "on":
		what = "."
	case "election":
		what = electionFrames
	}
	var err error
	if s.frames, err = regexp.Compile(what); err == nil {
		s.w.opt.Trace = &Trace{}
	}
	return err
}
