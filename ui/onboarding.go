package ui

import (
	"context"
	"strings"
	"time"
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

// onboarding asks for a name, then for a first room: one nearby, a new one, or
// one that somebody sent an invite to.
type onboarding struct {
	OnName   func(name string)
	OnCreate func(room string, nearby bool)
	OnJoin   func(invite string)
	OnError  func(error)
	OnFocus  func(fyne.Focusable) // the field to be typed into now

	root     *fyne.Container
	greeting *widget.RichText
	naming   fyne.CanvasObject
	starting *fyne.Container
	name     *entry
	next     *button
	near     *nearbyList
	room     *entry
	offer    *toggle
	create   *button
	invite   *inviteField
	join     *button
	network  *networkLine
	busy     bool
}

func newOnboarding(now func() time.Time) *onboarding {
	o := &onboarding{network: newNetworkLine()}
	o.naming, o.starting = o.buildNaming(), o.buildStarting(now)
	o.starting.Hide()
	picture := canvas.NewImageFromResource(appIcon())
	picture.FillMode = canvas.ImageFillContain
	picture.SetMinSize(fyne.NewSize(72, 72))
	body := column(10, picture, o.naming, o.starting)
	form := container.NewVScroll(container.New(centered{}, container.New(fixedWidth(sizeForm), padded(12, 12, 0, 0, body))))
	o.root = container.NewStack(newGround(theme.ColorNameBackground, 0), container.NewBorder(nil, o.network.root, nil, nil, form))
	return o
}

func appIcon() fyne.Resource { return fyne.NewStaticResource("icon.svg", assets.IconSVG) }

func (o *onboarding) buildNaming() fyne.CanvasObject {
	title := paragraph(tr(textWelcome), theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	about := paragraph(tr(textWelcomeAbout), theme.SizeNameText, colorMuted, false)
	o.name = newEntry(tr(textNameHint))
	o.name.OnSubmitted = func(string) { o.submitName() }
	o.next = newButton(tr(textContinue), nil, o.submitName)
	o.next.Importance = widget.HighImportance
	return column(8, title, about, field(tr(textYourName), o.name), o.next)
}

func (o *onboarding) buildStarting(now func() time.Time) *fyne.Container {
	o.greeting = paragraph("", theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	about := paragraph(tr(textFirstRoom), theme.SizeNameText, colorMuted, false)
	o.near = newNearbyList(3)
	o.near.OnJoin = func(invite string) { o.OnJoin(invite) }
	o.room = newEntry(tr(textRoomNameHint))
	o.room.OnSubmitted = func(string) { o.submitRoom() }
	o.create = newButton(tr(textStart), nil, o.submitRoom)
	o.create.Importance = widget.HighImportance
	o.offer = newToggle(tr(textOffer), false)
	o.invite = newInviteField(now)
	o.invite.entry.OnSubmitted = func(string) { o.submitInvite() }
	o.invite.OnValid = func(bool) { o.allow() }
	o.invite.OnSize = func() { o.root.Refresh() }
	o.join = newButton(tr(textJoin), nil, o.submitInvite)
	o.join.Disable()
	invite := container.NewBorder(nil, nil, nil, o.join, o.invite.entry)
	return column(6, o.greeting, about, o.near.root,
		field(tr(textStartRoom), container.NewBorder(nil, nil, nil, o.create, o.room)), o.offer,
		column(-4, field(tr(textJoinRoom), invite), o.invite.said))
}

// set shows the step that v calls for, with the cursor in its first field.
func (o *onboarding) set(v chat.View) {
	o.network.set(v)
	first := !o.root.Visible()
	o.root.Show()
	if v.Username == "" {
		o.starting.Hide()
		o.naming.Show()
		o.root.Refresh()
		if first {
			o.OnFocus(o.name)
		}
		return
	}
	if first || o.naming.Visible() {
		defer o.focus() // once it is shown
	}
	setParagraph(o.greeting, tr(textGreeting, args{"Name": visibleLine(v.Username)}))
	o.naming.Hide()
	o.starting.Show()
	o.root.Refresh()
}

// focus goes to what comes next: an invite that is filled in needs a click alone.
func (o *onboarding) focus() {
	if o.invite.link != "" {
		o.OnFocus(o.join)
		return
	}
	o.OnFocus(o.room)
}

// work disables the buttons while an answer is awaited.
func (o *onboarding) work(busy bool) {
	o.busy = busy
	enable(o.next, !busy)
	enable(o.create, !busy)
	o.near.work(busy)
	o.allow()
}

func (o *onboarding) allow() { enable(o.join, !o.busy && o.invite.link != "") }

func (o *onboarding) submitName() { submitName(o.name.Text, o.next, o.OnName, o.OnError) }
func (o *onboarding) submitRoom() {
	submitName(o.room.Text, o.create, func(room string) { o.OnCreate(room, o.offer.Checked) }, o.OnError)
}

func (o *onboarding) submitInvite() {
	if !o.busy {
		o.invite.submit(o.OnJoin)
	}
}

func (w *Window) buildOnboarding() {
	o := newOnboarding(w.loop.now)
	w.onboarding = o
	done := func(err error) {
		o.work(false)
		if err != nil {
			w.notice.fail(err)
			return
		}
		w.notice.hide()
		w.loop.ask(want{kind: wantRoom, room: w.shown.room})
	}
	o.OnName = func(name string) {
		o.work(true)
		w.loop.act(func(ctx context.Context) error { return w.loop.node.SetUsername(ctx, name) }, done)
	}
	o.OnCreate = func(room string, nearby bool) {
		o.work(true)
		w.createRoom(room, chat.Lamport, nearby, done)
	}
	o.OnJoin = func(invite string) {
		o.work(true)
		waiting := w.invited
		w.invited = "" // taken, or another preferred; the room may be here before the answer is
		w.joinRoom(invite, func(err error) {
			if err != nil && w.invited == "" {
				w.invited = waiting
			}
			done(err)
		})
	}
	o.OnError = w.notice.fail
	o.OnFocus = w.win.Canvas().Focus
}

// welcome looks for rooms nearby while a first room is being chosen. When that
// is over, an invite from outside that still waits is offered.
func (w *Window) welcome(choosing bool) {
	switch {
	case choosing && w.nearby == nil:
		w.nearby = w.watchNearby(func(rooms []chat.Nearby) {
			if w.onboarding.near.set(rooms) {
				w.onboarding.root.Refresh()
			}
		})
	case !choosing && w.nearby != nil:
		w.nearby()
		w.nearby = nil
	}
	if link := w.invited; link != "" && w.main.Visible() {
		w.invited = ""
		w.askJoin(link)
	}
}

func submitName(text string, button fyne.Disableable, use func(string), fail func(error)) {
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
