package sim

import (
	"bufio"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tertulia/ordering/mutant"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "replay the one world of this seed")
	fromFlag   = flag.Uint64("from", 1, "first seed to try")
	worldsFlag = flag.Uint64("worlds", 0, "how many worlds to try; 0: as many as -for allows")
	forFlag    = flag.Duration("for", 30*time.Second, "how long to try worlds")
	faultsFlag = flag.String("faults", "", "classes of faults instead of those that the seed chooses, by commas; all; none")
	modeFlag   = flag.String("mode", "", "order of the rooms: leader, lamport or mixed; empty: as the seed says")
	mutantFlag = flag.String("mutant", "", "make this mistake in all replicas and hunt for a world that shows it")
	fullFlag   = flag.Bool("full", false, "print the whole trace of a failed world, or of the world of -seed")
)

// traced is how many lines of a failed world are printed without -full.
const traced = 200

// TestMain lets garbage pile up: a world is short and has its memory to itself.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

func options(t testing.TB, seed uint64) Options {
	opt := Options{Seed: seed, Ordering: OrderingOf(seed)}
	if *modeFlag != "" {
		o, err := ParseOrdering(*modeFlag)
		if err != nil {
			t.Fatal(err)
		}
		opt.Ordering = o
	}
	if *faultsFlag != "" {
		f, err := ParseFaults(*faultsFlag)
		if err != nil {
			t.Fatal(err)
		}
		opt.Faults = &f
	}
	if *mutantFlag != "" {
		m, ok := mutants(t)[*mutantFlag]
		if !ok {
			t.Fatalf("no mutant is called %s", *mutantFlag)
		}
		opt.Mutant = m
	}
	return opt
}

// TestSim plays worlds until one fails. With -mutant it is the other way around:
// it passes when a world has failed.
func TestSim(t *testing.T) {
	if *seedFlag != 0 {
		opt := options(t, *seedFlag)
		opt.Trace = &Trace{Keep: traced}
		if *fullFlag {
			opt.Trace.Keep = 0
		}
		o := NewLab().Play(opt)
		t.Logf("seed %d: %d nodes, faults %s, %+v", *seedFlag, o.Nodes, o.Faults, o.Stats)
		if o.Failure != nil || *fullFlag {
			var b strings.Builder
			_, _ = opt.Trace.WriteTo(&b)
			t.Logf("trace:\n%s", b.String())
		}
		if o.Failure != nil {
			t.Fatal(o.Failure)
		}
		return
	}
	budget := *forFlag
	if testing.Short() && !isSet("for") {
		budget = 10 * time.Second
	}
	began := time.Now()
	tally := play(t, budget)
	took := time.Since(began)
	t.Logf("%s", tally.report(took))
	switch {
	case *mutantFlag == "" && tally.failed != 0:
		t.Errorf("%s", explain(t, tally.failed))
	case *mutantFlag != "" && tally.failed == 0:
		t.Errorf("mutant %s survives %d worlds", *mutantFlag, tally.worlds)
	case *mutantFlag != "":
		t.Logf("mutant %s is killed by seed %d, after %d worlds: %v", *mutantFlag, tally.failed, tally.worlds, tally.failure)
		faults := "-"
		if *faultsFlag != "" {
			faults = *faultsFlag
		}
		t.Logf("for testdata/mutants.txt: %s %s %s %s", *mutantFlag, pinnedSeed(tally.failed), faults, tally.failure.Invariant)
	}
}

// pinnedSeed writes a seed as readPinned reads it.
func pinnedSeed(seed uint64) string {
	o := OrderingOf(seed)
	if p, err := ParseOrdering(*modeFlag); err == nil {
		o = p
	}
	if o == Led {
		return strconv.FormatUint(seed, 10)
	}
	return fmt.Sprintf("%s:%d", o, seed)
}

func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// tally is what came of many worlds.
type tally struct {
	worlds  int
	failed  uint64 // the lowest seed that failed; 0: none
	failure *Failure
	sum     Stats
	stuck   int
	healed  []time.Duration
	crowned []time.Duration
}

func play(t *testing.T, budget time.Duration) *tally {
	deadline := time.Now().Add(budget)
	var sum tally
	var mu sync.Mutex
	var next atomic.Uint64
	var g sync.WaitGroup
	opt := options(t, 0)
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() {
			lab := NewLab()
			for {
				k := next.Add(1) - 1
				if *worldsFlag > 0 && k >= *worldsFlag || (*worldsFlag == 0 || isSet("for")) && time.Now().After(deadline) {
					return
				}
				opt := opt
				opt.Seed = *fromFlag + k
				if *modeFlag == "" {
					opt.Ordering = OrderingOf(opt.Seed)
				}
				o := lab.Play(opt)
				if o.Failure != nil && opt.Mutant != mutant.None {
					sound := opt
					sound.Mutant = mutant.None
					if lab.Play(sound).Failure != nil {
						o.Failure = nil // it says nothing of the mistake
					}
				}
				mu.Lock()
				sum.add(opt.Seed, o)
				over := sum.failed != 0
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	g.Wait()
	return &sum
}

func (s *tally) add(seed uint64, o Outcome) {
	s.worlds++
	if o.Failure != nil && (s.failed == 0 || seed < s.failed) {
		s.failed, s.failure = seed, o.Failure
	}
	x := o.Stats
	s.sum.Steps += x.Steps
	s.sum.Finals += x.Finals
	s.sum.Restarts += x.Restarts
	s.sum.Leaders += x.Leaders
	s.sum.Commits += x.Commits
	s.sum.Messages += x.Messages
	s.sum.Installs += x.Installs
	s.sum.Virtual += x.Virtual
	if x.Stuck {
		s.stuck++
		return
	}
	s.healed, s.crowned = append(s.healed, x.Healed), append(s.crowned, x.Crowned)
}

func (s *tally) report(took time.Duration) string {
	most := func(list []time.Duration, part float64) time.Duration {
		if len(list) == 0 {
			return 0
		}
		slices.Sort(list)
		return list[int(float64(len(list)-1)*part)]
	}
	return fmt.Sprintf("%d worlds from seed %d in %s (%.0f a second): %s of virtual time, %d finals, %d leaders, %d restarts, %d snapshots installed, %d commits, %d messages; %d without a majority; a healed core was done within %s (p50) to %s, the highest voter led within %s (p50) to %s",
		s.worlds, *fromFlag, took.Round(time.Millisecond), float64(s.worlds)/took.Seconds(), s.sum.Virtual.Round(time.Second), s.sum.Finals, s.sum.Leaders,
		s.sum.Restarts, s.sum.Installs, s.sum.Commits, s.sum.Messages, s.stuck, most(s.healed, 0.5), most(s.healed, 1), most(s.crowned, 0.5), most(s.crowned, 1))
}

// explain plays a failed world again, with as few classes of faults as show the
// same, and tells what happened in it.
func explain(t *testing.T, seed uint64) string {
	lab := NewLab()
	opt := options(t, seed)
	o := lab.Play(opt)
	if o.Failure == nil {
		return fmt.Sprintf("seed %d failed and does not fail again: the world is not deterministic", seed)
	}
	want, faults := o.Failure.Invariant, o.Faults
	for _, x := range faults.Each() {
		less := opt
		f := faults.Without(x)
		less.Faults = &f
		if p := lab.Play(less); p.Failure != nil && p.Failure.Invariant == want {
			faults = f
		}
	}
	opt.Faults = &faults
	opt.Trace = &Trace{Keep: traced}
	if *fullFlag {
		opt.Trace.Keep = 0
	}
	again := lab.Play(opt)
	var b strings.Builder
	_, _ = opt.Trace.WriteTo(&b)
	extra := ""
	if faults != o.Faults {
		extra = " -faults=" + faults.String()
	}
	if *modeFlag != "" {
		extra += " -mode=" + *modeFlag
	}
	if *mutantFlag != "" {
		extra += " -mutant=" + *mutantFlag
	}
	return fmt.Sprintf("seed %d (%d nodes, faults %s): %v\n%sreplay: go test -tags ci ./ordering/sim -run 'TestSim$' -seed=%d%s",
		seed, o.Nodes, o.Faults, again.Failure, b.String(), seed, extra)
}

// TestWorldsAreDeterministic plays worlds twice and compares all that happened.
func TestWorldsAreDeterministic(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		var traces [2]string
		for i := range traces {
			tr := &Trace{}
			NewLab().Play(Options{Seed: seed, Trace: tr})
			var b strings.Builder
			_, _ = tr.WriteTo(&b)
			traces[i] = b.String()
		}
		if traces[0] == traces[1] {
			continue
		}
		a, b := strings.Split(traces[0], "\n"), strings.Split(traces[1], "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("seed %d differs at line %d:\n%s\n%s", seed, i, a[i], b[i])
			}
		}
		t.Fatalf("seed %d: one trace is longer", seed)
	}
}

// TestWallClocksChangeNoOrder is U13: the same world with right and with wrong
// wall clocks has the same final list.
func TestWallClocksChangeNoOrder(t *testing.T) {
	lab := NewLab()
	for seed := uint64(1); seed <= 10; seed++ {
		f := Faults(0).With(Kill, Shape, Walls)
		wrong := lab.Play(Options{Seed: seed, Faults: &f})
		right := lab.Play(Options{Seed: seed, Faults: &f, Walls: true})
		if wrong.Failure != nil || right.Failure != nil {
			t.Fatalf("seed %d: %v, %v", seed, wrong.Failure, right.Failure)
		}
		if !slices.Equal(wrong.Order, right.Order) {
			t.Errorf("U13: seed %d: wall clocks change the order", seed)
		}
	}
}

// pinned is a line of testdata: a world, and what is to be said of it.
type pinned struct {
	mutant    string // only in mutants.txt
	seed      uint64
	ordering  Ordering // "lamport:" or "mixed:" before the seed
	faults    *Faults
	play      string // instead of a seed: the name of a play
	invariant string
	line      string
}

// readPinned reads lines of fields, with comments after #.
func readPinned(t *testing.T, file string, withMutant bool) (list []pinned) {
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		text, _, _ := strings.Cut(s.Text(), "#")
		x := strings.Fields(text)
		if len(x) == 0 {
			continue
		}
		p := pinned{line: s.Text()}
		if withMutant {
			if len(x) != 4 {
				t.Fatalf("%s: want mutant, seed, faults, invariant: %q", file, s.Text())
			}
			p.mutant, p.invariant, x = x[0], x[3], x[1:3]
		}
		if len(x) != 2 {
			t.Fatalf("%s: want seed and faults: %q", file, s.Text())
		}
		if name, is := strings.CutPrefix(x[0], "play:"); is {
			if p.play = name; plays[name] == nil {
				t.Fatalf("%s: no play is called %s", file, name)
			}
		} else {
			seed := x[0]
			if mode, number, is := strings.Cut(seed, ":"); is {
				seed = number
				if p.ordering, err = ParseOrdering(mode); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
			}
			if p.seed, err = strconv.ParseUint(seed, 10, 64); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		if x[1] != "-" {
			f, err := ParseFaults(x[1])
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			p.faults = &f
		}
		list = append(list, p)
	}
	return list
}

// TestCorpus replays worlds that once found a defect.
func TestCorpus(t *testing.T) {
	lab := NewLab()
	for _, p := range readPinned(t, "corpus.txt", false) {
		if o := lab.Play(Options{Seed: p.seed, Ordering: p.ordering, Faults: p.faults}); o.Failure != nil {
			t.Errorf("%s: %v", p.line, o.Failure)
		}
	}
}

// TestMutants plays, for each deliberate mistake, the world that shows it: the
// named invariant fails there, and holds without the mistake.
func TestMutants(t *testing.T) {
	lab := NewLab()
	names := mutants(t)
	for _, p := range readPinned(t, "mutants.txt", true) {
		t.Run(p.mutant, func(t *testing.T) {
			m, known := names[p.mutant]
			if !known {
				t.Fatal("no such mutant")
			}
			show := func(m mutant.Mutant) *Failure {
				if p.play != "" {
					return plays[p.play](lab, m)
				}
				return lab.Play(Options{Seed: p.seed, Ordering: p.ordering, Faults: p.faults, Mutant: m}).Failure
			}
			if f := show(m); f == nil || f.Invariant != p.invariant {
				t.Errorf("want %s broken in %q, got %v", p.invariant, p.line, f)
			}
			if f := show(mutant.None); f != nil {
				t.Errorf("without the mistake: %v", f)
			}
		})
	}
}

// TestMutantsAreListed compares testdata/mutants.txt with package mutant.
func TestMutantsAreListed(t *testing.T) {
	listed := make(map[string]bool)
	for _, p := range readPinned(t, "mutants.txt", true) {
		listed[p.mutant] = true
	}
	for name := range mutants(t) {
		if !listed[name] {
			t.Errorf("mutant %s has no killing world in testdata/mutants.txt", name)
		}
	}
}

// mutants reads the constants of package mutant from its source.
func mutants(t testing.TB) map[string]mutant.Mutant {
	files, err := filepath.Glob("../mutant/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("package mutant is not where it was")
	}
	all := make(map[string]mutant.Mutant)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				if text != "" {
					all[v.Names[0].Name] = mutant.Mutant(text)
				}
			}
		}
	}
	return all
}
