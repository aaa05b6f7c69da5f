package sim

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tertulia/ordering"
)

var rewriteFlag = flag.Bool("rewrite", false, "write the traces that came into testdata/traces")

// TestTraces plays the scripts of testdata/traces and compares what came of them
// with what they expect. With -rewrite the files take what came; look at the
// difference, and keep it only if you know why. An expectation that does not
// hold fails all the same.
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, errs := NewLab().RunScript(string(want))
			for _, err := range errs {
				t.Errorf("%s: %v", file, err)
			}
			if got == string(want) {
				return
			}
			if *rewriteFlag {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s: another trace came (-rewrite takes it):\n%s", file, firstDifference(string(want), got))
		})
	}
}

// firstDifference shows where two texts part.
func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-3)
	return "want:\n" + strings.Join(a[from:min(len(a), i+6)], "\n") + "\ngot:\n" + strings.Join(b[from:min(len(b), i+6)], "\n")
}

// TestAScriptFails whose expectations do not hold, whatever its traces say.
func TestAScriptFails(t *testing.T) {
	for _, c := range []struct{ commands, want string }{
		{`say n1 "x"`, "begins with room"},
		{"room n1 n2 n3\nexpect leader n1", "the leader is n3"},
		{"room n1 n2 n3\nexpect not leader n3", "leader n3"},
		{"room n1 n2 n3\nsay n1 \"x\"\nexpect final \"x\"", "final nowhere"},
		{"room n1 n2 n3\nexpect final \"x\" within 1s", "after 1s"},
		{"room n1 n2 n3\nsay n1 \"x\"\nexpect not final \"x\" for 1s", `final x`},
		{"room n1 n2 n3\nkill n3\nexpect followed n3 by n1 for 2s", "does not follow"},
		{"room n1 n2 n3\ndance", "no command"},
	} {
		script := c.commands + "\n----\nok\n"
		first, errs := NewLab().RunScript(script)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%q: got %v, want one error with %q", c.commands, errs, c.want)
		}
		if again, errs := NewLab().RunScript(first); len(errs) != 1 || again != first { // as after -rewrite
			t.Errorf("%q: got %v from its own trace, want the same error", c.commands, errs)
		}
	}
}

// TestAScriptFailsOnABrokenInvariant though its expectations hold.
func TestAScriptFailsOnABrokenInvariant(t *testing.T) {
	lab := NewLab()
	s := &script{lab: lab, texts: make(map[ordering.Hash]string), images: make(map[*node]*disk)}
	s.do(scriptLine{1, "room n1 n2 n3", []string{"room", "n1", "n2", "n3"}})
	s.w.canon.order = append(s.w.canon.order, slot{}) // somebody else had a final that nobody here wrote
	s.do(scriptLine{2, `say n1 "x"`, []string{"say", "n1", "x"}})
	s.do(scriptLine{3, "run 1s", []string{"run", "1s"}})
	if len(s.errs) != 1 || !strings.Contains(s.errs[0].Error(), "U1") {
		t.Errorf("got %v, want U1", s.errs)
	}
}
