package ui

import (
	"context"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

func (w *Window) askNewRoom() {
	name := widget.NewEntry()
	name.SetPlaceHolder(tr(textRoomNameHint))
	orders := widget.NewRadioGroup([]string{tr(textOrderLamport), tr(textOrderLeader)}, nil)
	orders.SetSelected(tr(textOrderLamport))
	orders.Horizontal, orders.Required = true, true
	about := paragraph(tr(textLamportAbout), theme.SizeNameCaptionText, colorMuted, false)
	var f *sheet
	chosen := func() chat.Order {
		if orders.Selected == tr(textOrderLeader) {
			return chat.Leader
		}
		return chat.Lamport
	}
	orders.OnChanged = func(string) {
		about.Segments[0].(*widget.TextSegment).Text = orderAbout(chosen())
		about.Refresh()
		f.popup.Resize(f.popup.MinSize())
	}
	submit := func() {
		submitName(name.Text, f.act, func(room string) {
			f.act.Disable()
			w.createRoom(room, chosen(), f.done)
		}, f.fail)
	}
	name.OnSubmitted = func(string) { submit() }
	body := column(8, field(tr(textRoomName), name), field(tr(textOrderLabel), orders), about)
	f = newSheet(w.win, tr(textNewRoom), tr(textCancel), tr(textStart), body, submit)
	f.show()
	w.win.Canvas().Focus(name)
}

func (w *Window) askJoin() {
	invite := widget.NewEntry()
	invite.SetPlaceHolder(tr(textInviteHint))
	var f *sheet
	submit := func() {
		submitInvite(invite.Text, f.act, func(link string) {
			f.act.Disable()
			w.joinRoom(link, f.done)
		}, f.fail)
	}
	invite.OnSubmitted = func(string) { submit() }
	f = newSheet(w.win, tr(textJoinRoom), tr(textCancel), tr(textJoin), field(tr(textInvite), invite), submit)
	f.show()
	w.win.Canvas().Focus(invite)
}

func (w *Window) showInvite() {
	room := w.shown.room
	var link string
	w.loop.act(func(ctx context.Context) (err error) {
		link, err = w.loop.node.Invite(ctx, chat.InviteOptions{Room: room})
		return err
	}, func(err error) {
		if err != nil {
			w.notice.fail(err)
			return
		}
		text := widget.NewMultiLineEntry()
		text.Wrapping = fyne.TextWrapBreak
		text.SetText(link)
		text.OnChanged = func(string) { text.SetText(link) }
		text.SetMinRowsVisible(4)
		said := paragraph(" ", theme.SizeNameCaptionText, colorMuted, false)
		body := column(8, paragraph(tr(textInviteAbout), theme.SizeNameText, colorMuted, false), text, said)
		newSheet(w.win, tr(textInvite), tr(textClose), tr(textCopyLink), body, func() {
			w.app.Clipboard().SetContent(link)
			said.Segments[0].(*widget.TextSegment).Text = tr(textCopied)
			said.Refresh()
		}).show()
	})
}

func (w *Window) showMembers() {
	room := w.shown.room
	var members []chat.Member
	w.loop.act(func(ctx context.Context) (err error) {
		members, err = w.loop.node.Members(ctx, room)
		return err
	}, func(err error) {
		if err != nil {
			w.notice.fail(err)
			return
		}
		list := column(4)
		for _, m := range members {
			list.Add(memberCell(m))
		}
		scroll := container.NewVScroll(list)
		scroll.SetMinSize(fyne.NewSize(sizeForm, min(list.MinSize().Height, 360)))
		newSheet(w.win, tr(textMembers), tr(textClose), "", scroll, nil).show()
	})
}

func memberCell(m chat.Member) fyne.CanvasObject {
	name := visibleLine(m.Name)
	if m.Self {
		name += ", " + tr(textMemberYou)
	}
	if m.Creator {
		name += ", " + tr(textMemberCreator)
	}
	dot := newGround(colorDay, 4)
	if m.Self || m.State == chat.PeerConnected {
		dot.name = colorOnline
	}
	mark := container.NewCenter(container.NewGridWrap(fyne.NewSize(8, 8), dot))
	return container.NewBorder(nil, nil, mark, nil, column(-14,
		paragraph(name, theme.SizeNameText, theme.ColorNameForeground, false),
		paragraph(visibleLine(m.Fingerprint), theme.SizeNameCaptionText, colorMuted, false)))
}

func (w *Window) askLeave() {
	room, ok := w.shown.openRoom()
	if !ok {
		return
	}
	var f *sheet
	f = newSheet(w.win, tr(textLeave), tr(textCancel), tr(textLeaveConfirm),
		paragraph(tr(textLeaveSure, args{"Room": visibleLine(room.Name)}), theme.SizeNameText, colorMuted, false),
		func() {
			f.act.Disable()
			w.loop.act(func(ctx context.Context) error { return w.loop.node.LeaveRoom(ctx, room.ID) }, f.done)
		})
	f.show()
}

// showText shows a whole message, to read and to select from.
func (w *Window) showText(m *chat.Message) {
	text := widget.NewLabel(visible(m.Text))
	text.Wrapping = fyne.TextWrapWord
	text.Selectable = true
	scroll := container.NewVScroll(text)
	scroll.SetMinSize(fyne.NewSize(sizeForm, 380))
	newSheet(w.win, tr(textMessage), tr(textClose), "", scroll, nil).show()
}
