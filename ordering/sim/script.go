package sim

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
	"tertulia/ordering/room"
)

// A script is a scenario in words: blocks of commands, each with the trace that
// is expected of it, in the manner of etcd/raft's interaction tests.
//
//	# what would go wrong
//	room n1 n2 n3
//	----
//	   0.000 at rest: voters n1,n2,n3, n3 leads term 3
//
//	kill n3
//	expect leader n2 within 1s
//	----
//	   0.000 n3 is dead
//	   ...
//
// The world is that of the simulator, with the same checks after every commit,
// but without chance: what the simulator draws always comes out in the middle.
// Nothing happens that the script does not say. The trace tells what people and
// operators would see; "frames on" adds what goes over the wire.
//
// An expect or until that does not hold, a command that cannot be carried out
// and a broken invariant fail the script, whatever the expected trace says.

// Limits of a script.
const (
	maxScriptWait = time.Hour             // of one command, virtual
	untilMost     = time.Minute           // what until waits for without "within"
	passageMost   = 6                     // parts of the final list that one line shows
	together      = 50 * time.Millisecond // replicas that tell the same so soon after the first share a line
)

// RunScript plays a script and returns it with the trace that came, and what did
// not hold.
func (l *Lab) RunScript(text string) (string, []error) {
	s := &script{lab: l, texts: make(map[ordering.Hash]string), images: make(map[*node]*disk)}
	var out strings.Builder
	for _, b := range splitScript(text) {
		out.WriteString(b.before)
		if len(b.commands) == 0 {
			continue
		}
		for _, line := range b.commands {
			out.WriteString(line.text)
			out.WriteByte('\n')
			if len(line.words) > 0 {
				s.do(line)
			}
		}
		out.WriteString("----\n")
		told := s.out.String()
		if told == "" {
			told = "ok\n"
		}
		out.WriteString(told)
		s.out.Reset()
	}
	return out.String(), s.errs
}

// block is some commands and what stands before them: comments and empty lines.
type block struct {
	before   string
	commands []scriptLine
}

type scriptLine struct {
	number int
	text   string
	words  []string
}

// splitScript parses a script; the expected traces are dropped.
func splitScript(text string) (blocks []block) {
	var b block
	trace := false
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case trace && line != "":
		case line == "----":
			blocks, b, trace = append(blocks, b), block{}, true
		case line == "" || strings.HasPrefix(line, "#") && len(b.commands) == 0:
			trace = false
			b.before += line + "\n"
		default:
			b.commands = append(b.commands, scriptLine{i + 1, line, splitWords(line)})
		}
	}
	if len(b.commands) > 0 || b.before != "" {
		blocks = append(blocks, b)
	}
	return blocks
}

// splitWords parts a command at spaces outside quotes; the quotes go, and so does
// a comment.
func splitWords(line string) (words []string) {
	var word strings.Builder
	quoted, any := false, false
	flush := func() {
		if any {
			words = append(words, word.String())
		}
		word.Reset()
		any = false
	}
	for _, r := range line {
		switch {
		case r == '"':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			flush()
		case r == '#' && !quoted && !any:
			return words
		default:
			word.WriteRune(r)
			any = true
		}
	}
	flush()
	return words
}

// script is a script under way.
type script struct {
	lab     *Lab
	w       *World
	out     strings.Builder
	began   time.Duration // when the world was at rest: the trace counts from there
	errs    []error
	number  int // of the line that is carried out
	told    []telling
	brief   bool // only of leaders is told
	seen    []sight
	texts   map[ordering.Hash]string // what was said
	wait    []ordering.Ref           // said, and its fate is not told yet
	images  map[*node]*disk
	frames  *regexp.Regexp // of what goes over the wire, what is shown; nil: nothing
	marked  mark
	toggles int // of links, that heal has ended
}

// telling is a line of the trace to which replicas are still added.
type telling struct {
	at   time.Duration
	who  []string
	what string
}

// sight is what was last told of a replica.
type sight struct {
	forks    int // proofs it has
	state    state
	instance int
	core     bool
	leading  bool
	term     uint64
	leader   ordering.Origin
	stood    uint64 // the last term it was told to stand in
	index    uint64
	epoch    uint64
	seats    string
	waits    string
}

// mark is what later expectations are about.
type mark struct {
	leaders int
	term    uint64
	order   int
	index   []uint64
}

// A command of a script; args are without its name.
var commands = map[string]func(s *script, args []string) error{
	"room": (*script).found, "say": (*script).say, "run": (*script).runFor, "until": (*script).until, "expect": (*script).expect, "mark": (*script).mark,
	"cut": linkwise((*World).cut), "mend": linkwise((*World).mend), "jam": linkwise((*World).jam), "unjam": linkwise((*World).unjam),
	"isolate": (*script).isolate, "split": (*script).split, "chain": (*script).chain, "heal": (*script).heal, "toggle": (*script).toggle,
	"kill": (*script).kill, "restart": each((*node).revive), "freeze": each((*node).freeze), "thaw": each((*node).thaw),
	"sleep": each((*node).sleep), "wake": (*script).wake, "drain": each(func(n *node) { n.drain(func() {}) }), "nervous": (*script).nervous,
	"full": each(func(n *node) { n.setDisk(true, true) }), "low": each(func(n *node) { n.setDisk(false, true) }), "free": each(func(n *node) { n.setDisk(false, false) }),
	"image": (*script).image, "restore": (*script).restore, "wipe": (*script).wipe, "wall": (*script).wall,
	"join": (*script).join, "switch": (*script).switchOrder, "remove": (*script).remove, "poison": (*script).poison, "fork": (*script).fork, "twin": (*script).twin,
	"finals": (*script).finals, "status": (*script).status, "disk": (*script).disk, "frames": (*script).setFrames,
}

// do carries out one line.
func (s *script) do(l scriptLine) {
	s.number = l.number
	f := commands[l.words[0]]
	var err error
	switch {
	case f == nil:
		err = fmt.Errorf("no command is called %s", l.words[0])
	case s.w == nil && l.words[0] != "room":
		err = fmt.Errorf("a script begins with room")
	case s.w != nil && s.w.fail != nil:
		return
	default:
		err = f(s, l.words[1:])
	}
	if s.w != nil {
		s.look()
		s.flush(0)
		if s.w.fail != nil {
			err = s.w.fail
		}
	}
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("line %d: %s: %w", l.number, l.text, err))
		fmt.Fprintf(&s.out, "FAILED %s: %v\n", l.text, err)
	}
}

// middle is a source that always draws the middle.
type middle struct{}

func (middle) Uint64() uint64 { return 1<<63 - 1 }

// found begins the world: room n1 n2 n3 absent=n4 stable=1s hold=2s. The first
// name is the creator's; the name's number gives the rank. It ends when the seats
// are filled and the highest voter leads.
func (s *script) found(args []string) error {
	o := parseArgs(args)
	p := plan{waits: room.Waits{Stable: time.Second, Hold: 2 * time.Second, Readmit: time.Second}, fsync: 1, delay: time.Millisecond}
	for key, d := range map[string]*time.Duration{
		"stable": &p.waits.Stable, "hold": &p.waits.Hold, "evict": &p.waits.Evict, "readmit": &p.waits.Readmit, "replace": &p.waits.Replace, "delay": &p.delay,
	} {
		if err := o.duration(key, d); err != nil {
			return err
		}
	}
	begins, err := modeOf(cmp.Or(o.key("ordering"), "leader"))
	if err != nil {
		return err
	}
	absent := o.key("absent")
	if err := o.rest(); err != nil || len(o.words) == 0 || len(o.words) > MaxCrowd {
		return fmt.Errorf("want 1 to %d names: %w", MaxCrowd, err)
	}
	s.w = s.lab.stage(p)
	w := s.w
	w.epochs.begins = begins
	for i, name := range o.words {
		number, err := strconv.Atoi(strings.TrimPrefix(name, "n"))
		if err != nil || s.find(name) != nil {
			return fmt.Errorf("%q is no name like n1, or twice", name)
		}
		if i == 0 {
			w.genes, w.room = s.lab.genesis(0, number, w.epochs.begins)
		}
		w.enter(number)
	}
	s.seen = make([]sight, len(w.nodes))
	late, err := s.list(absent)
	if err != nil {
		return err
	}
	w.nodes[0].start()
	for _, n := range w.nodes[1:] {
		if !slices.Contains(late, n) {
			w.admit(n)
			n.start()
		}
	}
	ok := s.pass(maxScriptWait, func() bool { return s.unrest() == "" })
	s.told = nil // how it came to this is not told
	s.out.Reset()
	s.began = w.now
	if !ok {
		return fmt.Errorf("does not come to rest: %s", s.unrest())
	}
	s.tell("at rest: "+s.seatsOf(w.canon.newest(1)[0])+fmt.Sprintf(", %s leads term %d", s.leader(), s.term()), "")
	return s.mark(nil)
}

// stage begins a world without nodes in which nothing is left to chance.
func (l *Lab) stage(p plan) *World {
	return &World{
		lab: l, canon: newCanon(), net: rand.New(middle{}), load: rand.New(middle{}), plan: p, runs: make(map[ordering.Hash]ordering.Verified), forged: make(map[ordering.Hash]ordering.Verified), forgers: make(map[ordering.Origin]bool),
	}
}

// enter adds a node, before anything has begun.
func (w *World) enter(number int) {
	i := len(w.nodes)
	n := w.newNode(i, number, i == 0)
	n.dice, n.phase = rand.New(middle{}), time.Duration(i)*beatEvery/MaxNodes
	w.nodes, w.links = append(w.nodes, n), append(w.links, nil)
	for j := range i {
		w.links[j] = append(w.links[j], &link{i: j, j: i, delay: w.plan.delay})
	}
	for j := range i + 1 {
		w.links[i] = append(w.links[i], &link{i: i, j: j, delay: w.plan.delay})
	}
}

// pass lets virtual time pass, event by event, and tells what changed, until done
// or for d.
func (s *script) pass(d time.Duration, done func() bool) bool {
	w := s.w
	for end := w.now + d; ; {
		if done != nil && done() {
			return true
		}
		if w.now >= end || w.fail != nil {
			return false
		}
		next := end
		if len(w.events) > 0 {
			next = min(next, w.events[0].at+1)
		}
		for _, n := range w.nodes {
			if n.due >= 0 {
				next = min(next, n.due+1)
			}
		}
		w.run(max(next, w.now+1)-w.now, nil)
		s.look()
	}
}

// look tells what is new.
func (s *script) look() {
	s.flush(together)
	s.showFrames()
	for of, run := range s.w.forged {
		s.texts[run.Run().Last().Hash()] = s.texts[of] + ", as half hear it"
	}
	for i, n := range s.w.nodes {
		s.lookAt(n, &s.seen[i])
	}
	s.wait = slices.DeleteFunc(s.wait, func(r ordering.Ref) bool {
		f, known := s.w.canon.fates[r.EntryID]
		switch {
		case !known:
			return false
		case f.fate == linear.Repeat:
			s.tell(fmt.Sprintf("%q of %s is a repeat, and takes no place", s.texts[r.Hash], s.name(r.Origin)), "")
		case f.fate == linear.Void:
			s.tell(fmt.Sprintf("%q of %s is void", s.texts[r.Hash], s.name(r.Origin)), "")
		}
		return true
	})
}

// lookAt tells what is new at one node.
func (s *script) lookAt(n *node, was *sight) {
	me := n.title()
	if n.instance != was.instance {
		s.tell(fmt.Sprintf("goes on as %s", me), strings.TrimSuffix(me, "'"))
		*was = sight{instance: n.instance, state: was.state}
	}
	if n.state != was.state {
		s.tell(map[state]string{
			running: fmt.Sprintf("runs, with %d finals", n.disk.index), frozen: "is stopped", asleep: "sleeps", dead: "is dead", gone: "is gone",
		}[n.state], me)
		if n.state == dead || was.state == dead || was.state == unborn {
			*was = sight{instance: n.instance, core: true, index: n.disk.index, epoch: was.epoch, seats: was.seats}
		}
		was.state = n.state
	}
	if !n.runs() {
		return
	}
	if core := n.core != nil; core != was.core {
		s.tell(map[bool]string{true: "has a disk that takes writes again", false: "has a disk that takes no writes"}[core], me)
		was.core, was.leading, was.leader = core, false, ordering.Origin{}
	}
	if n.core == nil {
		return
	}
	o := n.core.Order()
	if len(o.Forks) > was.forks {
		s.tell(fmt.Sprintf("has the proof that %s forked", s.name(o.Forks[len(o.Forks)-1])), me)
	}
	was.forks = len(o.Forks)
	s.lookAtLead(n, was, &o)
	if was.index < n.disk.index {
		s.tell("final "+s.passage(was.index, n.disk.index), me)
		was.index = n.disk.index
	}
	if seats := s.seatsOf(conf{o.Voters, o.Outgoing, o.Learners}); seats != was.seats && len(o.Voters) > 0 {
		s.tell("seats: "+seats, me)
		was.seats = seats
	}
	if o.Epoch != was.epoch && o.Epoch > 0 {
		s.tell(fmt.Sprintf("epoch %d with %s", o.Epoch, s.names(o.View)), me)
		was.epoch = o.Epoch
	}
	if waits := s.names(o.WaitingFor); waits != was.waits {
		s.tell("waits for "+cmp.Or(waits, "nobody"), me)
		was.waits = waits
	}
}

// lookAtLead tells who leads, as one node sees it.
func (s *script) lookAtLead(n *node, was *sight, o *room.Order) {
	me := n.title()
	if o.Role == control.Candidate && o.Term != was.stood {
		s.tell(fmt.Sprintf("stands in term %d", o.Term), me)
		was.stood = o.Term
	}
	switch leading := n.leading; {
	case leading && (!was.leading || was.term != n.term):
		s.tell(fmt.Sprintf("leads term %d", n.term), me)
	case !leading && was.leading:
		s.tell(fmt.Sprintf("leads term %d no more", was.term), me)
	}
	was.leading, was.term = n.leading, n.term
	if o.Leader == was.leader {
		return
	}
	was.leader = o.Leader
	switch {
	case o.Leader == ordering.Origin{}:
		s.tell("has no leader", me)
	case o.Leader != n.self:
		s.tell(fmt.Sprintf("follows %s in term %d", s.name(o.Leader), o.Term), me)
	}
}

// tell adds to the trace; who is empty when it concerns nobody in particular.
func (s *script) tell(what, who string) {
	if s.brief && !strings.HasPrefix(what, "leads") && !strings.HasPrefix(what, "stands") {
		return
	}
	for i := range s.told {
		if t := &s.told[i]; t.what == what && !slices.Contains(t.who, who) {
			t.who = append(t.who, who)
			return
		}
	}
	s.told = append(s.told, telling{s.w.now, []string{who}, what})
}

// flush writes the tellings that are older than a while.
func (s *script) flush(older time.Duration) {
	for len(s.told) > 0 && (older == 0 || s.told[0].at+older < s.w.now) {
		t := s.told[0]
		s.told = s.told[1:]
		slices.Sort(t.who)
		who := strings.Join(t.who, ",")
		if who != "" {
			who += " "
		}
		fmt.Fprintf(&s.out, "%8.3f %s%s\n", (t.at - s.began).Seconds(), who, t.what)
	}
}

// showFrames tells what went over the wire, as far as it is asked for.
func (s *script) showFrames() {
	if s.frames == nil {
		return
	}
	for _, line := range s.w.opt.Trace.line {
		at, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.Contains(what, "  -> ") || !s.frames.MatchString(what) {
			continue
		}
		s.flush(0)
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil {
			continue // no line of a world begins otherwise
		}
		fmt.Fprintf(&s.out, "%8.3f   %s\n", seconds-s.began.Seconds(), s.renumber(strings.Replace(what, "   -> ", " > ", 1)))
	}
	s.w.opt.Trace.line = nil
}

var placePattern = regexp.MustCompile(`\bn(\d)\b`)

// renumber gives the nodes, which a world counts from 0, their names.
func (s *script) renumber(text string) string {
	return placePattern.ReplaceAllStringFunc(text, func(p string) string {
		return fmt.Sprintf("n%d", s.w.nodes[p[1]-'0'].number)
	})
}

// passage is the final list after an index: what one author counted up is
// drawn together.
func (s *script) passage(after, upTo uint64) string {
	type part struct {
		from, to, first, last string
		by                    string
		prefix                string
		count                 int
	}
	var parts []part
	for i := after + 1; i <= upTo; i++ {
		x := &s.w.canon.order[i-1]
		text, by := s.texts[x.hash], s.name(x.id.Origin)
		if s.w.canon.fates[x.id].late {
			by += ", late"
		}
		prefix, count := text, 0
		if k := strings.LastIndexByte(text, ' '); k > 0 {
			if c, err := strconv.Atoi(text[k+1:]); err == nil {
				prefix, count = text[:k], c
			}
		}
		at := strconv.FormatUint(i, 10)
		if n := len(parts); n > 0 && count > 1 {
			if p := &parts[n-1]; p.prefix == prefix && p.by == by && p.count == count-1 {
				p.to, p.last, p.count = at, text, count
				continue
			}
		}
		parts = append(parts, part{at, at, text, text, by, prefix, count})
	}
	var list []string
	for _, p := range parts {
		if p.from == p.to {
			list = append(list, fmt.Sprintf("%s %q (%s)", p.from, p.first, p.by))
		} else {
			list = append(list, fmt.Sprintf("%s-%s %q to %q (%s)", p.from, p.to, p.first, p.last, p.by))
		}
	}
	if k := len(list); k > passageMost {
		list = append(list[:passageMost-1:passageMost-1], fmt.Sprintf("%d more", k-passageMost), list[k-1])
	}
	return strings.Join(list, ", ")
}

// title is the node's name in a script, with a prime for each later instance.
func (n *node) title() string { return fmt.Sprintf("n%d", n.number) + strings.Repeat("'", n.instance) }

func (s *script) name(o ordering.Origin) string {
	n := s.w.find(o.Device)
	if n == nil {
		return o.Tag()
	}
	return fmt.Sprintf("n%d", n.number) + strings.Repeat("'", int(o.Instance[0])-1)
}

func (s *script) names(os []ordering.Origin) string {
	var list []string
	for _, o := range os {
		list = append(list, s.name(o))
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

func (s *script) seatsOf(f conf) string {
	text := "voters " + s.names(f.voters)
	if len(f.outgoing) > 0 {
		text += " and still " + s.names(f.outgoing)
	}
	if len(f.learners) > 0 {
		text += ", learners " + s.names(f.learners)
	}
	return text
}

// up returns the nodes that run.
func (s *script) up() []*node {
	return slices.DeleteFunc(slices.Clone(s.w.nodes), func(n *node) bool { return !n.runs() || n.core == nil || n.leaving })
}

// term is the highest of those that run.
func (s *script) term() (t uint64) {
	for _, n := range s.up() {
		t = max(t, n.disk.control.Hard.Term)
	}
	return t
}

// leader names who leads the highest term that is led.
func (s *script) leader() string {
	best := ""
	var term uint64
	for _, n := range s.up() {
		if n.leading && n.term > term {
			best, term = n.title(), n.term
		}
	}
	return best
}

// unrest says what is missing until those that run agree, fill the seats, and
// follow the highest voter.
func (s *script) unrest() string {
	w, all := s.w, s.up()
	if why := w.lacks(all); why != "" {
		return why
	}
	for _, n := range all {
		if k := n.core.Graph().MemberCount(); k < len(all) {
			return fmt.Sprintf("%s knows %d members", n.title(), k)
		}
	}
	want := len(all)
	if want = min(want, 5); want%2 == 0 {
		want--
	}
	if f := w.canon.newest(1); len(f) == 0 || len(f[0].voters) < want || len(f[0].outgoing)+len(f[0].learners) > 0 {
		return "seats are not filled"
	} else if i := slices.IndexFunc(f[0].voters, func(o ordering.Origin) bool { return w.find(o.Device).self != o }); i >= 0 {
		return s.name(f[0].voters[i]) + " votes and is no more"
	}
	if s.leader() == "" {
		return "nobody leads"
	}
	for _, n := range all {
		if o := n.core.Order(); len(o.View) < min(len(all), ordering.MaxView) || len(o.WaitingFor) > 0 {
			return n.title() + " has a view of " + s.names(o.View)
		}
	}
	return w.uncrowned(all)
}

// arguments are the words of a command, and those like key=value.
type arguments struct {
	words []string
	keys  map[string]string
}

func parseArgs(args []string) *arguments {
	o := &arguments{keys: make(map[string]string)}
	for _, a := range args {
		if key, value, ok := strings.Cut(a, "="); ok && !strings.Contains(key, " ") {
			o.keys[key] = value
		} else {
			o.words = append(o.words, a)
		}
	}
	return o
}

// key takes the value of a key, "" if it is not given.
func (o *arguments) key(name string) string {
	v := o.keys[name]
	delete(o.keys, name)
	return v
}

func (o *arguments) duration(name string, d *time.Duration) error {
	v := o.key(name)
	if v == "" {
		return nil
	}
	var err error
	*d, err = time.ParseDuration(v)
	return err
}

func (o *arguments) number(name string, k *int) error {
	v := o.key(name)
	if v == "" {
		return nil
	}
	var err error
	*k, err = strconv.Atoi(v)
	return err
}

// rest refuses keys that nobody asked for.
func (o *arguments) rest() error {
	for _, k := range slices.Sorted(maps.Keys(o.keys)) {
		return fmt.Errorf("%s= means nothing here", k)
	}
	return nil
}

func (s *script) find(name string) *node {
	for _, n := range s.w.nodes {
		if fmt.Sprintf("n%d", n.number) == strings.TrimRight(name, "'") {
			return n
		}
	}
	return nil
}

// list returns the nodes that are named by commas; all are all, "" is none.
func (s *script) list(names string) (list []*node, err error) {
	switch names {
	case "":
		return nil, nil
	case "all":
		return s.w.nodes, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		n := s.find(name)
		if n == nil {
			return nil, fmt.Errorf("nobody is called %s", name)
		}
		list = append(list, n)
	}
	return list, nil
}

// one returns the node of a name.
func (s *script) one(args []string, at int) (*node, error) {
	if at >= len(args) {
		return nil, fmt.Errorf("too few words")
	}
	if n := s.find(args[at]); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("nobody is called %s", args[at])
}
