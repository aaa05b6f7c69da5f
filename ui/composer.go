package ui

import (
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// Limits of the composer.
const (
	maxComposerBytes = 16 << 10 // the toolkit takes 86 ms a key at 64 KiB
	maxComposerLines = 7        // then it scrolls
	nearComposerEnd  = 1 << 10  // so many bytes before the limit it begins to count
)

// composer is where a message is written. Enter sends, Shift+Enter breaks the line.
type composer struct {
	widget.Entry

	// OnSend receives what was written, without space around it, never "".
	OnSend func(text string)
	// OnTyped is called for every key that writes.
	OnTyped func()
	// OnLeft is called with how many bytes still fit, near the limit; else -1.
	OnLeft func(bytes int)
	// OnTooLong is called when text beyond the limit was dropped.
	OnTooLong func()
	// OnGrow is called when the composer wants another height.
	OnGrow func()
	// OnPage receives the keys that page the message list.
	OnPage func(*fyne.KeyEvent)
	// OnEscape is called for the Escape key.
	OnEscape func()
	// OnShortcut is offered every shortcut first; true means that it was one
	// of the window's.
	OnShortcut func(fyne.Shortcut) bool

	modifiers func() fyne.KeyModifier
	rows      int
}

func newComposer() *composer {
	c := &composer{modifiers: currentModifiers, rows: 1}
	c.MultiLine = true
	c.Wrapping = fyne.TextWrapWord
	c.SetPlaceHolder(tr(textWrite))
	c.ExtendBaseWidget(c)
	c.SetMinRowsVisible(1)
	c.OnChanged = c.changed
	return c
}

func currentModifiers() fyne.KeyModifier {
	if d, ok := fyne.CurrentApp().Driver().(desktop.Driver); ok {
		return d.CurrentKeyModifiers()
	}
	return 0
}

// TypedKey implements fyne.Focusable.
func (c *composer) TypedKey(e *fyne.KeyEvent) {
	switch e.Name {
	case fyne.KeyReturn, fyne.KeyEnter:
		if c.modifiers()&fyne.KeyModifierShift == 0 {
			c.send()
			return
		}
		if len(c.Text) >= maxComposerBytes {
			c.OnTooLong()
			return
		}
	case fyne.KeyPageUp, fyne.KeyPageDown:
		c.OnPage(e)
		return
	case fyne.KeyEscape:
		c.OnEscape()
		return
	}
	c.Entry.TypedKey(e)
	c.grow()
}

// AcceptsTab implements fyne.Tabbable: Tab leads on from the composer, as from
// every other field; else nobody without a mouse would get out of it.
func (c *composer) AcceptsTab() bool { return false }

// TypedRune implements fyne.Focusable.
func (c *composer) TypedRune(r rune) {
	c.Entry.TypedRune(r)
	if c.OnTyped != nil {
		c.OnTyped()
	}
}

// TypedShortcut implements fyne.Shortcutable.
func (c *composer) TypedShortcut(s fyne.Shortcut) {
	if !c.OnShortcut(s) {
		c.Entry.TypedShortcut(s)
	}
}

// fill puts in what was being written, with the cursor behind it.
func (c *composer) fill(text string) {
	c.SetText(text)
	c.Entry.TypedKey(&fyne.KeyEvent{Name: fyne.KeyPageDown})
}

func (c *composer) send() {
	text := strings.TrimSpace(c.Text)
	if text == "" || c.Disabled() {
		return
	}
	c.SetText("")
	c.OnSend(text)
}

func (c *composer) changed(text string) {
	if len(text) > maxComposerBytes {
		c.SetText(cut(text, maxComposerBytes))
		c.OnTooLong()
		return
	}
	c.grow()
	if c.OnLeft == nil {
		return
	}
	if left := maxComposerBytes - len(text); left <= nearComposerEnd {
		c.OnLeft(left)
	} else {
		c.OnLeft(-1)
	}
}

// Resize implements fyne.CanvasObject.
func (c *composer) Resize(size fyne.Size) {
	c.Entry.Resize(size)
	c.grow()
}

// grow makes room for the lines written, up to a limit.
func (c *composer) grow() {
	rows := 1
	if width := c.Size().Width - 2*theme.InnerPadding() - 4; width > 0 && c.Text != "" {
		// More text than this fills the composer at any width.
		lines, _ := wrap(cut(c.Text, 2048), width, textSizeBody)
		rows = min(max(len(lines), 1), maxComposerLines)
	}
	if rows == c.rows {
		return
	}
	c.rows = rows
	c.SetMinRowsVisible(rows)
	if c.OnGrow != nil {
		c.OnGrow()
	}
}
