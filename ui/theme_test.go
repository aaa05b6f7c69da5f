package ui

import (
	"image/color"
	"math"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// luminance and contrast are those of WCAG 2.1.
func luminance(c color.Color) float64 {
	r, g, b, _ := c.RGBA()
	linear := func(v uint32) float64 {
		x := float64(v) / 0xffff
		if x <= 0.03928 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
}

func contrast(a, b color.Color) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// looks are the program's theme in every accent, light and dark.
func looks() map[string]fyne.Theme {
	out := map[string]fyne.Theme{}
	for _, accent := range allAccents {
		out["light "+string(accent)] = newTheme(LookLight, accent)
		out["dark "+string(accent)] = newTheme(LookDark, accent)
	}
	return out
}

func TestAllIsReadableInLightAndDarkAndEveryAccent(t *testing.T) {
	const enough = 4.5 // WCAG AA for text
	app := test.NewTempApp(t)
	for name, is := range looks() {
		app.Settings().SetTheme(is)
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"} {
			if c := contrast(authorColor(id), theme.Color(colorBubble)); c < enough {
				t.Errorf("%s: the name of %s, %v, has a contrast of %.1f", name, id, authorColor(id), c)
			}
			if c := contrast(authorColor(id), theme.Color(colorBubbleTail)); c < enough {
				t.Errorf("%s: in the tail the name of %s, %v, has a contrast of %.1f", name, id, authorColor(id), c)
			}
		}
		for text, ground := range map[fyne.ThemeColorName]fyne.ThemeColorName{
			theme.ColorNameForegroundOnPrimary: theme.ColorNamePrimary, colorText: theme.ColorNameSelection,
			theme.ColorNameForeground: theme.ColorNameOverlayBackground, colorNoticeText: colorNotice, colorDayText: colorDay,
			colorMuted: theme.ColorNameOverlayBackground,
		} {
			if c := contrast(theme.Color(text), theme.Color(ground)); c < enough {
				t.Errorf("%s: %s on %s has a contrast of %.1f", name, text, ground, c)
			}
		}
		const enoughOfAShape = 3 // WCAG AA for what is not text
		for _, ground := range []fyne.ThemeColorName{theme.ColorNameOverlayBackground, colorSidebar} {
			if c := contrast(theme.Color(theme.ColorNamePrimary), theme.Color(ground)); c < enoughOfAShape {
				t.Errorf("%s: the accent on %s has a contrast of %.1f", name, ground, c)
			}
		}
		for _, ground := range []fyne.ThemeColorName{theme.ColorNameInputBackground, theme.ColorNameOverlayBackground, theme.ColorNameBackground} {
			if c := contrast(theme.Color(theme.ColorNameInputBorder), theme.Color(ground)); c < enoughOfAShape {
				t.Errorf("%s: what is typed into or ticked ends on %s with a contrast of %.1f", name, ground, c)
			}
		}
		for _, text := range []fyne.ThemeColorName{colorText, colorTentative, colorClock, theme.ColorNameHyperlink} {
			for _, ground := range []fyne.ThemeColorName{colorBubble, colorBubbleMine, colorBubbleTail, colorBubbleMineTail} {
				if c := contrast(theme.Color(text), theme.Color(ground)); c < enough {
					t.Errorf("%s: %s on %s has a contrast of %.1f", name, text, ground, c)
				}
			}
		}
	}
	for _, c := range avatarColors {
		if r := contrast(c, onAvatar); r < enough {
			t.Errorf("initials on %v have a contrast of %.1f", c, r)
		}
	}
}

func TestTheFocusIsSeenOnEveryButton(t *testing.T) {
	const enough = 3 // WCAG AA for what is not text
	app := test.NewTempApp(t)
	b := newButton("Join", nil, func() {})
	win := test.NewTempWindow(t, b)
	win.Resize(fyne.NewSize(100, 40))
	for name, is := range looks() {
		app.Settings().SetTheme(is)
		for _, b.Importance = range []widget.Importance{widget.MediumImportance, widget.HighImportance, widget.LowImportance, widget.DangerImportance} {
			b.Refresh()
			before := win.Canvas().Capture()
			win.Canvas().Focus(b)
			after := win.Canvas().Capture()
			win.Canvas().Unfocus()
			seen := 0.0
			for y := range before.Bounds().Dy() / 4 {
				x := before.Bounds().Dx() / 2
				seen = max(seen, contrast(before.At(x, y), after.At(x, y)))
			}
			if seen < enough {
				t.Errorf("%s: on a button of importance %d the focus has a contrast of %.1f", name, b.Importance, seen)
			}
		}
	}
}

func TestTheNetworkIsReadableInLightAndDark(t *testing.T) {
	const (
		text = 4.5 // WCAG AA for text
		mark = 3.0 // and for what else carries a meaning
	)
	app := test.NewTempApp(t)
	for name, is := range looks() {
		app.Settings().SetTheme(is)
		for _, c := range []struct {
			ink, ground fyne.ThemeColorName
			enough      float64
		}{
			{colorAlarmText, colorAlarm, text},
			{theme.ColorNameForeground, theme.ColorNameBackground, text},
			{colorTentative, theme.ColorNameBackground, text},
			{theme.ColorNameForeground, colorBubble, text},
			{colorMuted, colorBubble, text},
			{theme.ColorNameError, colorBubble, text},
			{colorDayText, colorDay, text},
			{theme.ColorNameHyperlink, theme.ColorNameOverlayBackground, text},
			{colorMuted, theme.ColorNameOverlayBackground, text},
			{colorCrown, colorBubble, mark},
			{colorOnline, colorBubble, mark},
			{colorOffline, colorBubble, mark},
			{colorOnline, theme.ColorNameBackground, mark},
			{colorOffline, theme.ColorNameBackground, mark},
			{theme.ColorNamePrimary, colorBubble, mark},
		} {
			if got := contrast(theme.Color(c.ink), theme.Color(c.ground)); got < c.enough {
				t.Errorf("%s: %s on %s has a contrast of %.1f, want %.1f", name, c.ink, c.ground, got, c.enough)
			}
		}
	}
}
