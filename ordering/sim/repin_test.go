package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tertulia/ordering/mutant"
)

var repinFlag = flag.Uint64("repin", 0, "for mutants whose pinned world shows them no more, try so many worlds and write what is found into testdata/mutants.txt")

// TestRepinMutants keeps testdata/mutants.txt true when the code around a mistake
// has changed and with it what happens in the world of a seed. It does nothing
// without -repin.
func TestRepinMutants(t *testing.T) {
	if *repinFlag == 0 {
		t.Skip("without -repin")
	}
	file := filepath.Join("testdata", "mutants.txt")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lab, names := NewLab(), mutants(t)
	for _, p := range readPinned(t, "mutants.txt", true) {
		if p.play != "" || shows(lab, p, p.seed, names[p.mutant]) == p.invariant {
			continue
		}
		seed, invariant := uint64(0), ""
		for s := uint64(1); s <= *repinFlag && invariant == ""; s++ {
			seed, invariant = s, shows(lab, p, s, names[p.mutant])
		}
		if invariant == "" {
			t.Errorf("%s survives %d worlds", p.mutant, *repinFlag)
			continue
		}
		x := strings.Fields(p.line)
		mode, _, is := strings.Cut(x[1], ":")
		if x[1] = fmt.Sprint(seed); is {
			x[1] = fmt.Sprintf("%s:%d", mode, seed)
		}
		line := fmt.Sprintf("%-16s %-15s %s   %s", x[0], x[1], x[2], invariant)
		t.Log(line)
		text = []byte(strings.Replace(string(text), p.line, line, 1))
	}
	if err := os.WriteFile(file, text, 0o666); err != nil {
		t.Fatal(err)
	}
}

// shows returns the invariant that the mistake breaks in a world in which all
// hold without it; "" if there is none.
func shows(lab *Lab, p pinned, seed uint64, m mutant.Mutant) string {
	opt := Options{Seed: seed, Ordering: p.ordering, Faults: p.faults, Mutant: m}
	f := lab.Play(opt).Failure
	if f == nil {
		return ""
	}
	opt.Mutant = mutant.None
	if lab.Play(opt).Failure != nil {
		return ""
	}
	return f.Invariant
}
