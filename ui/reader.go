package ui

import (
	"strconv"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// Limits of the text that is shown to select from: the toolkit lays all of it
// out at once.
const (
	maxSelectBytes = 8 << 10
	maxSelectLines = 200
)

// showText shows a message to select from, of a very long one the beginning.
func (w *Window) showText(m *chat.Message) {
	whole := visible(m.Text)
	part := cut(whole, maxSelectBytes)
	if lines := strings.SplitN(part, "\n", maxSelectLines+1); len(lines) > maxSelectLines {
		part = strings.Join(lines[:maxSelectLines], "\n")
	}
	text := widget.NewLabel(part)
	text.Wrapping = fyne.TextWrapBreak
	text.Selectable = true
	scroll := container.NewVScroll(text)
	scroll.SetMinSize(fyne.NewSize(sizeForm, roomFor(w.win.Canvas(), 380)))
	body := column(0, scroll)
	if part != whole {
		body.Add(paragraph(tr(textSelectPart), theme.SizeNameCaptionText, colorMuted, false))
	}
	var s *sheet
	s = newSheet(w.win, tr(textMessage), tr(textClose), tr(textCopy), body, func() {
		w.app.Clipboard().SetContent(m.Text)
		s.hide()
	})
	s.show()
}

// askDay asks for a day, beginning with the month of one as dayOf writes it,
// and goes to the first message of it or later.
func (w *Window) askDay(day string) {
	at, err := time.ParseInLocation(time.DateOnly, day, time.Local)
	if err != nil {
		at = w.loop.now()
	}
	var s *sheet
	c := newCalendar(at, w.loop.now(), func(t time.Time) {
		s.hide()
		w.win.Canvas().Focus(w.composer)
		w.goToPage(chat.PageQuery{At: t})
	})
	s = newSheet(w.win, tr(textGoToDay), tr(textClose), "", c.root, nil)
	s.show()
}

// calendar shows the days of a month, of which one can be chosen.
type calendar struct {
	root   *fyne.Container
	title  *widget.RichText
	days   *fyne.Container
	month  time.Time // its first day
	marked time.Time
	today  time.Time
	choose func(time.Time)
}

func newCalendar(marked, today time.Time, choose func(time.Time)) *calendar {
	c := &calendar{marked: marked, today: today, choose: choose, days: container.NewGridWithColumns(7)}
	c.title = paragraph("", theme.SizeNameText, theme.ColorNameForeground, true)
	c.title.Wrapping = fyne.TextWrapOff
	turn := func(icon fyne.Resource, by int) fyne.CanvasObject {
		b := widget.NewButtonWithIcon("", icon, func() { c.turn(c.month.AddDate(0, by, 0)) })
		b.Importance = widget.LowImportance
		return b
	}
	head := container.NewBorder(nil, nil, turn(theme.NavigateBackIcon(), -1), turn(theme.NavigateNextIcon(), 1), container.NewCenter(c.title))
	c.root = column(4, head, c.days)
	c.turn(time.Date(marked.Year(), marked.Month(), 1, 0, 0, 0, 0, time.Local))
	return c
}

// turn shows another month; the days after today cannot be chosen.
func (c *calendar) turn(month time.Time) {
	const weeks, week = 6, 7 // the height is that of the longest month
	c.month = month
	c.title.Segments[0].(*widget.TextSegment).Text = tr(month.Month().String()) + " " + strconv.Itoa(month.Year())
	c.title.Refresh()
	c.days.Objects = nil
	for d := range week {
		name := []rune(tr(time.Weekday(d).String()))
		label := paragraph(string(name[:3]), theme.SizeNameCaptionText, colorMuted, false)
		label.Wrapping = fyne.TextWrapOff
		c.days.Add(container.NewCenter(label))
	}
	for range int(month.Weekday()) {
		c.days.Add(layout.NewSpacer())
	}
	for d := month; d.Month() == month.Month(); d = d.AddDate(0, 0, 1) {
		b := widget.NewButton(strconv.Itoa(d.Day()), func() { c.choose(d) })
		b.Importance = widget.LowImportance
		if dayOf(d) == dayOf(c.marked) {
			b.Importance = widget.HighImportance
		}
		if d.After(c.today) {
			b.Disable()
		}
		c.days.Add(b)
	}
	for len(c.days.Objects) < week+weeks*week {
		c.days.Add(layout.NewSpacer())
	}
	c.days.Refresh()
}

// counter says below the composer how much still fits, when that is little.
type counter struct {
	root *fyne.Container
	text *canvas.Text
}

func newCounter() *counter {
	c := &counter{text: newText(textSizeTiny)}
	c.text.Alignment = fyne.TextAlignTrailing
	c.root = container.NewStack(c.text)
	c.root.Hide()
	return c
}

// set tells whether the counter came or went; it is gone below 0.
func (c *counter) set(bytes int) bool {
	was := c.root.Visible()
	if bytes < 0 {
		c.root.Hide()
		return was
	}
	ink := colorMuted
	if bytes == 0 {
		ink = theme.ColorNameError
	}
	write(c.text, textOfLeft(bytes), theme.Color(ink)).Refresh()
	c.root.Show()
	return !was
}
