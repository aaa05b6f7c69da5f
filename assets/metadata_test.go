package assets

import (
	"encoding/xml"
	"image/png"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

const (
	id      = "io.tertulia.Tertulia"
	entry   = id + ".desktop"
	about   = id + ".metainfo.xml"
	appFile = "../FyneApp.toml"
)

func TestTheDesktopAcceptsWhatDescribesTheProgram(t *testing.T) {
	for _, command := range [][]string{
		{"desktop-file-validate", entry},
		{"appstreamcli", "validate", "--no-net", about},
	} {
		t.Run(command[0], func(t *testing.T) {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Skipf("%s is missing: .ci/packages test installs it", command[0])
			}
			if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil || strings.Contains(string(out), "error") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestAllThatDescribesTheProgramAgrees(t *testing.T) {
	var app struct {
		Details struct{ Icon, Name, ID, Version string }
		Linux   struct{ ExecParams string } `toml:"LinuxAndBSD"`
	}
	if _, err := toml.DecodeFile(appFile, &app); err != nil {
		t.Fatal(err)
	}
	var metainfo struct {
		ID         string `xml:"id"`
		Launchable string `xml:"launchable"`
		Releases   []struct {
			Version string `xml:"version,attr"`
		} `xml:"releases>release"`
	}
	if err := xml.Unmarshal([]byte(read(t, about)), &metainfo); err != nil {
		t.Fatal(err)
	}
	if app.Details.ID != id || metainfo.ID != id || metainfo.Launchable != entry {
		t.Errorf("the program is called %q, %q and %q", app.Details.ID, metainfo.ID, metainfo.Launchable)
	}
	if len(metainfo.Releases) == 0 || metainfo.Releases[0].Version != app.Details.Version {
		t.Errorf("the newest release is not %s: %v", app.Details.Version, metainfo.Releases)
	}
	lines := read(t, entry)
	for _, want := range []string{"Name=" + app.Details.Name, "Icon=" + id, "Exec=tertulia " + app.Linux.ExecParams, "MimeType=x-scheme-handler/tertulia;"} {
		if !strings.Contains(lines, "\n"+want+"\n") {
			t.Errorf("%s lacks %s", entry, want)
		}
	}
	icon, err := os.Open("../" + app.Details.Icon)
	if err != nil {
		t.Fatal(err)
	}
	defer icon.Close()
	if size, err := png.DecodeConfig(icon); err != nil || size.Width < 256 || size.Width != size.Height {
		t.Errorf("the icon is %d x %d: %v", size.Width, size.Height, err)
	}
	if !strings.Contains(string(IconSVG), "<svg") {
		t.Error("the icon is no SVG")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
