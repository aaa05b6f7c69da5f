package ui

import (
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// showSettings offers what a person may choose. Each choice is in force at once.
func (w *Window) showSettings() {
	var s *sheet
	// Some choices make every widget anew, this sheet's too.
	again := func(change func(*Settings)) {
		s.hide()
		w.choose(change)
		w.rebuild()
		w.showSettings()
	}
	now := &w.settings
	language := selection(allLanguages, now.Language, languageName, func(l Language) { again(func(s *Settings) { s.Language = l }) })
	look := selection(allLooks, now.Look, lookName, func(l Look) { w.choose(func(s *Settings) { s.Look = l }) })
	size := selection(allTextSizes, now.TextSize, textSizeName, func(t TextSize) { again(func(s *Settings) { s.TextSize = t }) })
	accent := newSwatches(now.Accent, func(a Accent) { w.choose(func(s *Settings) { s.Accent = a }) })
	alert := selection(allAlerts, now.Alert, alertName, func(a Alert) { w.choose(func(s *Settings) { s.Alert = a }) })
	body := column(6,
		setting(tr(textLanguage), language), setting(tr(textLook), look), setting(tr(textTextSize), size),
		setting(tr(textAccent), accent), setting(tr(textAlert), column(-6, alert, small(tr(textAlertAbout)))),
		setting(tr(textTray), w.traySetting()))
	s = newSheet(w.win, tr(textSettings), tr(textClose), tr(textAboutProgram), body, func() {
		s.hide()
		w.showAbout()
	})
	s.act.Importance = widget.MediumImportance
	s.show()
}

// traySetting asks what closing the window does, where there is a choice.
func (w *Window) traySetting() fyne.CanvasObject {
	if !w.hasTray() {
		return small(tr(textTrayMissing))
	}
	name := func(keep bool) string {
		if keep {
			return tr(textTrayKeep)
		}
		return tr(textTrayQuit)
	}
	return selection([]bool{true, false}, w.settings.CloseToTray, name, func(keep bool) {
		w.choose(func(s *Settings) { s.CloseToTray = keep })
	})
}

func small(text string) *widget.RichText {
	return paragraph(text, theme.SizeNameCaptionText, colorMuted, false)
}

// setting is a control beside its label.
func setting(label string, control fyne.CanvasObject) fyne.CanvasObject {
	name := container.NewVBox(paragraph(label, theme.SizeNameText, theme.ColorNameForeground, false))
	return container.NewBorder(nil, nil, container.New(fixedWidth(sizeSetting), name), nil, control)
}

// selection is a list of values to choose one of.
func selection[T comparable](all []T, now T, name func(T) string, chosen func(T)) *widget.Select {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = name(v)
	}
	list := widget.NewSelect(names, nil)
	list.SetSelectedIndex(slices.Index(all, now))
	list.OnChanged = func(string) {
		if i := list.SelectedIndex(); all[i] != now {
			now = all[i]
			chosen(now)
		}
	}
	return list
}

// choose changes the settings, keeps them, and lets them show.
func (w *Window) choose(change func(*Settings)) {
	now := w.settings
	change(&now)
	was := w.settings
	if now == was {
		return
	}
	w.settings = now
	if w.config.KeepSettings != nil {
		w.config.KeepSettings(now)
	}
	w.loop.alert.Store(&now.Alert)
	if now.Language != was.Language {
		if err := speak(now.Language); err != nil {
			w.notice.fail(err)
		}
	}
	if now.Look != was.Look || now.Accent != was.Accent || now.TextSize != was.TextSize {
		setTextSize(now.TextSize)
		w.app.Settings().SetTheme(newTheme(now.Look, now.Accent))
	}
}

func languageName(l Language) string {
	switch l {
	case LanguageSystem:
		return tr(textAsSystem)
	case LanguageEnglish:
		return tr(textEnglish)
	case LanguagePortuguese:
		return tr(textPortuguese)
	}
	return string(l)
}

func lookName(l Look) string {
	switch l {
	case LookSystem:
		return tr(textAsSystem)
	case LookLight:
		return tr(textLight)
	case LookDark:
		return tr(textDark)
	}
	return string(l)
}

func textSizeName(s TextSize) string {
	switch s {
	case TextSmall:
		return tr(textSmall)
	case TextNormal:
		return tr(textNormal)
	case TextLarge:
		return tr(textLarge)
	case TextLargest:
		return tr(textLargest)
	}
	return string(s)
}

func accentName(a Accent) string {
	switch a {
	case AccentTeal:
		return tr(textTeal)
	case AccentBlue:
		return tr(textBlue)
	case AccentViolet:
		return tr(textViolet)
	case AccentRose:
		return tr(textRose)
	case AccentAmber:
		return tr(textAmber)
	}
	return string(a)
}

func alertName(a Alert) string {
	switch a {
	case AlertAll:
		return tr(textAlertAll)
	case AlertMentions:
		return tr(textAlertMentions)
	case AlertNone:
		return tr(textAlertNone)
	}
	return string(a)
}

// swatches are the accents to choose one of, by click or with the arrow keys.
type swatches struct {
	paint
	OnChoose func(Accent)

	now     Accent
	focused bool
}

func newSwatches(now Accent, chosen func(Accent)) *swatches {
	s := &swatches{OnChoose: chosen, now: now}
	s.min = fyne.NewSize(sizeSwatch*float32(len(allAccents))+120, sizeSwatch+6)
	s.place = s.draw
	s.ExtendBaseWidget(s)
	return s
}

func (s *swatches) draw(size fyne.Size) []fyne.CanvasObject {
	const gap, ring = 5, 2
	var objects []fyne.CanvasObject
	top := (size.Height - sizeSwatch) / 2
	for i, a := range allAccents {
		// The theme's own answer for this accent, light or dark as it is now.
		t := newTheme(lookNow(), a)
		c := t.Color(theme.ColorNamePrimary, theme.VariantLight)
		x := float32(i) * sizeSwatch
		if a == s.now {
			around := canvas.NewCircle(theme.Color(theme.ColorNameOverlayBackground))
			around.StrokeColor, around.StrokeWidth = c, ring
			if s.focused {
				around.StrokeColor = theme.Color(theme.ColorNameForeground)
			}
			objects = append(objects, put(around, x, top, sizeSwatch, sizeSwatch))
		}
		objects = append(objects, put(canvas.NewCircle(c), x+gap, top+gap, sizeSwatch-2*gap, sizeSwatch-2*gap))
	}
	name := write(newText(textSizeBody), accentName(s.now), theme.Color(theme.ColorNameForeground))
	m := name.MinSize()
	return append(objects, put(name, float32(len(allAccents))*sizeSwatch+10, (size.Height-m.Height)/2, m.Width, m.Height))
}

// lookNow tells whether the window is light or dark.
func lookNow() Look {
	if dark() {
		return LookDark
	}
	return LookLight
}

func (s *swatches) choose(a Accent) {
	if a == s.now {
		return
	}
	s.now = a
	s.OnChoose(a)
	s.Refresh()
}

// Tapped implements fyne.Tappable.
func (s *swatches) Tapped(e *fyne.PointEvent) {
	if i := int(e.Position.X / sizeSwatch); i >= 0 && i < len(allAccents) {
		s.choose(allAccents[i])
	}
}

// Cursor implements desktop.Cursorable.
func (s *swatches) Cursor() desktop.Cursor { return desktop.PointerCursor }

// FocusGained implements fyne.Focusable.
func (s *swatches) FocusGained() { s.focus(true) }

// FocusLost implements fyne.Focusable.
func (s *swatches) FocusLost() { s.focus(false) }

func (s *swatches) focus(on bool) {
	s.focused = on
	s.Refresh()
}

// TypedRune implements fyne.Focusable.
func (s *swatches) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (s *swatches) TypedKey(e *fyne.KeyEvent) {
	i := slices.Index(allAccents, s.now)
	switch e.Name {
	case fyne.KeyLeft, fyne.KeyUp:
		s.choose(allAccents[max(i-1, 0)])
	case fyne.KeyRight, fyne.KeyDown:
		s.choose(allAccents[min(i+1, len(allAccents)-1)])
	}
}
