package ui

import (
	"strings"
	"unicode/utf8"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/assets"
	"tertulia/chat"
)

// onboarding asks for a name, then for a first room.
type onboarding struct {
	OnName   func(name string)
	OnCreate func(room string)
	OnJoin   func(invite string)
	OnError  func(error)
	OnFocus  func(fyne.Focusable) // the field to be typed into now

	root     *fyne.Container
	greeting *widget.RichText
	naming   fyne.CanvasObject
	starting fyne.CanvasObject
	name     *widget.Entry
	next     *widget.Button
	room     *widget.Entry
	create   *widget.Button
	invite   *widget.Entry
	join     *widget.Button
}

func newOnboarding() *onboarding {
	o := &onboarding{}
	o.naming, o.starting = o.buildNaming(), o.buildStarting()
	o.starting.Hide()
	picture := canvas.NewImageFromResource(appIcon())
	picture.FillMode = canvas.ImageFillContain
	picture.SetMinSize(fyne.NewSize(88, 88))
	body := column(14, picture, o.naming, o.starting)
	o.root = container.NewStack(newGround(theme.ColorNameBackground, 0),
		container.NewBorder(nil, nil, nil, nil, container.New(centered{}, container.New(fixedWidth(sizeForm), body))))
	return o
}

func appIcon() fyne.Resource { return fyne.NewStaticResource("icon.svg", assets.IconSVG) }

func (o *onboarding) buildNaming() fyne.CanvasObject {
	title := paragraph(tr(textWelcome), theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	about := paragraph(tr(textWelcomeAbout), theme.SizeNameText, colorMuted, false)
	o.name = widget.NewEntry()
	o.name.SetPlaceHolder(tr(textNameHint))
	o.name.OnSubmitted = func(string) { o.submitName() }
	o.next = widget.NewButton(tr(textContinue), o.submitName)
	o.next.Importance = widget.HighImportance
	return column(8, title, about, field(tr(textYourName), o.name), o.next)
}

func (o *onboarding) buildStarting() fyne.CanvasObject {
	o.greeting = paragraph("", theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	about := paragraph(tr(textFirstRoom), theme.SizeNameText, colorMuted, false)
	o.room = widget.NewEntry()
	o.room.SetPlaceHolder(tr(textRoomNameHint))
	o.room.OnSubmitted = func(string) { o.submitRoom() }
	o.create = widget.NewButton(tr(textStartRoom), o.submitRoom)
	o.create.Importance = widget.HighImportance
	or := paragraph(tr(textOr), theme.SizeNameCaptionText, colorMuted, false)
	or.Segments[0].(*widget.TextSegment).Style.Alignment = fyne.TextAlignCenter
	o.invite = widget.NewEntry()
	o.invite.SetPlaceHolder(tr(textInviteHint))
	o.invite.OnSubmitted = func(string) { o.submitInvite() }
	o.join = widget.NewButton(tr(textJoinRoom), o.submitInvite)
	return column(8, o.greeting, about, field(tr(textRoomName), o.room), o.create, or, field(tr(textInvite), o.invite), o.join)
}

// set shows the step that username calls for, with the cursor in its first field.
func (o *onboarding) set(username string) {
	first := !o.root.Visible()
	o.root.Show()
	if username == "" {
		o.starting.Hide()
		o.naming.Show()
		o.root.Refresh()
		if first {
			o.OnFocus(o.name)
		}
		return
	}
	if first || o.naming.Visible() {
		defer o.OnFocus(o.room) // once it is shown
	}
	o.greeting.Segments[0].(*widget.TextSegment).Text = tr(textGreeting, args{"Name": visibleLine(username)})
	o.greeting.Refresh()
	o.naming.Hide()
	o.starting.Show()
	o.root.Refresh()
}

// work disables the buttons while an answer is awaited.
func (o *onboarding) work(busy bool) {
	for _, b := range []*widget.Button{o.next, o.create, o.join} {
		if busy {
			b.Disable()
		} else {
			b.Enable()
		}
	}
}

func (o *onboarding) submitName() { submitName(o.name.Text, o.next, o.OnName, o.OnError) }
func (o *onboarding) submitRoom() { submitName(o.room.Text, o.create, o.OnCreate, o.OnError) }

func (o *onboarding) submitInvite() { submitInvite(o.invite.Text, o.join, o.OnJoin, o.OnError) }

func submitName(text string, button *widget.Button, use func(string), fail func(error)) {
	if button.Disabled() {
		return
	}
	name := strings.TrimSpace(text)
	if n := utf8.RuneCountInString(name); n < 1 || n > chat.MaxNameRunes {
		fail(chat.Errorf(chat.CodeInvalid, "%s", tr(textNameNeeded, args{"Max": chat.MaxNameRunes})))
		return
	}
	use(name)
}

func submitInvite(text string, button *widget.Button, use func(string), fail func(error)) {
	if button.Disabled() {
		return
	}
	invite := strings.TrimSpace(text)
	if invite == "" {
		fail(chat.Errorf(chat.CodeInvalid, "%s", tr(textInviteNeeded)))
		return
	}
	use(invite)
}

// field is an entry under its label.
func field(label string, entry fyne.CanvasObject) fyne.CanvasObject {
	t := paragraph(label, theme.SizeNameCaptionText, theme.ColorNameForeground, true)
	return column(-6, t, entry)
}

// centered puts objects in the middle, a little above, at the size they want.
type centered struct{}

// Layout implements fyne.Layout.
func (centered) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		m := o.MinSize()
		m.Width = min(m.Width, size.Width)
		o.Resize(m)
		o.Move(fyne.NewPos((size.Width-m.Width)/2, max((size.Height-m.Height)*0.42, 0)))
	}
}

// MinSize implements fyne.Layout.
func (centered) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return layout.NewCenterLayout().MinSize(objects)
}
