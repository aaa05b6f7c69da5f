package desktop

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tertulia/chat"
)

type liking struct {
	Colour string            `toml:"colour"`
	Size   int               `toml:"size"`
	Drafts map[string]string `toml:"drafts"`
}

// mend knows two colours.
func mend(l *liking) bool {
	if l.Colour == "red" || l.Colour == "blue" {
		return false
	}
	l.Colour = "red"
	return true
}

var fresh = liking{Colour: "red", Size: 3}

func TestWhatIsSavedIsLoadedAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f.toml")
	if got, err := Load(name, fresh, mend); err != nil || got.Colour != "red" || got.Size != 3 {
		t.Fatalf("without a file: %+v, %v", got, err)
	}
	want := liking{Colour: "blue", Size: 9, Drafts: map[string]string{"a": "two\nlines, \"quoted\"\x07 and é"}}
	if err := Save(name, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(name, fresh, mend)
	if err != nil || got.Colour != want.Colour || got.Size != want.Size || got.Drafts["a"] != want.Drafts["a"] {
		t.Errorf("loaded %+v, %v, want %+v", got, err, want)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others can read the file: %v, %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(name)); len(files) != 1 {
		t.Errorf("files left over: %v", files)
	}
}

func TestAFileNotUnderstoodIsKeptAsideAndSaid(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want liking
	}{
		"no TOML":       {"colour = \x00\x01", fresh},
		"cut off":       {"colour = \"blu", fresh},
		"wrong type":    {"size = \"big\"", fresh},
		"unknown key":   {"colour = \"blue\"\nmood = \"good\"", liking{Colour: "blue", Size: 3}},
		"unknown value": {"colour = \"plaid\"\nsize = 7", liking{Colour: "red", Size: 7}},
		"too large":     {strings.Repeat("# padding\n", maxFileBytes/10+1), fresh},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "f.toml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Load(file, fresh, mend)
			if got.Colour != c.want.Colour || got.Size != c.want.Size {
				t.Errorf("loaded %+v, want %+v", got, c.want)
			}
			if chat.CodeOf(err) != chat.CodeInvalid {
				t.Errorf("said %v", err)
			}
			if kept, err := os.ReadFile(file + ".broken"); err != nil || string(kept) != c.text {
				t.Errorf("the file is not kept: %v", err)
			}
			if again, err := Load(file, fresh, mend); err != nil || again.Size != fresh.Size {
				t.Errorf("the next start has %+v, %v", again, err)
			}
		})
	}
}

func TestAFolderInTheWayIsSaidAndLeft(t *testing.T) {
	dir := t.TempDir()
	if got, err := Load(dir, fresh, mend); got.Size != 3 || chat.CodeOf(err) != chat.CodeDisk {
		t.Errorf("Load of a folder = %+v, %v", got, err)
	}
}

func TestTheLastValueIsKeptWhenTheProgramEnds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f.toml")
	k := NewKeeper[liking](name)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	for i := range 1000 {
		k.Keep(liking{Colour: "blue", Size: i})
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := Load(name, fresh, mend); err != nil || got.Size != 999 {
		t.Errorf("kept %+v, %v", got, err)
	}
}
