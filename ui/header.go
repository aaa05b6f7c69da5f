package ui

import (
	"reflect"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// header names the open room and says how it stands.
type header struct {
	OnInvite func()
	OnMenu   func(at fyne.Position)
	OnSearch func()
	OnAbout  func()

	OnNetwork func()

	root   *fyne.Container
	title  *tappable
	invite *button
	room   chat.Room
}

func newHeader() *header {
	h := &header{}
	h.title = &tappable{paint: paint{min: fyne.NewSize(120, 52), place: h.place}, OnTap: func() { h.OnAbout() }}
	h.title.ExtendBaseWidget(h.title)
	h.invite = newButton(tr(textInvite), theme.ContentAddIcon(), func() { h.OnInvite() })
	h.invite.Importance = widget.HighImportance
	var more *button
	more = newIconButton(tr(textMore), theme.MoreVerticalIcon(), func() {
		at := fyne.CurrentApp().Driver().AbsolutePositionForObject(more)
		h.OnMenu(at.AddXY(0, more.Size().Height))
	})
	search := newIconButton(tr(textSearch), theme.SearchIcon(), func() { h.OnSearch() })
	network := newIconButton(tr(textNetwork), networkIcon, func() { h.OnNetwork() })
	bar := container.NewBorder(nil, nil, nil,
		container.NewCenter(container.NewHBox(h.invite, network, search, more)), h.title)
	h.root = container.NewStack(newGround(theme.ColorNameHeaderBackground, 0),
		container.NewBorder(nil, widget.NewSeparator(), nil, nil, padded(5, 4, padEdge, 8, bar)))
	return h
}

func (h *header) set(r chat.Room) {
	if reflect.DeepEqual(h.room, r) {
		return
	}
	h.room = r
	enable(h.invite, r.State == chat.Joined)
	h.title.Refresh()
}

func (h *header) place(size fyne.Size) []fyne.CanvasObject {
	const across = sizeAvatar + 2
	r := &h.room
	var objects []fyne.CanvasObject
	add := func(o fyne.CanvasObject) { objects = append(objects, o) }
	objects = append(objects, face(r.ID, r.Name, 0, (size.Height-across)/2, across)...)

	const left = across + 12
	badge := write(newText(textSizeTiny), orderName(r.Order), theme.Color(colorDayText))
	b := badge.MinSize()
	name := newText(16)
	name.TextStyle.Bold = true
	room := size.Width - left - 8
	muted := r.Settings.Notify == chat.NotifyNone
	if muted {
		room -= 8 + sizeMark
	}
	title := visibleLine(r.Name)
	worded := textWidth(title, name.TextSize, name.TextStyle)+b.Width+26 <= room // else a mark says it
	if worded {
		room -= b.Width + 26
	} else {
		room -= 6 + sizeMark
	}
	write(name, fitLine(title, room, name.TextSize, true), theme.Color(colorText))
	n := name.MinSize()
	top := (size.Height - n.Height - 18) / 2
	add(put(name, left, top, n.Width, n.Height))
	x, mark := left+n.Width, top+(n.Height-sizeMark)/2+1
	if worded {
		pill := canvas.NewRectangle(theme.Color(colorDay))
		pill.CornerRadius = (b.Height + 4) / 2
		add(put(pill, x+10, top+(n.Height-b.Height-4)/2+1, b.Width+16, b.Height+4))
		add(put(badge, x+18, top+(n.Height-b.Height)/2+1, b.Width, b.Height))
		x += b.Width + 26
	} else {
		add(put(orderMark(r.Order), x+6, mark, sizeMark, sizeMark))
		x += 6 + sizeMark
	}
	if muted {
		add(put(muteMark(), x+8, mark, sizeMark, sizeMark))
	}
	text, ink := roomState(r), theme.Color(colorMuted)
	if typing := typingText(r.Typing); typing != "" && r.State == chat.Joined {
		text, ink = typing, theme.Color(theme.ColorNamePrimary)
	}
	about := write(newText(textSizeSmall), fitLine(text, size.Width-left-8, textSizeSmall, false), ink)
	a := about.MinSize()
	add(put(about, left, top+n.Height+1, a.Width, a.Height))
	return objects
}

func orderName(o chat.Order) string {
	switch o {
	case chat.Leader:
		return tr(textOrderLeader)
	case chat.Lamport:
		return tr(textOrderLamport)
	}
	return string(o)
}

// typingText says who is writing, "" when nobody is.
func typingText(people []chat.Person) string {
	switch len(people) {
	case 0:
		return ""
	case 1:
		return tr(textTypingOne, args{"Name": visibleLine(people[0].Name)})
	case 2:
		return tr(textTypingTwo, args{"Name": visibleLine(people[0].Name), "Other": visibleLine(people[1].Name)})
	}
	return textOfTyping(len(people))
}

// roomState says in words how a room stands.
func roomState(r *chat.Room) string {
	switch r.State {
	case chat.Joining:
		return joiningText(r)
	case chat.Failed:
		return withReason(tr(textJoinFailed), r.Reason)
	case chat.Joined:
	}
	return textOfMembers(r.Members) + ", " + tr(textOnline, args{"Count": count(uint64(max(r.Online, 0)))})
}

// orderAbout is the trade-off of an order, in one sentence.
func orderAbout(o chat.Order) string {
	switch o {
	case chat.Leader:
		return tr(textLeaderAbout)
	case chat.Lamport:
		return tr(textLamportAbout)
	}
	return ""
}

func joiningText(r *chat.Room) string {
	if p := r.Progress; p.Want > 0 {
		return tr(textFetching, args{"Have": count(p.Have), "Want": count(p.Want)})
	}
	return withReason(tr(textJoining), r.Reason)
}

func withReason(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + visibleLine(reason)
}
