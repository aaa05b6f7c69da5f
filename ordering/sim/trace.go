package sim

import (
	"fmt"
	"io"
	"strings"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
)

// Failure says which invariant a world broke.
type Failure struct {
	Invariant string // as PROTOCOL.md 4 names it, or "panic"
	Detail    string
	At        time.Duration
	Node      int // -1: none in particular
}

func (f *Failure) Error() string {
	who := ""
	if f.Node >= 0 {
		who = fmt.Sprintf(" at n%d", f.Node)
	}
	return fmt.Sprintf("%s broken%s after %s: %s", f.Invariant, who, f.At, f.Detail)
}

// failf ends the world. The first failure counts.
func (w *World) failf(node int, invariant, format string, args ...any) {
	if w.fail != nil {
		return
	}
	w.fail = &Failure{Invariant: invariant, Detail: fmt.Sprintf(format, args...), At: w.now, Node: node}
	w.note(node, "BROKEN %s: %s", invariant, w.fail.Detail)
}

// Trace keeps the newest lines of what happens in a world.
type Trace struct {
	Keep int // lines; 0: all
	line []string
	lost int
}

func (t *Trace) add(s string) {
	if t.Keep > 0 && len(t.line) >= 2*t.Keep {
		t.lost += len(t.line) - t.Keep
		t.line = append(t.line[:0], t.line[len(t.line)-t.Keep:]...)
	}
	t.line = append(t.line, s)
}

// WriteTo writes the lines.
func (t *Trace) WriteTo(w io.Writer) (int64, error) {
	lines, lost := t.line, t.lost
	if t.Keep > 0 && len(lines) > t.Keep {
		lost += len(lines) - t.Keep
		lines = lines[len(lines)-t.Keep:]
	}
	var b strings.Builder
	if lost > 0 {
		fmt.Fprintf(&b, "(%d lines before)\n", lost)
	}
	for _, s := range lines {
		b.WriteString(s)
		b.WriteByte('\n')
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// note writes a line of the trace. Callers on hot paths look at tracing first.
func (w *World) note(node int, format string, args ...any) {
	if w.opt.Trace == nil {
		return
	}
	who := "--"
	if node >= 0 {
		who = fmt.Sprintf("n%d", node)
	}
	w.opt.Trace.add(fmt.Sprintf("%9.4f %s %s", w.now.Seconds(), who, fmt.Sprintf(format, args...)))
}

func (w *World) tracing() bool { return w.opt.Trace != nil }

// who names an origin as the trace does: by its place, with a prime for each
// later instance.
func (w *World) who(o ordering.Origin) string {
	if o == (ordering.Origin{}) {
		return "none"
	}
	for _, n := range w.nodes {
		if n.self.Device == o.Device {
			return fmt.Sprintf("n%d%s", n.i, strings.Repeat("'", int(o.Instance[0])-1))
		}
	}
	return o.Tag()
}

func (w *World) whoAll(os []ordering.Origin) string {
	var s []string
	for _, o := range os {
		s = append(s, w.who(o))
	}
	return "{" + strings.Join(s, " ") + "}"
}

func (w *World) id(id ordering.EntryID) string { return fmt.Sprintf("%s/%d", w.who(id.Origin), id.Seq) }

func (w *World) vector(v ordering.Vector) string {
	var s []string
	for _, o := range v.Origins() {
		s = append(s, fmt.Sprintf("%s:%d", w.who(o), v[o]))
	}
	return "[" + strings.Join(s, " ") + "]"
}

func names(ns []*node) string {
	var s []string
	for _, n := range ns {
		s = append(s, fmt.Sprintf("n%d", n.i))
	}
	return strings.Join(s, ",")
}

// describe says a message in a few words.
func (w *World) describe(m ordering.Message) string {
	switch m := m.(type) {
	case *ordering.Push:
		return fmt.Sprintf("push %s +%d", w.id(m.Run.First().ID()), len(m.Run.Entries)-1)
	case *ordering.Digest:
		return fmt.Sprintf("digest of %d", m.Count)
	case *ordering.Have:
		return fmt.Sprintf("have %s answer=%t", w.vector(m.Vector), m.Answer)
	case *ordering.Raft:
		return "raft " + describeRaft(m.Data)
	case *ordering.Bully:
		kind := map[ordering.BullyKind]string{
			ordering.Election: "ELECTION", ordering.OK: "OK", ordering.Alive: "ALIVE", ordering.Coordinator: "COORDINATOR", ordering.Probe: "PROBE",
		}[m.Kind]
		return fmt.Sprintf("%s term=%d last=%d@%d leader=%s", kind, m.Term, m.LastIndex, m.LastTerm, w.who(m.Leader))
	case *ordering.Standing:
		return fmt.Sprintf("standing leader=%s term=%d commit=%d last=%d@%d applied=%d final=%d", w.who(m.Leader), m.Term, m.Commit, m.LastIndex, m.LastTerm, m.Applied, m.FinalIndex)
	case *ordering.Relay:
		what := "?"
		if s, err := ordering.DecodeSignal(m.Data); err == nil {
			what = w.describe(s)
		}
		return fmt.Sprintf("relay %s to %s, hops %d: %s", w.who(ordering.Origin{Device: m.From, Instance: ordering.Instance{1}}),
			w.who(ordering.Origin{Device: m.To, Instance: ordering.Instance{1}}), m.Hops, what)
	}
	return w.describeEpochal(m)
}

// describeRecord says what a record of the control log says.
func (w *World) describeRecord(r *control.Record) string {
	if r.Kind == control.KindConf {
		return "conf"
	}
	c, err := ordering.DecodeCommand(r.Data)
	if err != nil {
		return "empty"
	}
	switch c := c.(type) {
	case *ordering.Batch:
		s := fmt.Sprintf("batch of epoch %d:", c.Epoch)
		for _, run := range c.Runs {
			s += " " + w.id(run.Last().ID())
		}
		return s
	case *ordering.Epoch:
		return fmt.Sprintf("epoch %d %s", c.N, w.whoAll(c.View)) + w.describeEpoch(c)
	case *ordering.Checkpoint:
		return fmt.Sprintf("checkpoint %d", c.Index)
	}
	return "?"
}
