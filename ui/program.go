package ui

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// showAbout tells what program this is, and helps to report trouble.
func (w *Window) showAbout() {
	icon := canvas.NewImageFromResource(appIcon())
	icon.FillMode = canvas.ImageFillContain
	icon.SetMinSize(fyne.NewSize(56, 56))
	words := paragraph(tr(textAboutWords), theme.SizeNameText, theme.ColorNameForeground, false)
	said := small(tr(textDiagnosticsAbout))
	facts := newBoard(func(k *sketch) {
		drawFacts(k, "", []fact{
			{label: tr(textVersion), value: visibleLine(w.versionLine())},
			{label: tr(textBuiltWith), value: builtWith()},
			{label: tr(textNode), value: visibleLine(w.shown.view.NodeID)},
			{label: tr(textDirectory), value: visibleLine(w.config.Dir)},
		}, nil)
	})
	facts.sketch(sizeForm)
	body := column(6,
		container.NewBorder(nil, nil, padded(0, 0, 8, 6, container.NewCenter(icon)), nil, words),
		padded(0, 0, 8, 0, facts), said)
	var s *sheet
	s = newSheet(w.win, tr(textAboutProgram), tr(textClose), tr(textCopyDiagnostics), body, func() {
		s.act.Disable()
		w.diagnose(func(text string, err error) {
			s.act.Enable()
			if err != nil {
				s.fail(err)
				return
			}
			w.app.Clipboard().SetContent(text)
			said.Segments[0].(*widget.TextSegment).Text = tr(textCopied) + " " + tr(textDiagnosticsAbout)
			said.Refresh()
		})
	})
	s.show()
}

func (w *Window) versionLine() string {
	version := cmp.Or(w.config.Version, "dev")
	if w.config.Commit != "" {
		version += ", " + w.config.Commit
	}
	return version
}

// builtWith names what the program stands on.
func builtWith() string {
	parts := []string{strings.Replace(runtime.Version(), "go", "Go ", 1)}
	for _, m := range []struct{ name, path string }{
		{"libp2p", "github.com/libp2p/go-libp2p"}, {"Fyne", "fyne.io/fyne/v2"},
	} {
		if v := moduleVersion(m.path); v != "" {
			parts = append(parts, m.name+" "+v)
		}
	}
	return strings.Join(parts, ", ")
}

func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == path })
	if i < 0 {
		return ""
	}
	return info.Deps[i].Version
}

// diagnose makes the diagnostics and hands them to use.
func (w *Window) diagnose(use func(string, error)) {
	var status chat.Status
	w.loop.act(func(ctx context.Context) (err error) {
		status, err = w.loop.node.Status(ctx)
		return err
	}, func(err error) {
		use(w.diagnostics(&status), err)
	})
}

// diagnostics tells how the program does, in figures alone: what a person
// wrote, whom they know and what keeps it secret is none of it. It is in
// English, for whoever mends the program.
func (w *Window) diagnostics(s *chat.Status) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	v := &w.shown.view
	size := w.win.Canvas().Size()
	line("Tertulia %s", w.versionLine())
	line("%s, %s/%s", builtWith(), runtime.GOOS, runtime.GOARCH)
	line("up %s, %d goroutines", s.Uptime.Round(time.Second), runtime.NumGoroutine())
	line("window %.0fx%.0f, scale %.2f, tray %t", size.Width, size.Height, w.win.Canvas().Scale(), w.hasTray())
	line("settings %s %s %s %s notify=%s tray=%t", w.settings.Language, w.settings.Look, w.settings.TextSize,
		w.settings.Accent, w.settings.Alert, w.settings.CloseToTray)
	line("healthy %t, %d addresses", v.Healthy, len(s.Addrs))
	states := map[chat.PeerState]int{}
	relayed := 0
	for _, p := range s.Peers {
		states[p.State]++
		if p.Relayed {
			relayed++
		}
	}
	line("peers: %d joined, %d connected, %d suspected, %d left; %d relayed",
		states[chat.PeerJoined], states[chat.PeerConnected], states[chat.PeerSuspected], states[chat.PeerLeft], relayed)
	for _, r := range sortedByCount(s.Refused) {
		line("refused %d: %s", s.Refused[r], plain(r))
	}
	for i := range s.Rooms {
		r := &s.Rooms[i]
		line("room %d: %s %s, epoch %d, term %d, view of %d, %d voters, waits for %d", i+1,
			plain(string(r.Order)), plain(string(r.State)), r.Epoch, r.Term, len(r.View), len(r.Voters), len(r.WaitingFor))
		line("  final %d, tentative %d, parked %d, first difference %d, order hash %.8s", r.FinalIndex, r.Tentative, r.Parked, r.Diverged, plain(r.OrderHash))
	}
	return b.String()
}

func sortedByCount(counts map[string]uint64) []string {
	var reasons []string
	for r := range counts {
		reasons = append(reasons, r)
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	return reasons
}

// plain lets through only what a word of ours is made of.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
}
