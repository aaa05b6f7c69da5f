package ui

import (
	"image/color"
	"reflect"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// roomList is the left side: the rooms, and the state of the network in words.
type roomList struct {
	OnOpen func(room string) // id
	OnNew  func()
	OnJoin func()
	OnMenu func(room chat.Room, at fyne.Position)
	// OnSettings is called for the settings of the program.
	OnSettings func()

	root    *fyne.Container
	list    *widget.List
	network *networkLine
	empty   *fyne.Container
	rooms   []chat.Room
	open    string
	setting bool // a selection made by set, not by the person
}

func newRoomList() *roomList {
	l := &roomList{network: newNetworkLine()}
	l.list = widget.NewList(
		func() int { return len(l.rooms) },
		func() fyne.CanvasObject { return newRoomCell(func(r chat.Room, at fyne.Position) { l.OnMenu(r, at) }) },
		func(i widget.ListItemID, o fyne.CanvasObject) { o.(*roomCell).set(l.rooms[i], l.rooms[i].ID == l.open) },
	)
	l.list.HideSeparators = true
	l.list.OnSelected = func(i widget.ListItemID) {
		if !l.setting && i < len(l.rooms) {
			l.OnOpen(l.rooms[i].ID)
		}
	}
	create := newIconButton(tr(textNewRoom), theme.ContentAddIcon(), func() { l.OnNew() })
	settings := newIconButton(tr(textSettings), theme.SettingsIcon(), func() { l.OnSettings() })
	join := newButton(tr(textJoinRoom), theme.LoginIcon(), func() { l.OnJoin() })
	title := paragraphOff(tr(textRooms), theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	top := padded(9, 9, padEdge-8, 8, container.NewHBox(title, layout.NewSpacer(), container.NewCenter(settings), container.NewCenter(create)))
	bottom := column(0, padded(6, 6, padEdge-4, padEdge-4, join), widget.NewSeparator(), l.network.root)
	none := paragraph(tr(textNoRoomsYet), theme.SizeNameText, colorMuted, false)
	l.empty = container.NewVBox(padded(0, 0, padEdge-8, 8, none))
	l.root = container.NewStack(newGround(colorSidebar, 0),
		container.NewBorder(nil, nil, nil, widget.NewSeparator(),
			container.NewBorder(top, bottom, nil, nil, l.empty, padded(0, 0, 6, 6, l.list))))
	return l
}

func (l *roomList) set(v chat.View, open string) {
	l.network.set(v)
	if l.open == open && reflect.DeepEqual(l.rooms, v.Rooms) {
		return
	}
	l.rooms, l.open = v.Rooms, open
	if len(l.rooms) == 0 {
		l.empty.Show()
	} else {
		l.empty.Hide()
	}
	l.list.Refresh()
	l.setting = true
	defer func() { l.setting = false }()
	l.list.UnselectAll()
	for i := range l.rooms {
		if l.rooms[i].ID == open {
			l.list.Select(i)
		}
	}
}

// roomCell is one room of the list.
type roomCell struct {
	paint
	room chat.Room
	open bool
	menu func(room chat.Room, at fyne.Position)
}

func newRoomCell(menu func(room chat.Room, at fyne.Position)) *roomCell {
	c := &roomCell{menu: menu}
	c.min = fyne.NewSize(180, 60)
	c.place = c.draw
	c.ExtendBaseWidget(c)
	return c
}

func (c *roomCell) set(r chat.Room, open bool) {
	c.room, c.open = r, open
	c.Refresh()
}

// TappedSecondary implements fyne.SecondaryTappable.
func (c *roomCell) TappedSecondary(e *fyne.PointEvent) { c.menu(c.room, e.AbsolutePosition) }

func (c *roomCell) draw(size fyne.Size) []fyne.CanvasObject {
	r := &c.room
	var objects []fyne.CanvasObject
	add := func(t *canvas.Text, x, y float32) {
		m := t.MinSize()
		objects = append(objects, put(t, x, y, m.Width, m.Height))
	}
	objects = append(objects, face(r.ID, r.Name, 6, (size.Height-sizeAvatarRoom)/2, sizeAvatarRoom)...)
	if r.State == chat.Joined && r.Online > 1 {
		ground := colorSidebar
		if c.open {
			ground = theme.ColorNameSelection
		}
		objects = append(objects, presence(colorOnline, ground, 6+sizeAvatarRoom, (size.Height+sizeAvatarRoom)/2)...)
	}

	const left, right, upper, lower = 6 + sizeAvatarRoom + 12, 8, 10, 31
	when := ""
	if r.Last != nil {
		when = textOfMoment(r.Last.Time.Local(), time.Now())
	}
	clock := write(newText(textSizeTiny), when, theme.Color(colorMuted))
	w := clock.MinSize().Width
	add(clock, size.Width-right-w, upper+2)
	name := newText(textSizeBody)
	name.TextStyle.Bold = true
	marks := []*canvas.Image{orderMark(r.Order)}
	if r.Settings.Notify == chat.NotifyNone {
		marks = append(marks, muteMark())
	}
	const step = sizeMark + 4
	add(write(name, fitLine(visibleLine(r.Name), size.Width-left-right-w-12-step*float32(len(marks)), textSizeBody, true), theme.Color(colorText)), left, upper)
	n := name.MinSize()
	for i, mark := range marks {
		objects = append(objects, put(mark, left+n.Width+5+step*float32(i), upper+(n.Height-sizeMark)/2+1, sizeMark, sizeMark))
	}

	room := size.Width - left - right
	if r.Unread > 0 {
		back, ink := colorBadge, theme.ColorNameForegroundOnPrimary
		if r.Settings.Notify == chat.NotifyNone {
			back, ink = colorDay, colorDayText
		}
		badge := write(newText(textSizeTiny), count(uint64(r.Unread)), theme.Color(ink))
		badge.TextStyle.Bold = true
		b := badge.MinSize()
		pill := canvas.NewRectangle(theme.Color(back))
		wide := max(b.Width+12, b.Height+4)
		pill.CornerRadius = (b.Height + 4) / 2
		objects = append(objects, put(pill, size.Width-right-wide, lower, wide, b.Height+4))
		add(badge, size.Width-right-wide+(wide-b.Width)/2, lower+2)
		room -= wide + 8
	}
	text, ink := roomPreview(r)
	add(write(newText(textSizeSmall), fitLine(text, room, textSizeSmall, false), ink), left, lower+1)
	return objects
}

func roomPreview(r *chat.Room) (string, color.Color) {
	switch r.State {
	case chat.Joining:
		return joiningText(r), theme.Color(colorOffline)
	case chat.Failed:
		return withReason(tr(textJoinFailed), r.Reason), theme.Color(theme.ColorNameError)
	case chat.Joined:
	}
	if typing := typingText(r.Typing); typing != "" {
		return typing, theme.Color(theme.ColorNamePrimary)
	}
	if r.Last == nil {
		return textOfMembers(r.Members), theme.Color(colorMuted)
	}
	return preview(r.Last), theme.Color(colorMuted)
}

// networkLine is the connection state in words, after a dot in its colour.
type networkLine struct {
	root fyne.CanvasObject
	dot  *ground
	text *widget.RichText
	last string
}

func newNetworkLine() *networkLine {
	n := &networkLine{dot: newGround(colorOffline, 4), text: paragraph("", theme.SizeNameCaptionText, colorMuted, false)}
	dot := container.New(layout.NewGridWrapLayout(fyne.NewSize(8, 8)), n.dot)
	n.root = padded(2, 2, padEdge, 4, container.NewBorder(nil, nil, container.NewCenter(dot), nil, n.text))
	return n
}

func (n *networkLine) set(v chat.View) {
	text, dot := networkText(&v)
	if text == n.last && n.dot.name == dot {
		return
	}
	n.last, n.dot.name = text, dot
	n.dot.Refresh()
	setParagraph(n.text, text)
}
